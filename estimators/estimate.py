"""The estimate of every contrast at every decision point, with the ledger, from a store or a plain frame."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from ..errors import SchemaError
from ..schemas.config import Config
from ..schemas.records import Estimates
from ..schemas.store import Store
from . import frames
from .confidence import LEVEL
from .consumption import consumption
from .contrasts import SegmentResult, estimate_segment, refusals
from .gates import MIN_ESS, overlap
from .identification import exploration_advice, identification, no_contrast, repeats_contexts
from .ledger import calibrated_groups, ledger_rows
from .pairs import NET, Pair, Valuation, pair, within_contexts
from .problem import SKIP, Problem, check_frame, problems
from .scores import MIN_ARM, score

Mask = NDArray[np.bool_]
Progress = Callable[[int, int, str], None]

_NATURAL_BASELINES: Final = (SKIP, "recompute", "drop", "none")
_MAX_LEVELS: Final = 50
"""Segments looked at per column; they are fixed before any estimate is seen."""
_MIN_SEGMENT: Final = 2 * MIN_ARM
_NEIGHBOURS: Final = 6
"""Up to this many actions, each is also compared with the next cheaper one."""
_GAIN_FLOOR: Final = 0.01
"""Decisions with a smaller propensity of either action are left out of dollar totals."""


@dataclass(slots=True)
class _Parts:
    """Frames gathered contrast by contrast; local to one call of `estimate`."""

    contrasts: list[pl.DataFrame] = field(default_factory=list)
    ledger: list[pl.DataFrame] = field(default_factory=list)
    joint: list[pl.DataFrame] = field(default_factory=list)
    gains: list[pl.DataFrame] = field(default_factory=list)
    overlap: list[pl.DataFrame] = field(default_factory=list)
    questions: list[frames.Question] = field(default_factory=list)


def estimate(
    decisions_or_store: pl.DataFrame | pl.LazyFrame | Store,
    baseline: str | None = None,
    config: Config | None = None,
    seed: int = 0,
    *,
    progress: Progress | None = None,
) -> Estimates:
    """Estimates of what each action gains over its baseline, in quality, cost, latency, risk and net.

    decisions_or_store: a store, or any frame in the decisions layout (required: decision_id, layer,
    decision_point, action; context features are named x_*). baseline: the action to compare with wherever
    it was taken; by default, and at decision points that do not know it, skip, recompute or drop where
    they exist, else the cheapest action, else the commonest.

    Raises: SchemaError for a frame that is not in the layout, or a baseline that no decision took. Data
    that cannot support a claim give estimates without a value and with a reason, never an error.
    Source: METHODS A1 (scores), A4 (gates and intervals), A2 (ledger).
    """
    config = config or Config()
    frame = _as_frame(decisions_or_store)
    check_frame(frame)
    _check_baseline(frame, baseline)
    parts = _Parts()
    notes: list[str] = []
    with threadpool_limits(limits=1):  # small problems: threads inside one wait longer than they work
        for done, problem in enumerate(tasks := list(problems(frame, config))):
            if progress:
                progress(done, len(tasks), f"{problem.layer}.{problem.decision_point}")
            _one_point(problem, baseline, config, seed, parts)
            notes += [
                f"{problem.layer}.{problem.decision_point}: {name} comes only with some actions: no context"
                for name in problem.left_out
            ]
    if progress:
        progress(len(tasks), len(tasks), "done")
    ledger = frames.stack(parts.ledger, frames.empty("ledger"))
    return Estimates(
        contrasts=frames.stack(parts.contrasts, frames.empty("estimates")),
        ledger=ledger,
        joint=frames.stack(parts.joint, frames.JOINT),
        gains=frames.stack(parts.gains, frames.GAINS),
        coverage=frames.coverage(frame, ledger, parts.questions),
        overlap=frames.stack(parts.overlap, frames.OVERLAP),
        level=LEVEL,
        seed=seed,
        window=frames.window(frame),
        notes=tuple(notes),
        consumption=consumption(frame, config),
    )


def _check_baseline(frame: pl.DataFrame, baseline: str | None) -> None:
    known = frame["action"].unique().sort().to_list()
    if baseline is None or baseline in known:
        return
    close = difflib.get_close_matches(baseline, known, n=1)
    cure = f"Did you mean {close[0]!r}?" if close else None
    raise SchemaError(f"no decision took the baseline {baseline!r}", where="decisions.action", cure=cure)


def _as_frame(source: pl.DataFrame | pl.LazyFrame | Store) -> pl.DataFrame:
    if isinstance(source, Store):
        return source.decisions().collect()
    return source.collect() if isinstance(source, pl.LazyFrame) else source


def _one_point(problem: Problem, baseline: str | None, config: Config, seed: int, parts: _Parts) -> None:
    judged = identification(problem)
    parts.questions.append(
        frames.Question(problem.layer, problem.decision_point, judged.grade, judged.reason, judged.advice)
    )
    value = _valuation(problem, config)
    names = [name for k, name in enumerate(problem.arms) if (problem.arm == k).sum() >= MIN_ARM]
    blocked = no_contrast(problem)
    if blocked is not None:
        if len(problem.arms) > 1 and judged.advice:
            _refuse_all(problem, baseline, value, f"{blocked}. {exploration_advice()}", parts)
        return
    within = repeats_contexts(problem)
    scores = None if within else score(problem, seed=seed)
    for action, base in _contrasts(problem, names, baseline):
        if scores is None:
            contrast = within_contexts(problem, action, base, value)
        else:
            contrast = pair(scores, action, base, value)
        _one_contrast(contrast, config, seed, parts)
    base = _baseline(problem, names, baseline)
    for name in problem.arms:
        scarce = next((arm for arm in (base, name) if arm not in names), None)
        if name != base and scarce is not None:
            taken = int((problem.arm == problem.arm_index(scarce)).sum())
            _refuse(
                problem, name, base, value, f"{taken} decisions took {scarce}; {MIN_ARM} are needed", parts
            )


def _one_contrast(contrast: Pair, config: Config, seed: int, parts: _Parts) -> None:
    results: dict[str, SegmentResult] = {}
    for segment, members in _segments(contrast.problem, config):
        result = estimate_segment(contrast, segment, members)
        results[segment] = result
        parts.contrasts.append(frames.estimates(result.estimates))
        if result.mean is not None:
            parts.joint.append(frames.joint(contrast, segment, result))
            parts.gains += _gains(contrast, segment, result)
    whole = results["all"]
    parts.overlap.append(frames.overlap(contrast))
    groups = calibrated_groups(contrast, whole, seed=seed)
    parts.ledger.append(ledger_rows(contrast, whole, groups, _segment_labels(contrast.problem, config)))


def _gains(contrast: Pair, segment: str, result: SegmentResult) -> Iterator[pl.DataFrame]:
    """Dollars per cluster of moving the decisions that took one action to the other.

    Weighting scores by the propensity of the action moved away from makes the sum an effect on those who
    took it (ATT), over the decisions where both actions had a propensity of at least one per cent.
    """
    net = next(e for e in result.estimates if e.quantity == "net")
    if net.value is None:
        return
    p = contrast
    rows = result.rows & (np.minimum(p.e_a, p.e_b) >= _GAIN_FLOOR)
    for direction, own, other, sign in (("over", p.e_a, p.e_b, -1.0), ("under", p.e_b, p.e_a, 1.0)):
        took_other = p.took_b if direction == "over" else p.took_a
        ratio = np.divide(own, other, out=np.zeros_like(own), where=other > 0) * p.problem.weight
        size = overlap(ratio, took_other & rows, took_other & rows)
        if size.ess < MIN_ESS:
            continue
        yield frames.gains(p, segment, direction, rows, own * p.problem.weight, sign * p.d[:, NET])


def _valuation(problem: Problem, config: Config) -> Valuation:
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


def _baseline(problem: Problem, names: list[str], asked: str | None) -> str:
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


def _contrasts(problem: Problem, names: list[str], asked: str | None) -> list[tuple[str, str]]:
    base = _baseline(problem, names, asked)
    if base not in names:
        return []
    out = [(name, base) for name in names if name != base]
    if asked is None and base not in _NATURAL_BASELINES and len(names) <= _NEIGHBOURS:
        order = _by_cost(problem, names)
        out += [(dear, cheap) for cheap, dear in itertools.pairwise(order[1:])]
    return out


def _segment_columns(problem: Problem, config: Config) -> list[str]:
    wanted = config.segments if config.segments is not None else (config.task_class,)
    return [c for c in wanted if c in problem.frame.columns]


def _segments(problem: Problem, config: Config) -> Iterator[tuple[str, Mask]]:
    yield "all", np.ones(problem.n, dtype=bool)
    for column in _segment_columns(problem, config):
        labels = problem.frame[column].cast(pl.String)
        counts = labels.drop_nulls().value_counts(sort=True).sort(["count", column], descending=[True, False])
        for level in counts.filter(pl.col("count") >= _MIN_SEGMENT)[column].to_list()[:_MAX_LEVELS]:
            yield f"{column}={level}", (labels == level).fill_null(value=False).to_numpy()


def _segment_labels(problem: Problem, config: Config) -> pl.Series:
    columns = _segment_columns(problem, config)
    if not columns:
        return pl.Series("segment", ["all"] * problem.n, dtype=pl.String)
    first = columns[0]
    label = pl.when(pl.col(first).is_not_null()).then(pl.format("{}={}", pl.lit(first), pl.col(first)))
    return problem.frame.select(label.otherwise(pl.lit("all")).alias("segment")).to_series()


def _refuse_all(problem: Problem, asked: str | None, value: Valuation, reason: str, parts: _Parts) -> None:
    names = list(problem.arms)
    base = _baseline(problem, names, asked)
    for name in names:
        if name != base:
            _refuse(problem, name, base, value, reason, parts)


def _refuse(problem: Problem, action: str, base: str, value: Valuation, reason: str, parts: _Parts) -> None:
    contrast = frames.unknown_pair(problem, action, base, value)
    members = np.ones(problem.n, dtype=bool)
    parts.contrasts.append(frames.estimates(refusals(contrast, "all", members, 0.0, reason)))
