"""Log events of the vLLM semantic router (JSON Lines): `routing_decision` and the `llm_usage` after it.

Times are naive and taken as UTC; prompt_tokens include cached ones. Fills action, policy_version, tokens,
cost in USD and latency; has no candidates, propensities, scores, tenants or first tokens.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, Final

from ...schemas.config import Config
from ..convert import as_seconds
from ..lines import json_records
from ..seam import Ignored, Item, LogFile, Rejected, Row
from .peek import top_keys
from .semantic_router_fields import flag, text, time_of
from .semantic_router_rows import usage_columns

NAME: Final = "semantic_router_events"
MAX_WAITING: Final = 100_000
"""Decisions held until their usage is logged; the oldest is let go without it."""
_DECISION: Final = frozenset({"original_model", "selected_model", "reason_code"})
_USAGE: Final = frozenset({"request_id", "completion_latency_ms", "prompt_tokens"})
_BY_CALLER: Final = "model_specified"
"""The caller named the model: the router had no choice."""


def sniff(head: bytes) -> bool:
    """Whether a record is one of the two events."""
    return any(keys >= _DECISION or keys >= _USAGE for keys in top_keys(head))


def read(log: LogFile, config: Config) -> Iterator[Item]:
    """One router decision per request, written when its usage is known or the file ends."""
    del config
    waiting: OrderedDict[str, Row] = OrderedDict()
    for record in json_records(log):
        if isinstance(record, Rejected):
            yield record
            continue
        line, fields = record
        try:
            yield from _take(line, fields, waiting)
        except ValueError as error:
            yield Rejected(line, str(error))
    yield from waiting.values()


def _take(line: int, fields: dict[str, Any], waiting: OrderedDict[str, Row]) -> list[Item]:
    decides, spends = fields.keys() >= _DECISION, fields.get("event") == "llm_usage"
    if not decides and not spends:
        return [Ignored(line, "other log event")]
    request = text(fields, "request_id")
    if request is None:
        raise ValueError("no field request_id")
    if decides:
        gone: list[Item] = [waiting.pop(request)] if request in waiting else []
        waiting[request] = Row("decisions", line, _decision(request, fields))
        if len(waiting) > MAX_WAITING:
            gone.append(waiting.popitem(last=False)[1])
        return gone
    routed = waiting.pop(request, None)
    values = {} if routed is None else routed.values
    return [Row("decisions", line if routed is None else routed.line, {**_spent(request, fields), **values})]


def _decision(request: str, fields: dict[str, Any]) -> dict[str, Any]:
    selected = text(fields, "selected_model")
    if selected is None:
        raise ValueError("no field selected_model")
    forced = fields.get("reason_code") == _BY_CALLER
    rule = {"propensity": 1.0, "propensity_source": "deterministic"} if forced else {}
    return {
        "decision_id": f"{request}:model",
        "request_id": request,
        "layer": "router",
        "decision_point": "model",
        "action": selected,
        "ts": time_of(fields, "ts"),
        "policy_version": text(fields, "decision"),
        "x_original_model": text(fields, "original_model"),
        "x_reason_code": text(fields, "reason_code"),
        **rule,
    }


def _spent(request: str, fields: dict[str, Any]) -> dict[str, Any]:
    """The columns of the usage; those of a decision, where there is one, go before them."""
    model = text(fields, "model")
    if model is None:
        raise ValueError("no field model")
    cached = flag(fields, "from_cache")
    return {
        "decision_id": f"{request}:model",
        "request_id": request,
        "layer": "router",
        "decision_point": "model",
        "action": model,
        "action_executed": model,
        "ts": time_of(fields, "ts"),
        "latency_s": as_seconds(fields.get("completion_latency_ms"), "ms") or None,
        "cache_hit_kind": "response" if cached else None,
        **usage_columns(fields, fields.get("cost"), cached=cached),
    }
