"""`shadowprice diff`: what changed between two runs, and what is noise."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from door import audit_command, copy_of, knock
from shadowprice.cli import run as command
from shadowprice.ingest.simulator import Knobs, SimulatedRun, simulate

Capture = pytest.CaptureFixture[str]


def repriced(world: SimulatedRun, folder: Path, run: Path) -> Path:
    """A copy of `run`, estimated again with another price of latency."""
    copy, config = copy_of(run, folder), folder / "shadowprice.toml"
    text = world.config.read_text()
    assert '"0.004 USD/s"' in text
    config.write_text(text.replace('"0.004 USD/s"', '"0.001 USD/s"'))
    assert command(["estimate", str(copy), "--config", str(config), "--force", "--quiet"]) == 0
    for verb in ("prices", "diagnose"):
        assert command([verb, str(copy), "--quiet"]) == 0
    return copy


def test_a_run_against_itself_has_not_changed(audited: Path, capfd: Capture) -> None:
    """Kills: noise, a reason or a setting that differs from itself."""
    said = knock(capfd, "diff", audited, audited, "--quiet")
    assert (said.code, said.err) == (0, "")
    assert "no change" in said.out
    data = knock(capfd, "diff", audited, audited, "--json").json["data"]
    assert data["unchanged"]
    assert {c["status"] for c in data["changes"]} == {"same"}


def test_other_prices_are_named_first_and_their_dollars_are_not_compared(
    world: SimulatedRun, audited: Path, tmp_path: Path, capfd: Capture
) -> None:
    """Kills: a difference of dollars at two prices that passes for a change of the agents."""
    copy = repriced(world, tmp_path, audited)
    said = knock(capfd, "diff", audited, copy)
    assert said.code == 0
    assert said.out.split("settings that differ:\n")[1].startswith(
        "  prices.latency: 0.004 USD/s -> 0.001 USD/s"
    )
    assert "so the settings moved them and not chance" in said.out
    changes = knock(capfd, "diff", audited, copy, "--json").json["data"]["changes"]
    net = [
        c for c in changes if c["quantity"] == "net" and c["before"] is not None and c["after"] is not None
    ]
    assert net
    assert {c["status"] for c in net} <= {"not_comparable", "same"}
    assert all("prices" in c["reason"] for c in net if c["status"] == "not_comparable")
    assert all(c["status"] == "same" for c in changes if c["quantity"] in ("quality", "cost"))


def test_other_logs_are_tested_change_by_change(
    world: SimulatedRun, audited: Path, tmp_path: Path, capfd: Capture
) -> None:
    """Kills: two intervals compared by eye, and many tests without a common error rate.

    The second world has the same laws, so that hardly a number may be called changed.
    """
    other = simulate(tmp_path / "w", seed=2, knobs=Knobs(requests=1000, tenants=30))
    assert knock(capfd, *audit_command(other, tmp_path / "run"), "--quiet").code == 0
    data = knock(capfd, "diff", audited, tmp_path / "run", "--json").json["data"]
    tested = [c for c in data["changes"] if c["p_value"] is not None]
    assert len(tested) > 20
    assert all(c["lower"] <= c["difference"] <= c["upper"] for c in tested)
    assert all(c["p_adjusted"] >= c["p_value"] for c in tested)
    assert all((c["status"] == "changed") == (c["p_adjusted"] <= 0.10) for c in tested)
    assert sum(c["status"] == "changed" for c in tested) <= 0.1 * len(tested)
    gains = [c for c in tested if c["kind"] == "gain"]
    assert gains
    assert all("paired by cluster" in c["method"] and c["shared_clusters"] == 30 for c in gains)


def test_a_contrast_stated_in_reverse_is_turned_round(audited: Path, tmp_path: Path, capfd: Capture) -> None:
    """Kills: a sign that flips because the cheapest action is another one this month."""
    copy = copy_of(audited, tmp_path)
    path = copy / "estimates.parquet"
    schema = pl.read_parquet_schema(path)
    table = pq.read_table(path)
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    here = pl.col("decision_point") == "reuse"
    swapped = {"action": "baseline", "baseline": "action"}
    flipped = frame.with_columns(
        *(pl.when(here).then(pl.col(b)).otherwise(pl.col(a)).alias(a) for a, b in swapped.items()),
        pl.when(here).then(-pl.col("value")).otherwise("value").alias("value"),
        pl.when(here).then(-pl.col("upper")).otherwise("lower").alias("lower"),
        pl.when(here).then(-pl.col("lower")).otherwise("upper").alias("upper"),
    ).select(list(schema))
    pq.write_table(flipped.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(table.schema), path)
    changes = knock(capfd, "diff", audited, copy, "--json").json["data"]["changes"]
    reuse = [c for c in changes if c["decision_point"] == "reuse" and c["kind"] == "contrast"]
    assert reuse
    assert {c["status"] for c in reuse} == {"same"}


@pytest.mark.parametrize("missing", ["states/meta.json", "prices.json", "findings.json"])
def test_a_run_killed_half_way_is_one_error_with_the_verb_to_run(
    missing: str, audited: Path, tmp_path: Path, capfd: Capture
) -> None:
    """Kills: a comparison of half a run, and a traceback."""
    copy = copy_of(audited, tmp_path)
    (copy / missing).unlink()
    said = knock(capfd, "diff", audited, copy)
    assert (said.code, said.out) == (2, "")
    assert "Run 'shadowprice" in said.err


def test_names_from_a_hostile_run_cannot_move_the_terminal(
    audited: Path, tmp_path: Path, capfd: Capture
) -> None:
    """Kills: an arm or a reason of a foreign run folder that is printed as it is."""
    copy = copy_of(audited, tmp_path)
    path = copy / "findings.json"
    path.write_text(path.read_text().replace("gpt-5-mini", r"gpt\u001b[2J\u202e"))
    meta = copy / "states" / "meta.json"
    data = json.loads(meta.read_text())
    data["config"]["task_class"] = "x\x1b]0;owned\x07"
    meta.write_text(json.dumps(data))
    said = knock(capfd, "diff", audited, copy)
    assert said.code == 0
    assert all(char.isprintable() for char in (said.out + said.err).replace("\n", ""))
    assert "U+001B" in said.out
