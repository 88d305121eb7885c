"""vLLM Semantic Router: its published schema takes the files, and its selection chooses as Eq. 1 does."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from shadowprice.reports.exports.export import made_for
from shadowprice.reports.exports.multi_factor import factor_weights
from shadowprice.reports.exports.supply import Level, Supply
from shadowprice.reports.exports.vllm_sr import CONFIG, SELECTION, read_vllm_sr
from shadowprice.reports.exports.vllm_sr_evaluation import profile_ids
from shadowprice.schemas.config import parse_config

from tests.reports.exports_supply import (
    GOOD,
    HOSTILE,
    LEVELS,
    MODELS,
    VALUED,
    level,
    model,
    supplied,
    token_prices,
)
from tests.reports.factory import PRICED, UNPRICED

SLOW = parse_config({"prices": {"task_value": "12 USD/task", "latency": "0.01 USD/s"}})
Candidate = tuple[float, float, float]
"""Success, USD per million input tokens, seconds."""


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    """The JSON schema that the router's own package ships."""
    try:
        shipped = files("vllm-sr") or []
    except PackageNotFoundError:
        pytest.skip("vllm-sr is not installed: its schema is in no other package")
    (found,) = (file for file in shipped if file.name == "router-config-v0.3.schema.json")
    return json.loads(found.read_text())


def read(supply: Supply, name: str) -> Any:
    text = made_for(supply, "vllm-sr").files[name]
    assert isinstance(text, str)
    return yaml.safe_load(text)


def score(one: Candidate, among: list[Candidate], weights: Mapping[str, float]) -> float:
    """scoreCandidate of selection/multi_factor.go, written down by hand, without load."""

    def scaled(k: int) -> float:
        lo, hi = min(c[k] for c in among), max(c[k] for c in among)
        return 0.5 if hi - lo <= 0 else (one[k] - lo) / (hi - lo)

    total = weights["quality"] * scaled(0) if weights["quality"] > 0 else 0.0
    for factor, k in (("cost", 1), ("latency", 2)):
        if weights[factor] > 0:
            lo, hi = min(c[k] for c in among), max(c[k] for c in among)
            total += weights[factor] * (0.5 if hi - lo <= 0 else 1 - scaled(k))
    return total


@given(
    st.lists(
        st.tuples(st.floats(0.01, 0.99), st.floats(0.01, 60), st.floats(0.001, 5)), min_size=2, max_size=6
    ),
    st.floats(0.5, 50),
    st.floats(100, 1e5),
    st.floats(0, 0.1),
)
def test_the_selection_chooses_as_the_net_value_does(
    among: list[Candidate], value: float, tokens: float, delay_usd: float
) -> None:
    """Kills: weights without the ranges that the router divides by, T in tokens instead of millions."""
    named = {f"m{k}": c for k, c in enumerate(among)}
    success, prices, delay = ({n: c[k] for n, c in named.items()} for k in range(3))
    weights = factor_weights(value, success, prices, tokens, delay, delay_usd)
    if isinstance(weights, str):
        return
    assert sum(weights.values()) == pytest.approx(1.0)

    def worth(c: Candidate) -> float:
        return value * c[0] - tokens / 1e6 * c[1] - delay_usd * c[2]

    best, chosen = max(among, key=worth), max(among, key=lambda c: score(c, among, weights))
    size = value + tokens / 1e6 * 60 + delay_usd * 5
    assert worth(best) - worth(chosen) <= 1e-9 * size


def test_the_published_schema_takes_the_fragment(schema: dict[str, Any]) -> None:
    """Kills: a key of ours where the router forbids all it does not know, a price per token."""
    made = read(supplied(), CONFIG)
    Draft202012Validator(schema).validate(made)
    cheap, frontier = made["providers"]["models"]
    assert cheap["pricing"] == {
        "currency": "USD",
        "prompt_per_1m": 0.25,
        "completion_per_1m": 2.0,
        "cached_input_per_1m": 0.025,
    }
    assert "cached_input_per_1m" not in frontier["pricing"]
    record = made["evaluation"]["records"][0]
    assert record["metrics"] == pytest.approx({"p_success": 0.7, "p_success_lo": 0.68, "p_success_hi": 0.72})
    assert record["source"] == "shadowprice run 7f3a grade A"
    assert (record["metadata"]["stratum"], record["benchmark"]) == ("all", "shadowprice/success@1")


def test_the_published_schema_takes_the_selection(schema: dict[str, Any]) -> None:
    """Kills: a weight, metric or type that the router does not know."""
    (algorithm,) = read(supplied(config=SLOW), SELECTION).values()
    part = {"$defs": schema["$defs"], "$ref": "#/$defs/AlgorithmConfig"}
    Draft202012Validator(part).validate(algorithm)
    assert algorithm["multi_factor"]["latency_metric"] == "tpot"


