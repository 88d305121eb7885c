"""A run: stages that add up to the audit, same input same bytes, nothing overwritten or half there."""

from __future__ import annotations

import json
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest
import shadowprice as sp
from door import audit_command, contents, copy_of, knock, mappings, start
from shadowprice import rundir, runs
from shadowprice.errors import ExportError
from shadowprice.ingest.simulator import SimulatedRun
from shadowprice.schemas.config import parse_config
from shadowprice.schemas.tables import arrow_schema, check_version

Capture = pytest.CaptureFixture[str]
PATIENCE_S = 120.0
"""How long a test waits for a file of another process before it gives up."""


def closed(path: Path, root: Path) -> bool:
    """Whether others can read neither the file nor one of the folders above it."""
    places = [path, *(folder for folder in path.parents if folder.is_relative_to(root))]
    return any(stat.S_IMODE(place.stat().st_mode) & 0o077 == 0 for place in places)


def test_a_run_leaves_every_file_for_its_owner_only(audited: Path) -> None:
    """Kills: a file of DESIGN.md that is missing, or readable by others."""
    named = {name for names in rundir.OUTPUTS.values() for name in names}
    found = {path.name: path for path in audited.iterdir() if path.is_file()}
    assert set(found) == named | {"run.json", ".lock"}
    assert [path for path in audited.rglob("*") if path.is_file() and not closed(path, audited)] == []


@pytest.mark.parametrize("table", ["estimates", "ledger"])
def test_the_shared_tables_carry_their_schema_and_version(table: str, audited: Path) -> None:
    """Kills: a table that another tool cannot check before it trusts it."""
    schema = rundir.pq.read_schema(audited / f"{table}.parquet")
    check_version(schema, where=table)
    assert schema.remove_metadata().equals(arrow_schema(table).remove_metadata())


def test_the_stages_one_by_one_give_the_bytes_of_the_audit(
    world: SimulatedRun, audited: Path, tmp_path: Path, capfd: Capture
) -> None:
    """Kills: an audit that passes in memory what its files do not hold."""
    config = ["--config", str(world.config)]
    assert knock(capfd, "ingest", world.logs, *mappings(world), *config, "--out", tmp_path).code == 0
    assert knock(capfd, "estimate", tmp_path, *config).code == 0
    for verb in ("prices", "diagnose", "report"):
        assert knock(capfd, verb, tmp_path).code == 0
    assert contents(tmp_path) == contents(audited)


def test_the_same_audit_again_changes_no_byte(
    world: SimulatedRun, audited: Path, tmp_path: Path, capfd: Capture
) -> None:
    """Kills: a date, a random order or a temporary name in an output."""
    again = copy_of(audited, tmp_path)
    assert knock(capfd, *audit_command(world, again)).code == 0
    assert contents(again) == contents(audited)


def test_the_estimates_read_back_are_those_written(audited: Path, tmp_path: Path) -> None:
    """Kills: a state that loses a type, a row or a note on its way through a file."""
    est, meta = rundir.read_estimates(audited), rundir.read_meta(audited)
    rundir.write_estimates(tmp_path, est, run_id=meta.run_id, store=meta.store, config=meta.config)
    again = rundir.read_estimates(tmp_path)
    for name in (*rundir.TABLES, *rundir.STATES):
        assert getattr(again, name).equals(getattr(est, name))
    assert (again.notes, again.window, again.level) == (est.notes, est.window, est.level)


def test_the_predictions_read_back_are_those_tested(world: SimulatedRun, audited: Path) -> None:
    """Kills: a curve that becomes a list of dicts in a file, and a test without the configuration."""
    found = rundir.read_predictions(audited)
    config, _ = sp.load_config(world.config)
    assert found == sp.predictions(sp.open_store(audited), config, seed=0)
    assert [p.name for p in found] == ["verifier", "router", "congestion"]
    assert found[1].effect is not None, str(found[1])
    assert "predictions.json" in json.loads((audited / "run.json").read_text())["outputs"]
    assert json.loads((audited / "report.json").read_text())["predictions"][1]["verdict"] == found[1].verdict


