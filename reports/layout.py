"""Text for a terminal: tables as aligned columns, sentences wrapped to one width."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Final

from . import numbers
from .escape import short, visible
from .tables import Table

WIDTH: Final = 110
"""Characters per line of running text; fixed, so that the same run prints the same bytes."""


def laid_out(table: Table, *, below: str = "", without: Sequence[str] = ()) -> list[str]:
    """A table as aligned columns; the column called `below` stands on lines of its own under each row."""
    if not table.rows:
        return []
    labels = [column.label for column in table.columns]
    beside = [k for k, label in enumerate(labels) if label not in (below, *without)]
    head, *rows = columns([[row[k] for k in beside] for row in (labels, *table.rows)])
    under = [row[labels.index(below)] if below else numbers.ABSENT for row in table.rows]
    pairs = zip(rows, (text.removeprefix(numbers.ABSENT) for text in under), strict=True)
    return [head, *(line for row, text in pairs for line in (row, *wrapped(text, indent="    ")))]


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """One line per row, its cells made visible and padded to the widest of their column."""
    cells = [[short(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(map(str.ljust, row, widths)).rstrip() for row in cells]


def wrapped(text: str, *, indent: str = "") -> list[str]:
    """`text` made visible, in lines of at most WIDTH characters."""
    return textwrap.wrap(visible(text), WIDTH, initial_indent=indent, subsequent_indent=indent)
