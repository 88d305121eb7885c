"""LiteLLM's adaptive-router tables: sessions to proxy outcomes; states, which tell the odds of later calls.

Calls in the same file, behind the state that led to them, are read as in their own logs and get propensities
(see litellm_state.py). A state alone decides nothing. The last turn's texts in the table stay out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Final

from ...schemas.config import Config
from ..convert import as_real, missing
from ..lines import any_records
from ..seam import Item, LogFile, Rejected, Row
from . import litellm, litellm_spend
from .litellm_calls import record_items
from .litellm_rows import Call, text, time_of
from .litellm_state import StateBook, is_state
from .peek import csv_header, top_keys

NAME: Final = "litellm_adaptive"
_BANDIT: Final = frozenset({"session_id", "router_name", "model_name", "misalignment_count"})
_CACHES: Final = frozenset({"session_id", "same_model_turns", "same_model_hits"})
_PAYLOAD: Final = frozenset({"litellm_call_id"})
_SPEND: Final = frozenset({"spend", "call_type"})
_COUNTED: Final = ("_count", "_turns", "_hits", "_misses", "terminal_status")
_TIMES: Final = ("last_activity_at", "last_turn_at")


def sniff(head: bytes) -> bool:
    """Whether records are states or sessions, without a call beside them that its own reader knows."""
    found = top_keys(head) or [frozenset(csv_header(head))]
    own = any(is_state(keys) or _is_session(keys) for keys in found)
    return own and not any(keys >= _PAYLOAD or keys >= _SPEND for keys in found)


def read(log: LogFile, config: Config) -> Iterator[Item]:
    """Per session its counts as outcomes; per call what its own log's reader says, with the odds it had."""
    book = StateBook()
    for record in any_records(log):
        if isinstance(record, Rejected):
            yield record
        elif _is_session(record[1]):
            yield from _session_items(record[0], dict(record[1]))
        else:
            yield from record_items(*record, config=config, call_of=_call, book=book)


def _call(fields: dict[str, Any], config: Config) -> Call:
    if fields.keys() >= _PAYLOAD:
        return litellm.call_of(fields, config)
    if fields.keys() >= _SPEND:
        return litellm_spend.call_of(fields, config)
    raise ValueError("neither a router's state, a session nor a call")


def _is_session(names: Collection[str]) -> bool:
    present = set(names)
    return present >= _BANDIT or present >= _CACHES


def _session_items(line: int, fields: dict[str, Any]) -> list[Item]:
    """The counts of one session, tied by its id: the request of every call that the caller gave this id."""
    try:
        session = text(fields, "session_id")
        if session is None:
            raise ValueError("no field session_id")
        at = next((found for name in _TIMES if (found := time_of(fields, name)) is not None), None)
        told = {
            name: as_real(missing(value), name)
            for name, value in sorted(fields.items())
            if name.endswith(_COUNTED)
        }
        common = {"request_id": session, "label": text(fields, "model_name"), "source": "code", "ts": at}
        return [
            Row("outcomes", line, {**common, "name": f"router_{name}", "value": value})
            for name, value in told.items()
            if value is not None
        ]
    except ValueError as error:
        return [Rejected(line, str(error))]
