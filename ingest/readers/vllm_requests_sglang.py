"""SGLang request metrics (`--export-metrics-to-file`, JSON Lines): one `admit` per request of the engine.

Times are epoch seconds and seconds; cached tokens are part of prompt_tokens. Fills tokens, queue_s, ttft_s,
decode_s and latency_s as far as the version logs them; replica, tenants, costs, scores and (request id apart)
keys of other layers are never here. The parameters, which hold the prompt, are dropped.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, cast

import orjson

from ...schemas.config import Config
from ..convert import as_count, as_real, input_tokens, missing, utc_from_epoch
from ..each import each_record
from ..seam import Ignored, Item, LogFile, Row
from .peek import top_keys

NAME: Final = "sglang_requests"
SPLITS: Final = True
"""See seam.SplittingReader."""
_FIELDS: Final = frozenset({"request_parameters", "id", "prompt_tokens"})
_HEALTH: Final = "HEALTH_CHECK"
_FIRST: Final = ("prefill_finished_time", "prefill_finished_ts")
"""When the first token existed: the name changed with the version."""


def sniff(head: bytes) -> bool:
    """Whether records hold a request's parameters as text beside its counts."""
    return any(keys >= _FIELDS for keys in top_keys(head))


def read(log: LogFile, config: Config) -> Iterator[Item]:
    """One serving decision per request."""
    del config
    return each_record(log, _items)


def _items(line: int, fields: dict[str, Any]) -> list[Item]:
    own = missing(fields.get("id"))
    if not isinstance(own, str):
        raise ValueError(f"id is {own!r}, expected text")
    if _HEALTH in own:
        return [Ignored(line, "health check")]
    received = as_real(fields.get("request_received_ts"), "request_received_ts") or None
    prompt = as_count(fields.get("prompt_tokens"), "prompt_tokens") or None
    cached = as_count(fields.get("cached_tokens"), "cached_tokens")
    known = {} if cached is None else input_tokens(prompt, cached, None, convention="inclusive")
    total = as_real(fields.get("e2e_latency"), "e2e_latency") or None
    values = {
        "decision_id": f"sglang:{own}",
        "request_id": own,
        "layer": "serving",
        "decision_point": "admit",
        "action": "admit",
        "ts": None if received is None else utc_from_epoch(received, "s"),
        "policy_version": _text(fields.get("weight_version")),
        **known,
        "tok_output": as_count(fields.get("completion_tokens"), "completion_tokens") or None,
        "queue_s": as_real(fields.get("queue_time"), "queue_time"),
        "latency_s": total,
        **_phases(fields, received, total),
        "x_prompt_tokens": prompt,
        "x_stream": _streamed(fields.get("request_parameters")),
    }
    items: list[Item] = [Row("decisions", line, values)]
    if _finish(fields.get("finish_reason")) == "abort":
        error = {"decision_id": values["decision_id"], "name": "error", "label": "abort", "source": "code"}
        items.append(Row("outcomes", line, error))
    return items


def _phases(fields: dict[str, Any], received: float | None, total: float | None) -> dict[str, float]:
    """First token and decoding, from the engine's own times of a request; 0 is a time that was not taken."""
    first = next((at for name in _FIRST if (at := as_real(fields.get(name), name))), None)
    if received is None or first is None:
        return {}
    ttft = first - received
    return {"ttft_s": ttft} if total is None else {"ttft_s": ttft, "decode_s": total - ttft}


def _finish(raw: Any) -> str | None:
    """Why the response ended; newer versions say it in an object."""
    kind = cast("dict[str, Any]", raw).get("type") if isinstance(raw, dict) else raw
    return _text(kind)


def _text(raw: Any) -> str | None:
    value = missing(raw)
    return value if isinstance(value, str) else None


def _streamed(raw: Any) -> bool | None:
    """Whether the client asked for a stream; the one parameter that is looked at."""
    if not isinstance(raw, str):
        return None
    try:
        told: Any = orjson.loads(raw)
    except orjson.JSONDecodeError:
        return None
    flag = cast("dict[str, Any]", told).get("stream") if isinstance(told, dict) else None
    return flag if isinstance(flag, bool) else None
