"""The command line: what it prints where, how it ends, and what it refuses."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from door import audit_command, copy_of, knock, start
from shadowprice import cli
from shadowprice.ingest.simulator import SimulatedRun

VERBS = (
    "audit",
    "demo",
    "inspect",
    "ingest",
    "estimate",
    "prices",
    "diagnose",
    "report",
    "export",
    "explain",
    "diff",
    "plan-exploration",
    "doctor",
    "init",
)
ENVELOPE = {"schema_version", "verb", "run_id", "status", "data", "warnings"}

Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_helps_with_a_real_example(verb: str, capfd: Capture) -> None:
    """Kills: a verb without an example, or with one of another verb."""
    said = knock(capfd, verb, "--help")
    assert said.code == 0
    assert f"Example: shadowprice {verb}" in said.out


def test_no_argument_shows_the_help(capfd: Capture) -> None:
    """Kills: a first call that answers with an error."""
    assert knock(capfd).out == knock(capfd, "--help").out


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["audit", "x", "--jsn"], "Did you mean --json?"),
        (["adit", "x"], "Did you mean 'audit'?"),
        (["audit"], "Missing argument"),
        (["audit", "x", "--seed", "one"], "--seed"),
        (["audit", "x", "--fail-on", "usd=many"], "--fail-on"),
        (["audit", "no-such-file.jsonl"], "no-such-file.jsonl"),
        (["audit", "x", "--config", "no-such.toml"], "no-such.toml"),
        (["estimate", "no-such-run"], "shadowprice ingest"),
        (["report", "no-such-run"], "shadowprice estimate"),
        (["schema", "show", "decision"], "decisions"),
    ],
)
def test_a_usage_error_ends_with_two_and_says_what_to_do(
    args: list[str], told: str, capfd: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kills: an error without a cure, one on stdout, and a usage error that looks like a finding."""
    monkeypatch.chdir(tmp_path)
    said = knock(capfd, *args)
    assert (said.code, said.out) == (2, "")
    assert told in said.err


def test_json_is_one_envelope_also_when_it_fails(capfd: Capture, tmp_path: Path) -> None:
    """Kills: a script that finds stdout empty, or prose in it, exactly when something went wrong."""
    said = knock(capfd, "audit", tmp_path / "absent.jsonl", "--json")
    assert set(said.json) == ENVELOPE
    assert (said.json["verb"], said.json["status"]) == ("audit", "error")
    assert "absent.jsonl" in said.json["data"]["error"]["message"]


def test_audit_prints_the_result_and_ends_with_the_path_of_the_report(
    world: SimulatedRun, audited: Path, capfd: Capture
) -> None:
    """Kills: progress on stdout, a summary without an interval, a path that is not there."""
    said = knock(capfd, *audit_command(world, audited))
    lines = said.out.splitlines()
    assert said.code == 0
    assert lines[0].startswith("shadowprice · ")
    assert lines[1].startswith("Evidence ")
    assert "95 %" in said.out
    assert Path(lines[-1]) == audited / "report.html"
    assert Path(lines[-1]).is_file()
    assert f"configuration: {world.config}" in said.err


def test_audit_as_json_holds_the_same_findings(world: SimulatedRun, audited: Path, capfd: Capture) -> None:
    """Kills: two answers to one question."""
    said = knock(capfd, *audit_command(world, audited), "--json")
    written = json.loads((audited / "findings.json").read_text())
    assert said.json["data"]["findings"] == written["findings"]
    assert said.json["run_id"] == written["run_id"]


def test_quiet_says_nothing_on_stderr(
    world: SimulatedRun, audited: Path, tmp_path: Path, capfd: Capture
) -> None:
    """Kills: a remark that --quiet forgets."""
    said = knock(capfd, "estimate", copy_of(audited, tmp_path), "--config", world.config, "--quiet")
    assert (said.code, said.err) == (0, "")


@pytest.mark.parametrize(("gate", "code"), [("none", 0), ("grade=D", 1), ("usd=1", 1)])
def test_the_gate_decides_between_zero_and_one(
    gate: str, code: int, audited: Path, tmp_path: Path, capfd: Capture
) -> None:
    """Kills: a build that passes with findings at the gate, or fails without."""
    copy = copy_of(audited, tmp_path)
    said = knock(capfd, "diagnose", copy, "--fail-on", gate, "--json")
    assert said.code == code
    assert said.json["status"] == ("findings" if code else "ok")


