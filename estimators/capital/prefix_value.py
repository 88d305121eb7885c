"""What prefix caching is worth per token read, net of the writes, and the check that it changes no answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...schemas.config import Config
from ...schemas.records import Price
from ..problem import problems
from .leave_out import Span, leave_one_out, totals
from .prompt_prices import BILLED, TokenPrices, token_prices
from .records import PREFIX_VALUE, check_at_least, fitted, refused

Array = NDArray[np.float64]

MIN_CLUSTERS: Final = 10
_PROMPT_BANDS: Final = 4
"""Quantile bands of the prompt within which prompts with and without a hit are compared."""
_NO_READS: Final = "no token was read from a prefix cache: log tok_cache_read and tok_cache_write per call"


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixControl:
    """The negative control: quality of calls with a prefix hit less that of calls without, which an exact
    cache makes 0. passed: whether 0 is in the interval. n: calls that were compared."""

    difference: Span
    passed: bool
    n: int


def prefix_prices(
    decisions: pl.DataFrame, *, config: Config, prices: Mapping[str, TokenPrices] | None = None
) -> tuple[Price, ...]:
    """USD saved per token read from a prefix cache, net of what writing cost more; all models together.

    [sum (p_fresh - p_read) read - (p_write - p_fresh) written] / sum read. decisions: rows with
    tok_cache_read, tok_cache_write and cost_usd. prices: per model (the executed action); else read off the
    costs. An exact prefix changes no answer, so what a call would have cost without the cache is known: grade
    B. A negative control whose interval misses 0 makes it C and says so.

    Raises: SchemaError for counts below 0.
    """
    for name in BILLED:
        check_at_least(decisions, name, 0.0)
    rows = _calls(decisions, config)
    if isinstance(rows, str):
        return (refused(PREFIX_VALUE, rows),)
    known = token_prices(rows, prices)
    priced = rows.filter(pl.col("_model").is_in(list(known)))
    read = int(priced["tok_cache_read"].sum())
    if read == 0:
        return (refused(PREFIX_VALUE, _unpriced(rows)),)
    readers = priced.filter(pl.col("tok_cache_read") > 0)["_cluster"].n_unique()
    if readers < MIN_CLUSTERS:
        return (refused(PREFIX_VALUE, f"{readers} clusters read from the cache; {MIN_CLUSTERS} are needed"),)
    return (_price(priced, known, prefix_control(rows, config), int(rows["tok_cache_read"].sum()) - read),)


def prefix_control(rows: pl.DataFrame, config: Config) -> PrefixControl | None:
    """The quality of calls that read from the cache less that of calls that did not, None where too few.

    rows: what `_calls` makes. Compared within model, task class and band of prompt tokens, with overlap
    weights: of a stratum with n1 hits and n0 misses each hit counts n0 / (n1 + n0) and each miss the rest.
    """
    keys = ["_model", "_band", *([config.task_class] if config.task_class in rows.columns else [])]
    seen = rows.filter(pl.col("quality").is_not_null()).with_columns(_hit=pl.col("tok_cache_read") > 0)
    share = pl.col("_hit").mean().over(keys)
    weighted = seen.with_columns(_w=pl.when("_hit").then(1.0 - share).otherwise(share)).filter(
        pl.col("_w") > 0.0
    )
    if weighted.is_empty() or weighted["_cluster"].n_unique() < MIN_CLUSTERS:
        return None
    hit, w = weighted["_hit"].to_numpy(), weighted["_w"].to_numpy()
    y = weighted["quality"].cast(pl.Float64).to_numpy()
    columns = np.column_stack([hit * w * y, hit * w, ~hit * w * y, ~hit * w])
    sums = totals(columns, weighted["_cluster"].to_numpy())
    if ((sums.sum(axis=0) - sums)[:, [1, 3]] <= 0.0).any():
        return None
    left_out = leave_one_out(
        sums, lambda t: t[:, :1] / t[:, 1:2] - t[:, 2:3] / t[:, 3:4], weight=sums[:, 1] + sums[:, 3]
    )
    if left_out.fault:
        return None
    found = left_out.span()
    return PrefixControl(difference=found, passed=found.lower <= 0.0 <= found.upper, n=weighted.height)


def _calls(decisions: pl.DataFrame, config: Config) -> pl.DataFrame | str:
    """Calls whose prompt tokens are known by source, with `_model`, `_cluster` and `_band`."""
    if "tok_cache_read" not in decisions.columns:
        return _NO_READS
    told = decisions.filter(pl.col("tok_cache_read").is_not_null())
    if told.is_empty() or not told["tok_cache_read"].sum():
        return _NO_READS
    whole = next(
        problems(told.with_columns(layer=pl.lit("serving"), decision_point=pl.lit("prefix")), config)
    )
    rows = whole.frame.with_columns(
        pl.col(BILLED).fill_null(0),
        _cluster=pl.Series(whole.cluster),
        _model=pl.coalesce("action_executed", "action"),
    )
    prompt = rows.select(pl.sum_horizontal(BILLED[:3]).cast(pl.Float64)).to_series().to_numpy()
    edges = np.quantile(prompt, np.linspace(0.0, 1.0, _PROMPT_BANDS + 1)[1:-1])
    return rows.with_columns(_band=pl.Series(np.searchsorted(edges, prompt, side="right")))


def _unpriced(rows: pl.DataFrame) -> str:
    models = ", ".join(sorted({str(m) for m in rows["_model"].unique()})[:3])
    return (
        f"the token prices of {models} are not stated, and cost_usd is no sum of prices times tokens: state "
        "USD per fresh, read and written token, or log cost_usd and every kind of token"
    )


def _price(
    priced: pl.DataFrame, known: Mapping[str, TokenPrices], control: PrefixControl | None, unpriced: int
) -> Price:
    saving = _of_model(priced, {m: p.saving for m, p in known.items()})
    premium = _of_model(priced, {m: p.premium for m, p in known.items()})
    read, written = (priced[n].cast(pl.Float64).to_numpy() for n in ("tok_cache_read", "tok_cache_write"))
    columns = np.column_stack([saving * read - premium * written, read])
    sums = totals(columns, priced["_cluster"].to_numpy())
    ratio = leave_one_out(sums, lambda t: t[:, :1] / t[:, 1:], weight=sums[:, 1])
    if ratio.fault:
        return refused(PREFIX_VALUE, ratio.fault, n=priced.height)
    found = ratio.span()
    left = f"; {unpriced:,} tokens read without a price are left out" if unpriced else ""
    failed = control is not None and not control.passed
    method = (
        f"saved less premium over {int(read.sum()):,} tokens read and {int(written.sum()):,} written, "
        f"leave-one-cluster-out t interval; {_control_said(control)}{left}"
    )
    return fitted(
        PREFIX_VALUE,
        found,
        n=priced.height,
        grade="C" if failed else "B",
        method=method,
        action="reuse",
        baseline="recompute",
        reason=_warning(control) if failed else _costs(found),
    )


def _of_model(priced: pl.DataFrame, usd: dict[str, float]) -> Array:
    return priced["_model"].replace_strict(usd, return_dtype=pl.Float64).to_numpy()


def _control_said(control: PrefixControl | None) -> str:
    if control is None:
        return "no negative control: too few calls of known quality with and without a hit"
    d = control.difference
    moved = f"{d.value:+.3f} [{d.lower:+.3f}, {d.upper:+.3f}]"
    return f"negative control: quality {moved} with a hit, {control.n:,} calls"


def _warning(control: PrefixControl | None) -> str:
    assert control is not None
    return (
        f"an exact prefix cannot change an answer, yet quality moves by {control.difference.value:+.3f} with "
        "a hit: stale or mixed-up cache contents, results that depend on the batch, or calls that differ"
    )


def _costs(found: Span) -> str | None:
    return "the premium of the writes exceeds what the reads save" if found.upper < 0.0 else None
