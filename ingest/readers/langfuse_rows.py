"""Langfuse's traces and scores as contexts and outcomes, and what its tables share: spelling, request facts.

Comments, inputs and outputs are content and stay out.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

from ..convert import as_real, missing, utc_from_text
from ..seam import Ignored, Item, Row
from .litellm_rows import decoded, text

_HUMP: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_SOURCES: Final = {"ANNOTATION": "human", "EVAL": "llm_judge"}
"""Scores of source API come from whatever program sent them, so nobody is named."""
_LABELS: Final = ("CATEGORICAL",)
_CONTENT: Final = ("TEXT", "CORRECTION")


def snake_names(fields: Mapping[str, Any]) -> dict[str, Any]:
    """`fields` with top-level names in snake case: exports write traceId or trace_id by path."""
    return {_HUMP.sub("_", name).lower(): value for name, value in fields.items()}


def request_columns(fields: dict[str, Any]) -> dict[str, Any]:
    """What a trace, or an observation that repeats its trace's fields, says about the whole request.

    Raises: ValueError when a field has the wrong type.
    """
    tags = decoded(fields.get("tags"), "tags") or []
    if not isinstance(tags, list):
        raise ValueError(f"tags is {tags!r}, expected a list")
    named = sorted(str(tag) for tag in cast("list[Any]", tags))
    return {
        "session_id": text(fields, "session_id"),
        "tenant_id": text(fields, "user_id"),
        "x_tags": "|".join(named) or None,
        "x_environment": text(fields, "environment"),
    }


def trace_items(line: int, fields: dict[str, Any]) -> Iterator[Item]:
    """The context of one trace.

    Raises: ValueError when its id or time is absent or unreadable.
    """
    yield Row(
        "contexts",
        line,
        {
            "request_id": required(fields, "id"),
            "ts": utc_from_text(required(fields, "timestamp")),
            **request_columns(fields),
            "x_release": text(fields, "release"),
            "x_trace_name": text(fields, "name"),
        },
    )


def score_items(line: int, fields: dict[str, Any]) -> Iterator[Item]:
    """The outcome of one score, or why it is none.

    Raises: ValueError when its name, time or value is absent or unreadable.
    """
    kind = (text(fields, "data_type") or "NUMERIC").upper()
    trace = text(fields, "trace_id")
    if trace is None:
        yield Ignored(line, "score of a session or of a dataset run")
    elif kind in _CONTENT:
        yield Ignored(line, f"{kind.lower()} score: content is not stored")
    else:
        label = text(fields, "string_value")
        yield Row(
            "outcomes",
            line,
            {
                "request_id": trace,
                "decision_id": text(fields, "observation_id"),
                "name": required(fields, "name"),
                # a category's number is 0 where none was given
                "value": None if kind in _LABELS else as_real(missing(fields.get("value")), "value"),
                "label": label,
                "source": _SOURCES.get((text(fields, "source") or "").upper()),
                "ts": utc_from_text(required(fields, "timestamp")),
            },
        )


def required(fields: dict[str, Any], name: str) -> str:
    """The text in field `name`.

    Raises: ValueError when it is absent or no text.
    """
    found = text(fields, name)
    if found is None:
        raise ValueError(f"no field {name}")
    return found
