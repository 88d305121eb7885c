"""LiteLLM: its own router, classifier and cost functions load what is exported, and choose as Eq. 1 does."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import statsmodels.api as sm
import yaml
from hypothesis import given
from hypothesis import strategies as st
from shadowprice.reports.exports.export import TARGETS, differences, made_for
from shadowprice.reports.exports.list_prices import FILE_KEYS
from shadowprice.reports.exports.litellm import PRICES, ROUTERS, THRESHOLDS
from shadowprice.reports.exports.litellm_adaptive import Weights, adaptive_weights
from shadowprice.reports.exports.litellm_capability import threshold
from shadowprice.reports.exports.platt import Platt, platt
from shadowprice.reports.exports.supply import FORECAST, Supply
from shadowprice.schemas.config import parse_config

from tests.reports.exports_supply import GOOD, LEVELS, MODELS, VALUED, model, supplied, token_prices
from tests.reports.factory import PRICED, UNPRICED, Case

USD = st.floats(1e-8, 1e-4)
SUCCESS = st.floats(0.01, 0.99)


@pytest.fixture(scope="module")
def litellm() -> Iterator[Any]:
    """LiteLLM with the price map that it ships, not the one that it would fetch."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")
        yield pytest.importorskip("litellm")


def read(supply: Supply, name: str) -> Any:
    text = made_for(supply, "litellm").files[name]
    assert isinstance(text, str)
    return yaml.safe_load(text)


def scored(quality: float, cost: float, prices: list[float], weights: Weights) -> float:
    """The score of bandit.py in LiteLLM 1.110, written down by hand."""
    lo, hi = min(prices), max(prices)
    return weights.quality * quality + weights.cost * (1 - (cost - lo) / (hi - lo))


def worth(value: float, quality: float, price: float, tokens: float) -> float:
    """Eq. 1 without latency and risk."""
    return value * quality - price * tokens


def random_router(
    models: list[tuple[float, float]], value: float, tokens: float
) -> tuple[Weights, list[float]] | None:
    """Weights fitted to candidates (quality, USD per input token) whose costs are price times tokens."""
    prices = [price for _, price in models]
    named = {f"m{k}": price for k, price in enumerate(prices)}
    costs = {(f"m{k}", "m0"): (price - prices[0]) * tokens for k, price in enumerate(prices) if k}
    found = adaptive_weights(value, named, costs)
    return None if isinstance(found, str) else (found, prices)


@given(st.lists(st.tuples(SUCCESS, USD), min_size=2, max_size=5), st.floats(0.5, 50), st.floats(100, 1e5))
def test_the_weights_choose_as_the_net_value_does(
    models: list[tuple[float, float]], value: float, tokens: float
) -> None:
    """Kills: q = V / (hi - lo), a forgotten T, weights that swap quality and cost."""
    made = random_router(models, value, tokens)
    if made is None:
        return
    weights, prices = made
    best = max(models, key=lambda m: worth(value, *m, tokens))
    chosen = max(models, key=lambda m: scored(*m, prices, weights))
    loss = worth(value, *best, tokens) - worth(value, *chosen, tokens)
    slack = 2e-6 * (value + (max(prices) - min(prices)) * tokens)  # the weights are rounded to 1e-6
    assert loss <= slack
    assert weights.residual < 1e-6


def test_the_score_of_litellm_is_the_one_that_the_weights_are_fitted_to(litellm: Any) -> None:
    """Kills: a formula that another release of LiteLLM no longer follows."""
    from litellm.router_strategy.adaptive_router.bandit import score

    rng = np.random.default_rng(5)
    for _ in range(200):
        k = int(rng.integers(2, 6))
        models = [
            (float(q), float(p)) for q, p in zip(rng.random(k), rng.uniform(1e-7, 1e-5, k), strict=True)
        ]
        made = random_router(models, 10.0, 2e4)
        assert made is not None
        weights, prices = made
        theirs = [score(q, p, prices, weights.quality, weights.cost) for q, p in models]
        assert theirs == pytest.approx([scored(q, p, prices, weights) for q, p in models])
        best = max(range(k), key=lambda i: worth(10.0, *models[i], 2e4))
        assert theirs[best] == pytest.approx(max(theirs), abs=2e-6)


