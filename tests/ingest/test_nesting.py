"""How deep JSON nests, against a walk over its values."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from shadowprice.ingest.nesting import deepest

TEXTS = st.text(alphabet='[]{}"\\a\n\u00e4', max_size=6)
VALUES = st.recursive(
    TEXTS | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=30,
)


def walked(value: Any) -> int:
    """The depth of `value`, by recursion."""
    if isinstance(value, dict):
        return 1 + max(map(walked, value.values()), default=0)
    return 1 + max(map(walked, value), default=0) if isinstance(value, list) else 0


@given(value=VALUES, ascii_=st.booleans(), indent=st.none() | st.just(1))
def test_the_depth_is_that_of_the_values(value: Any, ascii_: bool, indent: int | None) -> None:
    """Kills brackets and quotes within texts that count, behind any number of backslashes."""
    assert deepest(json.dumps(value, ensure_ascii=ascii_, indent=indent).encode()) == walked(value)
