"""Prices that caps imply: truth of a known world, slackness, refusals, the gain at equal spend."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import polars as pl
import pytest
from shadowprice.estimators.prices.duals import Duals, Programme, fit_duals, logged_loads, prices_of
from shadowprice.estimators.prices.market import Market, PointMarket, point_market, stacked, worth_of
from shadowprice.estimators.prices.recalibrated import recalibrated
from shadowprice.estimators.problem import only_problem
from shadowprice.estimators.scores import score
from shadowprice.ingest.simulator.capped import RISK_USD, TASK_VALUE, cap_truth, capped_world
from shadowprice.schemas.config import Config, parse_config

CONFIG = parse_config({"prices": {"task_value": f"{TASK_VALUE} USD/task", "risk": f"{RISK_USD} USD/event"}})
FREE, LOGGED = np.inf, np.nan


@lru_cache(maxsize=4)
def point(n: int = 2000, seed: int = 0) -> PointMarket:
    """The market of a world with three actions."""
    found = point_market(score(only_problem(capped_world(n, seed=seed), CONFIG), seed=0), CONFIG, seed=0)
    assert isinstance(found, PointMarket)
    return found


def duals(caps: tuple[float, float, float], *points: PointMarket, draws: int = 40) -> Duals:
    """The duals of one programme over all points given, or over the first world."""
    each = points or (point(),)
    programme = Programme(points=tuple(range(len(each))), caps=np.array(caps))
    (found,) = fit_duals(each, [programme], CONFIG, seed=0, draws=draws)
    return found


def test_the_price_of_a_binding_cap_holds_the_truth() -> None:
    """Kills a dual of raw predictions (winner's curse) and a lost cap."""
    truth = cap_truth((0.5, FREE, FREE))
    found = duals(tuple(truth.caps.tolist()), draws=60)
    cost, latency, _ = found.mu
    assert cost.value is not None
    assert cost.lower is not None
    assert cost.upper is not None
    assert cost.lower < truth.mu[0] < cost.upper
    assert cost.lower > 0
    assert latency.value is None
    assert latency.reason == "no cap limits it"
    assert found.prices[0].value == pytest.approx(1 + cost.value, rel=0.05)
    assert found.gain.lower is not None
    assert found.gain.upper is not None
    assert found.gain.lower < truth.gain < found.gain.upper


def test_a_slack_cap_is_priced_0_with_its_reason() -> None:
    """Kills a price above 0 for a cap that the best policy does not reach."""
    found = duals((10.0, FREE, FREE), draws=20)
    assert found.mu[0].value == 0.0
    assert "slack" in (found.mu[0].reason or "")
    assert found.prices[0].value == 1.0


def test_prices_are_in_dollars_of_net_value() -> None:
    """Kills a latency price that is not divided by the price of a dollar (METHODS 0.1b)."""
    assert prices_of(np.array([1.0, 0.5, 8.0])).tolist() == [2.0, 0.25, 4.0]


def test_a_cap_that_cannot_be_kept_is_explained() -> None:
    """Kills a number where no mixture of the open actions keeps the cap."""
    found = duals((1e-6, FREE, FREE), draws=5)
    assert all(d.value is None for d in (*found.mu, found.gain))
    assert "cap on mean cost cannot be kept" in (found.reason or "")


def test_a_cap_on_what_is_not_known_is_refused() -> None:
    """Kills a latency cap that is dropped in silence when no latency is logged."""
    frame = capped_world(1500, seed=1).drop("latency_s")
    found = point_market(score(only_problem(frame, CONFIG), seed=0), CONFIG, seed=0)
    assert isinstance(found, PointMarket)
    refused = duals((FREE, 1.0, FREE), found, draws=5)
    assert refused.reason == "latency of the actions is not known"


def test_without_a_task_value_there_is_no_market() -> None:
    """Kills a default V."""
    found = point_market(score(only_problem(capped_world(600, seed=0), Config()), seed=0), Config(), seed=0)
    assert isinstance(found, str)
    assert "no task value" in found


def test_one_action_is_no_market() -> None:
    """Kills a market of one action, whose multipliers are all 0 for no reason."""
    frame = capped_world(900, seed=0).filter(pl.col("action") == "basic")
    found = point_market(score(only_problem(frame, CONFIG), seed=0), CONFIG, seed=0)
    assert isinstance(found, str)
    assert "only one action" in found


def test_one_cluster_is_no_market() -> None:
    """Kills an interval from a single cluster, and a reason that blames the actions."""
    frame = capped_world(900, seed=0).with_columns(session_id=pl.lit("s"))
    found = point_market(score(only_problem(frame, CONFIG), seed=0), CONFIG, seed=0)
    assert isinstance(found, str)
    assert "10 effective clusters" in found


def test_the_logged_policy_spends_what_it_spent() -> None:
    """Kills scores weighted by something else than the policy's own probabilities."""
    frame = capped_world(2000, seed=0)
    logged = frame.select(pl.col("cost_usd", "latency_s", "incident").cast(pl.Float64).mean()).row(0)
    assert logged_loads(point().market) == pytest.approx(np.array(logged), rel=0.1)


def test_two_points_share_one_budget() -> None:
    """Kills points that are priced apart where they share caps, and clusters that are counted twice."""
    one, two = point(2000, 0), point(2000, 1)
    both = stacked([one.market, two.market])
    assert len(both.weight) == len(one.market.weight) + len(two.market.weight)
    assert both.clusters == one.market.clusters  # the same session ids
    found = duals((LOGGED, FREE, FREE), one, two, draws=5)
    expected = (logged_loads(one.market)[0] + logged_loads(two.market)[0]) / 2
    assert found.caps[0] == pytest.approx(expected)


def test_recalibration_takes_out_a_ranking_that_is_noise() -> None:
    """Kills predictions used as they are: noise ranks decisions, and its best looks better than it is."""
    made = point().market
    rng = np.random.default_rng(0)
    noisy = made.predicted + rng.normal(0.0, 0.3, size=made.predicted.shape)
    loud = Market(**{f: getattr(made, f) for f in made.__slots__} | {"predicted": noisy})
    calm = recalibrated(loud)
    best = [float(worth_of(m, m.predicted).max(axis=1).mean()) for m in (made, calm, loud)]
    assert best[2] > best[0] + 0.2
    assert best[1] < best[0] + 0.05
    means = [np.average(p, axis=0, weights=made.weight) for p in (calm.predicted, made.score)]
    assert means[0] == pytest.approx(means[1], abs=0.15)


def test_the_same_seed_gives_the_same_prices() -> None:
    """Kills a draw from an unseeded generator."""
    first, second = (duals((0.2, FREE, FREE), draws=8) for _ in range(2))
    assert first.mu == second.mu
