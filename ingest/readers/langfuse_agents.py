"""Which of Langfuse's agents are their request's root: those with nothing but plain observations above them.

The export is sorted by type, so an agent is read before the spans around it; it waits for them.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from ..seam import Item

MAX_WAITING: Final = 50_000
"""Agents that wait for what is above them; beyond, the oldest counts as called by another agent."""
MAX_ABOVE: Final = 16
"""Plain observations above a root agent; a longer chain, or a loop, is no such stack."""
PLAIN: Final = ("SPAN", "EVENT")
"""A chain or another agent above one has called it, as in OTLP."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """An agent with something above it: its items as its request's root, and as called by another agent."""

    parent: str
    as_root: list[Item]
    as_called: list[Item]


class AgentBook:
    """Agents that wait, and the plain observations that may turn out to be all that is above them."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[str, Waiting] = OrderedDict()
        self._above: OrderedDict[str, str | None] = OrderedDict()

    def note(self, fields: dict[str, Any]) -> None:
        """Remember what lies above a plain observation; the oldest are forgotten beyond MAX_WAITING."""
        if str(fields.get("type")).upper() in PLAIN:
            parent = fields.get("parent_observation_id")
            self._above[str(fields.get("id"))] = parent if isinstance(parent, str) and parent else None
            if len(self._above) > MAX_WAITING:
                self._above.popitem(last=False)

    def wait(self, agent: str, waiting: Waiting) -> list[Item]:
        """Hold `agent`; the items of an agent that has waited too long."""
        self._waiting[agent] = waiting
        return self._waiting.popitem(last=False)[1].as_called if len(self._waiting) > MAX_WAITING else []

    def settle(self) -> Iterator[Item]:
        """The items of all agents that still wait, at the end of the file."""
        for waiting in self._waiting.values():
            yield from waiting.as_root if self._is_root(waiting.parent) else waiting.as_called
        self._waiting.clear()

    def _is_root(self, parent: str | None) -> bool:
        for _ in range(MAX_ABOVE):
            if parent is None:
                return True
            if parent not in self._above:
                return False
            parent = self._above[parent]
        return False
