"""Where a cache earns what it saves: hit rate times saving, plus how the two move together, by value of
task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...schemas.config import Config
from ..problem import check_frame, problems
from .cache_looks import KINDS, RECOMPUTE
from .leave_out import Span, leave_one_out, totals
from .prompt_prices import BILLED, TokenPrices, token_prices

Array = NDArray[np.float64]

MIN_CLUSTERS: Final = 10
_PREFIX: Final = "prefix"
_UNSET: Final = "V not set"


@dataclass(frozen=True, slots=True, kw_only=True)
class HitRate:
    """One value of task and kind of cache; USD per lookup. hits: E[hit], for a prefix the share of prompt
    tokens read. saving: E[saving], what a full hit would save. covariance: Cov(hit, saving): positive where
    the dear lookups hit. worth: E[hit saving] = E[hit] E[saving] + Cov, savings alone: lost quality is not in
    it."""

    value: str
    kind: str
    hits: Span
    saving: Span
    covariance: Span
    worth: Span
    n: int


def hit_rates(
    decisions: pl.DataFrame, *, config: Config, prices: Mapping[str, TokenPrices] | None = None
) -> tuple[HitRate, ...]:
    """The decomposition per kind of cache, over all lookups and per value of the task in the config.

    decisions: the decisions layout. A prefix lookup is a call with tok_cache_read and known token prices (see
    `token_prices`); what a full hit would save is its prompt at the saving per token. A semantic, response or
    memory lookup is a decision with cache_hit_kind; it hits unless the answer was recomputed, and saves what
    recomputing costs on average in its task class, less what reusing costs. Cells with fewer than
    MIN_CLUSTERS clusters, and lookups whose saving is not known, are left out.

    Source: METHODS G2.
    """
    check_frame(decisions)
    parts = [
        p for p in (_prefix_lookups(decisions, prices), _answer_lookups(decisions, config)) if p is not None
    ]
    if not parts:
        return ()
    rows = pl.concat(parts, how="diagonal")
    whole = next(problems(rows.drop("_kind", "_hit", "_saving"), config))
    looked = whole.frame.with_columns(_cluster=pl.Series(whole.cluster)).join(
        rows.select("decision_id", "_kind", "_hit", "_saving"), on="decision_id", how="left"
    )
    valued = looked.with_columns(_value=_values(looked, config))
    found: list[HitRate] = []
    for kind in sorted(valued["_kind"].unique()):
        of_kind = valued.filter(pl.col("_kind") == kind)
        cells = [
            ("all", of_kind),
            *((str(v), of_kind.filter(pl.col("_value") == v)) for v in _sorted(of_kind)),
        ]
        rates = (_cell(value, kind, cell) for value, cell in cells if _enough(cell))
        found += [rate for rate in rates if rate is not None]
    return tuple(found)


def _enough(cell: pl.DataFrame) -> bool:
    return cell["_cluster"].n_unique() >= MIN_CLUSTERS


def _sorted(rows: pl.DataFrame) -> list[str]:
    return rows["_value"].unique().sort().to_list()


def _values(rows: pl.DataFrame, config: Config) -> pl.Series:
    """(n,) V of each lookup as text."""
    table = config.prices
    default = table.task_value.value if table.task_value else None
    values = {name: amount.value for name, amount in table.task_value_by_class.items()}
    if config.task_class not in rows.columns:
        return pl.Series([_UNSET if default is None else f"{default:g} USD/task"] * rows.height)
    worth = rows[config.task_class].cast(pl.String).to_list()
    named = [values.get(name, default) if name is not None else default for name in worth]
    return pl.Series([_UNSET if v is None else f"{v:g} USD/task" for v in named])


def _prefix_lookups(decisions: pl.DataFrame, stated: Mapping[str, TokenPrices] | None) -> pl.DataFrame | None:
    if not {*BILLED, "cost_usd"} <= set(decisions.columns):
        return None
    model = pl.coalesce([n for n in ("action_executed", "action") if n in decisions.columns])
    calls = decisions.filter(pl.col("tok_cache_read").is_not_null()).with_columns(
        pl.col(BILLED).fill_null(0), _model=model
    )
    saving = {name: p.saving for name, p in token_prices(calls, stated).items()}
    prompt = pl.sum_horizontal(BILLED[:3])
    per_token = pl.col("_model").replace_strict(saving, default=None, return_dtype=pl.Float64)
    return _layered(
        calls.filter(prompt > 0)
        .with_columns(
            _kind=pl.lit(_PREFIX), _hit=pl.col("tok_cache_read") / prompt, _saving=per_token * prompt
        )
        .drop_nulls("_saving")
        .drop("_model")
    )


def _answer_lookups(decisions: pl.DataFrame, config: Config) -> pl.DataFrame | None:
    if not {"cache_hit_kind", "cost_usd"} <= set(decisions.columns):
        return None
    rows = decisions.filter(pl.col("cache_hit_kind").is_in(KINDS))
    by = ["cache_hit_kind", *([config.task_class] if config.task_class in rows.columns else [])]
    again = pl.col("action") == RECOMPUTE
    cost = pl.col("cost_usd").cast(pl.Float64)
    spared = cost.filter(again).mean().over(by) - cost.filter(~again).mean().over(by)
    return _layered(
        rows.with_columns(_kind="cache_hit_kind", _hit=(~again).cast(pl.Float64), _saving=spared).drop_nulls(
            "_saving"
        )
    )


def _layered(rows: pl.DataFrame) -> pl.DataFrame | None:
    """The lookups as rows of one decision point, so that they share clusters."""
    if rows.is_empty():
        return None
    return rows.with_columns(layer=pl.lit("serving"), decision_point=pl.lit("lookup"))


def _cell(value: str, kind: str, rows: pl.DataFrame) -> HitRate | None:
    hit, saving = (rows[name].cast(pl.Float64).to_numpy() for name in ("_hit", "_saving"))
    one = np.ones(hit.size)
    sums = totals(np.column_stack([one, hit, saving, hit * saving]), rows["_cluster"].to_numpy())

    def of(t: Array) -> Array:
        mean = t[:, 1:] / t[:, :1]
        return np.column_stack([mean, mean[:, 2] - mean[:, 0] * mean[:, 1]])

    found = leave_one_out(sums, of, weight=sums[:, 0])
    if found.fault:
        return None
    return HitRate(
        value=value,
        kind=kind,
        hits=found.span(0),
        saving=found.span(1),
        worth=found.span(2),
        covariance=found.span(3),
        n=rows.height,
    )
