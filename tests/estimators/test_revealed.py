"""Revealed prices: what a log's choices are read as, the noise of predictions, and every refusal in words."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from choosing import BENCH, TRUE, influence, known_behaviour
from shadowprice.estimators.confidence import critical_t
from shadowprice.estimators.prices import attributes
from shadowprice.estimators.prices.attenuation import corrected, strengths
from shadowprice.estimators.prices.attributes import Offers, offers
from shadowprice.estimators.prices.behaviour import Behaviour, behaviour_of
from shadowprice.estimators.prices.break_even import fieller
from shadowprice.estimators.prices.clogit import covariance, fit_choices
from shadowprice.estimators.prices.revealed import REVEALED, price_ratio, prices_of, revealed_prices
from shadowprice.estimators.problem import problems
from shadowprice.estimators.scores import Scores, score
from shadowprice.schemas.config import Config, parse_config
from shadowprice.schemas.records import Price

WEIGHT = np.array([4.0, 2.0, 0.6, 8.0])
"""Prices 2, 0.3 and 4 for a policy whose weight on a dollar is 2."""
SD = np.array([0.4, 0.2, 0.1, 0.8])


def scored(frame: pl.DataFrame) -> Scores:
    return score(next(problems(frame, Config())), seed=0)


def named(prices: tuple[Price, ...]) -> dict[str, Price]:
    assert [p.name for p in prices] == list(REVEALED)
    return {p.name.removeprefix("revealed_"): p for p in prices}


@pytest.fixture(scope="module")
def log() -> pl.DataFrame:
    """3000 choices of a router that trades at the true prices."""
    return BENCH.log(1, n=3000, sharp=1.5)


@pytest.fixture(scope="module")
def scores(log: pl.DataFrame) -> Scores:
    return scored(log)


@pytest.fixture(scope="module")
def found(scores: Scores) -> Offers:
    made = offers(scores, config=Config(), seed=0)
    assert not isinstance(made, str), made
    return made


def test_a_log_reveals_three_prices_with_units_and_intervals_that_hold_the_truth(scores: Scores) -> None:
    """Kills swapped attributes, a flipped sign and a price without its unit."""
    prices = named(revealed_prices(scores, config=Config(), seed=0))
    units = {k: p.unit for k, p in prices.items()}
    assert units == {"latency_price": "USD/s", "risk_price": "USD/event", "task_value": "USD/task"}
    for name, truth in (("latency_price", "λ"), ("risk_price", "ρ"), ("task_value", "V")):
        p = prices[name]
        assert p.lower is not None
        assert p.upper is not None
        assert 0 < p.lower < TRUE[truth] < p.upper, name
        assert (p.source, p.grade, p.n, p.clusters) == ("revealed", "C", 3000, 3000)
        assert "corrected for noise" in (p.method or "")


def test_dollars_in_cents_make_every_price_a_hundred_times_as_large(
    log: pl.DataFrame, scores: Scores
) -> None:
    """Kills a unit inside the fit."""
    cents = log.with_columns(pl.col("cost_usd") * 100)
    small, large = (named(revealed_prices(s, config=Config(), seed=0)) for s in (scores, scored(cents)))
    for name in small:
        for end in ("value", "lower", "upper"):
            assert getattr(large[name], end) == pytest.approx(100 * getattr(small[name], end), rel=1e-3)


def test_the_interval_is_fieller_with_the_covariance_of_both_weights() -> None:
    """Kills a delta-method interval and a covariance read from the wrong row."""
    rng = np.random.default_rng(0)
    noise = influence(rng, SD) @ np.array([[1, 0.6, 0, 0], [0, 1, 0, 0], [0, 0.5, 1, 0], [0, 0, 0, 1.0]])
    fit = known_behaviour(WEIGHT, noise)
    ours, cov = price_ratio(fit, 2), covariance(noise)
    by_hand = fieller(0.6, 2.0, cov[2, 2], cov[2, 1], cov[1, 1], critical_t(399.0), level=0.95)
    assert (ours.value, ours.lower, ours.upper) == (by_hand.value, by_hand.lower, by_hand.upper)


def test_a_factor_on_known_task_values_is_reported_as_dollars_of_the_mean_task() -> None:
    """Kills a value of 1.5 'USD per task' that is a factor on V of 10 USD."""
    noise = influence(np.random.default_rng(1), SD)
    plain, valued = (known_behaviour(WEIGHT, noise, mean_value=v) for v in (1.0, 10.0))
    a, b = (named(prices_of(f))["task_value"] for f in (plain, valued))
    for end in ("value", "lower", "upper"):
        assert getattr(b, end) == pytest.approx(10 * getattr(a, end))
    assert named(prices_of(valued))["latency_price"].value == pytest.approx(0.3)


def test_a_policy_blind_to_cost_has_no_prices() -> None:
    """Kills a price divided by a weight that may be 0."""
    noise = influence(np.random.default_rng(2), SD)
    fit = known_behaviour(np.array([4.0, 0.2, 0.6, 8.0]), noise)
    for p in prices_of(fit):
        assert (p.value, p.lower, p.upper, p.grade) == (None, None, None, "N")
        assert "the choices show no sensitivity to cost" in (p.reason or "")


def test_a_policy_that_likes_to_spend_has_no_prices_either() -> None:
    """Kills a negative price where the dollar itself has the wrong sign."""
    noise = influence(np.random.default_rng(3), SD)
    for p in prices_of(known_behaviour(WEIGHT * [1, -1, 1, 1], noise)):
        assert p.value is None
        assert "favour the dearer action" in (p.reason or "")


def test_a_policy_that_likes_to_wait_has_a_negative_price_and_says_so() -> None:
    """Kills clipping at 0, and a negative price without words."""
    noise = influence(np.random.default_rng(4), SD / 4)
    price = named(prices_of(known_behaviour(WEIGHT * [1, 1, -1, 1], noise)))["latency_price"]
    assert price.value == pytest.approx(-0.3)
    assert "favour the slower action" in (price.reason or "")


def test_noise_of_predictions_is_taken_out_of_the_weights() -> None:
    """Kills attenuation: predictions of cost are half noise, those of quality and risk a twelfth, so that
    prices without the correction are half as large again (means of 40 worlds)."""
    naive, ours, noise = [], [], BENCH.SPREAD * np.array([0.3, 1.0, 0.3, 0.3])
    for seed in range(40):
        data, rng = BENCH.choices(500 + seed), np.random.default_rng(seed)
        clean = data.x[:, :, :4]
        x = data.x.copy()
        x[:, :, :4] += rng.normal(size=clean.shape) * noise
        noisy = replace(data, x=x)
        fit = fit_choices(noisy)
        assert not isinstance(fit, str)
        target = clean + rng.normal(size=clean.shape) * BENCH.SPREAD
        assert (strengths(fit, noisy, target) > 100).all()
        naive.append(fit.beta[:4])
        ours.append(corrected(fit, noisy, target)[0])
    truth = np.array([2.0, 1.0, 0.3, 4.0])
    before, after = (np.mean(b, axis=0) / truth for b in (naive, ours))
    assert (before[[0, 2, 3]] / before[1] > 1.5).all()
    # Utility that the attributes cannot explain flattens all weights alike: ratios are what counts.
    np.testing.assert_allclose(after / after[1], 1.0, atol=0.1)


def test_the_interval_knows_that_the_correction_is_estimated() -> None:
    """Kills an influence function without the slope's: noisier scores must widen the interval."""
    data, rng = BENCH.choices(700), np.random.default_rng(0)
    fit = fit_choices(data)
    assert not isinstance(fit, str)
    clean = data.x[:, :, :4]
    noisy = clean + rng.normal(size=clean.shape) * BENCH.SPREAD * 3
    exact, loose = (covariance(corrected(fit, data, t)[1]) for t in (clean, noisy))
    np.testing.assert_allclose(exact, fit.cov[:4, :4], rtol=1e-6, atol=1e-12)
    assert (np.diag(loose) > 1.5 * np.diag(exact)).all()


