"""Verdicts on the paper's three predictions, in worlds where each holds and in worlds where it does not.

Usage: python benchmarks/bench_predictions.py [--worlds 100] [--only verifier|router|congestion]
Goals: supported where it holds; contradicted or inconclusive where it does not; the placebos move in as many
worlds as their level of 10 % says.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import polars as pl
import shadowprice as sp
from shadowprice.ingest.simulator.predicted_congestion import congestion_world
from shadowprice.ingest.simulator.predicted_router import CLASS_VALUES, Router, router_world
from shadowprice.ingest.simulator.predicted_verifier import RISK_USD, TASK_VALUE, verifier_world
from shadowprice.schemas.config import Config, parse_config

TASKS = 5_000
CHOICES = 8_000
PLACEBO_LEVEL = 0.1
VERDICTS = ("supported", "contradicted", "inconclusive", "not_identified")


@dataclass(frozen=True, slots=True)
class World:
    """What one seed gave: the verdict, whether a placebo moved, and whether the intervals hold the truth."""

    verdict: str
    placebo: float | None
    holds_truth: bool
    seconds: float


def tested(frame: pl.DataFrame, config: Config, name: str) -> tuple[sp.Prediction, float]:
    """The prediction called `name`, and the seconds that all three took."""
    start = time.perf_counter()
    found = sp.predictions(frame, config, seed=0)
    return next(p for p in found if p.name == name), time.perf_counter() - start


def verifier(seed: int, *, holds: bool) -> World:
    """Agents of TASKS tasks; the truth is held when every step's simultaneous interval holds its effect."""
    frame, truth = verifier_world(TASKS, seed=seed, holds=holds)
    prices = {"task_value": f"{TASK_VALUE} USD/task", "risk": f"{RISK_USD} USD/event"}
    p, seconds = tested(frame, parse_config({"prices": prices}), "verifier")
    inside = all(held(r.lower, r.upper, float(x)) for r, x in zip(p.curve, truth.risk, strict=False))
    return World(p.verdict, p.placebo_p, inside, seconds)


def router(seed: int, *, kind: Router) -> World:
    """CHOICES of a router; the truth is the rise of its own choice's regret per doubling of V."""
    frame, truth = router_world(CHOICES, seed=seed, router=kind)
    values = {name: f"{usd} USD/task" for name, usd in CLASS_VALUES.items()}
    p, seconds = tested(frame, parse_config({"prices": {"task_value_by_class": values}}), "router")
    return World(p.verdict, p.placebo_p, held(p.lower, p.upper, truth.usd), seconds)


def congestion(seed: int, *, shared: bool) -> World:
    """Twelve hours of two replicas; the truth is the mean wait that long contexts add."""
    frame, truth = congestion_world(seed=seed, shared=shared)
    p, seconds = tested(frame, Config(), "congestion")
    return World(p.verdict, p.placebo_p, held(p.lower, p.upper, truth.wait_s), seconds)


def held(lower: float | None, upper: float | None, truth: float) -> bool:
    """Whether an interval is there and holds the truth, to rounding."""
    return lower is not None and upper is not None and lower - 1e-12 <= truth <= upper + 1e-12


CASES: dict[str, Callable[[int], World]] = {
    "verifier: lowers risk, the first two": lambda s: verifier(s, holds=True),
    "verifier: finds nothing": lambda s: verifier(s, holds=False),
    "router: cheap, whatever V is": lambda s: router(s, kind="cheap"),
    "router: optimal at V": lambda s: router(s, kind="optimal"),
    "router: errs alike at every V": lambda s: router(s, kind="careless"),
    "congestion: one engine per replica": lambda s: congestion(s, shared=True),
    "congestion: long prompts apart": lambda s: congestion(s, shared=False),
}


def main() -> None:
    """Print one row per kind of world."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--worlds", type=int, default=100)
    parser.add_argument("--only", choices=("verifier", "router", "congestion"))
    given = parser.parse_args()
    print(f"| {given.worlds} worlds each | {' | '.join(VERDICTS)} | placebo moved | truth held | seconds |")
    print("|---" * 8 + "|")
    for name, run in CASES.items():
        if given.only and not name.startswith(given.only):
            continue
        worlds = [run(seed) for seed in range(given.worlds)]
        count = Counter(w.verdict for w in worlds)
        known = [w.placebo for w in worlds if w.placebo is not None]
        moved = f"{sum(p <= PLACEBO_LEVEL for p in known)} of {len(known)}" if known else "-"
        inside = sum(w.holds_truth for w in worlds)
        slow = sum(w.seconds for w in worlds) / len(worlds)
        cells = [str(count[v]) for v in VERDICTS]
        print(f"| {name} | {' | '.join(cells)} | {moved} | {inside} | {slow:.2f} |", flush=True)


if __name__ == "__main__":
    main()
