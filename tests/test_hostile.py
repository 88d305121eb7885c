"""Hostile logs and places at the front door: nothing in a log can act, nothing reaches the network."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from door import Said, audit_command, knock
from shadowprice.ingest.simulator import SimulatedRun

Capture = pytest.CaptureFixture[str]
NASTY = "gpt\x1b[2J\x1b]0;owned\x07\u202e<script>alert(1)</script>|`@all`"
ROWS = 400
MAPPING = """
format = "jsonl"
layer = "router"
decision_point = "model"

[columns]
decision_id = "id"
tenant_id = "tenant"
action = "model"
quality = "score"
cost_usd = {from = "cost", unit = "USD"}
x_kind = "kind"
"""


@pytest.fixture
def mapping(tmp_path: Path) -> Path:
    path = tmp_path / "logs.mapping.toml"
    path.write_text(MAPPING)
    return path


def write_log(path: Path, model: Callable[[int], str]) -> Path:
    """A log in which a model's name is whatever an attacker sent."""
    rows = (
        {
            "id": f"d{k}",
            "tenant": f"t{k % 40}",
            "model": model(k),
            "score": (k * 7919 % 13) / 12,
            "cost": 0.01 + 0.001 * (k % 3),
            "kind": f"k{k % 2}",
        }
        for k in range(ROWS)
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def harmless(said: Said) -> bool:
    return all(char.isprintable() for char in (said.out + said.err).replace("\n", ""))


def test_names_from_logs_cannot_act_in_the_terminal(tmp_path: Path, mapping: Path, capfd: Capture) -> None:
    """Kills: a printed name that clears the screen, sets the title or reverses the line."""
    log = write_log(tmp_path / "log.jsonl", lambda k: NASTY if k * 31 % 7 < 3 else "plain")
    out = tmp_path / "run"
    assert harmless(knock(capfd, "audit", log, "--mapping", mapping, "--out", out))
    for verb in ("estimate", "prices", "diagnose", "report"):
        said = knock(capfd, verb, out)
        assert said.code in (0, 3)
        assert harmless(said)
        assert verb != "estimate" or "script" in said.out
    assert harmless(knock(capfd, "inspect", out))


def test_names_from_logs_cannot_act_in_the_page(tmp_path: Path, mapping: Path, capfd: Capture) -> None:
    """Kills: a model's name that becomes markup on the way to the report."""
    log = write_log(tmp_path / "log.jsonl", lambda k: NASTY if k * 31 % 7 < 3 else "plain")
    out = tmp_path / "run"
    knock(capfd, "audit", log, "--mapping", mapping, "--out", out)
    for name in ("report.html", "report.md"):
        text = (out / name).read_text(encoding="utf-8")
        assert "<script" not in text
        assert "\x1b" not in text
        assert "\u202e" not in text


def test_a_hostile_file_name_cannot_act(tmp_path: Path, capfd: Capture) -> None:
    """Kills: an error message that trusts the name of the file it is about."""
    log = tmp_path / "a\x1b[31m\u202eb.jsonl"
    log.write_bytes(b"\x00\xff\xfe not a log")
    said = knock(capfd, "audit", log, "--out", tmp_path / "run")
    assert said.code == 2
    assert harmless(said)


def test_logs_in_which_nothing_can_be_compared_end_with_three(
    tmp_path: Path, mapping: Path, capfd: Capture
) -> None:
    """Kills: a claim without support that looks like success, and a refusal without a report."""
    log = write_log(tmp_path / "log.jsonl", lambda _: "only")
    said = knock(capfd, "audit", log, "--mapping", mapping, "--out", tmp_path / "run", "--json")
    assert (said.code, said.json["status"]) == (3, "not_identified")
    assert (tmp_path / "run" / "report.html").is_file()


def test_logs_of_which_every_row_is_bad_end_with_three(tmp_path: Path, mapping: Path, capfd: Capture) -> None:
    """Kills: an empty store that passes for a result."""
    log = tmp_path / "log.jsonl"
    log.write_text('{"id": "d1", "model": \n' * 3 + '{"id": "d2", "model": "m", "score": 7}\n')
    said = knock(capfd, "ingest", log, "--mapping", mapping, "--out", tmp_path / "run")
    assert said.code == 3
    assert "quarantine" in said.err


@pytest.mark.parametrize("kind", ["binary", "empty folder", "empty file", "folder as file", "dangling link"])
def test_what_is_no_log_is_one_clear_error(kind: str, tmp_path: Path, capfd: Capture) -> None:
    """Kills: a traceback, or silence, where a file is not what its name says."""
    log = tmp_path / "log.jsonl"
    if kind == "binary":
        log.write_bytes(bytes(range(256)) * 40)
    elif kind == "empty file":
        log.touch()
    elif kind == "dangling link":
        log.symlink_to(tmp_path / "gone")
    else:
        log.mkdir()
    said = knock(capfd, "audit", log, "--out", tmp_path / "run", "--quiet")
    assert said.code == 2
    assert said.err.count("\n") == 1
    assert said.out == ""


def test_a_bad_file_does_not_stop_the_good_ones(world: SimulatedRun, tmp_path: Path, capfd: Capture) -> None:
    """Kills: one broken file that costs the whole run, and one that is passed over in silence."""
    bad = tmp_path / "bad.jsonl"
    bad.write_bytes(b"\x89PNG\r\n" + bytes(200))
    said = knock(capfd, "ingest", world.logs / "litellm.jsonl", bad, "--out", tmp_path / "run")
    assert said.code == 0
    assert "bad.jsonl not read: " in said.err


WATCHED = """
import sys
opened = []
sys.addaudithook(lambda event, args: opened.append(event) if event.startswith("socket.") else None)
from shadowprice.cli import run
code = run(sys.argv[1:])
network = {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto", "socket.bind"}
print(code, sorted(network & set(opened)), file=sys.stderr)
"""


def test_a_whole_audit_never_touches_the_network(world: SimulatedRun, tmp_path: Path) -> None:
    """Kills: telemetry, a price fetch or a font from a CDN, in our code or in a library's Python."""
    command = [sys.executable, "-c", WATCHED, *audit_command(world, tmp_path / "run"), "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == "0 []"


def test_the_report_names_no_other_address(audited: Path) -> None:
    """Kills: a page that fetches something when it is opened."""
    page = (audited / "report.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in page
    assert not [mark for mark in ('src="http', "url(http", "@import", "<link", "<iframe") if mark in page]
