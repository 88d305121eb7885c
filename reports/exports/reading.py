"""Configurations that are in use elsewhere, read without running, resolving or believing anything in them."""

from __future__ import annotations

import json
import math
from typing import Any, Final

from ...errors import ExportError

_LONGEST: Final = 16_000_000
"""Characters of a configuration in use that are read; real ones have thousands."""


def read_document(text: str, *, where: str) -> Any:
    """The JSON or YAML document that `text` holds, read without running or resolving anything in it.

    Raises: ExportError when it is neither, or holds YAML and PyYAML is not installed.
    """
    if len(text) > _LONGEST:
        raise ExportError(f"{len(text)} characters", where=where, expected=f"at most {_LONGEST}")
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass  # not JSON: YAML, or nothing that we know
    try:
        import yaml
    except ImportError as error:
        raise ExportError(
            "YAML, and no reader for it", where=where, cure="pip install pyyaml, or give the file as JSON."
        ) from error
    try:
        documents = list(yaml.safe_load_all(text))
        return documents[0] if len(documents) == 1 else documents
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        line = str(error).partition("\n")[0]
        raise ExportError(f"neither JSON nor YAML: {line}", where=where) from error


def keep(found: dict[str, float], key: str, value: Any) -> None:
    """Note `value` under `key` when it is a finite number and the first one there."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    try:
        number = float(value)
    except OverflowError:
        return  # an integer beyond all prices
    if math.isfinite(number):
        found.setdefault(key, number)


def mapping(node: Any) -> dict[Any, Any]:
    """`node` when it is a mapping, else an empty one."""
    return node if isinstance(node, dict) else {}


def mappings(node: Any) -> list[dict[Any, Any]]:
    """The mappings of a list; none where there is no list."""
    return [one for one in node if isinstance(one, dict)] if isinstance(node, list) else []
