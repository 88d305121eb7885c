"""The table of traps against the tests that it names: each is there once and runs without foreign data."""

from __future__ import annotations

import ast
from collections import Counter
from functools import cache

import pytest
from ingest_traps import TRAPS, Trap
from paths import REPOSITORY

ALL = [pytest.param(trap, id=trap.trap) for traps in TRAPS.values() for trap in traps]


@cache
def _tests(file: str) -> dict[str, ast.FunctionDef]:
    body = ast.parse((REPOSITORY / "tests" / file).read_text(encoding="utf-8")).body
    return {node.name: node for node in body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("trap", ALL)
def test_every_trap_has_a_test_that_always_runs(trap: Trap) -> None:
    """Kills a test that was renamed, emptied or made to need public samples, and its trap with it."""
    test = _tests(trap.file).get(trap.test)
    assert test is not None, f"{trap.file} has no {trap.test}"
    names = {node.id for node in ast.walk(test) if isinstance(node, ast.Name)}
    assert not names & {"shared_data", "xfail", "skip"}
    assert any(isinstance(node, ast.Assert | ast.With) for node in ast.walk(test))
    assert "ills" in (ast.get_docstring(test) or ""), "says which mistake it kills"


def test_every_trap_has_a_test_of_its_own() -> None:
    """Kills one broad test that stands for many traps: its first failure would hide the others."""
    named = Counter((trap.file, trap.test) for traps in TRAPS.values() for trap in traps)
    assert [test for test, count in named.items() if count > 1] == []
    assert len(named) == len(ALL) == sum(map(len, TRAPS.values()))
