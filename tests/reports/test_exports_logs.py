"""Exports of logs as they come: with hostile names from the first row on, without times, and large."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from door import knock
from shadowprice.cli import run
from shadowprice.reports.exports.export import TARGETS, made_for

from tests.reports.exports_supply import HIDDEN, HOSTILE
from tests.reports.test_exports_shapes import SHAPED, everything, log, stored

Capture = pytest.CaptureFixture[str]
MAPPING = """
format = "jsonl"
layer = "router"
decision_point = "model"

[columns]
decision_id = "id"
request_id = "id"
tenant_id = "tenant"
ts = {from = "ts", unit = "iso", timezone = "UTC"}
action = "model"
quality = "score"
cost_usd = {from = "cost", unit = "USD"}
tok_input_uncached = {from = "in", convention = "exclusive"}
tok_output = "out"
propensity = {from = "p", source = "logged"}
"""
CONFIG = '[prices]\ntask_value = "2 USD/task"\n'


@pytest.fixture(scope="module")
def hostile_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The prices of a log whose models are called as an attacker likes."""
    folder = tmp_path_factory.mktemp("hostile")
    names = ("plain", HOSTILE, HIDDEN[2])
    rng = np.random.default_rng(4)
    rows = []
    for k in range(450):
        took, own, out = int(rng.integers(3)), int(rng.integers(100, 9000)), int(rng.integers(10, 900))
        rows.append(
            {
                "id": f"d{k}",
                "tenant": f"t{k % 40}",
                "ts": f"2026-11-{1 + k % 28:02d}T00:00:00Z",
                "model": names[took],
                "score": float(rng.random() < 0.4 + 0.15 * took),
                "cost": (own + 4 * out) * (1 + took) / 1e6,
                "in": own,
                "out": out,
                "p": 1 / 3,
            }
        )
    (folder / "log.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "log.mapping.toml").write_text(MAPPING)
    (folder / "shadowprice.toml").write_text(CONFIG)
    own = ["--config", str(folder / "shadowprice.toml"), "--quiet"]
    made, mapping = str(folder / "run"), ["--mapping", str(folder / "log.mapping.toml")]
    assert run(["ingest", str(folder / "log.jsonl"), *mapping, "--out", made, *own]) == 0
    assert run(["estimate", made, *own]) == 0
    assert run(["prices", made, "--quiet"]) == 0
    return folder / "run"


@pytest.mark.parametrize("target", TARGETS)
def test_a_hostile_log_cannot_act_through_any_export(
    target: str, hostile_run: Path, tmp_path: Path, capfd: Capture
) -> None:
    """Kills: a name that moves the cursor, reverses a line or leaves its string, from log to last file."""
    said = knock(capfd, "export", hostile_run, "--to", target, "--out", tmp_path)
    assert said.code == 0, said.err
    assert all(char.isprintable() for char in (said.out + said.err).replace("\n", ""))
    texts = {
        path.name: path.read_text() for path in tmp_path.glob("shadowprice*") if path.suffix != ".parquet"
    }
    assert not [text for text in texts.values() if any(name in text for name in HIDDEN) or "\x1b" in text]
    records = [text for name, text in texts.items() if name.endswith(".stamp.json") or target == "json"]
    assert records
    assert all("its name" in text for text in records)


@pytest.mark.parametrize("target", SHAPED)
def test_logs_without_times_are_exported_undated(target: str) -> None:
    """Kills: 'None' as a date, or a crash, where nothing was dated."""
    source = everything()
    made = made_for(replace(source, offer=replace(source.offer, window=(None, None))), target)
    assert made.files
    assert not [text for text in made.files.values() if "None" in str(text)]


def test_a_large_log_is_sampled_by_id_and_stays_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kills: a sample of the first rows, one that changes from run to run, memory that grows with the log."""
    store = log("cheap", "frontier")
    monkeypatch.setattr("shadowprice.reports.exports.supply.SAMPLED", 300)
    first, again = (stored(store, "litellm").forecasts for _ in range(2))
    assert first is not None
    assert again is not None
    assert first.equals(again)
    assert 230 < first.height < 370
    kept = set(first["decision_id"])
    assert kept & set(store.frame["decision_id"].tail(100))
    assert kept & set(store.frame["decision_id"].head(100))
