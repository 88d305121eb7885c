"""Simulated runs on disk: reproducible logs in real formats, from which the truth cannot be read."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import shadowprice.ingest.simulator.settings as s
from shadowprice.errors import ConfigError
from shadowprice.ingest.simulator import Knobs, SimulatedRun, simulate
from shadowprice.ingest.simulator.draw import draw_world
from shadowprice.schemas.config import load_config

N = 300


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> SimulatedRun:
    return simulate(tmp_path_factory.mktemp("run"), seed=11, knobs=Knobs(requests=N))


def json_lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def spans(path: Path) -> Iterator[dict[str, Any]]:
    for line in json_lines(path):
        for resource in line["resourceSpans"]:
            for scope in resource["scopeSpans"]:
                yield from scope["spans"]


def records(path: Path) -> Iterator[dict[str, Any]]:
    for line in json_lines(path):
        for resource in line["resourceLogs"]:
            for scope in resource["scopeLogs"]:
                yield from scope["logRecords"]


def attribute(span: dict[str, Any], key: str) -> Any:
    found = [item["value"] for item in span["attributes"] if item["key"] == key]
    return next(iter(found[0].values())) if found else None


def leaves(value: Any) -> Iterator[tuple[str, Any]]:
    """Every key with its value, however deep; OTLP pairs count as keys."""
    if isinstance(value, list):
        for item in value:
            yield from leaves(item)
    elif isinstance(value, dict):
        if set(value) == {"key", "value"}:
            yield value["key"], next(iter(value["value"].values()))
        for key, item in value.items():
            yield key, item
            yield from leaves(item)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    """Kills a clock, an unseeded draw or an unordered set anywhere in the writers."""
    first = simulate(tmp_path / "a", seed=4, knobs=Knobs(requests=60), compress=True)
    second = simulate(tmp_path / "b", seed=4, knobs=Knobs(requests=60), compress=True)
    third = simulate(tmp_path / "c", seed=5, knobs=Knobs(requests=60), compress=True)
    names = sorted(path.name for path in first.logs.iterdir())
    assert len(names) == 6
    for name in names:
        assert (first.logs / name).read_bytes() == (second.logs / name).read_bytes(), name
        if name.endswith(".gz"):
            assert (first.logs / name).read_bytes() != (third.logs / name).read_bytes(), name
    for name in ("decisions.parquet", "contrasts.parquet"):
        assert first.truth is not None
        assert second.truth is not None
        assert pl.read_parquet(first.truth / name).equals(pl.read_parquet(second.truth / name))


def test_compression_changes_the_packaging_only(tmp_path: Path, run: SimulatedRun) -> None:
    """Kills a compressed writer that drops or reorders lines."""
    packed = simulate(tmp_path, seed=11, knobs=Knobs(requests=N), compress=True, with_truth=False)
    assert packed.truth is None
    assert not (tmp_path / "truth").exists()
    for name in (
        "litellm.jsonl",
        "agent-spans.jsonl",
        "serving-spans.jsonl",
        "rollouts.jsonl",
        "outcomes.jsonl",
    ):
        assert gzip.decompress((packed.logs / f"{name}.gz").read_bytes()) == (run.logs / name).read_bytes()


def test_the_configuration_beside_the_logs_is_valid_and_prices_every_class(run: SimulatedRun) -> None:
    """Kills a key or unit that the configuration does not know."""
    config, _ = load_config(run.config)
    assert set(config.prices.task_value_by_class) == {kind.name for kind in s.CLASSES}
    assert config.prices.latency is not None
    assert config.prices.latency.value == s.LATENCY_USD_PER_S
    assert config.prices.risk is not None
    assert config.prices.risk.value == s.RISK_USD_PER_EVENT


def test_logged_propensities_are_the_true_ones_and_belong_to_the_logged_action(run: SimulatedRun) -> None:
    """Kills a log whose propensities are those of another row, another order or another policy."""
    assert run.truth is not None
    truth = pl.read_parquet(run.truth / "decisions.parquet")
    true = {
        (r["request_id"], r["decision_point"], r["action"]): (r["propensity"], r["taken"])
        for r in truth.iter_rows(named=True)
    }
    for call in json_lines(run.logs / "litellm.jsonl"):
        recipe = call["metadata"]["spend_logs_metadata"]["shadowprice"]
        key = call["trace_id"], "model", call["model_group"]
        assert true[key] == (recipe["propensity"], True)
        for action, share in zip(recipe["candidates"], recipe["propensities"], strict=True):
            assert true[call["trace_id"], "model", action][0] == share
    for span in spans(run.logs / "serving-spans.jsonl"):
        if attribute(span, "shadowprice.decision_point") == "reuse":
            action = attribute(span, "shadowprice.action")
            shares = [v["doubleValue"] for v in attribute(span, "shadowprice.propensities")["values"]]
            named = dict(zip(("recompute", "reuse"), shares, strict=True))
            assert true[span["traceId"], "reuse", action] == (named[action], True)


def test_a_verified_request_has_one_verifying_span_and_a_skipped_one_has_none(run: SimulatedRun) -> None:
    """Kills a log that mentions verification which was not taken."""
    assert run.truth is not None
    truth = pl.read_parquet(run.truth / "decisions.parquet")
    taken = truth.filter(pl.col("decision_point") == "verify", pl.col("action") == "verify", pl.col("taken"))
    tools = {kind.verify_tool for kind in s.CLASSES}
    seen = [
        span["traceId"]
        for span in spans(run.logs / "agent-spans.jsonl")
        if attribute(span, "gen_ai.tool.name") in tools
    ]
    assert sorted(seen) == sorted(taken["request_id"].to_list())


def test_logged_cost_is_tokens_times_price(run: SimulatedRun) -> None:
    """Kills a cost that does not belong to the logged tokens and model."""
    prices = {model.name: model for model in s.MODELS}
    for call in json_lines(run.logs / "litellm.jsonl"):
        model = prices[call["model_group"]]
        usd = call["prompt_tokens"] * model.usd_input + call["completion_tokens"] * model.usd_output
        assert call["response_cost"] == pytest.approx(usd / 1e6, abs=1e-9)
        assert call["total_tokens"] == call["prompt_tokens"] + call["completion_tokens"]


def test_every_layer_speaks_of_the_same_requests(run: SimulatedRun) -> None:
    """Kills a layer whose request ids do not join to the others."""
    router = {call["trace_id"] for call in json_lines(run.logs / "litellm.jsonl")}
    outcomes = {record["traceId"] for record in records(run.logs / "outcomes.jsonl")}
    assert len(router) == N
    assert outcomes == router
    assert {span["traceId"] for span in spans(run.logs / "agent-spans.jsonl")} == router
    assert {span["traceId"] for span in spans(run.logs / "serving-spans.jsonl")} < router
    assert {line["request_id"] for line in json_lines(run.logs / "rollouts.jsonl")} < router


def test_the_truth_cannot_be_read_from_the_logs(run: SimulatedRun) -> None:
    """Kills a hidden probability or the verifier's propensity that leaks into a log."""
    assert run.truth is not None
    assert run.logs not in run.truth.parents
    drawn = draw_world(seed=11, knobs=Knobs(requests=N))
    hidden = set(drawn.requests.quality.tolist())
    agent = json_lines(run.logs / "agent-spans.jsonl")
    assert not any("propensit" in key for key, _ in leaves(agent))
    words = ("quality", "potential", "truth", "net", "counterfactual")
    for name in ("litellm.jsonl", "agent-spans.jsonl", "serving-spans.jsonl", "rollouts.jsonl"):
        for line in json_lines(run.logs / name):
            for key, value in leaves(line):
                assert key.split(".")[-1] not in words, (name, key)
                assert not (isinstance(value, float) and value in hidden), (name, key)


