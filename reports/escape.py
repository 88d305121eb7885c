"""Text from logs made safe to show: controls and bidirectional marks visible, Markdown inert, JSON plain."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

_LONGEST: Final = 120
"""Characters of a name that a page shows; a log can hold names of any length."""
_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories that draw nothing themselves: controls, format and bidirectional marks, surrogates."""
_MARKDOWN: Final = re.compile(r"([\\`*_\[\]#|~$])")
_LIVE: Final = re.compile(r"@|:(?=//)|(?<=www)\.", re.IGNORECASE)
"""What GitHub turns into mentions and links after Markdown is done, where a backslash no longer helps."""
_ENTITIES: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


def visible(text: str) -> str:
    """`text` with every invisible character spelled out as ⟨U+XXXX⟩."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_spelled(char) for char in text)


def short(text: str, *, longest: int = _LONGEST) -> str:
    """`text` made visible and cut to `longest` characters, with the number of those left out."""
    if len(text) > longest:
        text = f"{text[:longest]}… ({len(text) - longest:,} more characters)"
    return visible(text)


def markdown(text: str) -> str:
    """`text` on one line in which nothing is Markdown, HTML, a link or a mention; @ is written [@]."""
    inert = _LIVE.sub(lambda live: f"[{live.group()}]", visible(text))
    return _MARKDOWN.sub(r"\\\1", inert).translate(_ENTITIES)


def _spelled(char: str) -> str:
    return f"⟨U+{ord(char):04X}⟩" if unicodedata.category(char) in _HIDDEN else char
