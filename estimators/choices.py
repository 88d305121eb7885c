"""What is compared at a decision point: the baseline, the contrasts, the segments, and what V they carry."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..schemas.config import Config
from .pairs import Valuation
from .problem import SKIP, Problem
from .scores import MIN_ARM

Mask = NDArray[np.bool_]

_NATURAL_BASELINES: Final = (SKIP, "recompute", "drop", "none")
_MAX_LEVELS: Final = 50
"""Segments looked at per column; they are fixed before any estimate is seen."""
_MIN_SEGMENT: Final = 2 * MIN_ARM
_NEIGHBOURS: Final = 6
"""Up to this many actions, each is also compared with the next cheaper one."""


def valuation(problem: Problem, config: Config) -> Valuation:
    """V of every decision, from its class or the default, with the prices of latency and risk."""
    prices = config.prices
    default = prices.task_value.value if prices.task_value is not None else float("nan")
    value = np.full(problem.n, default)
    if config.task_class in problem.frame.columns:
        classes = problem.frame[config.task_class].cast(pl.String).fill_null("").to_numpy()
        for name, amount in prices.task_value_by_class.items():
            value[classes == name] = amount.value
    return Valuation(
        task_value=value,
        latency_price=prices.latency.value if prices.latency is not None else 0.0,
        risk_price=prices.risk.value if prices.risk is not None else 0.0,
    )


def usable_arms(problem: Problem) -> list[str]:
    """The actions with enough decisions to be compared."""
    return [name for k, name in enumerate(problem.arms) if (problem.arm == k).sum() >= MIN_ARM]


def baseline_of(problem: Problem, names: list[str], asked: str | None) -> str:
    """The action that others are compared with: the one asked for, else doing nothing, else the cheapest."""
    if asked in problem.arms:
        return str(asked)
    for name in _NATURAL_BASELINES:
        if name in names:
            return name
    return _by_cost(problem, names)[0]


def _by_cost(problem: Problem, names: list[str]) -> list[str]:
    """Actions from cheap to dear by mean logged cost; by frequency when no cost is logged."""
    cost = {n: problem.outcomes[problem.arm == problem.arm_index(n), 1] for n in names}
    if all(np.isfinite(c).any() for c in cost.values()):
        return sorted(names, key=lambda n: (float(np.nanmean(cost[n])), n))
    return sorted(names, key=lambda n: (-int((problem.arm == problem.arm_index(n)).sum()), n))


def contrasts_of(problem: Problem, names: list[str], asked: str | None) -> list[tuple[str, str]]:
    """(action, baseline) of every contrast: each action against the baseline and the next cheaper one."""
    if not names:
        return []
    base = baseline_of(problem, names, asked)
    if base not in names:
        return []
    out = [(name, base) for name in names if name != base]
    if asked is None and base not in _NATURAL_BASELINES and len(names) <= _NEIGHBOURS:
        order = _by_cost(problem, names)
        out += [(dear, cheap) for cheap, dear in itertools.pairwise(order[1:])]
    return out


def levels(problem: Problem, config: Config) -> Iterator[tuple[str, str]]:
    """(column, level) of every segment that is looked at, the commonest levels first."""
    for column in _segment_columns(problem, config):
        labels = problem.frame[column].cast(pl.String)
        counts = labels.drop_nulls().value_counts(sort=True).sort(["count", column], descending=[True, False])
        for level in counts.filter(pl.col("count") >= _MIN_SEGMENT)[column].to_list()[:_MAX_LEVELS]:
            yield column, level


def segment_members(problem: Problem, wanted: Iterable[tuple[str, str]]) -> Iterator[tuple[str, Mask]]:
    """The name 'column=level' of each segment, and which decisions belong to it."""
    for column, level in wanted:
        if column in problem.frame.columns:
            labels = problem.frame[column].cast(pl.String)
            yield f"{column}={level}", (labels == level).fill_null(value=False).to_numpy()


def segment_labels(problem: Problem, config: Config) -> pl.Series:
    """The segment (n,) of each decision in the first segment column, 'all' where it has none."""
    columns = _segment_columns(problem, config)
    if not columns:
        return pl.Series("segment", ["all"] * problem.n, dtype=pl.String)
    first = columns[0]
    label = pl.when(pl.col(first).is_not_null()).then(pl.format("{}={}", pl.lit(first), pl.col(first)))
    return problem.frame.select(label.otherwise(pl.lit("all")).alias("segment")).to_series()


def _segment_columns(problem: Problem, config: Config) -> list[str]:
    wanted = config.segments if config.segments is not None else (config.task_class,)
    return [c for c in wanted if c in problem.frame.columns]
