"""The terminal: an envelope that is one line, progress that keeps quiet, and text that cannot act."""

from __future__ import annotations

import json

import pytest
from shadowprice import terminal
from shadowprice.terminal import Answer, envelope, note, reporting, say

HOSTILE = "gpt\x1b[2J\x1b]0;owned\x07\u202e\u2066\r\x08x\x9b31m\u200b"


def test_the_envelope_has_its_six_keys_on_one_line() -> None:
    """Kills: a key that comes and goes, and a newline that breaks line-wise readers."""
    line = envelope("audit", Answer(data={"a": HOSTILE}, text="", warnings=("w",)))
    assert set(json.loads(line)) == {"schema_version", "verb", "run_id", "status", "data", "warnings"}
    assert line.isascii()
    assert "\n" not in line
    assert json.loads(line)["data"]["a"] == HOSTILE


@pytest.mark.parametrize("speak", [say, note])
def test_nothing_printed_can_move_the_cursor(speak: object, capfd: pytest.CaptureFixture[str]) -> None:
    """Kills: a way to the terminal that does not pass the one function which spells controls out."""
    assert callable(speak)
    speak(f"first {HOSTILE}\nsecond")
    out, err = capfd.readouterr()
    printed = out + err
    assert printed.count("\n") == 2
    assert all(char.isprintable() for char in printed.replace("\n", ""))


def test_quiet_reports_no_progress() -> None:
    """Kills: --quiet that only hides the bar."""
    with reporting(quiet=True) as progress:
        assert progress is None


def test_without_a_terminal_a_line_comes_at_most_every_ten_seconds(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Kills: a line per call in CI logs, and a bar drawn into a file."""
    clock = iter([0.0, 1.0, 9.9, 10.0, 15.0, 20.5])
    monkeypatch.setattr(terminal.time, "monotonic", lambda: next(clock))
    with reporting(quiet=False) as progress:
        assert progress is not None
        for done in range(5):
            progress("estimate", done, 12, "router.model")
    lines = capfd.readouterr().err.splitlines()
    assert lines == ["estimate 2/12 router.model  10 s", "estimate 4/12 router.model  20 s"]
