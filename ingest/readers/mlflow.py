"""MLflow traces (JSON, Parquet; schemas 2 to 4): spans as OTLP's decisions, assessments as outcomes.

Tokens: cached ones inside of input unless the row's total counts them apart. Fills ids, session, tenant,
model, tokens, cost, first token of streams, scores; never candidates, propensity, queue or retries.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, cast

from ...schemas.config import Config
from ..convert import as_real, missing, utc_from_epoch
from ..lines import json_records
from ..seam import Ignored, Item, LogFile, Rejected, Row
from . import otlp
from .litellm_rows import decoded, section, text
from .mlflow_spans import PREFIX, pieces_of, trace_facts
from .otlp_flat import hex_id, instant_ns
from .otlp_outcomes import SOURCES
from .otlp_walk import SPAN_ID_DIGITS, Span, span_key
from .peek import top_keys

NAME: Final = "mlflow"
_TRACE: Final = frozenset({"info", "data"})
_ROW: Final = frozenset({"spans"})
_ROW_INFO: Final = ("trace_metadata", "request_metadata")
_JUDGE_COST: Final = "mlflow.assessment.judgeCost"
MAX_LABEL_CHARS: Final = 200
"""A longer text is a remark, not a category."""


def sniff(head: bytes) -> bool:
    """Whether records are traces, whole or as rows of a frame of traces, whose attributes MLflow named."""
    marked = PREFIX.encode() in head
    return any(
        (keys >= _TRACE and marked) or (keys >= _ROW and any(n in keys for n in _ROW_INFO))
        for keys in top_keys(head)
    )


def read(log: LogFile, config: Config) -> Iterator[Item]:
    """Per trace the decisions of its spans, and the outcomes that its assessments are."""
    scene = otlp.scene_of(config)
    for record in json_records(log):
        if isinstance(record, Rejected):
            yield record
            continue
        line, fields = record
        try:
            yield from _trace(line, fields, scene)
        except ValueError as error:
            yield Rejected(line, str(error))
    yield from otlp.settle_scene(scene)


def _trace(line: int, fields: dict[str, Any], scene: otlp.Scene) -> list[Item]:
    info = section(fields, "info") or fields
    spans = decoded((section(fields, "data") or fields).get("spans"), "spans") or []
    if not isinstance(spans, list):
        raise ValueError(f"spans is {type(spans).__name__}, expected a list")
    facts = trace_facts(info)
    found = pieces_of(cast("list[Any]", spans), facts)
    request = next((piece.trace_id for piece in found if isinstance(piece, Span)), None)
    if request is None:
        return [*otlp.items(line, found, scene), Ignored(line, "trace without spans")]
    context = {
        "request_id": request,
        "session_id": facts.attributes.get("session.id"),
        "tenant_id": facts.attributes.get("user.id"),
        "x_trace_name": facts.name,
    }
    items: list[Item] = [Row("contexts", line, context), *otlp.items(line, found, scene)]
    listed = decoded(info.get("assessments"), "assessments") or []
    for assessment in cast("list[Any]", listed) if isinstance(listed, list) else []:
        items += _assessment_items(line, assessment, request)
    return items


def _assessment_items(line: int, told: Any, request: str) -> list[Item]:
    """The outcomes of one assessment, or why it is none."""
    if not isinstance(told, dict):
        return [Rejected(line, f"an assessment is {type(told).__name__}, expected an object")]
    fields = cast("dict[str, Any]", told)
    try:
        return [_outcome(line, fields, request), *_judge_cost(line, fields, request)]
    except ValueError as error:
        return [Rejected(line, f"assessment: {error}")]


def _outcome(line: int, fields: dict[str, Any], request: str) -> Item:
    if fields.get("valid") is False:
        return Ignored(line, "assessment that another one overrides")
    if "expectation" in fields and fields["expectation"] is not None:
        return Ignored(line, "expectation: what should have been, no score")
    value = missing(section(fields, "feedback").get("value"))
    if value is None:
        return Ignored(line, "assessment without a value")
    if isinstance(value, list | dict) or (isinstance(value, str) and len(value) > MAX_LABEL_CHARS):
        return Ignored(line, "assessment that is no number, flag or short label")
    label = str(value).lower() if isinstance(value, bool) else value if isinstance(value, str) else None
    return Row(
        "outcomes",
        line,
        {
            **_ids(fields, request),
            "name": _name(fields),
            "value": float(value) if isinstance(value, bool) else None if label else as_real(value, "value"),
            "label": label,
            "source": SOURCES.get((text(section(fields, "source"), "source_type") or "").upper()),
        },
    )


def _judge_cost(line: int, fields: dict[str, Any], request: str) -> Iterator[Item]:
    """What the judge's own call cost, in USD: a cost of verifying, which no span of the trace holds."""
    cost = as_real(missing(section(fields, "metadata").get(_JUDGE_COST)), _JUDGE_COST)
    if cost:
        told = {"name": "judge_cost_usd", "value": cost, "label": _name(fields), "source": "code"}
        yield Row("outcomes", line, {**_ids(fields, request), **told})


def _ids(fields: dict[str, Any], request: str) -> dict[str, Any]:
    span = hex_id(fields.get("span_id"), SPAN_ID_DIGITS, "span id")
    times = ("last_update_time", "create_time", "last_update_time_ms", "create_time_ms")
    at = next((found for name in times if (found := instant_ns(fields.get(name), name)) is not None), None)
    return {
        "request_id": request,
        "decision_id": None if span is None else span_key(request, span),
        "ts": None if at is None else utc_from_epoch(at, "ns"),
    }


def _name(fields: dict[str, Any]) -> str:
    found = text(fields, "assessment_name", "name")
    if found is None:
        raise ValueError("no field assessment_name")
    return found
