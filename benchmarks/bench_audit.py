"""Prints time per stage and peak memory of an audit of 100,000 simulated decisions over four layers.

Ends with 1 when it misses the goal: 60 s and 2 GiB on two cores, and a page under 1 MB.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from shadowprice.ingest.simulator import Knobs, simulate

GOAL_S = 60.0
GOAL_MIB = 2048.0
GOAL_PAGE_KB = 1000.0
REQUESTS = 21_500
"""About 4.65 decisions per request, so 100,000 in all; the table prints the exact number."""
SEED = 1


def audit(folder: Path, requests: int) -> tuple[int, float, float]:
    """Exit code, wall seconds and peak MiB of `shadowprice audit` in a process of its own."""
    world = simulate(folder / "world", seed=SEED, knobs=Knobs(requests=requests))
    command = [sys.executable, "-m", "shadowprice", "audit", str(world.logs), "--config", str(world.config)]
    for mapping in sorted(world.logs.glob("*.mapping.toml")):
        command += ["--mapping", str(mapping)]
    command += ["--out", str(folder / "run"), "--quiet"]
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    per_mib = 1024 * 1024 if sys.platform == "darwin" else 1024
    return process.returncode, time.perf_counter() - began, usage.ru_maxrss / per_mib


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=REQUESTS, help="the goal is set for the default")
    requests = parser.parse_args().requests
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        code, seconds, mib = audit(folder, requests)
        if code not in (0, 3):
            print(f"the audit ended with {code}", file=sys.stderr)
            return 1
        record = json.loads((folder / "run" / "run.json").read_text(encoding="utf-8"))
        counts = json.loads((folder / "run/store/manifest.json").read_text(encoding="utf-8"))["counts"]
        page_kb = (folder / "run" / "report.html").stat().st_size / 1000
    print(
        f"audit of {counts['decisions']:,} simulated decisions, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, polars {record['versions']['polars']}"
    )
    print(f"{'stage':<10} {'seconds':>8}")
    for stage, spent in record["seconds"].items():
        print(f"{stage:<10} {spent:>8.1f}")
    print(f"{'whole':<10} {seconds:>8.1f}   goal: under {GOAL_S:.0f} s")
    print(f"{'peak MiB':<10} {mib:>8.0f}   goal: under {GOAL_MIB:.0f} MiB")
    print(f"{'page kB':<10} {page_kb:>8.0f}   goal: under {GOAL_PAGE_KB:.0f} kB")
    return seconds >= GOAL_S or mib >= GOAL_MIB or page_kb >= GOAL_PAGE_KB


if __name__ == "__main__":
    sys.exit(main())
