"""Outcome rows from spans and log records: GenAI evaluation results, OpenInference annotations, errors."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Final

from ..convert import as_real, utc_from_epoch
from . import otlp_dialects as d
from .otlp_walk import Attributes, Event, Span, span_key

EVALUATION: Final = "gen_ai.evaluation.result"
_ANNOTATION: Final = re.compile(
    r"(trace\.)?(?:(?:annotations|evaluations)\.(\d+)\.)?(?:annotation|evaluation)"
    r"\.(name|score|label|annotator_kind)"
)
_ANNOTATED: Final = ("trace.", "annotation", "evaluation")
SOURCES: Final = {"HUMAN": "human", "LLM": "llm_judge", "LLM_JUDGE": "llm_judge", "CODE": "code"}
_USUAL_ENDS: Final = frozenset(
    {"stop", "end_turn", "stop_sequence", "tool_calls", "tool_call", "tool_use", "function_call", "completed"}
)

_FINISH_REASONS: Final = (
    "gen_ai.response.finish_reasons",
    "gen_ai.response.finish_reason",
    "llm.response.finish_reason",
    "llm.finish_reason",
    "gen_ai.completion.0.finish_reason",  # OpenLLMetry flattens the choices
)

Ids = dict[str, Any]
"""request_id and decision_id that an outcome is tied to."""


def is_evaluation(event: Event) -> bool:
    """Whether the event or log record carries a score."""
    return event.name == EVALUATION or "gen_ai.evaluation.name" in event.attributes


def logged_outcome(event: Event) -> dict[str, Any]:
    """The outcome of a log record, tied by its span, else by its trace, else by the response id.

    Raises: ValueError when it has no name, no result or nothing to tie it to.
    """
    request = event.trace_id or d.text(event.attributes, "gen_ai.response.id")
    if request is None:
        raise ValueError("an evaluation without traceId and without gen_ai.response.id")
    decision = span_key(event.trace_id, event.span_id) if event.trace_id and event.span_id else None
    return _outcome(event, {"request_id": request, "decision_id": decision})


def span_scores(span: Span, ids: Ids) -> Iterator[dict[str, Any]]:
    """The scores that a span carries, as evaluation events or as annotations.

    Raises: ValueError for a score that is not a number, or an evaluation without name or result.
    """
    for event in span.events:
        if is_evaluation(event):
            yield _outcome(event, ids)
    yield from _annotations(span, ids)


def span_ends(span: Span, ids: Ids) -> Iterator[dict[str, Any]]:
    """How the span's call ended, where that was unusual: labels without a value, so no quality."""
    error = d.text(span.attributes, "error.type") or ("error" if span.failed else None)
    if error:
        yield {**ids, "source": "code", "name": "error", "label": error}
    for reason in _unusual_ends(span.attributes):
        yield {**ids, "source": "code", "name": "finish_reason", "label": reason}


def _outcome(event: Event, ids: Ids) -> dict[str, Any]:
    told = event.attributes
    return {
        **ids,
        **_result(
            d.text(told, "gen_ai.evaluation.name"),
            d.first(told, "gen_ai.evaluation.score.value", "gen_ai.evaluation.score"),
            d.first(told, "gen_ai.evaluation.score.label", "gen_ai.evaluation.label"),
        ),
        "source": SOURCES.get(str(told.get("annotator_kind")).upper()),
        "ts": utc_from_epoch(event.time_ns, "ns") if event.time_ns else None,
    }


def _annotations(span: Span, ids: Ids) -> Iterator[dict[str, Any]]:
    found: dict[tuple[str, str], Attributes] = defaultdict(dict)
    for key, value in span.attributes.items():
        match = _ANNOTATION.fullmatch(key) if key.startswith(_ANNOTATED) else None
        if match:
            found[(match[1] or "", match[2] or "")][match[3]] = value
    seen: list[dict[str, Any]] = []
    for (scope, _), told in sorted(found.items()):
        row = {
            "request_id": ids["request_id"],
            "decision_id": None if scope else ids["decision_id"],
            **_result(d.text(told, "name"), told.get("score"), told.get("label")),
            "source": SOURCES.get(str(told.get("annotator_kind")).upper()),
        }
        if row not in seen:  # both spellings of one result count once
            seen.append(row)
            yield row


def _result(name: str | None, score: Any, label: Any) -> dict[str, Any]:
    if name is None:
        raise ValueError("an evaluation without a name")
    value = as_real(score)
    if value is None and label is None:
        raise ValueError(f"the evaluation {name!r} has neither score nor label")
    return {"name": name, "value": value, "label": None if label is None else str(label)}


def _unusual_ends(told: Attributes) -> list[str]:
    reasons = d.first(told, *_FINISH_REASONS)
    if reasons is None:
        return []
    listed = reasons if isinstance(reasons, list) else [reasons]
    return sorted({r for r in listed if isinstance(r, str) and r and r.lower() not in _USUAL_ENDS})
