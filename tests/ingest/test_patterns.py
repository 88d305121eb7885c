"""Patterns of file names: one part at a time, any depth only where it says so, hostile ones harmless."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from shadowprice.ingest.patterns import has_wildcard, matcher


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("*.jsonl", "a.jsonl", True),
        ("*.jsonl", "sub/a.jsonl", False),
        ("**/*.jsonl", "a.jsonl", True),
        ("**/*.jsonl", "x/y/a.jsonl", True),
        ("x/**", "x/y/z", True),
        ("x/**", "y/z", False),
        ("2026-*", "2026-11/deep/a.jsonl", True),
        ("a?.csv", "a1.csv", True),
        ("a?.csv", "a/.csv", False),
        ("[a-c]1", "b1", True),
        ("[!a-c]1", "b1", False),
        ("[!a-c]1", "/1", False),
        ("[z-a]", "[z-a]", True),
        ("a.b*", "axb", False),
        ("[[]x", "[x", True),
    ],
)
def test_a_pattern_means_these_names(pattern: str, name: str, expected: bool) -> None:
    """Kills a star that crosses folders, a dot that matches anything and a range that breaks."""
    assert matcher(pattern)(name) is expected


@given(st.text("*?[]!^-/ab.\\&~|", max_size=12), st.text("ab/.[]-", max_size=12))
def test_no_pattern_breaks(pattern: str, name: str) -> None:
    """Kills a traceback, or a warning, for an odd pattern; a pattern without wildcards means itself."""
    found = matcher(pattern)(name)
    clean = "/".join(part for part in name.split("/") if part)
    if name == clean and not has_wildcard(name) and name:
        assert matcher(name)(name)
    assert found in (True, False)
