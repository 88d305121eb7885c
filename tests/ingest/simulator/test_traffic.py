"""Congestion: the engine's true times are in the logs, and the dollars are what others waited."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from shadowprice.errors import ConfigError
from shadowprice.ingest.pipeline import ingest
from shadowprice.ingest.simulator import Knobs, SimulatedRun, settings, simulate
from shadowprice.ingest.simulator.engine_truth import external_delay
from shadowprice.ingest.simulator.traffic import SETTINGS, Traffic, congestion_failure, draw_traffic
from shadowprice.schemas.config import load_config

KNOBS = Knobs(requests=1500, inject=("serving_congestion",))


@pytest.fixture(scope="module")
def traffic() -> Traffic:
    return draw_traffic(6, KNOBS)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> SimulatedRun:
    return simulate(tmp_path_factory.mktemp("run"), seed=6, knobs=KNOBS)


def test_dollars_are_the_seconds_that_others_waited_at_the_price_of_waiting(traffic: Traffic) -> None:
    """Kills: a mean for a sum, the delay of the long requests themselves, another price."""
    assert traffic.replayed.tolist() == np.flatnonzero(traffic.long).tolist()
    for k in (0, 20, 60):
        row = traffic.replayed[k : k + 1]
        alone = external_delay(traffic.arrivals, SETTINGS, row, seed=6).item()
        assert traffic.external_s[k] == pytest.approx(alone)
    waited = sum(traffic.external_s.tolist())
    failure = congestion_failure(traffic)
    assert failure["usd"] == pytest.approx(settings.LATENCY_USD_PER_S * waited)
    assert failure["usd"] == pytest.approx(-failure["net_usd_per_decision"] * traffic.long.sum())


def test_long_requests_make_others_wait_several_times_as_much_as_short_ones(traffic: Traffic) -> None:
    """Kills: an engine so idle that nobody waits, or a band that does not matter."""
    short = np.flatnonzero(~traffic.long)[::20]
    by_short = external_delay(traffic.arrivals, SETTINGS, short, seed=6).mean()
    assert traffic.external_s.mean() > 4 * by_short
    assert np.quantile(traffic.served.queue_s, 0.9) > 0.2


@pytest.mark.slow
def test_the_engine_log_reads_back_with_the_times_of_the_truth(run: SimulatedRun, tmp_path: Path) -> None:
    """Kills: queue, first token or decode that the engine did not have, a lost request, a wrong replica."""
    config, _ = load_config(run.config)
    mapping = sorted(run.logs.glob("*.mapping.toml"))
    store = ingest(run.logs, out=tmp_path, config=config, mapping=mapping)
    assert store.manifest["counts"]["quarantined"] == 0
    assert store.manifest["refused"] == []
    assert run.truth is not None
    truth = pl.read_parquet(run.truth / "engine_requests.parquet")
    both = store.decisions().collect().join(truth, on="request_id", suffix="_true")
    assert both.height == truth.height == KNOBS.requests
    for name in ("queue_s", "ttft_s", "decode_s"):
        assert (both[name] - both[f"{name}_true"]).abs().max() < 1e-5  # type: ignore[operator]
    assert (both["latency_s"] - both["latency_s_true"]).abs().max() < 2e-3  # type: ignore[operator]
    assert both["x_prompt_band"].equals(both["x_prompt_band_true"])
    assert set(both["replica"]) == {"vllm-2", "vllm-3"}
    assert both["tok_output"].equals(both["tok_output_true"])


@pytest.mark.slow
def test_the_steps_of_the_engine_read_back_as_they_were(run: SimulatedRun, tmp_path: Path) -> None:
    """Kills: steps of a replica that no request names, times in another unit, a column left out."""
    config, _ = load_config(run.config)
    steps = run.logs / "engine-steps.jsonl"
    mapping = run.logs / "engine-steps.mapping.toml"
    store = ingest(steps, out=tmp_path, config=config, mapping=mapping)
    assert run.truth is not None
    truth = pl.read_parquet(run.truth / "engine_steps.parquet").sort("replica", "ts")
    read = store.scan("engine_steps").collect().select(truth.columns).sort("replica", "ts")
    whole = [name for name in truth.columns if name != "step_s"]
    assert read.select(whole).equals(truth.select(pl.col(n).cast(read.schema[n]) for n in whole))
    assert (read["step_s"] - truth["step_s"]).abs().max() < 1e-8  # type: ignore[operator]


def test_the_steps_of_the_engine_are_in_the_truth_and_hold_all_tokens(run: SimulatedRun) -> None:
    """Kills: steps of another run, or of one replica only."""
    assert run.truth is not None
    steps = pl.read_parquet(run.truth / "engine_steps.parquet")
    asked = pl.read_parquet(run.truth / "engine_requests.parquet")
    assert set(steps["replica"]) == {"vllm-2", "vllm-3"}
    assert steps["prefill_tok"].sum() >= asked["tok_input_uncached"].sum()
    injected = json.loads((run.truth / "injected.json").read_text())["failures"]
    assert [(f["mode"], f["segment"]) for f in injected] == [("serving_congestion", "x_prompt_band=long")]


def test_a_world_without_congestion_has_no_other_traffic(tmp_path: Path) -> None:
    """Kills: traffic that nobody asked for."""
    run = simulate(tmp_path, seed=6, knobs=Knobs(requests=60, null=True))
    assert run.truth is not None
    assert not (run.truth / "engine_requests.parquet").exists()
    assert b"x_prompt_band" not in (run.logs / "serving-spans.jsonl").read_bytes()
    assert not list(run.logs.glob("engine-steps*"))
    assert "x_prompt_band" not in run.config.read_text()


def test_steps_of_an_earlier_world_are_not_read_with_the_logs_of_another(tmp_path: Path) -> None:
    """Kills: congestion of a world that has none, found in what an earlier one left behind."""
    simulate(tmp_path, seed=6, knobs=Knobs(requests=60, inject=("serving_congestion",)))
    with pytest.raises(ConfigError, match="holds engine-steps"):
        simulate(tmp_path, seed=6, knobs=Knobs(requests=60, null=True))
