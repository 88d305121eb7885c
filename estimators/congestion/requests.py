"""The requests of a serving log as arrays, checked: what cannot be is an error, what lacks is a reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...errors import SchemaError

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

MIN_REQUESTS: Final = 50
"""Requests below which no queue has a history."""
CLOCK_SLACK_S: Final = 0.005
"""Disagreement of the clocks of one request that rounding to milliseconds explains."""
_ALONE: Final = "engine"
"""What a replica is called that the log does not name."""
_NO_TENANT: Final = "unknown"
_SECONDS: Final = ("queue_s", "ttft_s", "decode_s", "latency_s")
_TOKENS: Final = (
    "tok_input_uncached",
    "tok_cache_read",
    "tok_cache_write",
    "tok_output",
    "x_prompt_tokens",
    "spec_accepted",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Requests:
    """n requests in order of arrival.

    time_s: (n,) seconds since start_us, in microseconds of UTC. prompt, cached, output: (n,) tokens; a prefix
    cache served `cached` of the prompt. accepted: (n,) tokens that speculation wrote without a step.
    queue_s, ttft_s, latency_s: (n,) seconds, NaN where not logged. replica, tenant: (n,) codes into
    `replicas` and `tenants`. hour: (n,) hour of day in UTC, -1 where the clock only counts from the trace's
    start. cost_usd: (n,) what was paid for each, NaN where not known. slice: (n,) codes into `slices`, the
    values of `column`, -1 where it has none. dropped: rows without
    arrival or tokens.
    """

    time_s: Array
    start_us: int
    prompt: Ints
    cached: Ints
    output: Ints
    accepted: Ints
    queue_s: Array
    ttft_s: Array
    latency_s: Array
    replica: Ints
    replicas: tuple[str, ...]
    tenant: Ints
    tenants: tuple[str, ...]
    hour: Ints
    cost_usd: Array
    slice: Ints
    slices: tuple[str, ...]
    column: str | None
    dropped: int

    @property
    def n(self) -> int:
        """Number of requests."""
        return self.time_s.size

    def rows(self, keep: NDArray[np.bool_] | Ints) -> Requests:
        """The requests of a mask or of row numbers, which keep their order."""
        held = {name: getattr(self, name)[keep] for name in _PER_ROW}
        told = {name: getattr(self, name) for name in _TOLD}
        return Requests(**held, **told)


_PER_ROW: Final = (
    "time_s", "prompt", "cached", "output", "accepted", "queue_s", "ttft_s", "latency_s", "replica", "tenant",
    "hour", "cost_usd", "slice",
)  # fmt: skip
_TOLD: Final = ("start_us", "replicas", "tenants", "slices", "column", "dropped")


def read_requests(decisions: pl.DataFrame, *, by: str | None = None) -> Requests | str:
    """The requests that engines served, or in words why these decisions hold no queue.

    by: a column of names to slice by. Used are the serving decisions `admit`; without any, all of them. The
    prompt is the sum of the input columns, or else x_prompt_tokens. Refused: logs that keep only a sample of
    the requests, for those that are missing took room too; clocks of one request that contradict each other;
    too few requests.

    Raises: SchemaError for a duration or count that is negative or not finite.
    """
    frame = _serving(decisions)
    if frame.is_empty():
        return "no serving decisions are logged"
    _check(frame)
    if "ts" not in frame.columns or frame["ts"].null_count() == frame.height:
        return "the arrival time (ts) of serving requests is not logged"
    if _sampled(frame):
        return "the log keeps only a sample of the requests (keep_prob below 1), and the others took room too"
    known = _with_tokens(frame, by).filter(
        pl.col("ts").is_not_null() & (pl.col("prompt") >= 1) & (pl.col("tok_output") >= 1)
    )
    if known.is_empty():
        return "prompt and output tokens of serving requests are not logged"
    if known.height < MIN_REQUESTS:
        return f"{known.height} requests with arrival and tokens; {MIN_REQUESTS} are needed"
    fault = _clock_fault(known)
    return fault or _requests(known, by, dropped=frame.height - known.height)


def _serving(decisions: pl.DataFrame) -> pl.DataFrame:
    for name in ("layer", "decision_point"):
        if name not in decisions.columns:
            raise SchemaError(
                f"column '{name}' is missing", where="decisions", expected="the decisions layout"
            )
    serving = decisions.filter(pl.col("layer") == "serving")
    admitted = serving.filter(pl.col("decision_point") == "admit")
    return serving if admitted.is_empty() else admitted


def _check(frame: pl.DataFrame) -> None:
    if "ts" in frame.columns:
        check_clock(frame, where="decisions")
    for name in (*_SECONDS, *_TOKENS):
        if name not in frame.columns or frame[name].null_count() == frame.height:
            continue
        if not frame[name].dtype.is_numeric():
            raise SchemaError(f"{name} has type {frame[name].dtype}", where="decisions", expected="numbers")
        check_values(frame, name, where="decisions")


def check_clock(frame: pl.DataFrame, *, where: str) -> None:
    """Refuse a ts that is no timestamp.

    Raises: SchemaError naming the type.
    """
    if not isinstance(frame["ts"].dtype, pl.Datetime) and frame["ts"].null_count() < frame.height:
        raise SchemaError(f"ts has type {frame['ts'].dtype}", where=where, expected="timestamps in UTC")


def check_values(frame: pl.DataFrame, name: str, *, where: str) -> None:
    """Refuse a column with a negative or infinite number; null means not logged.

    Raises: SchemaError with the first such row.
    """
    value = frame[name].cast(pl.Float64)
    bad = ((value < 0) | ~value.is_finite()).fill_null(value=False)
    if bad.any():
        row = int(bad.arg_true()[0])
        cure = "The clock of this row runs backwards; leave the row out." if name.endswith("_s") else None
        raise SchemaError(
            f"{name} is {frame[name][row]} in row {row}",
            where=where,
            expected="a finite number >= 0, or null",
            cure=cure,
        )


def _sampled(frame: pl.DataFrame) -> bool:
    return "keep_prob" in frame.columns and bool((frame["keep_prob"].cast(pl.Float64) < 1.0).any())


def _column(frame: pl.DataFrame, name: str, dtype: pl.DataType | type[pl.DataType]) -> pl.Expr:
    return pl.col(name).cast(dtype) if name in frame.columns else pl.lit(None, dtype=dtype).alias(name)


def _with_tokens(frame: pl.DataFrame, by: str | None) -> pl.DataFrame:
    """The columns that queues need, with prompt and cached tokens."""
    counts = [_column(frame, name, pl.Int64) for name in _TOKENS]
    texts = [_column(frame, name, pl.String) for name in ("replica", "tenant_id")]
    clock = _column(frame, "x_clock", pl.String)
    slices = (pl.lit(None, dtype=pl.String) if by is None else _column(frame, by, pl.String)).alias("_slice")
    reals = (_column(frame, name, pl.Float64) for name in (*_SECONDS, "cost_usd"))
    plain = frame.select("ts", *counts, *texts, clock, slices, *reals)
    read, write = pl.col("tok_cache_read").fill_null(0), pl.col("tok_cache_write").fill_null(0)
    return plain.with_columns(
        prompt=pl.coalesce(pl.col("tok_input_uncached") + read + write, "x_prompt_tokens"),
        cached=pl.when(pl.col("tok_input_uncached").is_null()).then(0).otherwise(read),
        latency_s=pl.coalesce("latency_s", pl.col("ttft_s") + pl.col("decode_s")),
    )


def _clock_fault(known: pl.DataFrame) -> str | None:
    """Why the phases of single requests cannot be in order, or None."""
    slack = CLOCK_SLACK_S + 1e-6
    orders = (("queue_s", "ttft_s"), ("queue_s", "latency_s"), ("ttft_s", "latency_s"))
    for early, late in orders:
        wrong = known.filter(pl.col(early) > pl.col(late) + slack)
        if wrong.height:
            told = f"{early} is {wrong[early][0]:g} where {late} is {wrong[late][0]:g}"
            return (
                f"clocks out of order: in {wrong.height} of {known.height} requests {early} exceeds {late} "
                f"({told}); log both from the arrival on, by one clock"
            )
    return None


def _requests(known: pl.DataFrame, by: str | None, *, dropped: int) -> Requests:
    keys = ["us", "prompt", "tok_output", "replica", "tenant_id"]
    us = pl.col("ts").dt.epoch("us")
    sort = known.with_columns(
        us=us,
        hour=pl.when(pl.col("x_clock") == "relative").then(-1).otherwise(pl.col("ts").dt.hour()),
        replica=pl.col("replica").fill_null(_ALONE),
        tenant_id=pl.col("tenant_id").fill_null(_NO_TENANT),
    ).sort(keys)
    replicas, replica = np.unique(sort["replica"].to_numpy(), return_inverse=True)
    tenants, tenant = np.unique(sort["tenant_id"].to_numpy(), return_inverse=True)
    slices = sort["_slice"].drop_nulls().unique().sort().to_list()
    sliced = sort["_slice"].replace_strict(slices, range(len(slices)), default=-1, return_dtype=pl.Int64)
    start = int(sort["us"][0])
    prompt = sort["prompt"].to_numpy().astype(np.int64)
    output = sort["tok_output"].to_numpy().astype(np.int64)
    accepted = sort["spec_accepted"].fill_null(0).to_numpy().astype(np.int64)
    return Requests(
        time_s=(sort["us"].to_numpy() - start) / 1e6,
        start_us=start,
        prompt=prompt,
        # the last prompt token is always processed, for the first answer token is read off it
        cached=np.minimum(sort["cached"].to_numpy().astype(np.int64), prompt - 1),
        output=output,
        # a round writes one token besides those accepted, and an answer of two tokens has a round
        accepted=np.clip(accepted, 0, np.maximum(output - 2, 0)),
        queue_s=sort["queue_s"].to_numpy().astype(float),
        ttft_s=sort["ttft_s"].to_numpy().astype(float),
        latency_s=sort["latency_s"].to_numpy().astype(float),
        replica=replica.astype(np.int64),
        replicas=tuple(str(r) for r in replicas),
        tenant=tenant.astype(np.int64),
        tenants=tuple(str(t) for t in tenants),
        hour=sort["hour"].to_numpy().astype(np.int64),
        cost_usd=sort["cost_usd"].to_numpy().astype(float),
        slice=sliced.to_numpy().astype(np.int64),
        slices=tuple(str(s) for s in slices),
        column=by,
        dropped=dropped,
    )