def test_the_schema_is_one_that_can_refuse(schema: dict[str, Any]) -> None:
    """Kills: a validation that passes whatever it is given."""
    made = read(supplied(), CONFIG)
    assert list(Draft202012Validator(schema).iter_errors(made | {"shadowprice": {}}))


def test_the_weights_are_those_of_the_formula() -> None:
    """Kills: a latency price per second that meets seconds per token. V 12, T = .085 / 2.25e-6 tokens.

    lambda .01 over .02 s/token times the mean of 400 and 600 tokens.
    """
    made = read(supplied(config=SLOW), SELECTION)["all"]["multi_factor"]["weights"]
    parts = {"quality": 12 * 0.05, "cost": 0.085, "latency": 0.01 * 500 * 0.02, "load": 0.0}
    total = sum(parts.values())
    assert made == pytest.approx({name: part / total for name, part in parts.items()}, abs=1e-6)


def test_ranges_stand_in_a_comment_and_the_match_is_called_local() -> None:
    """Kills: weights that outlive the ranges they were made for."""
    text = made_for(supplied(config=SLOW), "vllm-sr").files[SELECTION]
    head = [line for line in str(text).splitlines() if line.startswith("#")]
    assert any(
        "success 0.7 to 0.75, prompt_per_1m 0.25 to 2.5 USD, tpot 0.01 to 0.03 s" in line for line in head
    )
    assert any("local" in line for line in head)


UNTIMED = tuple(replace(m, tpot_s=None, ttft_s=None) for m in MODELS)
UNKNOWN = replace(LEVELS[1], value=None, lower=None, upper=None, reason="no propensity is logged")
ALIKE = (MODELS[0], model("frontier", token_prices("0.25", "9")))


@pytest.mark.parametrize(
    ("supply", "reason"),
    [
        (supplied(config=PRICED), "a risk price is set"),
        (supplied(config=UNPRICED), "no task value"),
        (supplied(config=SLOW, models=UNTIMED), "do not time every candidate"),
        (supplied(levels=(LEVELS[0], UNKNOWN)), "success of frontier is not known: no propensity"),
        (supplied(models=MODELS[:1]), "no list price for frontier"),
        (supplied(models=ALIKE), "same input price"),
    ],
)
def test_weights_that_would_mislead_are_refused(supply: Supply, reason: str) -> None:
    """Kills: a risk that the router cannot see dropped in silence, a model without success taken for 0."""
    made = made_for(supply, "vllm-sr")
    assert SELECTION not in made.files
    assert [one for one in made.skipped if one.name == "multi_factor_weights" and reason in one.reason]


def test_first_token_times_serve_where_tokens_are_not_timed() -> None:
    """Kills: lambda per second multiplied by tokens although the metric is whole seconds."""
    models = tuple(replace(m, tpot_s=None) for m in MODELS)
    made = read(supplied(config=SLOW, models=models), SELECTION)["all"]["multi_factor"]
    assert made["latency_metric"] == "ttft"
    parts = {"quality": 12 * 0.05, "cost": 0.085, "latency": 0.01 * 0.8}
    assert made["weights"]["latency"] == pytest.approx(parts["latency"] / sum(parts.values()), abs=1e-6)


def test_a_success_that_is_not_identified_has_no_record() -> None:
    """Kills: p_success 0, or that of another segment, for a model whose choices were never random."""
    levels: tuple[Level, ...] = (LEVELS[0], UNKNOWN)
    made = made_for(supplied(levels=levels), "vllm-sr")
    records = yaml.safe_load(str(made.files[CONFIG]))["evaluation"]["records"]
    assert [record["model"] for record in records] == ["cheap"]
    assert any(one.about == "frontier in all" for one in made.skipped)


def test_a_config_in_use_is_compared_in_its_own_shape() -> None:
    """Kills: weights compared before they are scaled to 1, prices of another model, records of others."""
    made = made_for(supplied(config=VALUED), "vllm-sr")
    text = str(made.files[CONFIG])
    prices = {e.key: e.value for e in made.evidence if not e.key.startswith("multi_factor")}
    assert read_vllm_sr(text, "c") == prices
    theirs = """
version: v0.3
providers: {models: [{name: cheap, pricing: {prompt_per_1m: 0.3}}]}
evaluation: {records: [{model: cheap, benchmark: mmlu, metrics: {p_success: 0.1}}]}
routing: {decisions: [{name: d, algorithm: {multi_factor: {weights: {quality: 2, cost: 6}}}}]}
"""
    found = read_vllm_sr(theirs, "c")
    assert found["price/cheap/prompt_per_1m"] == 0.3
    assert (found["multi_factor/quality"], found["multi_factor/cost"]) == (0.25, 0.75)
    assert not [key for key in found if key.startswith("success")]


