"""Estimates of a log larger than memory: scores partition by partition, summaries from states that add."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
import pyarrow.parquet as pq
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from ..schemas.config import Config
from ..schemas.files import atomic_path
from ..schemas.records import Estimate, Estimates
from ..schemas.tables import arrow_schema
from . import frames, stream_read
from .choices import contrasts_of, levels, segment_labels, segment_members, usable_arms, valuation
from .confidence import LEVEL
from .consumption import consumption
from .contrasts import estimate_segment
from .cutoff_rule import find_rule
from .gains import SUMMED
from .gates import MIN_ESS
from .identification import identification, no_contrast
from .ledger import calibrated_groups, ledger_rows
from .moves import moves
from .pairs import Pair, pair
from .problem import Problem, check_frame, problems
from .regret.asked import regret
from .scores import score
from .states import ContrastState, add, bucket_codes, contrast_state

Mask = NDArray[np.bool_]
Progress = Callable[[int, int, str], None]
Key = tuple[str, str, str, str, str]
"""Layer, decision point, segment, action, baseline."""

PARTITION_ROWS: Final = 250_000
"""Decisions per partition: enough for its nuisances, small beside the memory of a laptop."""
_TOGETHER: Final = ("request_id", "session_id", "decision_id")
"""A request stays whole: its agent steps carry what all of it cost."""
_PART: Final = "_partition"
_HASH_SEED: Final = 20_261_126
_NO_TREND: Final = "no break-even value by period: a log read in parts is not cut into periods"
_GAIN_COLUMNS: Final = ("layer", "decision_point", "segment", "action", "baseline", "direction", "cluster")


@dataclass(slots=True)
class _Run:
    """What partitions add up to; local to one call of `estimate_partitions`."""

    plans: dict[tuple[str, str], _Plan] = field(default_factory=dict)
    states: dict[Key, ContrastState] = field(default_factory=dict)
    about: dict[Key, stream_read.About] = field(default_factory=dict)
    gains: list[pl.DataFrame] = field(default_factory=list)
    rests: dict[tuple[Key, str], NDArray[np.float64]] = field(default_factory=dict)
    overlap: list[pl.DataFrame] = field(default_factory=list)
    coverage: list[pl.DataFrame] = field(default_factory=list)
    notes: dict[str, None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What the first partition that holds a decision point decides for all of them."""

    question: frames.Question
    blocked: str | None
    contrasts: tuple[tuple[str, str], ...]
    segments: tuple[tuple[str, str], ...]


def estimate_partitions(
    source: pl.LazyFrame,
    *,
    ledger: Path,
    baseline: str | None = None,
    config: Config | None = None,
    seed: int = 0,
    partition_rows: int = PARTITION_ROWS,
    progress: Progress | None = None,
) -> Estimates:
    """Estimates as of `estimate`, in memory that does not grow with the log; the ledger goes to `ledger`.

    Requests are split into partitions by a hash. Each partition fits its own nuisances, cross-fitted by
    cluster, and leaves a state per contrast and segment; states add, clusters by bucket, so that a cluster
    may span partitions. Rule, contrasts and segments are those of the first partition of each decision
    point. The frames `ledger`, `trend` and `drift` of the result are empty. There is no trimming: a contrast
    without overlap is refused. Regret is that of a sample of whole sessions.

    Raises: SchemaError as `estimate`.
    """
    config = config or Config()
    run = _Run()
    with tempfile.TemporaryDirectory(dir=ledger.parent, prefix=".partitions-") as scratch:
        parts = _split(source, Path(scratch), partition_rows)
        with (
            atomic_path(ledger) as path,
            pq.ParquetWriter(path, arrow_schema("ledger"), compression="zstd") as out,
        ):
            for done, part in enumerate(parts):
                if progress:
                    progress(done, len(parts), f"partition {done + 1} of {len(parts)}")
                with threadpool_limits(limits=1):
                    for rows in _one_partition(pl.read_parquet(part), baseline, config, seed, run):
                        out.write_table(rows.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(out.schema))
    if progress:
        progress(len(parts), len(parts), "done")
    return _summary(run, source, config, seed)


