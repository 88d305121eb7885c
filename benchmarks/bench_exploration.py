"""Does a planned slice of randomisation show what it promised? Plan on one log, draw the next, compare."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import shadowprice as sp
from shadowprice.estimators.exploration_plan import ExplorationPlan
from shadowprice.schemas.config import parse_config

START = datetime(2026, 11, 2, tzinfo=UTC)
DAYS = 14
COST = {"small": 0.02, "large": 0.15}
ARMS = tuple(COST)
GOAL = 0.15
CONFIG = parse_config(
    {
        "cluster": "tenant_id",
        "segments": ["x_class"],
        "prices": {"task_value": "2 USD/task", "latency": "0.002 USD/s"},
    }
)


@dataclass(frozen=True, kw_only=True)
class World:
    """How the logged policy chooses, and what clusters have in common on the logit scale."""

    name: str
    pick: Callable[[pl.DataFrame, np.random.Generator], np.ndarray]
    icc_sd: float = 0.0
    label_share: float = 1.0


def by_class(frame: pl.DataFrame, _: np.random.Generator) -> np.ndarray:
    """A fixed rule: the large model for one class of tasks."""
    return (frame["x_class"] == "hard").to_numpy()


def by_habit(frame: pl.DataFrame, rng: np.random.Generator) -> np.ndarray:
    """Chosen from the context with chance that nobody logged."""
    return rng.random(frame.height) < 1 / (1 + np.exp(2.0 - 1.5 * frame["x_difficulty"].to_numpy()))


WORLDS = (
    World(name="fixed rule by class", pick=by_class),
    World(name="fixed rule, tenants differ", pick=by_class, icc_sd=0.8),
    World(name="unlogged chance", pick=by_habit),
    World(name="unlogged chance, half labelled", pick=by_habit, label_share=0.5),
)


def draw(
    world: World, n: int, rng: np.random.Generator, rates: dict[str, float] | None = None
) -> pl.DataFrame:
    """A log of `n` decisions; rates: share of each class that a fair coin decides, with both logged."""
    tenant = rng.integers(0, 60, size=n)
    difficulty = rng.normal(size=n)
    hard = rng.random(n) < 0.5
    luck = world.icc_sd * rng.normal(size=60)[tenant]
    frame = pl.DataFrame(
        {
            "decision_id": [f"d{i:06d}" for i in range(n)],
            "layer": ["router"] * n,
            "decision_point": ["model"] * n,
            "tenant_id": [f"t{g}" for g in tenant],
            "ts": [START + timedelta(days=DAYS * i / n) for i in range(n)],
            "x_difficulty": difficulty,
            "x_class": np.where(hard, "hard", "easy"),
        }
    )
    large = world.pick(frame, rng)
    asked = rates or {}
    rate = np.array([asked.get(f"x_class={c}", asked.get("all", 0.0)) for c in frame["x_class"]])
    swapped = rng.random(n) < rate / 2
    taken = large ^ swapped
    chance = 1 / (1 + np.exp(-(0.2 - 0.9 * difficulty + luck + 0.5 * taken)))
    labelled = rng.random(n) < world.label_share
    cost = np.where(taken, COST["large"], COST["small"]) * rng.lognormal(0, 0.3, size=n)
    frame = frame.with_columns(
        action=pl.Series(np.where(taken, "large", "small")),
        quality=pl.Series(np.where(labelled, (rng.random(n) < chance).astype(float), np.nan)).fill_nan(None),
        cost_usd=pl.Series(cost),
        latency_s=pl.Series(np.where(taken, 6.0, 2.0) * rng.lognormal(0, 0.4, size=n)),
    )
    if rates is None:
        return frame
    own = np.where(swapped, rate / 2, 1 - rate / 2)
    pairs = [[p, 1 - p] if not t else [1 - p, p] for p, t in zip(own, taken, strict=True)]
    return frame.with_columns(
        candidates=pl.Series([list(ARMS)] * n),
        propensities=pl.Series(pairs, dtype=pl.List(pl.Float64)),
        propensity=pl.Series(own),
        propensity_source=pl.lit("logged"),
        exploration=pl.Series(swapped),
    )


def planned(frame: pl.DataFrame, budget: float) -> ExplorationPlan:
    """The plan that a user of this log would get."""
    est = sp.estimate(frame, config=CONFIG)
    return sp.plan_exploration(est, frame, budget_usd=budget, config=CONFIG)


def kept(
    world: World, *, worlds: int, n: int, budget: float, seed: int
) -> Iterator[tuple[float, float, bool]]:
    """(promised half-width, realised one, whether the estimate is of grade A) of every line of every plan."""
    for k in range(worlds):
        rng = np.random.default_rng((seed, k))
        plan = planned(draw(world, n, rng), budget)
        rates = {line.segment: line.rate for line in plan.lines}
        fresh = sp.estimate(draw(world, n, rng, rates), config=CONFIG)
        for line in plan.lines:
            found = fresh.where(segment=line.segment, quantity="net", action=line.action, estimand="ATO")
            for e in found:
                yield line.half_width, (e.upper - e.lower) / 2, e.grade == "A"  # pyright: ignore


def main() -> None:
    """Print one row per kind of world."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=40)
    parser.add_argument("--decisions", type=int, default=6000)
    parser.add_argument("--budget", type=float, default=25.0)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    print("| world | lines | promised ± | realised ± | realised / promised | within 15 % | grade A |")
    print("|---|---|---|---|---|---|---|")
    for world in WORLDS:
        rows = list(kept(world, worlds=args.worlds, n=args.decisions, budget=args.budget, seed=args.seed))
        promised, realised, graded = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
        ratio = realised / promised
        print(
            f"| {world.name} | {len(rows)} | {promised.mean():.4f} | {realised.mean():.4f} | "
            f"{ratio.mean():.2f} ({ratio.min():.2f} to {ratio.max():.2f}) | "
            f"{(abs(ratio - 1) <= GOAL).mean():.0%} | {graded.mean():.0%} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
