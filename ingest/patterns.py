"""Patterns of file names, with one meaning for folders and object stores.

No file system is asked to expand them: what is listed is matched.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

_WILD: Final = frozenset("*?[")


def has_wildcard(text: str) -> bool:
    """Whether `text` holds a character that makes it a pattern."""
    return not _WILD.isdisjoint(text)


def matcher(pattern: str) -> Callable[[str], bool]:
    """A test of names with `/` between their parts: does `pattern` mean the name, or a folder above it?

    `*` and `?` stay within one part, `**` as a whole part stands for any number of them. A name that begins
    with a dot is matched like any other: what is hidden is decided by whoever lists the names.

    >>> [matcher("2026-*/**/a?.jsonl")(n) for n in ("2026-1/a1.jsonl", "2026-1/x/y/a2.jsonl", "z/a1.jsonl")]
    [True, True, False]
    >>> matcher("2026-*")("2026-11/deep/a.jsonl")
    True
    """
    parts = [part for part in pattern.split("/") if part]
    text = ""
    for number, part in enumerate(parts):
        last = number == len(parts) - 1
        if part == "**":
            text += ".*" if last else r"(?:[^/]+/)*"
        else:
            text += _segment(part) + ("" if last else "/")
    expression = re.compile(f"(?s:{text})(?:/.*)?")
    return lambda name: expression.fullmatch(name) is not None


def _segment(part: str) -> str:
    """The expression for one part; its wildcards never reach over a `/`."""
    out = ""
    for piece in re.split(r"(\*+|\?|\[[!^]?\]?[^\]]*\])", part):
        if piece.startswith("*") and piece:
            out += "[^/]*"
        elif piece == "?":
            out += "[^/]"
        elif piece.startswith("[") and piece.endswith("]"):
            out += _one_of(piece[1:-1])
        else:
            out += re.escape(piece)
    return out


def _one_of(members: str) -> str:
    """The expression for one character of `members`, or, after ! or ^, for one that is not of them."""
    negated = members[:1] in ("!", "^")
    ranges = re.sub(r"--+", r"\\-", members[negated:])
    inner = "".join(char if char in "-\\" else re.escape(char) for char in ranges)
    expression = f"(?!/)[{'^' if negated else ''}{inner}]"
    try:
        re.compile(expression)
    except re.error:  # a range that runs backwards is no range
        return re.escape(f"[{members}]")
    return expression
