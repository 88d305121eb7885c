"""Simulated logs through our own readers: every decision of every layer comes back, linked and labelled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from shadowprice.ingest.pipeline import ingest
from shadowprice.ingest.simulator import Knobs, SimulatedRun, simulate
from shadowprice.schemas.config import load_config
from shadowprice.schemas.store import Store

N = 240
KEYS = ("request_id", "decision_point", "action")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> SimulatedRun:
    return simulate(tmp_path_factory.mktemp("run"), seed=2, knobs=Knobs(requests=N), compress=True)


@pytest.fixture(scope="module")
def store(run: SimulatedRun, tmp_path_factory: pytest.TempPathFactory) -> Store:
    config, _ = load_config(run.config)
    mapping = sorted(run.logs.glob("*.mapping.toml"))
    return ingest(run.logs, out=tmp_path_factory.mktemp("out"), config=config, mapping=mapping)


def test_every_file_is_read_and_no_row_is_refused(store: Store) -> None:
    """Kills a log line that our own readers do not accept."""
    assert store.manifest["refused"] == []
    assert store.manifest["counts"]["quarantined"] == 0
    assert store.manifest["unpriced"] == {"decisions": 0, "tokens": 0}
    links = store.manifest["links"]
    assert links["unlinked"] == 0
    assert links["by_name"]["resolved"] == {"total": N, "linked": N}


def test_taken_actions_read_back_are_those_of_the_truth(run: SimulatedRun, store: Store) -> None:
    """Kills a decision that is lost, doubled, or read as another action; skipped verification included."""
    assert run.truth is not None
    truth = pl.read_parquet(run.truth / "decisions.parquet").filter("taken")
    read = store.decisions().filter(pl.col("decision_point").is_in(["model", "verify", "reuse"])).collect()
    assert read.height == truth.height
    assert read.join(truth, on=KEYS).height == truth.height


def test_every_layer_and_every_rollout_is_there(store: Store) -> None:
    """Kills a layer that is not linked by request, tenant and session."""
    rows = store.decisions().group_by("layer").agg(pl.len(), pl.col("request_id", "quality").null_count())
    counts = {row["layer"]: row for row in rows.collect().iter_rows(named=True)}
    assert set(counts) == {"router", "agent", "serving", "training"}
    assert counts["training"]["len"] == N // 8
    assert all(row["request_id"] == 0 for row in counts.values())
    online_layers = ("router", "agent", "serving")
    assert [counts[layer]["quality"] for layer in online_layers] == [0, 0, 0]
    assert counts["training"]["quality"] == N // 8, "keeping a rollout is decided after the outcome"
    online = store.decisions().filter(pl.col("layer").is_in(["router", "agent"])).collect()
    assert online.select(pl.col("tenant_id", "session_id", "x_task_class").null_count().sum()).row(0) == (
        0,
        0,
        0,
    )


def test_potential_costs_and_qualities_average_to_what_was_read(run: SimulatedRun, store: Store) -> None:
    """Kills a unit error between the truth and the logs (say, cost per thousand tokens)."""
    assert run.truth is not None
    truth = pl.read_parquet(run.truth / "decisions.parquet").filter("taken")
    read = store.decisions().filter(pl.col("decision_point").is_in(["model", "reuse"])).collect()
    both = read.join(truth, on=KEYS)
    for ours, theirs in (("cost_usd", "cost"), ("latency_s", "latency")):
        ratio = both[ours].sum() / both[theirs].sum()
        assert ratio == pytest.approx(1.0, abs=0.08), ours


def test_the_rule_router_reads_back_as_deterministic(store: Store) -> None:
    """Kills a deterministic choice that is taken for a randomised one."""
    rows = store.decisions().filter(pl.col("decision_point") == "model").collect()
    sources = rows.group_by("x_task_class").agg(pl.col("propensity_source").unique()).rows()
    found = {task: set(names) for task, names in sources}
    assert found.pop("refunds") == {"deterministic"}
    assert all(names == {"logged"} for names in found.values())


@pytest.mark.slow
@pytest.mark.parametrize(
    "knobs",
    [
        {"steps": 8, "keep_share": 0.5},
        {"actions": 6, "adaptive": True, "judge_bias": 0.1, "label_share": 0.5},
        {"inject": ("over_delegation",), "hidden": 2.0, "keep_share": 0.5},
        {"steps": 2, "inject": ("over_delegation", "under_verification"), "label_share": 0.5},
    ],
)
def test_every_kind_of_world_reads_back_without_loss(knobs: dict[str, Any], tmp_path: Path) -> None:
    """Kills: a knob whose logs our readers refuse, or whose decisions they take for others."""
    run = simulate(tmp_path / "world", seed=3, knobs=Knobs(requests=N, **knobs))
    config, _ = load_config(run.config)
    mapping = sorted(run.logs.glob("*.mapping.toml"))
    found = ingest(run.logs, out=tmp_path / "out", config=config, mapping=mapping)
    assert found.manifest["refused"] == []
    assert found.manifest["counts"]["quarantined"] == 0
    assert run.truth is not None
    truth = pl.read_parquet(run.truth / "decisions.parquet").filter("taken", "kept")
    points = ["model", "verify", "reuse", "delegate"]
    read = found.decisions().filter(pl.col("decision_point").is_in(points)).collect()
    if "delegate" not in truth["decision_point"]:
        read = read.filter(pl.col("decision_point") != "delegate")
    keys = list(KEYS)
    if "steps" in knobs:
        read = read.with_columns(round=pl.col("x_round").cast(pl.Float64).fill_null(0).cast(pl.Int64))
        keys.append("round")
    assert read.height == truth.height
    assert read.join(truth, on=keys).height == truth.height
    if "keep_share" in knobs:
        assert set(read["keep_prob"].to_list()) == {0.5, 1.0}
    if "judge_bias" in knobs:
        router = read.filter(pl.col("decision_point") == "model")
        assert router["judge_score"].null_count() == 0
        assert 0.3 * N < router["quality"].null_count() < 0.7 * N
        assert set(router["label_prob"].to_list()) == {0.5}
