"""Phoenix export: spans of a frame or of its API as OTLP's decisions, annotations as outcomes.

Token convention, dialects and what can never be filled are OpenInference's (see otlp.py). Annotations name
their span only, so a decision's id here is its span id. One on a span that decides nothing (a root, mostly)
reaches its request only with a column trace_id, or behind that span in the same file.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any, Final

from ...schemas.config import Config
from ..convert import as_real, missing, utc_from_epoch
from ..lines import any_records
from ..seam import Ignored, Item, LogFile, Rejected, Row
from . import otlp
from .litellm_rows import text
from .otlp_flat import flat, instant_ns, span_of
from .otlp_outcomes import SOURCES
from .otlp_walk import Damaged, Piece, Span
from .peek import csv_header, top_keys

NAME: Final = "phoenix"
_FRAME: Final = frozenset({"context.trace_id"})
_API: Final = frozenset({"context", "span_kind", "parent_id", "start_time", "status_code"})
_PAGE: Final = frozenset({"data", "next_cursor"})
_JUDGED: Final = "annotator_kind"
_NAMES: Final = ("annotation_name", "name")
_SPAN: Final = ("span_id", "context.span_id")
_TRACE: Final = ("trace_id", "context.trace_id")
_LEADING: Final = "attributes."
MAX_TRACES: Final = 200_000
"""Spans whose trace is remembered for the annotations behind them."""


def sniff(head: bytes) -> bool:
    """Whether records or columns are those of Phoenix's spans or of their annotations."""
    found = top_keys(head) or [frozenset(csv_header(head))]
    return any(keys >= _API or keys >= _PAGE or _is_frame(keys) or _is_annotation(keys) for keys in found)


def read(log: LogFile, config: Config) -> Iterator[Item]:
    """Per span what OTLP's reader says of it, per annotation an outcome."""
    scene = otlp.scene_of(config)
    traces: OrderedDict[str, str] = OrderedDict()
    for record in any_records(log):
        if isinstance(record, Rejected):
            yield record
            continue
        line, fields = record
        page = fields.get("data") if fields.keys() >= _PAGE else None
        for one in page if isinstance(page, list) else [fields]:
            yield from _items(line, one, scene, traces)
    yield from map(_by_span_id, otlp.settle_scene(scene))


def _is_frame(keys: frozenset[str]) -> bool:
    return keys >= _FRAME and any(name.startswith(_LEADING) for name in keys)


def _is_annotation(keys: Any) -> bool:
    return _JUDGED in keys and any(n in keys for n in _NAMES) and any(n in keys for n in (*_SPAN, *_TRACE))


def _items(line: int, fields: Any, scene: otlp.Scene, traces: OrderedDict[str, str]) -> Iterator[Item]:
    """The items of one record; traces: the trace of each span so far, the oldest forgotten."""
    if not isinstance(fields, dict):
        yield Rejected(line, f"a page holds {type(fields).__name__}, expected objects")
        return
    if _is_annotation(fields):
        try:
            yield _outcome(line, fields, traces)
        except ValueError as error:
            yield Rejected(line, str(error))
        return
    piece = _piece(fields)
    if isinstance(piece, Span):
        traces[piece.span_id] = piece.trace_id
        if len(traces) > MAX_TRACES:
            traces.popitem(last=False)
    for item in otlp.items(line, [piece], scene):
        yield _by_span_id(item)


def _piece(fields: dict[str, Any]) -> Piece:
    try:
        context = fields.get("context")
        ids = context if isinstance(context, dict) else {}
        attributes = {
            name.removeprefix(_LEADING): value for name, value in fields.items() if name.startswith(_LEADING)
        }
        told = fields.get("attributes")
        attributes |= told if isinstance(told, dict) else {}
        kind = missing(fields.get("span_kind"))
        plain = flat(attributes)
        if isinstance(kind, str) and kind.upper() != "UNKNOWN":
            plain.setdefault("openinference.span.kind", kind)
        return span_of(
            trace=ids.get("trace_id") or fields.get("context.trace_id"),
            span=ids.get("span_id") or fields.get("context.span_id"),
            parent=fields.get("parent_id"),
            name=fields.get("name"),
            start=fields.get("start_time"),
            end=fields.get("end_time"),
            failed=str(fields.get("status_code")).upper() == "ERROR",
            attributes=plain,
            events=fields.get("events"),
        )
    except ValueError as error:
        return Damaged(str(error))


def _by_span_id(item: Item) -> Item:
    """`item` with the ids of decisions shortened to the span's, which is all that annotations name."""
    if not isinstance(item, Row):
        return item
    ids = {
        name: value.rpartition(":")[2]
        for name in ("decision_id", "parent_id")
        if isinstance(value := item.values.get(name), str)
    }
    return Row(item.table, item.line, {**item.values, **ids})


def _outcome(line: int, fields: dict[str, Any], traces: Mapping[str, str]) -> Item:
    told = flat(fields)
    name = text(told, *_NAMES)
    if name is None:
        raise ValueError(f"no field {_NAMES[0]}")
    label = text(told, "result.label", "label")
    value = as_real(told.get("result.score", told.get("score")), "score")
    if value is None and label is None:
        return Ignored(line, "annotation with neither score nor label")
    at = instant_ns(told.get("updated_at", told.get("created_at")), "time")
    span = text(told, *_SPAN)
    return Row(
        "outcomes",
        line,
        {
            "request_id": text(told, *_TRACE) or traces.get(span or ""),
            "decision_id": span,
            "name": name,
            "value": value,
            "label": label,
            "source": SOURCES.get((text(told, _JUDGED) or "").upper()),
            "ts": None if at is None else utc_from_epoch(at, "ns"),
        },
    )