def whole(selection: dict[str, Any], fragment: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """A complete configuration of a router that took the fragment over."""
    backend = {"endpoint": "127.0.0.1:8000", "protocol": "http"}
    prices = {one["name"]: one["pricing"] for one in fragment["providers"]["models"]}
    models = [{"name": n, "backend_refs": [{"name": "b", **backend}], "pricing": prices[n]} for n in names]
    decision = {
        "name": "default",
        "priority": 1,
        "rules": {"operator": "AND", "conditions": []},
        "modelRefs": [{"model": n} for n in names],
        "algorithm": selection,
    }
    return fragment | {
        "listeners": [{"name": "http", "address": "127.0.0.1", "port": 8899}],
        "providers": {"models": models},
        "routing": {"modelCards": [{"name": n} for n in names], "decisions": [decision]},
    }


PARSE = """
import json, sys, yaml
yaml.SafeLoader = yaml.CSafeLoader  # the catalogue that it validates against has 38,000 lines
from cli.parser import ConfigParseError, parse_user_config
from cli.validator import validate_user_config
try:
    made = parse_user_config(sys.argv[1], log_summary=False)
except ConfigParseError as error:
    print(json.dumps({"errors": [str(error)]}))
else:
    told = validate_user_config(made, log_summary=False) if sys.argv[2] == "references" else []
    errors = [str(error) for error in told]
    print(json.dumps({"errors": errors, **made.model_dump(mode="json", include={"providers", "evaluation"})}))
"""


def parsed(config: dict[str, Any], folder: Path, *, check: str = "shape") -> dict[str, Any]:
    """What the router's own parser makes of a configuration, in a process of its own (it is `cli`)."""
    try:
        files("vllm-sr")
    except PackageNotFoundError:
        pytest.skip("vllm-sr is not installed: its parser is in no other package")
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    done = subprocess.run(
        [sys.executable, "-I", "-c", PARSE, str(path), check], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_routers_own_parser_takes_a_config_with_the_exports(tmp_path: Path) -> None:
    """Kills: a benchmark without profile, domain or version, which it asks for; an index of nothing."""
    source = supplied(config=SLOW)
    fragment, (selection,) = read(source, CONFIG), read(source, SELECTION).values()
    made = parsed(whole(selection, fragment, ["cheap", "frontier"]), tmp_path, check="references")
    assert made["errors"] == []
    assert selection["multi_factor"]["quality"]["index"] in {i["id"] for i in made["evaluation"]["indices"]}
    assert made["providers"]["models"][0]["pricing"]["prompt_per_1m"] == 0.25


def test_the_parser_is_one_that_can_refuse(tmp_path: Path) -> None:
    """Kills: a check by a parser that takes whatever it is given."""
    fragment = read(supplied(), CONFIG)
    fragment["evaluation"]["records"][0]["benchmark"] = "no version"
    assert parsed(whole({"type": "static"}, fragment, ["cheap"]), tmp_path)["errors"]


def test_segments_have_indices_of_their_own() -> None:
    """Kills: two segments whose names differ in punctuation, ranked by one another's success."""
    ids = profile_ids(["all", "x_task=a b", "x_task=a-b", "x_task=ü", "x_task=ö"])
    assert len(set(ids.values())) == 5
    assert all(re.fullmatch("[a-z0-9][a-z0-9-]*", own) for own in ids.values())


def test_a_hostile_name_is_one_text_in_the_config(tmp_path: Path) -> None:
    """Kills: `: &y` or `${HOME}` from a model's name as YAML, or as a variable, of the router."""
    models = (*MODELS, model(HOSTILE, token_prices("1", "4")))
    levels = (*LEVELS, level(HOSTILE, 0.5))
    made = read(supplied(replace(GOOD, action=HOSTILE), models=models, levels=levels), CONFIG)
    meant = HOSTILE.replace("$", "$$")  # the router reads $$ as $, and ${HOME} as its home
    assert meant in [one["name"] for one in made["providers"]["models"]]
    assert meant in [one["model"] for one in made["evaluation"]["records"]]
    loaded = parsed(whole({"type": "static"}, made, ["cheap", meant]), tmp_path)
    assert meant in [one["name"] for one in loaded["providers"]["models"]]
    assert f"price/{HOSTILE}/prompt_per_1m" in read_vllm_sr(yaml.safe_dump(made), "c")
