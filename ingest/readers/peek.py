"""The first records of a file's head, for recognising formats by their fields; heads may be cut anywhere."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final

import ijson
import orjson

from ..opening import PARQUET_MAGIC

MAX_RECORDS: Final = 20
"""Records that are looked at: enough to pass over a damaged first line or a preamble."""
_BOM: Final = b"\xef\xbb\xbf"


def top_keys(head: bytes) -> tuple[frozenset[str], ...]:
    """The keys of the first JSON objects: of the lines, or of the array's elements, or of the one object.

    Of a Parquet file, its columns, as of one object: its rows are read as objects too.
    """
    return _top_keys(head)


@lru_cache(maxsize=4)
def _top_keys(head: bytes) -> tuple[frozenset[str], ...]:
    """Every reader asks for those of the same head, and every stretch of a log again."""
    body = head.removeprefix(PARQUET_MAGIC + b"\n").removeprefix(_BOM).lstrip()
    if body[:1] == b"{":
        spread = body.split(b"\n", 1)[0].strip() == b"{"
        return tuple((not spread and _keys_of_lines(body)) or _keys_of_stream(body, level=0))
    return tuple(_keys_of_stream(body, level=1)) if body[:1] == b"[" else ()


def csv_header(head: bytes) -> list[str]:
    """The cells of the first line, unquoted; empty when it is not text."""
    first = head.removeprefix(_BOM).split(b"\n", 1)[0]
    try:
        return [cell.strip().strip('"') for cell in first.decode("utf-8").rstrip("\r").split(",")]
    except UnicodeDecodeError:
        return []


def _keys_of_lines(body: bytes) -> list[frozenset[str]]:
    found: list[frozenset[str]] = []
    for line in body.split(b"\n", MAX_RECORDS)[:MAX_RECORDS]:
        try:
            value: Any = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if isinstance(value, dict):
            found.append(frozenset(map(str, value)))
    return found


def _keys_of_stream(body: bytes, *, level: int) -> list[frozenset[str]]:
    """The keys of objects that lie `level` arrays deep, as far as the head is JSON."""
    found: list[set[str]] = []
    depth = 0
    try:
        for event, value in ijson.basic_parse(body, use_float=True, multiple_values=True):
            if event in ("start_map", "start_array"):
                depth += 1
                if event == "start_map" and depth == level + 1:
                    found.append(set())
            elif event in ("end_map", "end_array"):
                depth -= 1
                if len(found) >= MAX_RECORDS and depth == level:
                    break
            elif event == "map_key" and depth == level + 1 and found:
                found[-1].add(str(value))
    except (ijson.JSONError, UnicodeDecodeError):
        pass  # the head is cut or no JSON: what was seen until here is the answer
    return [frozenset(keys) for keys in found]