def test_show_config_names_flag_environment_file_and_default(
    world: SimulatedRun, capfd: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kills: a value whose origin nobody can find, and a run started by a question."""
    monkeypatch.setenv("SHADOWPRICE_SEED", "7")
    out = tmp_path / "run"
    said = knock(capfd, *audit_command(world, out), "--show-config", "--json")
    settings = said.json["data"]["settings"]
    assert settings["--out"] == {"value": str(out), "origin": "flag"}
    assert settings["--seed"] == {"value": 7, "origin": "environment"}
    assert settings["--force"] == {"value": False, "origin": "default"}
    assert settings["prices.risk"]["origin"] == f"file {world.config}"
    assert not out.exists()


def test_an_internal_error_is_one_line_and_a_file_without_log_content(
    world: SimulatedRun, capfd: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kills: a traceback on the screen, and one that quotes what was in the logs."""
    from shadowprice.estimators import estimate

    def break_down(*args: object, **kwargs: object) -> None:
        raise RuntimeError("a prompt from the logs")

    monkeypatch.setattr(estimate, "estimate", break_down)
    said = knock(capfd, *audit_command(world, tmp_path / "run"), "--quiet", "--json")
    trace = Path(said.json["data"]["error"]["traceback"])
    text = trace.read_text()
    trace.unlink()
    assert said.code == 4
    assert said.err.count("\n") == 1
    assert "in break_down" in text
    assert "a prompt from the logs" not in said.out + said.err + text


def test_ctrl_c_ends_with_130_and_leaves_no_half_written_file(
    world: SimulatedRun, capfd: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kills: an interrupt that looks like success, and temporary files that stay."""
    from shadowprice import rundir

    def interrupt(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(rundir.pq, "write_table", interrupt)
    said = knock(capfd, "audit", world.logs / "litellm.jsonl", "--out", tmp_path, "--quiet", "--json")
    assert (said.code, said.json["status"]) == (130, "interrupted")
    assert not list(tmp_path.rglob("*.tmp"))
    assert not (tmp_path / "run.json").exists()


def test_a_broken_pipe_is_silent() -> None:
    """Kills: a traceback after `shadowprice schema show | head -1`."""
    reader, writer = os.pipe()
    os.close(reader)
    with start("schema", "show", stdout=writer, stderr=-1) as process:
        os.close(writer)
        _, err = process.communicate()
    assert (process.returncode, err) == (141, "")


def test_python_dash_m_is_the_command_line(capfd: Capture) -> None:
    """Kills: a __main__ that imports but does not run."""
    with start("schema", "show", "ledger", "--json", stdout=-1) as process:
        out, _ = process.communicate()
    assert process.returncode == 0
    assert json.loads(out)["data"]["columns"][0]["column"] == "decision_id"


def test_the_console_script_passes_its_arguments(monkeypatch: pytest.MonkeyPatch, capfd: Capture) -> None:
    """Kills: an entry point that ignores sys.argv or the exit code."""
    monkeypatch.setattr(sys, "argv", ["shadowprice", "schema", "show", "nothing"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2


def test_simulate_writes_logs_prices_and_truth_and_names_the_next_command(
    tmp_path: Path, capfd: Capture
) -> None:
    """Kills: a world that another seed would give, a knob that does not arrive, truth among the logs."""
    out = tmp_path / "world"
    told = ["--out", out, "--seed", "5", "--requests", "80", "--steps", "4", "--inject", "over_delegation"]
    said = knock(capfd, "simulate", *told, "--json", "--quiet")
    assert said.code == 0
    data = said.json["data"]
    assert data["injected"] == ["over_delegation"]
    assert (data["requests"], data["seed"]) == (80, 5)
    assert {path.name for path in out.iterdir()} == {"logs", "shadowprice.toml", "truth"}
    injected = json.loads((out / "truth" / "injected.json").read_text())
    assert [failure["mode"] for failure in injected["failures"]] == ["over_delegation"]
    text = knock(capfd, "simulate", "--out", tmp_path / "null", "--requests", "60", "--null", "--no-truth")
    assert text.code == 0
    assert "injected: nothing" in text.out
    assert "Next: shadowprice audit" in text.out
    assert not (tmp_path / "null" / "truth").exists()


def test_every_mapping_that_is_given_is_used(tmp_path: Path, capfd: Capture) -> None:
    """Kills: the last of several mapping files in place of all, as the command that simulate names needs."""
    made = knock(capfd, "simulate", "--out", tmp_path, "--requests", "60", "--inject", "serving_congestion")
    command = next(line for line in made.out.splitlines() if line.startswith("Next: "))
    logs, *rest = command.removeprefix("Next: shadowprice audit ").split()
    told = [part for part in rest if part == "--mapping" or part.endswith(".mapping.toml")]
    assert told.count("--mapping") == 2
    read = knock(capfd, "ingest", logs, *told, "--out", tmp_path / "run", "--json", "--quiet")
    assert read.code == 0
    assert read.json["data"]["counts"]["engine_steps"] > 0
    assert read.json["data"]["refused"] == []


def test_simulate_refuses_a_knob_out_of_its_range(tmp_path: Path, capfd: Capture) -> None:
    """Kills: an option that is clipped silently, and half a world on disk."""
    said = knock(capfd, "simulate", "--out", tmp_path / "world", "--inject", "overspending")
    assert said.code == 2
    assert "over_routing" in said.err
    assert not (tmp_path / "world").exists()