@pytest.mark.parametrize("name", ["frontier", "os.environ/HOME", 'a"b: ${HOME} - &x'])
@pytest.mark.filterwarnings("ignore:Item.*ReadOnly:UserWarning")  # LiteLLM's own types, on loading its router
def test_the_router_of_litellm_loads_the_entry(litellm: Any, name: str) -> None:
    """Kills: a key that LiteLLM refuses, weights that do not sum to 1, an alias that is a live entry's, a
    model's name that the router takes for a secret of its environment."""
    models = (MODELS[0], replace(MODELS[1], name=name))
    made = read(supplied(replace(GOOD, action=name), models=models), ROUTERS)
    live = [
        {
            "model_name": alias,
            "litellm_params": {"model": "openai/any", "api_key": "none"},
            "model_info": {"input_cost_per_token": price},
        }
        for alias, price in (("cheap", 2.5e-7), (name, 2.5e-6))
    ]
    router = litellm.Router(model_list=[*live, *made["model_list"]])
    ((tagged,),) = router.registry().plugins("adaptive").values()
    loaded = tagged.strategy
    assert loaded.model_to_cost == {"cheap": 2.5e-7, name: 2.5e-6}
    extra = 0.085  # USD; V = 12 USD/task
    assert loaded.config.weights.quality == pytest.approx(12 / (12 + extra), abs=1e-6)
    assert made["model_list"][0]["model_info"]["shadowprice"]["run_id"] == "7f3a"
    assert {e["model_name"] for e in made["model_list"]}.isdisjoint({"cheap", name})


@pytest.mark.parametrize(
    ("supply", "reason"),
    [
        (supplied(config=PRICED), "no term for it"),
        (supplied(config=UNPRICED), "no task value"),
        (supplied(models=MODELS[:1]), "no list price for frontier"),
        (supplied(models=(MODELS[0], model("frontier", None))), "takes a missing price for free"),
        (supplied(models=(MODELS[0], model("frontier", token_prices("0.25", "9")))), "same input price"),
        (supplied(replace(GOOD, theta=(0.05, -0.085, 0.5, 0.0))), "costs less per request"),
        (supplied(replace(GOOD, grade="N", reason="no overlap")), "no extra cost between two models"),
    ],
)
def test_weights_that_would_mislead_are_refused(supply: Supply, reason: str) -> None:
    """Kills: a model without price that wins as free, a risk price that the router silently drops."""
    made = made_for(supply, "litellm")
    assert ROUTERS not in made.files
    assert [one for one in made.skipped if one.name == "adaptive_router_weights" and reason in one.reason]


def test_prices_that_one_weight_cannot_represent_are_announced() -> None:
    """Kills: a residual of a third of the costs that nobody hears of."""
    models = (*MODELS, model("mid", token_prices("1.25", "80")))
    mid = replace(GOOD, action="mid", theta=(0.02, 0.075, 0.2, 0.0))
    made = made_for(supplied(GOOD, mid, models=models), "litellm")
    assert any("cannot represent" in note for note in made.notes)
    assert not any("cannot represent" in note for note in made_for(supplied(), "litellm").notes)


@pytest.mark.parametrize(("risk", "value"), [(0.0, 20.0), (2.0, 10.0)])
def test_the_papers_example_gives_seven_tenths_twice(risk: float, value: float) -> None:
    """Kills: a threshold that forgets the risk, or divides by the wrong price.

    p_cap .9, costs 5 and 1: V = 20 gives .9 - 4 / 20; with risks .01 and .05 at rho = 50 the capable model
    saves 2, and V = 10 gives .9 - (4 - 2) / 10.
    """
    assert threshold(0.9, 4.0 - risk, value) == pytest.approx(0.7)


def test_a_threshold_is_clipped_to_what_the_validator_admits_and_says_so() -> None:
    """Kills: base_threshold + 2 threshold_step > 1, which LiteLLM refuses; a clip that nobody is told of."""
    assert threshold(1.0, -5.0, 1.0, step=0.1) == 0.8
    assert threshold(0.5, 5.0, 1.0) == 0.0
    dear = made_for(supplied(replace(GOOD, theta=(0.05, 50.0, 0.5, 0.0))), "litellm")
    assert any("clipped to 0" in note for note in dear.notes)


