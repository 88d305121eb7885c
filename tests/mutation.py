"""Random damage to a JSON record, for tests that a reader never raises."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import strategies as st

ODD: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 2**70, 1.5, float(10**300), "", "None", "x", "<script>", "\x1b[31m"),
    *("2024-13-45", "NaN", "{", "{}", "[]", [], {}, [[]], [None], [1], {"a": 1}, {"stringValue": 3}),
    *("9" * 400, "é" * 50, {"key": 1}, [{"key": "k"}], ["gen_ai"], "0" * 32),
)
"""Values that a reader did not ask for."""


def mutated(data: st.DataObject, record: Any) -> Any:
    """`record` with one to three of its values replaced, removed or renamed."""
    damaged = copy.deepcopy(record)
    for _ in range(data.draw(st.integers(1, 3))):
        places = list(_places(damaged))
        if not places:
            return damaged
        holder, key = places[data.draw(st.integers(0, len(places) - 1))]
        action = data.draw(st.sampled_from(["replace", "remove", "repeat"]))
        if action == "replace":
            holder[key] = copy.deepcopy(ODD[data.draw(st.integers(0, len(ODD) - 1))])
        elif action == "remove":
            del holder[key]
        elif isinstance(holder, list):
            holder.append(copy.deepcopy(holder[key]))
        else:
            holder[f"{key}x"] = holder[key]
    return damaged


def _places(node: Any) -> Any:
    """Every (container, key) below `node`."""
    if isinstance(node, dict):
        for key in list(node):
            yield node, key
            yield from _places(node[key])
    elif isinstance(node, list):
        for index in range(len(node)):
            yield node, index
            yield from _places(node[index])
