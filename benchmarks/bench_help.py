"""Prints the median of five `shadowprice --help` in seconds; ends with 1 when it misses the goal of 0.5 s."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

GOAL_S = 0.5
REPEATS = 5


def main() -> int:
    times: list[float] = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-m", "shadowprice", "--help"], check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - began)
    median = statistics.median(times)
    print(f"shadowprice --help   median of {REPEATS}: {median:.2f} s   goal: under {GOAL_S} s")
    return median >= GOAL_S


if __name__ == "__main__":
    sys.exit(main())
