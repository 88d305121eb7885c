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


def test_lines_of_ingest_tell_rate_and_time_left(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Kills: a long ingest of which nobody knows when it ends."""
    clock = iter([0.0, 0.0, 20.0, 31.0])
    monkeypatch.setattr(terminal.time, "monotonic", lambda: next(clock))
    with reporting(quiet=False) as progress:
        assert progress is not None
        for done in (0, 50_000_000, 0):
            progress("ingest", done, 200_000_000, f"a{HOSTILE}.jsonl, 7 records")
    lines = capfd.readouterr().err.splitlines()
    assert lines[0].startswith("ingest 25% of 200.0 MB, 2.5 MB/s, 1 min 00 s left  agpt")
    assert lines[0].endswith(".jsonl, 7 records  20 s")
    assert lines[1].startswith("ingest 0% of 200.0 MB agpt")
    assert "\x1b[2J" not in lines[0]


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("ingest", 0, 9, 5.0), ""),
        (("ingest", 9, 9, 0.1), ""),
        (("ingest", 5_000_000, 0, 2.0), "2.5 MB/s"),
        (("ingest", 3_000_000, 3_000_000, 1.0), "3.0 MB/s"),
        (("estimate", 1, 3, 10.0), "20 s left"),
        (("estimate", 1, 1001, 10.0), "2 h 46 min left"),
    ],
)
def test_the_pace_is_told_when_it_is_known(args: tuple[str, int, int, float], told: str) -> None:
    """Kills: a rate of the first instant, a division by zero, and MB/s of things that are no bytes."""
    assert terminal.pace(*args) == told


def test_a_terminal_shows_a_bar_with_rate_and_time_left(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Kills: a bar without a rate, and one that a name from a log can write over."""
    clock = iter([0.0, 10.0])
    monkeypatch.setattr(terminal.time, "monotonic", lambda: next(clock, 10.0))
    monkeypatch.setattr(terminal.sys.stderr, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "xterm")
    with reporting(quiet=False) as progress:
        assert progress is not None
        progress("ingest", 0, 100_000_000, "a[red].jsonl")
        progress("ingest", 25_000_000, 100_000_000, "a[red].jsonl")
    drawn = capfd.readouterr().err
    assert "2.5 MB/s, 30 s left" in drawn
    assert "a[red].jsonl" in drawn
