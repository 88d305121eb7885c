"""How a command ends: gates, exit codes, and a traceback that quotes no log."""

from __future__ import annotations

from pathlib import Path

import pytest
from shadowprice import exits
from shadowprice.errors import ConfigError, OverlapError
from shadowprice.schemas.records import Finding, Grade, Status


def finding(status: Status, usd: float, grade: Grade) -> Finding:
    return Finding(
        mode="over_routing",
        status=status,
        layer="router",
        decision_point="model",
        segment="all",
        grade=grade,
        usd=usd,
        usd_lower=usd - 1,
        usd_upper=usd + 1,
    )


@pytest.mark.parametrize(
    ("gate", "status", "closes"),
    [
        ("none", "found", False),
        ("usd=500", "found", True),
        ("usd=500", "inconclusive", False),
        ("usd=500.5", "found", False),
        ("grade=B", "found", True),
        ("grade=A", "found", False),
        ("grade=C", "inconclusive", False),
    ],
)
def test_only_an_established_finding_at_the_gate_closes_it(gate: str, status: Status, closes: bool) -> None:
    """Kills: > for >=, grades compared the wrong way round, an inconclusive finding that fails a build."""
    assert exits.parse_gate(gate).closes([finding(status, 500.0, "B")]) is closes


@pytest.mark.parametrize(
    "text", ["", "usd", "usd=", "usd=-1", "usd=1e3x", "grade=", "grade=N", "grade=AB", "all"]
)
def test_a_gate_that_cannot_be_read_is_refused(text: str) -> None:
    """Kills: a mistyped gate that is taken for none, so that a build never fails."""
    with pytest.raises(ConfigError, match="--fail-on"):
        exits.parse_gate(text)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("bad"), exits.USAGE),
        (OverlapError("thin"), exits.UNSUPPORTED),
        (PermissionError(13, "Permission denied", "logs.jsonl"), exits.USAGE),
        (KeyboardInterrupt(), exits.INTERRUPTED),
        (ZeroDivisionError("x"), exits.INTERNAL),
    ],
)
def test_each_error_has_its_exit_code(error: BaseException, code: int) -> None:
    """Kills: two kinds of failure that a script cannot tell apart."""
    assert exits.answer_to(error).exit_code == code


def test_an_unreadable_file_is_named() -> None:
    """Kills: 'Permission denied' without saying to what."""
    answer = exits.answer_to(PermissionError(13, "Permission denied", "logs.jsonl"))
    assert "logs.jsonl: Permission denied" in answer.text


def test_the_traceback_file_holds_frames_and_types_but_no_message() -> None:
    """Kills: a bug report that carries a prompt, a name or a key out of somebody's logs."""
    secret = "sk-live-123"
    try:
        try:
            raise KeyError(secret)
        except KeyError as cause:
            raise ValueError(f"cannot use {secret}") from cause
    except ValueError as error:
        answer = exits.answer_to(error)
    path = Path(answer.data["error"]["traceback"])
    text = path.read_text()
    path.unlink()
    assert secret not in text + answer.text
    assert "builtins.ValueError" in text
    assert "builtins.KeyError" in text
    assert "test_exits.py" in text
    assert answer.text.count("\n") == 0
