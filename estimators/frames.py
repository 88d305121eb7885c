"""Arrays to the frames of `Estimates`: contrasts, joint means, gains, coverage and overlap."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..schemas.records import GRADES, Estimate, Grade
from ..schemas.tables import arrow_schema
from .confidence import LEVEL
from .contrasts import SegmentResult
from .gains import SUMMED
from .manski import Bounds
from .moves import Move
from .pairs import NET, Pair, Valuation
from .problem import Problem

Array = NDArray[np.float64]

_CONTRAST: Final = {
    "layer": pl.String,
    "decision_point": pl.String,
    "segment": pl.String,
    "action": pl.String,
    "baseline": pl.String,
}
JOINT: Final = pl.DataFrame(
    schema={
        **_CONTRAST,
        "estimand": pl.String,
        "grade": pl.String,
        "theta": pl.List(pl.Float64),
        "cov": pl.List(pl.Float64),
        "df": pl.Float64,
        "n": pl.Int64,
        "clusters": pl.Int64,
        "ess": pl.Float64,
        "reason": pl.String,
    }
)
GAINS: Final = pl.DataFrame(
    schema={
        **_CONTRAST,
        "direction": pl.String,
        "cluster": pl.String,
        **dict.fromkeys(SUMMED, pl.Float64),
    }
)
OVERLAP: Final = pl.DataFrame(
    schema={
        "layer": pl.String,
        "decision_point": pl.String,
        "action": pl.String,
        "baseline": pl.String,
        "arm": pl.String,
        "bin_left": pl.Float64,
        "count": pl.Int64,
    }
)
_COVERAGE: Final = (
    "layer",
    "decision_point",
    "grade",
    "decisions",
    "spend_usd",
    "unpriced_decisions",
    "unpriced_tokens",
    "reason",
    "advice",
)
_BILLED: Final = ("tok_input_uncached", "tok_cache_read", "tok_cache_write", "tok_output")
_RANK: Final = {g: i for i, g in enumerate(GRADES)}
_REPEATED: Final = "asked again within its request, where the first answer counts, or in no contrast"
_BIN: Final = 0.05
"""Width of the propensity bins of the overlap plot."""


@dataclass(frozen=True, slots=True)
class Question:
    """A decision point with why it is, or is not, identified, and what to log next."""

    layer: str
    decision_point: str
    grade: Grade
    reason: str
    advice: str


def empty(table: str) -> pl.DataFrame:
    """An empty frame in the layout of a shared table."""
    frame = pl.from_arrow(arrow_schema(table).empty_table())
    assert isinstance(frame, pl.DataFrame)
    return frame


def stack(parts: list[pl.DataFrame], layout: pl.DataFrame) -> pl.DataFrame:
    """All parts under each other in the columns and types of `layout`."""
    if not parts:
        return layout
    return pl.concat([p.select(layout.columns).cast(layout.schema) for p in parts])


def estimates(rows: tuple[Estimate, ...]) -> pl.DataFrame:
    """Rows of estimates.parquet."""
    return pl.DataFrame([r.to_dict() for r in rows], schema=empty("estimates").schema)


def bound(problem: Problem, action: str, baseline: str, limits: Bounds) -> Estimate:
    """The bounds on quality over all decisions of a rule, of which only those at its border are estimated."""
    return Estimate(
        layer=problem.layer,
        decision_point=problem.decision_point,
        segment="all",
        action=action,
        baseline=baseline,
        quantity="quality",
        estimand="bound",
        value=None,
        lower=limits.lower,
        upper=limits.upper,
        level=LEVEL,
        n=problem.n,
        clusters=limits.clusters,
        ess=None,
        grade="D",
        method="worst case over outcomes that no decision showed",
        reason=limits.reason,
    )


def joint(pair: Pair, segment: str, result: SegmentResult) -> pl.DataFrame:
    """The joint mean vector of one contrast in one segment, with its covariance."""
    assert result.mean is not None
    row = {
        **_names(pair, segment),
        "estimand": result.estimand,
        "grade": result.grade,
        "theta": result.mean.theta[:NET].tolist(),
        "cov": result.mean.cov[:NET, :NET].ravel().tolist(),
        "df": result.mean.df,
        "n": int(result.rows.sum()),
        "clusters": result.mean.clusters,
        "ess": result.ess,
        "reason": result.reason,
    }
    return pl.DataFrame([row], schema=JOINT.schema)


def gains(pair: Pair, segment: str, move: Move) -> pl.DataFrame:
    """Dollars gained, in all and by term, and decisions moved per cluster."""
    count = len(pair.problem.cluster_ids)
    cluster = pair.problem.cluster[move.rows]
    usd = np.bincount(cluster, weights=move.usd, minlength=count)
    decisions = np.bincount(cluster, weights=move.share, minlength=count)
    by_term = [np.bincount(cluster, weights=term, minlength=count) for term in move.terms.T]
    held = decisions > 0
    sums = dict(zip(SUMMED, (usd, decisions, *by_term), strict=True))
    return pl.DataFrame(
        {
            "cluster": np.array(pair.problem.cluster_ids)[held].tolist(),
            **{name: values[held] for name, values in sums.items()},
        },
        schema={"cluster": pl.String, **dict.fromkeys(SUMMED, pl.Float64)},
    ).with_columns(
        pl.lit(move.direction).alias("direction"),
        *(pl.lit(v).alias(k) for k, v in _names(pair, segment).items()),
    )


def overlap(pair: Pair) -> pl.DataFrame:
    """Histogram of the propensity of the action among those who took it and those who took the baseline."""
    edges = np.arange(0.0, 1.0 + _BIN / 2, _BIN)
    parts: list[pl.DataFrame] = []
    for name, took in ((pair.action, pair.took_a), (pair.baseline, pair.took_b)):
        count, _ = np.histogram(pair.e_a[took & pair.feasible], bins=edges)
        parts.append(
            pl.DataFrame({"bin_left": np.round(edges[:-1], 2), "count": count.astype(np.int64)}).with_columns(
                pl.lit(name).alias("arm")
            )
        )
    names = _names(pair, "all")
    del names["segment"]
    return pl.concat(parts).with_columns(pl.lit(v).alias(k) for k, v in names.items())


def coverage(frame: pl.DataFrame, ledger: pl.DataFrame, questions: list[Question]) -> pl.DataFrame:
    """Per decision point and grade: decisions, spend, unpriced decisions and tokens, reason and advice.

    A decision has the best grade of its contrasts; a decision in no contrast has grade N. The reason of
    grade N is the commonest one in the ledger.
    """
    graded = frame.select("decision_id", "layer", "decision_point", *_money(frame)).join(
        _best_grades(ledger), on="decision_id", how="left"
    )
    names = ("layer", "decision_point", "best", "why", "advice")
    rows = [(q.layer, q.decision_point, q.grade, q.reason, q.advice) for q in questions]
    about = pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")
    uncounted = pl.when(pl.col("best") == "N").then("why").otherwise(pl.lit(_REPEATED))
    estimated = pl.col("rank") < _RANK["N"]
    return (
        graded.join(about, on=["layer", "decision_point"], how="left")
        .with_columns(rank=pl.col("rank").fill_null(_RANK["N"]))
        .with_columns(reason=pl.when(estimated).then("why").otherwise(pl.coalesce("refused", uncounted)))
        .group_by("layer", "decision_point", "rank")
        .agg(
            decisions=pl.len().cast(pl.Int64),
            spend_usd=pl.col("cost_usd").sum(),
            unpriced_decisions=pl.col("unpriced").sum().cast(pl.Int64),
            unpriced_tokens=pl.col("tokens").filter("unpriced").sum().cast(pl.Int64),
            reason=pl.col("reason").mode().min(),
            advice=pl.col("advice").first(),
        )
        .sort("layer", "decision_point", "rank")
        .with_columns(grade=pl.col("rank").replace_strict(dict(enumerate(GRADES)), return_dtype=pl.String))
        .select(*_COVERAGE)
    )


def _best_grades(ledger: pl.DataFrame) -> pl.DataFrame:
    rank = pl.col("grade").replace_strict(_RANK, return_dtype=pl.Int64)
    refused = pl.col("reason").filter(pl.col("grade") == "N").min()
    return ledger.group_by("decision_id").agg(rank=rank.min(), refused=refused)


def _money(frame: pl.DataFrame) -> list[pl.Expr]:
    held = set(frame.columns)
    tokens = [t for t in _BILLED if t in held]
    unpriced = (pl.col("cost_source") == "unpriced").fill_null(value=False)
    return [
        pl.col("cost_usd") if "cost_usd" in held else pl.lit(None, dtype=pl.Float64).alias("cost_usd"),
        (unpriced if "cost_source" in held else pl.lit(value=False)).alias("unpriced"),
        (pl.sum_horizontal(tokens) if tokens else pl.lit(0)).alias("tokens"),
    ]


def window(frame: pl.DataFrame | pl.LazyFrame) -> tuple[str | None, str | None]:
    """First and last timestamp as ISO text; a clock that only counts from the trace's start has none."""
    lazy = frame.lazy()
    names = lazy.collect_schema().names()
    if "ts" not in names:
        return None, None
    if "x_clock" in names:
        lazy = lazy.filter(pl.col("x_clock").cast(pl.String).ne_missing("relative"))
    ends = lazy.select(first=pl.col("ts").min(), last=pl.col("ts").max()).collect(engine="streaming").row(0)
    return (None, None) if ends[0] is None else (ends[0].isoformat(), ends[1].isoformat())


def unknown_pair(problem: Problem, action: str, baseline: str, value: Valuation) -> Pair:
    """A contrast about which nothing is known, for refusals."""
    n = problem.n
    nothing = np.full((n, NET + 1), np.nan)
    zeros = np.zeros(n)
    return Pair(
        problem=problem,
        action=action,
        baseline=baseline,
        d=nothing,
        h=zeros,
        e_a=zeros,
        e_b=zeros,
        w=zeros,
        took_a=problem.arm == problem.arm_index(action),
        took_b=problem.arm == problem.arm_index(baseline),
        noise=nothing,
        tau=nothing,
        grades=("N",) * 5,
        method="none",
        notes=(),
        value=value,
    )


def _names(pair: Pair, segment: str) -> dict[str, str]:
    return {
        "layer": pair.problem.layer,
        "decision_point": pair.problem.decision_point,
        "segment": segment,
        "action": pair.action,
        "baseline": pair.baseline,
    }
