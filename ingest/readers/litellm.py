"""LiteLLM's StandardLoggingPayload, as callbacks write it: JSON Lines, an array, or one object.

`response_time` is never read: for streams it is the time to the first token, for others the total. Tokens:
cached ones inside of prompt_tokens unless a row proves otherwise. Fills ids, tenant, asked and executed
model, tokens, cost, first token of streams, cache, routing facts; candidates and propensity only of adaptive
routers whose state lies in front of the call (see litellm_state.py) or by the recipe; never queue.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

from ...schemas.config import Config
from ..convert import as_real
from ..lines import json_records
from ..seam import Item, LogFile
from .litellm_calls import items_of
from .litellm_rows import Call, first_token, section, tenant, text, time_of
from .peek import top_keys

NAME: Final = "litellm"
SPLITS: Final = True
"""See seam.SplittingReader."""
_OLDER: Final = frozenset({"call_type", "response_cost", "startTime", "metadata"})
"""Fields that tell payloads written before litellm_call_id was part of them."""
_MADE_UP: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
"""LiteLLM's own trace ids are UUIDs; anything else was set by the caller."""


def sniff(head: bytes) -> bool:
    """Whether records are logging payloads of LiteLLM calls."""
    return any("litellm_call_id" in keys or keys >= _OLDER for keys in top_keys(head))


def read(log: LogFile, config: Config) -> Iterator[Item]:
    """Per call a router decision, a cache decision where the response cache was asked, and outcomes."""
    yield from items_of(json_records(log), config, call_of, apart=log.stretch is not None)


def call_of(payload: dict[str, Any], config: Config) -> Call:
    """The call that a payload is of.

    Raises: ValueError when it has no id or start, or a field has the wrong type.
    """
    metadata = section(payload, "metadata")
    # A call's id is unique even where retries share litellm_call_id, and SpendLogs repeats it.
    own = text(payload, "id", "litellm_call_id")
    if own is None:
        raise ValueError("no field id or litellm_call_id")
    trace = text(payload, "trace_id")
    start, end = time_of(payload, "startTime"), time_of(payload, "endTime")
    if start is None:
        raise ValueError("no field startTime")
    return Call(
        decision_id=own,
        request_id=trace or own,
        session_id=text(payload, "session_id")
        or (trace if trace and not _MADE_UP.fullmatch(trace) else None),
        tenant_id=tenant(config, metadata),
        start=start,
        end=end,
        first_token=first_token(payload, end) if payload.get("stream") is True else None,
        cost=as_real(payload.get("response_cost"), "response_cost"),
        usage=section(metadata, "usage_object") or section(section(payload, "response"), "usage"),
        fields=payload,
        metadata=metadata,
    )
