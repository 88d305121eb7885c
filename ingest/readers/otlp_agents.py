"""Which agents and chains open their request: those with nothing above them but plain spans up to the root.

Children are exported before their parents, often in another batch: an agent whose own batch does not tell
waits until the file ends.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any, Final

from . import otlp_dialects as d
from .otlp_walk import Attributes, Event, Span
from .recipe import PREFIX

MAX_PLAIN_ANCESTORS: Final = 16
"""Server and middleware spans above a root agent; a longer chain, or a loop, is no such stack."""
MAX_WAITING: Final = 10_000
"""Agents that wait for their parents; beyond, the oldest counts as called by another agent."""
MAX_PLAIN: Final = 200_000
"""Plain spans whose parents are remembered; the oldest are forgotten."""
_MAX_TEXT: Final = 1000
"""Longer attributes are messages, which nothing reads from an agent's span."""

SpanKey = tuple[str, str]
Batch = Mapping[SpanKey, tuple[Span, d.Role]]


def opens(span: Span, role: d.Role, batch: Batch) -> bool | None:
    """Whether `span` opens its request; None when a span above it is not in its batch."""
    if role not in ("agent", "chain"):
        return False
    parent = span.parent_id
    for _ in range(MAX_PLAIN_ANCESTORS):
        if parent is None:
            return True
        above = batch.get((span.trace_id, parent))
        if above is None:
            return None
        if above[1] != "other":
            return False
        parent = above[0].parent_id
    return False


class AgentBook:
    """Agents that wait, and the plain spans that may turn out to be all that is above them."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[SpanKey, tuple[int, Span]] = OrderedDict()
        self._plain: OrderedDict[SpanKey, str | None] = OrderedDict()

    def note(self, span: Span) -> None:
        """Remember what lies above a plain span."""
        self._note((span.trace_id, span.span_id), span.parent_id)

    def _note(self, key: SpanKey, parent: str | None) -> None:
        self._plain.pop(key, None)  # so that the oldest are those noted last the longest ago
        self._plain[key] = parent
        if len(self._plain) > MAX_PLAIN:
            self._plain.popitem(last=False)

    def opened(self, span: Span) -> bool:
        """Whether `span`, which waited, opened its request, by all that is known of spans above it."""
        parent = span.parent_id
        for _ in range(MAX_PLAIN_ANCESTORS):
            if parent is None:
                return True
            key = (span.trace_id, parent)
            if key not in self._plain:
                return False
            parent = self._plain[key]
        return False

    def wait(self, line: int, span: Span) -> Iterator[tuple[int, Span]]:
        """Hold `span` of `line`; the one that has waited too long."""
        self._waiting[(span.trace_id, span.span_id)] = line, replace(span, attributes=_short(span.attributes))
        if len(self._waiting) > MAX_WAITING:
            yield self._waiting.popitem(last=False)[1]

    def carried(self) -> dict[str, Any]:
        """What waits and what is known, as JSON can hold it."""
        waiting = [[line, asdict(span)] for line, span in self._waiting.values()]
        return {"waiting": waiting, "plain": [[*key, parent] for key, parent in self._plain.items()]}

    def take(self, carried: dict[str, Any]) -> Iterator[tuple[int, Span]]:
        """Add what another book carried, which comes behind this one's; those that have waited too long."""
        for trace, own, parent in carried["plain"]:
            self._note((trace, own), parent)
        for line, fields in carried["waiting"]:
            span: dict[str, Any] = {**fields, "events": tuple(Event(**event) for event in fields["events"])}
            yield from self.wait(line, Span(**span))

    def drain(self) -> Iterator[tuple[int, Span]]:
        """Every span that still waits, in the order in which they came."""
        while self._waiting:
            yield self._waiting.popitem(last=False)[1]


def _short(told: Attributes) -> Attributes:
    return {name: value for name, value in told.items() if name.startswith(PREFIX) or _is_short(value)}


def _is_short(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= _MAX_TEXT
    return not isinstance(value, list | dict)
