"""Prints how well the prices of caps are found where they are known: bias and coverage beside plain duals.

Worlds of `ingest/simulator/capped.py`. Plain: the same programme on the uncalibrated predictions, with a
percentile bootstrap that leaves them as they are, as a data scientist would write it.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import sys
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from shadowprice.estimators.prices.duals import Dual, Programme, fit_duals, stakes_of
from shadowprice.estimators.prices.market import Market, PointMarket, point_market
from shadowprice.estimators.prices.multipliers import multipliers
from shadowprice.estimators.problem import only_problem
from shadowprice.estimators.scores import score
from shadowprice.ingest.simulator.capped import RISK_USD, TASK_VALUE, cap_truth, capped_world
from shadowprice.schemas.config import parse_config
from threadpoolctl import threadpool_limits

Array = NDArray[np.float64]

CONFIG: Final = parse_config(
    {"prices": {"task_value": f"{TASK_VALUE} USD/task", "risk": f"{RISK_USD} USD/event"}}
)
NAMES: Final = ("cost", "latency", "risk")
FREE: Final = math.inf
CASES: Final = {
    "half the cost": (0.5, FREE, FREE),
    "60 % of the latency": (FREE, 0.6, FREE),
    "40 % of the cost, 60 % of the latency": (0.4, 0.6, FREE),
    "90 % of the cost (slack)": (0.9, FREE, FREE),
}
"""Caps as shares of the logged means."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One multiplier in one world: ours and plain, each as value, lower, upper."""

    case: str
    name: str
    truth: float
    ours: tuple[float, float, float]
    plain: tuple[float, float, float]


def answers(task: tuple[str, int, int, int]) -> list[Answer]:
    """The multipliers of the finite caps of one case in one world."""
    case, n, seed, draws = task
    truth = cap_truth(CASES[case])
    with threadpool_limits(limits=1):
        point = point_market(score(only_problem(capped_world(n, seed=seed), CONFIG), seed=0), CONFIG, seed=0)
        assert isinstance(point, PointMarket)
        programme = Programme(points=(0,), caps=truth.caps)
        (found,) = fit_duals([point], [programme], CONFIG, seed=seed, draws=draws)
        naive = plain(point.market, truth.caps, seed=seed, draws=draws)
    return [
        Answer(case, name, float(truth.mu[j]), _ends(found.mu[j]), naive[j])
        for j, name in enumerate(NAMES)
        if np.isfinite(truth.caps[j])
    ]


def plain(market: Market, caps: Array, *, seed: int, draws: int) -> list[tuple[float, float, float]]:
    """Multipliers on raw predictions with the percentiles of a bootstrap of rows."""
    stakes, rng = stakes_of(market), np.random.default_rng(seed)
    sample: list[Array] = []
    for turn in range(1 + draws):
        weight = rng.multinomial(len(market.weight), np.full(len(market.weight), 1 / len(market.weight)))
        weight = weight.astype(float) if turn else np.ones(len(market.weight))
        found = multipliers(stakes.worth, stakes.load, weight, caps, names=NAMES)
        assert not isinstance(found, str)
        sample.append(found.mu)
    value, rest = sample[0], np.array(sample[1:])
    lower, upper = np.quantile(rest, [0.025, 0.975], axis=0)
    return [(float(value[j]), float(lower[j]), float(upper[j])) for j in range(len(NAMES))]


def _ends(dual: Dual) -> tuple[float, float, float]:
    assert dual.value is not None
    assert dual.lower is not None
    assert dual.upper is not None
    return dual.value, dual.lower, dual.upper


def _summary(found: list[Answer], of: str) -> str:
    rows = np.array([getattr(a, of) for a in found])
    truth = found[0].truth
    covered = float(((rows[:, 1] <= truth) & (truth <= rows[:, 2])).mean())
    mean = float(rows[:, 0].mean())
    error = f"{mean / truth - 1:+.1%}" if truth > 0 else f"{mean:+.4f}"
    return f"{mean:.4f} | {error} | {rows[:, 0].std():.4f} | {covered:.1%}"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--worlds", type=int, default=100)
    parser.add_argument("--rows", type=int, default=4000, help="decisions per world")
    parser.add_argument("--draws", type=int, default=200, help="bootstrap draws")
    parser.add_argument("--jobs", type=int, default=2)
    args = parser.parse_args()
    print("| caps | multiplier | truth | ours | error | sd | covered | plain | error | sd | covered |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    with multiprocessing.get_context("spawn").Pool(args.jobs) as pool:
        for case in CASES:
            tasks = [(case, args.rows, seed, args.draws) for seed in range(args.worlds)]
            found = [a for world in pool.imap_unordered(answers, tasks) for a in world]
            for name in NAMES:
                own = [a for a in found if a.name == name]
                if own:
                    print(
                        f"| {case} | {name} | {own[0].truth:.4f} | {_summary(own, 'ours')} "
                        f"| {_summary(own, 'plain')} |",
                        flush=True,
                    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
