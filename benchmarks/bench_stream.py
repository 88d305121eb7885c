"""Ten million decisions in bounded memory, and intervals from states against a bootstrap of the same rows.

Run: python benchmarks/bench_stream.py [--decisions 10000000] [--bootstraps 5]
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
import shadowprice as sp
from shadowprice.estimators.jackknife import cluster_sums, weighted_mean
from shadowprice.ingest.simulator.regime import Regime, draw, truth

CHUNK = 250_000
REGIME = Regime(n=CHUNK, actions=3)
BOOTSTRAPS = 999
"""Resamples that a bootstrap interval usually rests on."""
MEMORY_GOAL_GIB, RATIO_GOAL = 4.0, 100.0


def write_log(folder: Path, decisions: int) -> None:
    """A log of one decision point with three actions, one file per chunk."""
    for part in range(-(-decisions // CHUNK)):
        frame = draw(REGIME, seed=part).frame.head(min(CHUNK, decisions - part * CHUNK))
        tag = f"p{part:04d}-"
        frame.with_columns(
            decision_id=tag + pl.col("decision_id"), session_id=tag + pl.col("session_id")
        ).write_parquet(folder / f"{part:04d}.parquet")


def estimate_log(folder: Path) -> None:
    """What the child process does: estimate, print time, peak memory and the headline."""
    start = time.perf_counter()
    est = sp.estimate(pl.scan_parquet(folder / "*.parquet"), "a0", ledger=folder / "ledger.parquet.out")
    seconds = time.perf_counter() - start
    quality = est.where(quantity="quality", segment="all", action="a2", baseline="a0")[0]
    gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{seconds:.0f}\t{gib:.2f}\t{quality.value}\t{quality.lower}\t{quality.upper}\t{quality.n}")


def intervals(rows: int, bootstraps: int) -> tuple[float, float, float, float]:
    """Seconds from scores to an interval by states and by a bootstrap of clusters, and both standard errors.

    The bootstrap resamples rows, the cheapest honest one; `bootstraps` are timed and scaled to BOOTSTRAPS.
    """
    rng = np.random.default_rng(0)
    d, h = rng.normal(0.1, 1.0, (rows, 5)), rng.random(rows)
    cluster = rng.integers(4096, size=rows)
    start = time.perf_counter()
    mean = weighted_mean(cluster_sums(d, h, cluster, 4096))
    ours = time.perf_counter() - start
    start = time.perf_counter()
    draws = np.empty(bootstraps)
    for b in range(bootstraps):
        picked = rng.integers(rows, size=rows)
        draws[b] = (h[picked, None] * d[picked]).sum(axis=0)[0] / h[picked].sum()
    theirs = (time.perf_counter() - start) / bootstraps * BOOTSTRAPS
    return ours, theirs, float(np.sqrt(mean.cov[0, 0])), float(draws.std(ddof=1))


def main() -> None:
    """Print the two tables; exit 1 when a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--decisions", type=int, default=10_000_000)
    parser.add_argument("--bootstraps", type=int, default=5)
    parser.add_argument("--child", type=Path)
    given = parser.parse_args()
    if given.child is not None:
        estimate_log(given.child)
        return
    with tempfile.TemporaryDirectory() as folder:
        write_log(Path(folder), given.decisions)
        child = [sys.executable, __file__, "--child", folder]
        printed = subprocess.run(child, check=True, capture_output=True, text=True).stdout.split("\t")
        ledger = (Path(folder) / "ledger.parquet.out").stat().st_size / 2**30
    seconds, gib, value, lower, upper, n = (float(p) for p in printed)
    print("| decisions | seconds | peak memory | ledger | quality a2 vs a0 | population truth |")
    print("|---|---|---|---|---|---|")
    found = f"{value:+.5f} [{lower:+.5f}, {upper:+.5f}]"
    size = f"{gib:.2f} GiB | {ledger:.2f} GiB"
    print(f"| {n:,.0f} | {seconds:.0f} | {size} | {found} | {truth(REGIME).ato:+.5f} |")
    ours, theirs, se, boot_se = intervals(given.decisions, given.bootstraps)
    print(f"\n| intervals from {given.decisions:,} scored rows | seconds | standard error |")
    print("|---|---|---|")
    print(f"| states, cluster jackknife, five quantities jointly | {ours:.2f} | {se:.6f} |")
    print(f"| bootstrap, {BOOTSTRAPS} resamples ({given.bootstraps} timed) | {theirs:,.0f} | {boot_se:.6f} |")
    print(f"\nratio {theirs / ours:,.0f} (goal: {RATIO_GOAL:.0f}), memory goal {MEMORY_GOAL_GIB:.0f} GiB")
    if gib > MEMORY_GOAL_GIB or theirs / ours < RATIO_GOAL:
        sys.exit(1)


if __name__ == "__main__":
    main()
