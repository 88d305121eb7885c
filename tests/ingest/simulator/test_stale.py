"""Stale rollouts: the trainer's log reads back, and the dollars are those of what was kept too long."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from shadowprice.ingest.pipeline import ingest
from shadowprice.ingest.simulator import Knobs, SimulatedRun, simulate
from shadowprice.ingest.simulator.knobs import MODES
from shadowprice.schemas.config import load_config
from shadowprice.schemas.store import Store

KNOBS = Knobs(requests=600, inject=("stale_rollouts",))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> SimulatedRun:
    return simulate(tmp_path_factory.mktemp("run"), seed=6, knobs=KNOBS)


def read(run: SimulatedRun, folder: Path) -> Store:
    config, _ = load_config(run.config)
    return ingest(run.logs, out=folder, config=config, mapping=sorted(run.logs.glob("*.mapping.toml")))


def test_dollars_are_what_keeping_beyond_the_last_paying_lag_lost(run: SimulatedRun) -> None:
    """Kills: dollars of rollouts that pay, of those that happened to be kept, or with the sign turned."""
    assert run.truth is not None
    (failure,) = json.loads((run.truth / "injected.json").read_text())["failures"]
    assert (failure["mode"], failure["action"], failure["direction"]) == ("stale_rollouts", "keep", "over")
    last = int(failure["segment"].removeprefix("version_lag>"))
    lost = 0.0
    for row in pl.read_parquet(run.truth / "rollouts.parquet").iter_rows(named=True):
        if row["version_lag"] > last:
            lost -= row["keep_chance"] * row["net_usd"]
    assert failure["usd"] == pytest.approx(lost)
    assert failure["usd"] > 5
    facts = pl.read_parquet(run.truth / "training.parquet").row(0, named=True)
    worth = facts["signal_usd"] * facts["signal"]
    assert worth * (1 - facts["decay"]) ** last >= facts["keep_usd"]
    assert worth * (1 - facts["decay"]) ** (last + 1) < facts["keep_usd"]


def test_rollouts_read_back_with_their_probabilities_lags_and_signals(
    run: SimulatedRun, tmp_path: Path
) -> None:
    """Kills: a rollout lost or of another update, the probability of the other action, a signal of a drop."""
    store = read(run, tmp_path)
    assert store.manifest["counts"]["quarantined"] == 0
    assert store.manifest["refused"] == []
    assert store.manifest["links"]["unlinked"] == 0
    assert run.truth is not None
    truth = pl.read_parquet(run.truth / "rollouts.parquet")
    rows = store.decisions().filter(pl.col("layer") == "training").collect()
    both = rows.join(truth, on=["decision_id", "version_lag", "kept"])
    assert both.height == rows.height == truth.height
    chance = pl.when("kept").then("keep_chance").otherwise(1 - pl.col("keep_chance"))
    assert both.select((pl.col("propensity") - chance).abs().max()).item() < 1e-5
    assert set(both["propensity_source"].to_list()) == {"logged"}
    kept = truth["kept"].sum()
    assert store.manifest["links"]["by_name"]["learning_signal"] == {"total": kept, "linked": kept}
    assert "mean_signal" not in (run.logs / "rollouts.jsonl").read_text()


def test_the_config_states_what_a_signal_is_worth_and_a_rollout_costs_and_only_here(
    run: SimulatedRun, tmp_path: Path
) -> None:
    """Kills: a world whose stale rollouts nobody can price, and prices in a world without a trainer."""
    prices = load_config(run.config)[0].prices
    assert run.truth is not None
    facts = pl.read_parquet(run.truth / "training.parquet").row(0, named=True)
    assert prices.learning_signal is not None
    assert prices.rollout is not None
    assert (prices.learning_signal.value, prices.rollout.value) == (facts["signal_usd"], facts["keep_usd"])
    other = simulate(tmp_path, seed=6, knobs=Knobs(requests=60))
    assert "USD/signal" not in other.config.read_text()


@pytest.mark.slow
def test_all_seven_failures_together_read_back_each_with_dollars(tmp_path: Path) -> None:
    """Kills: a mode that cannot be injected beside the others."""
    run = simulate(tmp_path / "world", seed=6, knobs=Knobs(requests=300, inject=MODES, steps=4))
    assert read(run, tmp_path / "out").manifest["counts"]["quarantined"] == 0
    assert run.truth is not None
    found = json.loads((run.truth / "injected.json").read_text())["failures"]
    assert {f["mode"] for f in found} == set(MODES)
    assert all(f["usd"] > 0 for f in found)
    assert all(set(f) == set(found[0]) for f in found)
