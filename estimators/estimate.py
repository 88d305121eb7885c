"""The estimate of every contrast at every decision point, with the ledger, from a store or a plain frame."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from ..errors import SchemaError
from ..schemas.config import Config
from ..schemas.records import Estimates
from ..schemas.store import Store
from ..schemas.trends import TREND
from . import frames
from .choices import (
    baseline_of,
    contrasts_of,
    levels,
    segment_labels,
    segment_members,
    usable_arms,
    valuation,
)
from .confidence import LEVEL
from .consumption import consumption
from .contrasts import SegmentResult, estimate_segment, refusals
from .cutoff_pair import at_cutoff
from .cutoff_rule import Rule, find_rule
from .drift import adjusted, drift
from .gates import MIN_ESS
from .identification import identification, no_contrast, repeats_contexts
from .ledger import calibrated_groups, ledger_rows
from .manski import bounds
from .moves import moves
from .pairs import Pair, Valuation, pair, within_contexts
from .problem import Problem, check_frame, problems
from .regret.asked import asked
from .regret.choice import Choice
from .regret.regret import Refused, regret_frame
from .scores import MIN_ARM, score
from .stream import estimate_partitions
from .trend import trend

Mask = NDArray[np.bool_]
Progress = Callable[[int, int, str], None]


@dataclass(slots=True)
class _Parts:
    """Frames gathered contrast by contrast; local to one call of `estimate`."""

    contrasts: list[pl.DataFrame] = field(default_factory=list)
    ledger: list[pl.DataFrame] = field(default_factory=list)
    joint: list[pl.DataFrame] = field(default_factory=list)
    gains: list[pl.DataFrame] = field(default_factory=list)
    overlap: list[pl.DataFrame] = field(default_factory=list)
    questions: list[frames.Question] = field(default_factory=list)
    choices: list[Choice | Refused] = field(default_factory=list)
    trend: list[pl.DataFrame] = field(default_factory=list)
    drift: list[pl.DataFrame] = field(default_factory=list)


def estimate(
    decisions_or_store: pl.DataFrame | pl.LazyFrame | Store,
    baseline: str | None = None,
    config: Config | None = None,
    seed: int = 0,
    *,
    ledger: Path | None = None,
    progress: Progress | None = None,
) -> Estimates:
    """Estimates of what each action gains over its baseline, in quality, cost, latency, risk and net.

    decisions_or_store: a store, or any frame in the decisions layout (required: decision_id, layer,
    decision_point, action; context features are named x_*). baseline: the action to compare with wherever
    it was taken; by default, and at decision points that do not know it, skip, recompute or drop where
    they exist, else the cheapest action, else the commonest. ledger: a Parquet file for the ledger, written
    partition by partition, for logs larger than memory; see `estimate_partitions` for what differs.

    Raises: SchemaError for a frame that is not in the layout, or a baseline that no decision took. Data
    that cannot support a claim give estimates without a value and with a reason, never an error.
    Source: METHODS A1 (scores), A4 (gates and intervals), A2 (ledger).
    """
    config = config or Config()
    if ledger is not None:
        source = _as_lazy(decisions_or_store)
        _check_baseline(source, baseline)
        return estimate_partitions(
            source, ledger=ledger, baseline=baseline, config=config, seed=seed, progress=progress
        )
    frame = _as_lazy(decisions_or_store).collect()
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
        recoverable = regret_frame(parts.choices)
    if progress:
        progress(len(tasks), len(tasks), "done")
    rows = frames.stack(parts.ledger, frames.empty("ledger"))
    return Estimates(
        contrasts=frames.stack(parts.contrasts, frames.empty("estimates")),
        ledger=rows,
        joint=frames.stack(parts.joint, frames.JOINT),
        gains=frames.stack(parts.gains, frames.GAINS),
        coverage=frames.coverage(frame, rows, parts.questions),
        overlap=frames.stack(parts.overlap, frames.OVERLAP),
        level=LEVEL,
        seed=seed,
        window=frames.window(frame),
        notes=tuple(notes),
        consumption=consumption(frame, config),
        regret=recoverable,
        trend=frames.stack(parts.trend, pl.DataFrame(schema=TREND)),
        drift=adjusted(parts.drift),
    )


def _check_baseline(frame: pl.DataFrame | pl.LazyFrame, baseline: str | None) -> None:
    if baseline is None:
        return
    known = frame.lazy().select(pl.col("action").unique().sort()).collect()["action"].to_list()
    if baseline in known:
        return
    close = difflib.get_close_matches(baseline, known, n=1)
    cure = f"Did you mean {close[0]!r}?" if close else None
    raise SchemaError(f"no decision took the baseline {baseline!r}", where="decisions.action", cure=cure)


def _as_lazy(source: pl.DataFrame | pl.LazyFrame | Store) -> pl.LazyFrame:
    return source.decisions() if isinstance(source, Store) else source.lazy()


def _one_point(problem: Problem, baseline: str | None, config: Config, seed: int, parts: _Parts) -> None:
    judged = identification(problem)
    parts.questions.append(
        frames.Question(problem.layer, problem.decision_point, judged.grade, judged.reason, judged.advice)
    )
    value = valuation(problem, config)
    names = usable_arms(problem)
    blocked = no_contrast(problem)
    if blocked is not None:
        parts.choices.append(asked(problem, None, config, seed=seed))
        if len(problem.arms) > 1 and judged.advice:
            _refuse_all(problem, baseline, value, f"{blocked}. {judged.advice}", parts)
        return
    rule = find_rule(problem)
    scores = None if rule is not None or repeats_contexts(problem) else score(problem, seed=seed)
    parts.choices.append(asked(problem, scores, config, seed=seed))
    for action, base in contrasts_of(problem, names, baseline):
        if rule is not None:
            _at_cutoff(problem, rule, action, base, value, config, seed, parts)
        elif scores is None:
            _one_contrast(within_contexts(problem, action, base, value), config, seed, parts)
        else:
            _one_contrast(pair(scores, action, base, value), config, seed, parts)
    base = baseline_of(problem, names, baseline)
    for name in problem.arms:
        scarce = next((arm for arm in (base, name) if arm not in names), None)
        if name != base and scarce is not None:
            taken = int((problem.arm == problem.arm_index(scarce)).sum())
            _refuse(
                problem, name, base, value, f"{taken} decisions took {scarce}; {MIN_ARM} are needed", parts
            )


def _at_cutoff(
    problem: Problem,
    rule: Rule,
    action: str,
    base: str,
    value: Valuation,
    config: Config,
    seed: int,
    parts: _Parts,
) -> None:
    """The effect at the border of a rule, and bounds on quality away from it."""
    found = at_cutoff(problem, rule, action, base, value)
    if isinstance(found, str):
        _refuse(problem, action, base, value, found, parts)
        return
    # Its scores are local to one window: a segment would need a window of its own.
    _one_contrast(found, config, seed, parts, segmented=False)
    limits = bounds(problem, action, base)
    if np.isfinite(problem.outcomes[:, 0]).any() and limits.lower is not None:
        parts.contrasts.append(frames.estimates((frames.bound(problem, action, base, limits),)))


def _one_contrast(
    contrast: Pair, config: Config, seed: int, parts: _Parts, *, segmented: bool = True
) -> None:
    results: dict[str, SegmentResult] = {}
    problem = contrast.problem
    every = np.ones(problem.n, dtype=bool)
    segments = segment_members(problem, levels(problem, config)) if segmented else ()
    for segment, members in (("all", every), *segments):
        certify = seed if segment == "all" else None
        result = estimate_segment(contrast, segment, members, certify=certify)
        results[segment] = result
        parts.contrasts.append(frames.estimates(result.estimates))
        if result.mean is not None:
            parts.joint.append(frames.joint(contrast, segment, result))
            parts.gains += _gains(contrast, segment, result)
    whole = results["all"]
    parts.overlap.append(frames.overlap(contrast))
    groups = calibrated_groups(contrast, whole, seed=seed)
    parts.ledger.append(ledger_rows(contrast, whole, groups, segment_labels(problem, config)))
    if whole.mean is not None:
        moved = trend(contrast, whole.mean)
        parts.trend.append(moved.rows)
        parts.drift.append(drift(contrast, moved.stack))


def _gains(contrast: Pair, segment: str, result: SegmentResult) -> Iterator[pl.DataFrame]:
    """Dollars per cluster of moving the decisions that took one action to the other."""
    net = next(e for e in result.estimates if e.quantity == "net")
    if net.value is None:
        return
    for move in moves(contrast, result.rows):
        if move.ess >= MIN_ESS:
            yield frames.gains(contrast, segment, move)


def _refuse_all(problem: Problem, asked: str | None, value: Valuation, reason: str, parts: _Parts) -> None:
    names = list(problem.arms)
    base = baseline_of(problem, names, asked)
    for name in names:
        if name != base:
            _refuse(problem, name, base, value, reason, parts)


def _refuse(problem: Problem, action: str, base: str, value: Valuation, reason: str, parts: _Parts) -> None:
    contrast = frames.unknown_pair(problem, action, base, value)
    members = np.ones(problem.n, dtype=bool)
    parts.contrasts.append(frames.estimates(refusals(contrast, "all", members, 0.0, reason)))