def test_an_attribute_that_predictions_cannot_tell_is_refused_alone(found: Offers) -> None:
    """Kills a price of risk read off predictions that are mere noise."""
    shuffled = np.random.default_rng(0).permuted(found.target[:, :, 3], axis=0)
    target = found.target.copy()
    target[:, :, 3] = shuffled
    fit = behaviour_of(_with(found, target=target))
    assert isinstance(fit, Behaviour)
    prices = named(prices_of(fit))
    assert prices["risk_price"].value is None
    assert "does not verify that risk differs" in (prices["risk_price"].reason or "")
    assert prices["latency_price"].value is not None
    assert "without risk" in (prices["latency_price"].method or "")


def test_costs_that_only_differ_between_actions_drop_the_constants_and_say_so() -> None:
    """Kills a price from constants: list prices per action are collinear with one constant per action."""
    frame = BENCH.log(2, n=3000, sharp=1.5)
    flat = {"haiku": 0.2, "sonnet": 0.4, "opus": 0.6}
    frame = frame.with_columns(cost_usd=pl.col("action").replace_strict(flat, return_dtype=pl.Float64))
    prices = revealed_prices(scored(frame), config=Config(), seed=0)
    assert all("no constant per action" in (p.method or "") for p in prices if p.value is not None)
    assert any(p.value is not None for p in prices)


