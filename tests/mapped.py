"""A small log in a format of our own, and its mapping: for tests of everything after reading."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

MAPPING = """\
format = "jsonl"
layer = {from = "layer"}
decision_point = {from = "point"}
outcomes = [
  {name = "resolved", from = "resolved", source = "human"},
  {name = "incident", from = "incident", source = "human"},
  {name = "score", from = "score", source = "code", key = "decision_id"},
]

[columns]
decision_id = "id"
request_id = "request"
session_id = "session"
ts = {from = "at", unit = "s", timezone = "UTC"}
action = "action"
action_executed = "ran"
candidates = {from = "options", split = "|"}
propensity = {from = "p", source = "logged"}
cost_usd = {from = "cost", unit = "USD"}
latency_s = {from = "took", unit = "ms"}
tok_input_uncached = {from = "in", convention = "inclusive", cache_read = "cached"}
tok_output = "out"
quality = "quality"
x_kind = "kind"
"""
START = 1_790_000_000


def record(number: int, **fields: Any) -> dict[str, Any]:
    """A whole record: decision `number` of the router; `fields` replace what it says."""
    whole = {
        "layer": "router",
        "point": "model",
        "id": f"d{number}",
        "request": f"r{number}",
        "at": START + number,
        "action": "small" if number % 2 else "large",
        "p": 0.5,
        "cost": 0.001,
        "took": 120,
    }
    return {**whole, **fields}


def write_log(path: Path, records: Iterable[dict[str, Any] | str]) -> Path:
    """`records` as JSON Lines at `path`; text is written as it is, as a line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as target:
        for entry in records:
            target.write((entry if isinstance(entry, str) else json.dumps(entry)) + "\n")
    return path


def write_mapping(folder: Path, text: str = MAPPING) -> Path:
    """The mapping file, in `folder`."""
    path = folder / "own.mapping.toml"
    path.write_text(text, encoding="utf-8")
    return path


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below `folder`, hidden ones included, with its bytes."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