def test_verdicts_are_among_the_answers_of_diagnose_and_audit(
    world: SimulatedRun, audited: Path, tmp_path: Path, capfd: Capture
) -> None:
    """Kills: verdicts that only the page knows."""
    out = copy_of(audited, tmp_path)
    told = [p.to_dict() for p in rundir.read_predictions(audited)]
    for command in (["diagnose", out], audit_command(world, out)):
        said = knock(capfd, *command, "--json")
        assert json.loads(said.out)["data"]["predictions"] == json.loads(json.dumps(told))
    assert "three predictions" in (out / "report.md").read_text()
    assert "More verification in a task lowers its realised risk" in knock(capfd, "diagnose", out).out


def test_python_says_the_same_as_the_command_line(world: SimulatedRun, audited: Path, tmp_path: Path) -> None:
    """Kills: a default that differs between sp.audit and the verb."""
    config, _ = sp.load_config(world.config)
    mapping = sorted(world.logs.glob("*.mapping.toml"))
    run = sp.audit(world.logs, out=tmp_path / "run", config=config, mapping=mapping)
    assert contents(run.path) == contents(audited)
    assert run.identified


@pytest.mark.parametrize("change", [["--seed", "1"], ["--config", "other.toml"]])
def test_another_run_is_not_overwritten_without_force(
    change: list[str],
    world: SimulatedRun,
    audited: Path,
    tmp_path: Path,
    capfd: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Kills: a second audit that silently replaces the first, and a refusal that has already destroyed it."""
    monkeypatch.chdir(tmp_path)
    Path("other.toml").write_text('[prices]\ntask_value = "1 USD/task"\n')
    out = copy_of(audited, tmp_path)
    said = knock(capfd, *audit_command(world, out), *change)
    assert said.code == 2
    assert "--force" in said.err
    assert contents(out) == contents(audited)


def test_other_logs_are_refused_before_the_store_is_touched(
    world: SimulatedRun, audited: Path, tmp_path: Path
) -> None:
    """Kills: a store that no longer belongs to the report beside it."""
    out = copy_of(audited, tmp_path)
    with pytest.raises(ExportError, match="other logs"):
        sp.audit(world.logs / "litellm.jsonl", out=out, config=sp.load_config(world.config)[0])
    assert contents(out) == contents(audited)
    assert not list(out.glob(".ingest-*"))


def test_force_replaces_everything_of_the_former_run(
    world: SimulatedRun, audited: Path, tmp_path: Path, capfd: Capture
) -> None:
    """Kills: a forced run that mixes old files with new ones."""
    out, fresh = copy_of(audited, tmp_path), tmp_path / "fresh"
    command = ["audit", str(world.logs / "litellm.jsonl"), "--quiet", "--out"]
    assert knock(capfd, *command, out, "--force").code == knock(capfd, *command, fresh).code
    assert contents(out) == contents(fresh)


@pytest.mark.parametrize(
    "moment", ["store/.staging", "store/manifest.json", "states/meta.json", "findings.json"]
)
def test_a_killed_run_is_done_again_to_the_same_bytes(
    moment: str, world: SimulatedRun, audited: Path, tmp_path: Path, capfd: Capture
) -> None:
    """Kills: leftovers of SIGKILL that are taken for results, at every stage."""
    out = tmp_path / "run"
    with start(*audit_command(world, out), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        deadline = time.monotonic() + PATIENCE_S
        while not (out / moment).exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
    assert knock(capfd, *audit_command(world, out)).code == 0
    assert contents(out) == contents(audited)


def test_estimating_again_removes_what_was_made_from_the_old_estimates(
    world: SimulatedRun, audited: Path, tmp_path: Path
) -> None:
    """Kills: a report that stands beside estimates it was not made from."""
    out = copy_of(audited, tmp_path)
    from shadowprice import runs

    runs.estimate_run(out, seed=5, force=True)
    assert not any((out / name).exists() for name in ("run.json", "prices.json", "report.html"))


def test_truth_never_reaches_the_estimates(world: SimulatedRun, audited: Path, tmp_path: Path) -> None:
    """Kills: an estimator that sees the answer."""
    assert world.truth is not None
    truth = pl.read_parquet(world.truth / "contrasts.parquet")
    config, _ = sp.load_config(world.config)
    mapping = sorted(world.logs.glob("*.mapping.toml"))
    run = sp.audit(world.logs, out=tmp_path / "run", config=config, mapping=mapping, truth=truth)
    told, untold = contents(run.path), contents(audited)
    same = [name for name in untold if not name.startswith("report.")]
    assert {name: told[name] for name in same} == {name: untold[name] for name in same}


def test_a_report_is_not_made_from_another_store(
    world: SimulatedRun, audited: Path, tmp_path: Path, capfd: Capture
) -> None:
    """Kills: counts and input hashes of new logs beside the estimates of old ones."""
    out = copy_of(audited, tmp_path)
    sp.ingest(world.logs / "litellm.jsonl", out=out)
    said = knock(capfd, "report", out)
    assert said.code == 2
    assert "shadowprice estimate" in said.err


def test_looking_at_the_prices_again_keeps_the_report(audited: Path, tmp_path: Path, capfd: Capture) -> None:
    """Kills: a stage that throws away what came after it although nothing changed."""
    out = copy_of(audited, tmp_path)
    for verb in ("prices", "diagnose", "report"):
        assert knock(capfd, verb, out).code == 0
    assert contents(out) == contents(audited)
    assert (out / "run.json").read_bytes() == (audited / "run.json").read_bytes()


def test_a_description_that_lacks_a_field_is_named_with_the_verb_to_run(
    audited: Path, tmp_path: Path, capfd: Capture
) -> None:
    """Kills: an internal error for a run folder that another hand has edited."""
    out = copy_of(audited, tmp_path)
    meta = json.loads((out / rundir.META).read_text())
    del meta["notes"]
    (out / rundir.META).write_text(json.dumps(meta))
    said = knock(capfd, "report", out)
    assert said.code == 2
    assert "no notes" in said.err
    assert "shadowprice estimate RUN" in said.err


def test_a_second_run_in_the_same_folder_is_refused_while_the_first_one_writes(
    world: SimulatedRun, tmp_path: Path, capfd: Capture
) -> None:
    """Kills: two runs that mix their files."""
    code = (
        "import sys, pathlib; from shadowprice.schemas.files import exclusive\n"
        "with exclusive(pathlib.Path(sys.argv[1])): print(flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "run")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        said = knock(capfd, "audit", world.logs, "--out", tmp_path / "run")
        other.kill()
    assert said.code == 2
    assert "another run is writing here" in said.err


def test_a_large_store_is_estimated_in_partitions_to_the_same_findings(
    audited: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kills: a streaming path whose ledger, states or schema the later stages cannot read."""
    run = copy_of(audited, tmp_path)
    before = {(f.mode, f.segment, f.action, f.baseline): f for f in rundir.read_findings(run)}
    monkeypatch.setattr(runs, "STREAM_FROM", 100)
    meta = rundir.read_meta(run)
    runs.estimate_run(run, config=parse_config(meta.config), seed=meta.seed, force=True)
    runs.prices_run(run)
    after = {(f.mode, f.segment, f.action, f.baseline): f for f in runs.diagnose_run(run)}
    finished = runs.report_run(run)
    assert finished.identified
    assert after.keys() == before.keys()
    for key, finding in before.items():
        assert after[key].status == finding.status, key
        if finding.usd is not None:
            assert after[key].usd == pytest.approx(finding.usd, rel=1e-6)
    check_version(rundir.pq.read_schema(run / "ledger.parquet"), where="ledger")
