"""How far reading has come, as progress hears it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

Progress = Callable[[int, int, str], None]
"""Told bytes done, bytes in all, and what is being read."""


@dataclass(slots=True, kw_only=True)
class Meter:
    """Bytes read so far of all logs, as progress hears them; never backwards.

    reached: bytes of each log that is being read.
    """

    tell: Progress
    total: int
    done: int = 0
    label: str = ""
    records: int = 0
    reached: dict[str, int] = field(default_factory=dict[str, int])

    def start(self, label: str) -> None:
        """Reading the log called `label` begins."""
        self.label, self.records = label, 0
        self.heard(0)

    def heard(self, position: int, *, of: str | None = None, records: int | None = None) -> None:
        """`position` bytes of a log are read: of the one called `of`, else of the one begun last."""
        self.label = of if of is not None else self.label
        self.records = self.records if records is None else records
        self.reached[self.label] = max(self.reached.get(self.label, 0), position)
        self._say()

    def count(self, records: int) -> None:
        """`records` of the log are read."""
        self.records = records
        self._say()

    def finish(self, size: int, *, of: str | None = None) -> None:
        """A log of `size` bytes is done."""
        self.done += size
        self.reached.pop(self.label if of is None else of, None)

    def _say(self) -> None:
        counted = f", {self.records:,} records" if self.records else ""
        position = min(self.done + sum(self.reached.values()), self.total)
        self.tell(position, self.total, f"{self.label}{counted}")
