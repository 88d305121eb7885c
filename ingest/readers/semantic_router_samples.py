"""Samples of the vLLM semantic router (JSON): its fleet simulator's trace, and made-up interactions.

The trace has times in seconds from its start, tokens (cached ones unknown) and the chosen model; interactions
have wall times, latency in ms, a quality and a feedback. Neither has candidates, propensities or costs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from ...schemas.config import Config
from ..convert import as_count, as_real, as_seconds, utc_from_offset
from ..each import each_record
from ..seam import Item, LogFile, Row
from .peek import top_keys
from .semantic_router_fields import text, time_of

NAME: Final = "semantic_router_samples"
SPLITS: Final = True
"""See seam.SplittingReader."""
_FLEET: Final = frozenset({"timestamp", "prompt_tokens", "generated_tokens", "selected_model"})
_INTERACTION: Final = frozenset({"session_id", "turn_idx", "selected_model", "response_quality"})


def sniff(head: bytes) -> bool:
    """Whether records are those of one of the two samples."""
    return any(keys >= _FLEET or keys >= _INTERACTION for keys in top_keys(head))


def read(log: LogFile, config: Config) -> Iterator[Item]:
    """One router decision per record, and an interaction's quality and feedback as outcomes."""
    del config
    return each_record(log, lambda line, fields: _rows(line, fields, log))


def _rows(line: int, fields: dict[str, Any], log: LogFile) -> list[Row]:
    action = text(fields, "selected_model")
    if action is None:
        raise ValueError("no field selected_model")
    own = f"{log.digest[:16]}:{line}"
    shared = {
        "decision_id": own,
        "request_id": own,
        "layer": "router",
        "decision_point": "model",
        "action": action,
    }
    if fields.keys() >= _INTERACTION:
        return _interaction(line, fields, shared)
    values = {
        **shared,
        "ts": utc_from_offset(fields.get("timestamp"), "s"),
        "tok_output": as_count(fields.get("generated_tokens"), "generated_tokens") or None,
        "x_prompt_tokens": as_count(fields.get("prompt_tokens"), "prompt_tokens") or None,
        "x_complexity": text(fields, "complexity"),
        "x_category": text(fields, "category"),
        "x_clock": "relative",
    }
    return [Row("decisions", line, values)]


def _interaction(line: int, fields: dict[str, Any], shared: dict[str, Any]) -> list[Row]:
    values = {
        **shared,
        "session_id": text(fields, "session_id"),
        "x_turn": as_count(fields["turn_idx"], "turn_idx"),
        "ts": time_of(fields, "timestamp"),
        "latency_s": as_seconds(fields.get("latency_ms"), "ms") or None,
    }
    rows = [Row("decisions", line, values)]
    ids = {"decision_id": shared["decision_id"]}
    quality, feedback = as_real(fields["response_quality"], "response_quality"), text(fields, "feedback")
    if quality is not None:
        rows.append(Row("outcomes", line, {**ids, "name": "response_quality", "value": quality}))
    if feedback is not None:
        rows.append(Row("outcomes", line, {**ids, "name": "feedback", "label": feedback, "source": "human"}))
    return rows
