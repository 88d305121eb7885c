"""Rows of a log by column: what a reader that judges whole columns hands on instead of row after row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Protocol, runtime_checkable

import polars as pl

from ..schemas.config import Config
from .seam import Item, LogFile, Reader, Table

LINE: Final = "source_row"
PLACE: Final = "_place"
"""Position of a row among the items of its block, from 0."""
TEXT_OF: Final = "text of "
"""Before the name of a feature: the column of those of its values that are text; the others are numbers."""


@dataclass(frozen=True, slots=True)
class Block:
    """Consecutive items of a log.

    frames: rows in our columns and units, each known to have no problem, with LINE and PLACE. others: items
    that were read alone, each with its place. size: items in all.
    """

    frames: dict[Table, pl.DataFrame]
    others: list[tuple[int, Item]]
    size: int

    def cut(self, start: int, stop: int) -> Block:
        """The items from `start` to before `stop`, with the places that they have here."""
        frames: dict[Table, pl.DataFrame] = {
            table: frame.filter(pl.col(PLACE).is_between(start, stop, closed="left"))
            for table, frame in self.frames.items()
        }
        others = [(place, item) for place, item in self.others if start <= place < stop]
        return Block(frames, others, stop - start)


def feature_columns(name: str) -> tuple[str, str]:
    """The columns of a feature in a block: its numbers (flags are 0 and 1) and its texts."""
    return name, TEXT_OF + name


@runtime_checkable
class ColumnReader(Reader, Protocol):
    """A reader that can also judge whole columns."""

    def read_columns(self, log: LogFile, config: Config) -> Iterator[Block | Item]:
        """What `read` yields, with plain rows in blocks.

        Raises: IngestError, as `read`.
        """
        ...