def test_unlabelled_requests_are_absent_from_the_outcomes_only(tmp_path: Path) -> None:
    """Kills a label share that also drops requests."""
    partly = simulate(tmp_path, seed=11, knobs=Knobs(requests=N, label_share=0.5))
    labelled = len({record["traceId"] for record in records(partly.logs / "outcomes.jsonl")})
    assert 0.35 * N < labelled < 0.65 * N
    assert len(json_lines(partly.logs / "litellm.jsonl")) == N


@pytest.mark.parametrize(
    "wrong",
    [
        {"requests": 3},
        {"tenants": 1},
        {"label_share": 0.0},
        {"actions": 7},
        {"steps": 9},
        {"overlap": 0.0},
        {"event_rate": 0.5},
        {"icc": 1.0},
        {"judge_bias": 2.0},
        {"hidden": 0.5},
        {"hidden": 2.0, "steps": 4},
        {"corrupt": -0.1},
        {"keep_share": 0.0},
        {"loss_tail": 1.0},
        {"latency_tail": 0.5},
        {"inject": ("overspending",)},
        {"inject": ("over_routing",), "null": True},
        {"requests": float("nan")},
    ],
)
def test_knobs_that_make_no_world_are_refused(wrong: dict[str, Any]) -> None:
    """Kills: a silent empty world, or a world other than the one that was asked for."""
    with pytest.raises(ConfigError, match="simulate"):
        Knobs(**wrong)


def test_a_folder_with_other_logs_is_refused(tmp_path: Path) -> None:
    """Kills: plain logs beside packed ones of an earlier run, which readers would add up."""
    simulate(tmp_path, seed=1, knobs=Knobs(requests=60), with_truth=False)
    simulate(tmp_path, seed=2, knobs=Knobs(requests=60), with_truth=False)
    with pytest.raises(ConfigError, match="without other logs"):
        simulate(tmp_path, seed=1, knobs=Knobs(requests=60), compress=True, with_truth=False)