def test_a_cost_that_no_action_shows_leaves_nothing_to_price_in(found: Offers) -> None:
    """Kills dollars made of nothing."""
    fit = behaviour_of(_with(found, known=np.array([True, False, True, True])))
    assert fit == "cost is not known for every action"


def test_an_unlogged_quality_leaves_seconds_and_risk_their_price(log: pl.DataFrame) -> None:
    """Kills one missing outcome that takes all prices with it."""
    prices = named(revealed_prices(scored(log.drop("quality")), config=Config(), seed=0))
    assert prices["task_value"].value is None
    assert "quality is not known" in (prices["task_value"].reason or "")
    assert prices["latency_price"].value is not None


def test_explored_decisions_reveal_nothing(log: pl.DataFrame) -> None:
    """Kills reading a preference off a coin: explorations are left out and counted."""
    marked = log.with_columns(exploration=pl.Series(np.arange(log.height) % 5 == 0))
    made = offers(scored(marked), config=Config(), seed=0)
    assert not isinstance(made, str)
    assert made.choices.n == log.height - 600
    assert "600 decisions left out, 600 of them explorations" in made.notes


@pytest.mark.parametrize("ruled", [False, True])
def test_an_action_that_was_no_candidate_was_not_turned_down(log: pl.DataFrame, ruled: bool) -> None:
    """Kills a preference against an action that was not on offer, whoever chose."""
    some = [["haiku", "sonnet", "opus"] if i % 2 else ["haiku", "sonnet"] for i in range(log.height)]
    frame = log.drop("propensities", "propensity", "propensity_source")
    frame = frame.with_columns(candidates=pl.Series(some)).filter(
        pl.col("action").is_in(pl.col("candidates"))
    )
    if ruled:
        frame = frame.with_columns(propensity_source=pl.lit("deterministic"))
    made = offers(scored(frame), config=Config(), seed=0)
    assert not isinstance(made, str)
    assert made.fixed == ruled
    offered = frame.sort("decision_id")["candidates"].list.len().to_numpy()
    assert (made.choices.open.sum(axis=1) == offered).all()
    assert not made.choices.open[offered == 2, made.arms.index("opus")].any()


def test_known_task_values_enter_the_choice_and_rows_without_one_do_not(log: pl.DataFrame) -> None:
    """Kills V that is set and then ignored."""
    classes = log.with_columns(x_task_class=pl.Series(np.where(np.arange(log.height) % 3, "a", "b")))
    config = parse_config({"prices": {"task_value_by_class": {"a": "7 USD/task"}}})
    made = offers(scored(classes), config=config, seed=0)
    assert not isinstance(made, str)
    assert (made.choices.n, made.mean_value) == (2000, 7.0)
    assert "V of each task from user" in made.notes


def test_a_long_log_is_sampled_with_its_seed_and_says_so(
    scores: Scores, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kills a run that takes hours, and a sample that nobody is told about."""
    monkeypatch.setattr(attributes, "MAX_CHOICES", 500)
    first, again, other = (offers(scores, config=Config(), seed=s) for s in (1, 1, 2))
    assert isinstance(first, Offers)
    assert isinstance(again, Offers)
    assert isinstance(other, Offers)
    assert first.choices.n == 500
    assert "500 of 3000 choices, drawn with seed 1" in first.notes
    assert (first.choices.chosen == again.choices.chosen).all()
    assert (first.choices.x != other.choices.x).any()


def test_one_action_alone_is_refused_with_a_row_per_price() -> None:
    """Kills missing rows: who asks for a price gets it or the reason."""
    frame = BENCH.log(3, n=60).with_columns(action=pl.lit("opus")).drop("propensities", "candidates")
    frame = frame.with_columns(propensity=pl.lit(1.0))
    for p in revealed_prices(scored(frame), config=Config(), seed=0):
        assert p.value is None
        assert "fewer than two actions" in (p.reason or "")


def _with(found: Offers, **changes: object) -> Offers:
    return replace(found, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cost_usd": pl.col("latency_s")}, "attributes move together"),
        ({"cost_usd": pl.lit(0.0)}, "cost does not differ"),
        ({"cost_usd": pl.lit(None, dtype=pl.Float64)}, "cost is not known"),
        ({"session_id": pl.lit("one")}, "effective clusters"),
        ({"latency_s": pl.lit(1.0)}, "latency does not differ"),
    ],
)
def test_a_log_without_what_a_price_of_a_second_needs_is_refused_in_words(
    log: pl.DataFrame, change: dict[str, pl.Expr], words: str
) -> None:
    """Kills a number from unpriced, constant or indistinguishable columns, and from one session."""
    frame = log.head(600).with_columns(**change)
    price = named(revealed_prices(scored(frame), config=Config(), seed=0))["latency_price"]
    assert (price.value, price.grade) == (None, "N")
    assert words in (price.reason or "")
