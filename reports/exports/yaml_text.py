"""YAML that a person reviews: with comments, and with every text in quotes."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from ...errors import ExportError

_MARGIN: Final = "  "
_PLAIN_KEY: Final = re.compile(
    r"(?!(?:yes|no|on|off|true|false|null)$)[a-zA-Z][a-zA-Z0-9_]{2,40}", re.IGNORECASE
)
"""Keys that every YAML reads as the text that they are; all others are quoted."""


def yaml_text(value: Mapping[str, Any], *, head: Sequence[str] = ()) -> str:
    """`value` as a YAML document under comment lines `head`; texts and unusual keys stand in double quotes.

    A quoted text cannot end early, start an alias, a tag or a mapping, or turn into a number: a JSON string
    is a YAML string. Numbers keep a point before an exponent, without which YAML 1.1 reads them as text.

    Raises: ExportError for a number that is not finite or a value of another kind.
    """
    lines = [f"# {json.dumps(line, ensure_ascii=False)[1:-1]}".rstrip() for line in head]
    return "\n".join([*lines, *_block(value, "")]) + "\n"


def _block(value: Any, margin: str) -> list[str]:
    if isinstance(value, Mapping) and value:
        return [line for key, of in value.items() for line in _entry(f"{_key(str(key))}:", of, margin)]
    if isinstance(value, list | tuple) and value:
        return [line for of in value for line in _item(of, margin)]
    return [margin + _scalar(value)]


def _key(name: str) -> str:
    return name if _PLAIN_KEY.fullmatch(name) else _scalar(name)


def _entry(head: str, of: Any, margin: str) -> list[str]:
    if isinstance(of, Mapping | list | tuple) and of:
        return [f"{margin}{head}", *_block(of, margin + _MARGIN)]
    return [f"{margin}{head} {_scalar(of)}"]


def _item(of: Any, margin: str) -> list[str]:
    first, *rest = _block(of, margin + _MARGIN)
    return [f"{margin}- {first[len(margin) + len(_MARGIN) :]}", *rest]


def _scalar(value: Any) -> str:
    if value is None or isinstance(value, bool | str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float | Decimal) and math.isfinite(value):
        mantissa, e, exponent = str(value).lower().partition("e")
        return mantissa + ("" if "." in mantissa else ".0") + (f"e{exponent}" if e else "")
    if isinstance(value, Mapping | list | tuple):
        return "{}" if isinstance(value, Mapping) else "[]"
    raise ExportError(f"{value!r} has no place in YAML", where="export", expected="text or a finite number")
