"""Decode rounds in the log: which decisions drafted, how long their rounds took, in which cell they fall."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...errors import SchemaError
from ...schemas.config import Config
from ..problem import problems
from .records import check_at_least

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Texts = NDArray[np.str_]

BATCH_EDGES: Final = (1, 4, 16, 64)
"""Lower ends of the bands of sequences in the batch."""
CONTEXT_EDGES: Final = (0, 2048, 8192, 32768)
"""Lower ends of the bands of context, tokens."""
_NOT_LOGGED: Final = "not logged"
_INPUTS: Final = ("tok_input_uncached", "tok_cache_read", "tok_cache_write")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounds:
    """n decisions that decoded. cell: (n,) batch and context. drafted, accepted: (n,) tokens. rounds: (n,)
    decode steps, or verifications where tokens were drafted. seconds: (n,) decode time, NaN if unknown.
    cluster: (n,) codes. replica: (n,) '' where not logged."""

    cell: Texts
    drafted: Array
    accepted: Array
    rounds: Array
    seconds: Array
    cluster: Ints
    replica: Texts

    def at(self, rows: NDArray[np.bool_]) -> Rounds:
        """The given rows alone."""
        return Rounds(**{name: getattr(self, name)[rows] for name in self.__dataclass_fields__})


def read_rounds(frame: pl.DataFrame, config: Config) -> Rounds | str:
    """The decode rounds of a frame in the decisions layout, or what it lacks.

    A request of T output tokens of which A were accepted drafts took T - 1 - A rounds: the prompt's last step
    writes the first token, and every round adds one token to those that it accepts. A row of A + 1 tokens is
    the record of one round.

    Raises: SchemaError for more tokens accepted than drafted, and for counts or seconds below 0.
    """
    if "spec_drafted" not in frame.columns or frame["spec_drafted"].null_count() == frame.height:
        return "spec_drafted is not logged: log drafted and accepted tokens per request, 0 where none were"
    for name in ("spec_drafted", "spec_accepted", "tok_output", "decode_s", "batch_size"):
        check_at_least(frame, name, 0.0)
    serving = frame.filter((pl.col("layer") == "serving") & pl.col("spec_drafted").is_not_null())
    if serving.is_empty():
        return "no serving decision logs spec_drafted"
    rows = next(problems(serving.with_columns(decision_point=pl.lit("speculate")), config))
    held = rows.frame.with_columns(_cluster=pl.Series(rows.cluster)).with_columns(
        spec_accepted=pl.when(pl.col("spec_drafted") == 0).then(0).otherwise("spec_accepted")
    )
    more = held.filter(pl.col("spec_accepted") > pl.col("spec_drafted"))
    if more.height:
        found = f"{more['spec_accepted'][0]} tokens accepted of {more['spec_drafted'][0]} drafted"
        raise SchemaError(found, where=f"decision {more['decision_id'][0]}", expected="at most those drafted")
    known = held.drop_nulls(["spec_accepted", "tok_output"])
    if known.filter(pl.col("spec_drafted") > 0).is_empty():
        return "no decision that drafted logs spec_accepted and tok_output, so its rounds cannot be counted"
    return _rounds(known.filter((pl.col("tok_output") > 1) | (pl.col("spec_drafted") > 0)))


def _rounds(held: pl.DataFrame) -> Rounds:
    accepted, tokens = _real(held["spec_accepted"]), _real(held["tok_output"])
    decoded = tokens - 1.0 - accepted
    seconds = _real(held["decode_s"])
    return Rounds(
        cell=_cells(held),
        drafted=_real(held["spec_drafted"]),
        accepted=accepted,
        rounds=np.maximum(decoded, 1.0),
        seconds=np.where(seconds > 0.0, seconds, np.nan),  # decoding in no time was not measured
        cluster=held["_cluster"].to_numpy(),
        replica=held["replica"].fill_null("").to_numpy().astype(np.str_),
    )


def _cells(held: pl.DataFrame) -> Texts:
    """(n,) the cell of each row; the context is the prompt and half of what was written."""
    known = [pl.col(name).cast(pl.Float64) for name in _INPUTS]
    prompt = pl.when(pl.any_horizontal(e.is_not_null() for e in known)).then(pl.sum_horizontal(known))
    if "x_prompt_tokens" in held.columns:
        prompt = pl.coalesce(pl.col("x_prompt_tokens").cast(pl.Float64), prompt)
    context = _real(held.select((prompt + pl.col("tok_output") / 2.0).alias("context")).to_series())
    return cell_names(_real(held["batch_size"]), context)


def cell_names(batch: Array, context: Array) -> Texts:
    """(n,) names of the bands of `batch` sequences and `context` tokens; NaN is a band of its own."""
    parts = (
        ("batch_size", BATCH_EDGES, batch),
        ("context_tok", CONTEXT_EDGES, context),
    )
    named = [np.char.add(f"{name}=", _band(edges, x)) for name, edges, x in parts]
    return np.char.add(np.char.add(named[0], ", "), named[1])


def _band(edges: tuple[int, ...], x: Array) -> Texts:
    ends = [f"{a}-{b - 1}" for a, b in pairwise(edges)] + [f"{edges[-1]}+"]
    at = np.clip(np.searchsorted(edges, np.nan_to_num(x), side="right") - 1, 0, None)
    return np.where(np.isnan(x), _NOT_LOGGED, np.array(ends)[at])


def _real(series: pl.Series) -> Array:
    return series.cast(pl.Float64).fill_null(float("nan")).to_numpy()
