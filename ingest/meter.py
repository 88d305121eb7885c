"""How far reading has come, as progress hears it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

Progress = Callable[[int, int, str], None]
"""Told bytes done, bytes in all, and what is being read."""


@dataclass(slots=True, kw_only=True)
class Meter:
    """Bytes read so far of all logs, as progress hears them; never backwards.

    reached: bytes, and records: records, of each log that is being read, by where its stretches begin.
    """

    tell: Progress
    total: int
    done: int = 0
    label: str = ""
    reached: dict[str, dict[int, int]] = field(default_factory=dict[str, dict[int, int]])
    records: dict[str, dict[int, int]] = field(default_factory=dict[str, dict[int, int]])

    def start(self, label: str) -> None:
        """Reading the log called `label` begins."""
        self.label = label
        self.heard(0)

    def heard(
        self, position: int, *, of: str | None = None, at: int | None = None, records: int | None = None
    ) -> None:
        """`position` bytes of a log, or of its stretch that begins `at`, are read: of the one called `of`,
        else of the one begun last."""
        self.label = of if of is not None else self.label
        stretches = self.reached.setdefault(self.label, {})
        stretches[at or 0] = max(stretches.get(at or 0, 0), position)
        if records is not None:
            self.records.setdefault(self.label, {})[at or 0] = records
        self._say()

    def count(self, records: int, *, at: int = 0) -> None:
        """`records` of the log, or of its stretch that begins `at`, are read."""
        self.records.setdefault(self.label, {})[at] = records
        self._say()

    def finish(self, size: int, *, of: str | None = None) -> None:
        """A log of `size` bytes is done."""
        label = self.label if of is None else of
        self.done += size
        self.reached.pop(label, None)
        self.records.pop(label, None)

    def counted(self) -> int:
        """The records read of the log that was heard of last."""
        return sum(self.records.get(self.label, {}).values())

    def _say(self) -> None:
        records = self.counted()
        counted = f", {records:,} records" if records else ""
        position = min(self.done + sum(sum(one.values()) for one in self.reached.values()), self.total)
        self.tell(position, self.total, f"{self.label}{counted}")