def _split(source: pl.LazyFrame, folder: Path, partition_rows: int) -> list[Path]:
    """The rows in files by a hash of the request, so that each request is whole and each run the same."""
    total = int(source.select(pl.len()).collect(engine="streaming").item())
    parts = max(1, -(-total // partition_rows))
    names = source.collect_schema().names()
    key = pl.coalesce(name for name in _TOGETHER if name in names)
    source.with_columns((key.hash(_HASH_SEED) % parts).alias(_PART)).sink_parquet(
        pl.PartitionBy(folder, key=_PART, include_key=False), mkdir=True
    )
    if total == 0:  # a log without rows is still one partition, which says so
        source.limit(0).sink_parquet(folder / f"{_PART}=0" / "0.parquet", mkdir=True)
    files: dict[int, list[Path]] = {}
    for file in folder.rglob("*.parquet"):
        files.setdefault(int(file.parent.name.partition("=")[2]), []).append(file)
    return [file for part in sorted(files) for file in sorted(files[part])]


def _one_partition(
    frame: pl.DataFrame, baseline: str | None, config: Config, seed: int, run: _Run
) -> Iterator[pl.DataFrame]:
    """The ledger rows of one partition; its states are added to `run`."""
    check_frame(frame)
    held: list[pl.DataFrame] = []
    questions: list[frames.Question] = []
    for problem in problems(frame, config):
        plan = run.plans.setdefault((problem.layer, problem.decision_point), _plan(problem, baseline, config))
        questions.append(plan.question)
        for name in problem.left_out:
            point = f"{problem.layer}.{problem.decision_point}"
            run.notes.setdefault(f"{point}: {name} comes only with some actions: no context")
        if plan.blocked is None and len(problem.arms) > 1:
            held += _one_point(problem, plan, config, seed, run)
    if run.gains:  # added up here, so that memory does not grow with the number of partitions
        run.gains = [_added_gains(run.gains)]
    ledger = frames.stack(held, frames.empty("ledger"))
    run.coverage.append(frames.coverage(frame, ledger, questions))
    yield ledger


def _plan(problem: Problem, baseline: str | None, config: Config) -> _Plan:
    judged, blocked = identification(problem), no_contrast(problem)
    rule = find_rule(problem) if blocked is None else None
    return _Plan(
        question=frames.Question(
            problem.layer, problem.decision_point, judged.grade, judged.reason, judged.advice
        ),
        blocked=f"{rule}; its border needs all rows in memory" if rule else blocked,
        contrasts=tuple(contrasts_of(problem, usable_arms(problem), baseline)),
        segments=tuple(levels(problem, config)),
    )


def _one_point(problem: Problem, plan: _Plan, config: Config, seed: int, run: _Run) -> Iterator[pl.DataFrame]:
    names = usable_arms(problem)
    wanted = [c for c in plan.contrasts if set(c) <= set(names)]
    scores = score(problem, seed=seed)
    for action, base in wanted:
        contrast = pair(scores, action, base, valuation(problem, config))
        yield _one_contrast(contrast, plan, config, seed, run)


def _one_contrast(contrast: Pair, plan: _Plan, config: Config, seed: int, run: _Run) -> pl.DataFrame:
    problem = contrast.problem
    every = np.ones(problem.n, dtype=bool)
    for segment, members in (("all", every), *segment_members(problem, plan.segments)):
        key = (problem.layer, problem.decision_point, segment, contrast.action, contrast.baseline)
        state = contrast_state(contrast, members)
        run.states[key] = add(run.states[key], state) if key in run.states else state
        run.about[key] = stream_read.about(contrast, run.about.get(key))
        for move in moves(contrast, members & contrast.feasible):
            rest = np.array([move.weight, move.weight_square])
            at = (key, move.direction)
            run.rests[at] = run.rests.get(at, np.zeros(2)) + rest
            run.gains.append(_by_bucket(frames.gains(contrast, segment, move)))
    run.overlap.append(frames.overlap(contrast))
    whole = estimate_segment(contrast, "all", every)
    groups = calibrated_groups(contrast, whole, seed=seed)
    return ledger_rows(contrast, whole, groups, segment_labels(problem, config))


def _by_bucket(gains: pl.DataFrame) -> pl.DataFrame:
    codes = bucket_codes(tuple(gains["cluster"].to_list()))
    named = pl.Series("cluster", [f"bucket-{c:04d}" for c in codes.tolist()], dtype=pl.String)
    return gains.with_columns(named).group_by(*_GAIN_COLUMNS).agg(pl.col(*SUMMED).sum())


def _summary(run: _Run, source: pl.LazyFrame, config: Config, seed: int) -> Estimates:
    read = [stream_read.read(key, run.states[key], run.about[key]) for key in sorted(run.states)]
    coverage = _added_coverage(run.coverage)
    refused = [row for plan in run.plans.values() for row in _refused(plan, coverage)]
    names = source.collect_schema().names()
    wanted = [c for c in ("ts", "x_clock") if c in names]
    return Estimates(
        contrasts=frames.estimates((*(e for r in read for e in r.estimates), *refused)),
        ledger=frames.empty("ledger"),
        joint=frames.stack([r.joint for r in read if r.joint is not None], frames.JOINT),
        gains=_supported(run, {key for key, r in zip(sorted(run.states), read, strict=True) if r.net_known}),
        coverage=coverage,
        overlap=_added_overlap(run.overlap),
        level=LEVEL,
        seed=seed,
        window=frames.window(source.select(wanted)),
        notes=(*run.notes, *((_NO_TREND,) if run.states else ())),
        consumption=consumption(source, config),
        regret=regret(source, config, seed),
    )


def _refused(plan: _Plan, coverage: pl.DataFrame) -> Iterator[Estimate]:
    """The refusals of a decision point that a rule or a missing log blocks."""
    question = plan.question
    here = (coverage["layer"] == question.layer) & (coverage["decision_point"] == question.decision_point)
    if plan.blocked is not None and question.advice:
        n = int(coverage.filter(here)["decisions"].sum())
        for action, base in plan.contrasts:
            yield from stream_read.refusals(question, action, base, n, f"{plan.blocked}. {question.advice}")


def _supported(run: _Run, identified: set[Key]) -> pl.DataFrame:
    """The dollars of every move whose net value is identified and whose other arm is large enough."""
    if not run.gains:
        return frames.GAINS
    held = [
        (*key, direction)
        for (key, direction), (total, squares) in run.rests.items()
        if key in identified and squares > 0 and total**2 / squares >= MIN_ESS
    ]
    names = _GAIN_COLUMNS[:-1]
    kept = pl.DataFrame(held, schema=dict.fromkeys(names, pl.String), orient="row")
    known = _added_gains(run.gains).filter(pl.col("usd").is_not_nan()).join(kept, on=list(names), how="semi")
    return frames.stack([known.sort(*_GAIN_COLUMNS)], frames.GAINS)


def _added_gains(parts: list[pl.DataFrame]) -> pl.DataFrame:
    return pl.concat(parts).group_by(*_GAIN_COLUMNS).agg(pl.col(*SUMMED).sum())


def _added_coverage(parts: list[pl.DataFrame]) -> pl.DataFrame:
    keys = ["layer", "decision_point", "grade"]
    counted = ("decisions", "spend_usd", "unpriced_decisions", "unpriced_tokens")
    return (
        pl.concat(parts)
        .group_by(keys)
        .agg(pl.col(*counted).sum(), pl.col("reason").mode().min(), pl.col("advice").min())
        .sort(keys)
        .select(parts[0].columns)
    )


def _added_overlap(parts: list[pl.DataFrame]) -> pl.DataFrame:
    if not parts:
        return frames.OVERLAP
    keys = [c for c in frames.OVERLAP.columns if c != "count"]
    return frames.stack(
        [pl.concat(parts).group_by(keys).agg(pl.col("count").sum()).sort(keys)], frames.OVERLAP
    )
