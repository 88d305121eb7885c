"""Results of the serving benchmarks of vLLM and SGLang (JSON): one `admit` per request that the client sent.

Parallel arrays, seconds on the client's monotonic clock: ts is relative. Fills tok_output, ttft_s, decode_s
and latency_s; its queue_times are the client's own wait and are left out. Engine queue, cached tokens,
replica, ids and tenants are never here, nor anything per request unless it was saved with its details.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, cast

from ...schemas.config import Config
from ..convert import as_count, as_real, missing, utc_from_offset
from ..lines import json_records
from ..seam import Item, LogFile, Rejected, Row
from .peek import top_keys

NAME: Final = "serving_bench"
UNSTREAMED_SHARE: Final = 0.999
"""A first token this close to the end of the response was not streamed: its time is not observed."""
_FIELDS: Final = frozenset({"completed", "request_throughput", "input_lens"})
_COUNTS: Final = ("input_lens", "output_lens")
_ARRAYS: Final = (*_COUNTS, "ttfts", "itls", "latencies", "start_times", "errors")


def sniff(head: bytes) -> bool:
    """Whether an object has the totals of a benchmark and the lengths of its requests."""
    return any(keys >= _FIELDS for keys in top_keys(head))


def read(log: LogFile, config: Config) -> Iterator[Item]:
    """One serving decision per request, and an outcome 'error' for each that failed."""
    del config
    for record in json_records(log):
        if isinstance(record, Rejected):
            yield record
            continue
        line, result = record
        try:
            arrays = _arrays(result)
            first = _first_start(arrays)
        except ValueError as error:
            yield Rejected(line, str(error))
            continue
        model = missing(result.get("model_id"))
        for index in range(len(arrays["input_lens"])):
            told = {name: items[index] for name, items in arrays.items()}
            request = f"{log.digest[:16]}:{line}:{index}"
            try:
                yield from _rows(line, told, request=request, first=first, model=model)
            except ValueError as error:
                yield Rejected(line, f"request {index}: {error}")


def _arrays(result: dict[str, Any]) -> dict[str, list[Any]]:
    """The arrays that the result has, which are all of one length."""
    arrays: dict[str, list[Any]] = {}
    for name in _ARRAYS:
        value = result.get(name)
        if value is None and name not in _COUNTS:
            continue
        if not isinstance(value, list):
            raise ValueError(f"{name} is {type(value).__name__}, expected a list")
        arrays[name] = cast("list[Any]", value)
    sizes = {name: len(items) for name, items in arrays.items()}
    if len(set(sizes.values())) > 1:
        raise ValueError(f"arrays of different lengths: {sizes}")
    return arrays


def _first_start(arrays: dict[str, list[Any]]) -> float:
    starts = [as_real(start, "start_times") for start in arrays.get("start_times", [])]
    return min((start for start in starts if start is not None), default=0.0)


def _rows(line: int, told: dict[str, Any], *, request: str, first: float, model: Any) -> list[Row]:
    failed = bool(missing(told.get("errors")))
    start = as_real(told.get("start_times"), "start_times")
    output = as_count(told["output_lens"], "output_lens")
    values = {
        "decision_id": request,
        "request_id": request,
        "layer": "serving",
        "decision_point": "admit",
        "action": "admit",
        "ts": None if start is None else utc_from_offset(start - first, "s"),
        "x_prompt_tokens": as_count(told["input_lens"], "input_lens"),
        "x_model": model,
        "x_clock": "relative",
    }
    if failed:  # a failure logs 0 output and 0 s
        error = {"decision_id": request, "name": "error", "label": "failed", "source": "code"}
        return [Row("decisions", line, values), Row("outcomes", line, error)]
    return [Row("decisions", line, {**values, "tok_output": output or None, **_times(told)})]


def _times(told: dict[str, Any]) -> dict[str, float | None]:
    """First token, decoding and total; itls are the gaps between the tokens after the first."""
    ttft = as_real(told.get("ttfts"), "ttfts") or None
    gaps = told.get("itls")
    if gaps is not None and not isinstance(gaps, list):
        raise ValueError(f"itls holds {gaps!r}, expected lists")
    decode = None if not gaps else sum(as_real(gap, "itls") or 0.0 for gap in cast("list[Any]", gaps))
    total = as_real(told.get("latencies"), "latencies")
    if total is None and ttft is not None:
        total = ttft + (decode or 0.0)
    if ttft is not None and total and ttft >= UNSTREAMED_SHARE * total:
        ttft = decode = None
    return {"ttft_s": ttft, "decode_s": decode, "latency_s": total}
