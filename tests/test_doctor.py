"""`shadowprice doctor`: what is wrong here and in a run, and what to do about it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from door import Said, copy_of, knock

Capture = pytest.CaptureFixture[str]


def checks(said: Said) -> dict[str, dict[str, Any]]:
    return {check["name"]: check for check in said.json["data"]["checks"]}


def test_the_place_alone_is_checked_without_a_run(
    capfd: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kills: a doctor that needs a run, versions that are typed, and a missing task value that is silent."""
    monkeypatch.chdir(tmp_path)
    said = knock(capfd, "doctor", "--json", "--quiet")
    assert (said.code, said.err) == (0, "")
    found = checks(said)
    assert "polars" in found["libraries"]["found"]
    assert "genai-prices" in found["price book"]["found"]
    assert (found["configuration"]["state"], "init" in found["configuration"]["cure"]) == ("note", True)
    assert {"extra econml", "extra s3"} <= found.keys()


def test_a_configuration_that_cannot_be_read_is_broken(capfd: Capture, tmp_path: Path) -> None:
    """Kills: a traceback, or a green light, for a file that every other verb refuses."""
    config = tmp_path / "shadowprice.toml"
    config.write_text('[prices]\ntask_valu = "1 USD/task"\n')
    said = knock(capfd, "doctor", "--config", config, "--json")
    assert (said.code, said.json["status"]) == (2, "broken")
    assert "task_value" in checks(said)["configuration"]["cure"]


def test_a_finished_run_is_sound(audited: Path, capfd: Capture) -> None:
    """Kills: a stage that is called stale although nothing moved."""
    said = knock(capfd, "doctor", audited, "--json")
    assert said.code == 0
    assert {c["state"] for c in checks(said).values()} <= {"ok", "note"}
    assert said.json["run_id"] == json.loads((audited / "run.json").read_text())["run_id"]


@pytest.mark.parametrize(
    ("missing", "stage"),
    [
        ("states/meta.json", "estimate"),
        ("ledger.parquet", "estimate"),
        ("prices.json", "prices"),
        ("findings.json", "diagnose"),
        ("run.json", "report"),
    ],
)
def test_a_run_killed_half_way_names_the_stage_to_run(
    missing: str, stage: str, audited: Path, tmp_path: Path, capfd: Capture
) -> None:
    """Kills: a missing stage that passes for a finished one."""
    copy = copy_of(audited, tmp_path)
    (copy / missing).unlink()
    (copy / "run.json").unlink(missing_ok=True)
    (copy / ".estimates.parquet.tmp").touch()
    said = knock(capfd, "doctor", copy, "--json")
    assert said.code == 2
    found = checks(said)
    assert found[stage]["state"] == "broken"
    assert f"shadowprice {stage}" in found[stage]["cure"]
    assert found["left over"]["state"] == "note"


def test_stages_of_another_store_or_run_are_stale(audited: Path, tmp_path: Path, capfd: Capture) -> None:
    """Kills: prices of last month beside the estimates of this one."""
    copy = copy_of(audited, tmp_path)
    prices = copy / "prices.json"
    prices.write_text(json.dumps({**json.loads(prices.read_text()), "run_id": "\x1b[2Jold"}))
    manifest = copy / "store" / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "generation": "other"}))
    said = knock(capfd, "doctor", copy)
    assert said.code == 2
    assert "estimate: stale" in said.out
    assert "prices: stale" in said.out
    assert "outputs: changed since: prices.json" in said.out
    assert all(char.isprintable() for char in said.out.replace("\n", ""))


def test_what_the_logs_lack_is_counted_with_its_cure(tmp_path: Path, capfd: Capture) -> None:
    """Kills: rows without a price, an id or an outcome that nobody hears of."""
    log, mapping, out = tmp_path / "log.jsonl", tmp_path / "m.toml", tmp_path / "run"
    good = [{"id": f"d{k}", "model": f"no-such-model-{k % 2}", "tokens": 100} for k in range(5)]
    log.write_text(
        "".join(json.dumps(row) + "\n" for row in [*good, {"id": "d9", "model": "m", "tokens": -1}])
    )
    mapping.write_text(
        'format = "jsonl"\nlayer = "router"\ndecision_point = "model"\n[columns]\n'
        'decision_id = "id"\naction = "model"\ntok_output = "tokens"\n'
    )
    knock(capfd, "ingest", log, "--mapping", mapping, "--out", out)
    said = knock(capfd, "doctor", out, "--json")
    found = checks(said)
    assert said.code == 2  # nothing is estimated yet
    assert found["unpriced"]["found"].startswith("5 of 5 decisions")
    assert "500 tokens" in found["unpriced"]["found"]
    assert found["without request_id"]["state"] == "note"
    assert "1 x tok_output" in found["quarantine"]["found"]
    assert found["outcomes"]["state"] == "note"
    assert all(c["cure"] for c in found.values() if c["state"] != "ok")


def test_a_folder_without_a_store_is_an_error(tmp_path: Path, capfd: Capture) -> None:
    """Kills: a sound report about a folder that is no run."""
    said = knock(capfd, "doctor", tmp_path)
    assert (said.code, said.out) == (2, "")
    assert "shadowprice ingest" in said.err