def forecasts(n: int = 600, *, slope: float = 1.3, intercept: float = -0.4, seed: int = 3) -> pl.DataFrame:
    """Judged forecasts of the cheap model that are off by a known sigmoid."""
    rng = np.random.default_rng(seed)
    p = rng.uniform(0.05, 0.95, n)
    true = 1 / (1 + np.exp(-(slope * np.log(p / (1 - p)) + intercept)))
    columns = {FORECAST: p, "quality": (rng.random(n) < true).astype(float)}
    return pl.DataFrame({"action": ["cheap"] * n, **columns})


def test_the_calibration_is_the_maximum_likelihood_of_statsmodels() -> None:
    """Kills: a regularised slope, log-odds upside down. Golden: statsmodels GLM, Binomial, same data."""
    data = forecasts()
    p, y = data[FORECAST].to_numpy(), data["quality"].to_numpy()
    golden = sm.GLM(y, sm.add_constant(np.log(p / (1 - p))), family=sm.families.Binomial()).fit(tol=1e-12)
    found = platt(p, y)
    assert isinstance(found, Platt)
    assert [found.intercept, found.slope] == pytest.approx(list(golden.params), rel=1e-7)


@pytest.mark.parametrize(
    ("p", "y", "reason"),
    [
        (np.full(50, 0.5), np.ones(50), "at least 100"),
        (np.full(200, 0.5), np.arange(200) % 2, "are the same"),
        (np.linspace(0.1, 0.9, 200), np.ones(200), "are the same"),
        (np.linspace(0.1, 0.9, 200), (np.linspace(0.1, 0.9, 200) > 0.5) * 1.0, "separate|outside"),
        (
            np.linspace(0.1, 0.9, 200),
            (np.linspace(0.9, 0.1, 200) + np.tile([0, 0.2], 100) > 0.5) * 1.0,
            "outside",
        ),
    ],
)
def test_forecasts_that_cannot_be_calibrated_are_refused(p: Any, y: Any, reason: str) -> None:
    """Kills: a slope of -3 or of infinity in a router's configuration."""
    found = platt(p, y.astype(float))
    assert isinstance(found, str)
    assert any(part in found for part in reason.split("|"))


def test_the_classifier_of_litellm_takes_the_fragment_and_routes_as_eq_4_does(litellm: Any) -> None:
    """Kills: an extra key, a version that is refused, a threshold on the other side."""
    from litellm.router_strategy.complexity_router.config import CapabilityClassifierConfig

    made = read(supplied(forecasts=forecasts()), THRESHOLDS)
    (fragment,) = made.values()
    loaded = CapabilityClassifierConfig(efficient_tier="SIMPLE", capable_tier="REASONING", **fragment)
    assert loaded.calibration is not None
    assert loaded.calibration.version == "shadowprice-7f3a"
    (capable,) = (one for one in LEVELS if one.action == "frontier")
    assert capable.value is not None
    for raw in np.linspace(0.01, 0.99, 99):
        p = 1 / (1 + math.exp(-(fragment["calibration"]["slope"] * math.log(raw / (1 - raw))
                                + fragment["calibration"]["intercept"])))  # fmt: skip
        assert loaded.calibration.calibrate(float(raw)) == pytest.approx(p)
        net = 12 * (capable.value - p) - 0.085  # Eq. 1 for the capable model over the efficient one
        if abs(net) > 1e-4:
            assert (p >= loaded.base_threshold) == (net < 0)


def test_a_complexity_router_of_litellm_loads_with_the_fragment(litellm: Any) -> None:
    """Kills: a fragment that its class takes and the router around it refuses."""
    from litellm.router_strategy.complexity_router.config import ComplexityRouterConfig

    (fragment,) = read(supplied(), THRESHOLDS).values()
    tiers = {"SIMPLE": "cheap", "MEDIUM": "cheap", "COMPLEX": "frontier", "REASONING": "frontier"}
    own = {"efficient_tier": "SIMPLE", "capable_tier": "REASONING", **fragment}
    made = ComplexityRouterConfig.model_validate(
        {
            "classifier_type": "capability",
            "tiers": tiers,
            "classifier_llm_config": {"model": "judge"},
            "capability_classifier_config": own,
        }
    )
    assert made.capability_classifier_config is not None
    assert made.capability_classifier_config.base_threshold == fragment["base_threshold"]


def test_without_a_task_value_nothing_is_set_and_the_formula_is_told() -> None:
    """Kills: an invented V."""
    made = made_for(supplied(config=UNPRICED), "litellm")
    assert THRESHOLDS not in made.files
    (told,) = (one.reason for one in made.skipped if one.name == "base_threshold")
    assert "base_threshold = 0.750 - 0.085 USD / V" in told


def test_latency_and_risk_are_in_the_threshold() -> None:
    """Kills: an extra that is the token cost alone. V = 12, lambda = .002, rho = 40."""
    case = Case(theta=(0.05, 0.085, 0.5, 0.001), sd=(0.004, 0.002, 0.05, 0.0001))
    (fragment,) = read(supplied(case, config=PRICED), THRESHOLDS).values()
    assert fragment["base_threshold"] == pytest.approx(
        0.75 - (0.085 + 0.002 * 0.5 + 40 * 0.001) / 12, abs=1e-6
    )


def test_a_contrast_the_other_way_round_gives_the_same_threshold() -> None:
    """Kills: the dearer model taken for the efficient one because it is the baseline."""
    turned = Case(
        action="cheap",
        baseline="frontier",
        theta=(-0.05, -0.085, -0.5, -0.001),
        sd=(0.004, 0.002, 0.05, 0.0001),
    )
    straight = replace(turned, action="frontier", baseline="cheap", theta=(0.05, 0.085, 0.5, 0.001))
    made, other = (made_for(supplied(case, config=PRICED), "litellm") for case in (straight, turned))
    assert made.files[THRESHOLDS] == other.files[THRESHOLDS]
    assert [(e.lower, e.upper) for e in made.evidence] == [
        (e.lower and pytest.approx(e.lower), e.upper and pytest.approx(e.upper)) for e in other.evidence
    ]


def test_the_overlay_costs_what_the_list_prices_say(litellm: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kills: a price per million in a field per token, and a shadow price in a cost field."""
    overlay: Mapping[str, Any] = json.loads(str(made_for(supplied(config=PRICED), "litellm").files[PRICES]))
    monkeypatch.setattr(litellm, "model_cost", dict(litellm.model_cost))
    own = {f"openai/shadowprice-test-{name}": {**entry, "litellm_provider": "openai", "mode": "chat"}
           for name, entry in overlay.items()}  # fmt: skip
    litellm.register_model(own, persist_across_reloads=False)
    cost = litellm.cost_per_token(
        model="openai/shadowprice-test-cheap", prompt_tokens=1_000_000, completion_tokens=500_000
    )
    assert cost == pytest.approx((0.25, 1.0))
    fields = {key for entry in overlay.values() for key in entry}
    assert fields <= {*FILE_KEYS.values(), "source"}
    assert all("run 7f3a" in entry["source"] for entry in overlay.values())


def test_each_segment_is_compared_with_its_own_threshold(tmp_path: Path) -> None:
    """Kills: the threshold of one task class judged by that of another in the same file."""
    config = parse_config(
        {"prices": {"task_value": "12 USD/task", "task_value_by_class": {"a": "1 USD/task"}}}
    )
    segment = "x_task_class=a"
    own = replace(GOOD, segment=segment, theta=(0.05, 0.5, 0.5, 0.0))
    levels = (*LEVELS, *(replace(one, segment=segment) for one in LEVELS))
    source = supplied(GOOD, own, config=config, levels=levels)
    made = made_for(source, "litellm")
    assert {row["base_threshold"] for row in read(source, THRESHOLDS).values()} == {0.25, 0.742917}
    path = tmp_path / THRESHOLDS
    path.write_text(str(made.files[THRESHOLDS]))
    found = differences(source.offer, made, path, "litellm")
    assert {d.change for d in found if d.key.startswith("capability")} == {"kept"}
    assert all(d.before == d.after for d in found if d.key.startswith("capability"))


def test_a_config_in_use_is_compared_in_its_own_shape() -> None:
    """Kills: a weight inside the new interval that counts as a change, and one outside that does not."""
    config = VALUED
    made = made_for(supplied(config=config), "litellm")
    entry = read(supplied(config=config), ROUTERS)["model_list"][0]
    entry["model_name"] = "their-router"
    text = yaml.safe_dump({"model_list": [entry], "general_settings": {"master_key": "x"}})
    reader = TARGETS["litellm"].read
    assert reader is not None
    found = reader(text, "config.yaml")
    (weight,) = (e for e in made.evidence if e.key.startswith("adaptive_router"))
    assert found[weight.against] == weight.value
    assert weight.lower is not None
    assert weight.upper is not None
    assert weight.lower < weight.value < weight.upper
