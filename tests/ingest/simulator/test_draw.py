"""Worlds: bounded probabilities, null worlds without stakes, and draws that follow recorded propensities."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats
from shadowprice.ingest.simulator.draw import draw_world
from shadowprice.ingest.simulator.knobs import Knobs
from shadowprice.ingest.simulator.settings import CLASSES
from shadowprice.ingest.simulator.truth import quantities
from shadowprice.ingest.simulator.world import World


def world(*, seed: int = 1, **knobs: Any) -> World:
    return draw_world(seed=seed, knobs=Knobs(**knobs))


@pytest.mark.parametrize("null", [False, True])
def test_every_combination_of_actions_leaves_probabilities_between_0_and_1(null: bool) -> None:
    """Kills effects that are too large to add up, which would make the truth wrong by clipping."""
    drawn = world(null=null)
    for name in ("quality", "incident"):
        low, high = getattr(drawn.requests, name).copy(), getattr(drawn.requests, name).copy()
        for point in drawn.points:
            low[point.request] += getattr(point, name).min(axis=1)
            high[point.request] += getattr(point, name).max(axis=1)
        assert low.min() > 0
        assert high.max() < 1


def test_in_a_null_world_all_actions_have_the_same_net_value_though_costs_differ() -> None:
    """Kills a null world that misallocates, or one that is null only because nothing differs."""
    drawn = world(null=True)
    for point in drawn.points:
        per_action = quantities(drawn, point)
        assert np.ptp(per_action["net"], axis=1).max() < 1e-9
        assert np.ptp(per_action["cost"], axis=1).min() > 0.01


def test_an_ordinary_world_has_stakes_where_the_settings_put_them_and_nowhere_else() -> None:
    """Kills an even class that was given stakes, and a class with stakes that was made even."""
    drawn = world()
    spread = np.ptp(quantities(drawn, drawn.router)["net"], axis=1)
    for index, kind in enumerate(CLASSES):
        inside = spread[drawn.requests.task == index]
        assert (inside.max() < 1e-9) == (kind.by_model is None)


def test_draws_follow_the_recorded_propensities_over_seeds() -> None:
    """Kills a draw from other probabilities than those recorded (say, before rounding or flooring)."""
    for name in ("router", "verify", "reuse"):
        scores: list[float] = []
        for seed in range(12):
            point = getattr(world(seed=seed, requests=1500), name)
            for k in range(len(point.actions)):
                e = point.propensity[:, k]
                for part in np.array_split(np.argsort(e), 5):
                    spread = (e * (1 - e))[part].sum()
                    if spread > 0:
                        scores.append(((point.taken == k)[part] - e[part]).sum() / np.sqrt(spread))
        assert stats.kstest(scores, "norm").pvalue > 1e-3, name
        assert abs(np.std(scores) - 1) < 0.25, name


def test_the_rule_of_refunds_leaves_one_action_open_and_all_others_randomise() -> None:
    """Kills a deterministic class that explores, and a randomised one without overlap."""
    drawn = world()
    ruled = np.array([c.router is None for c in CLASSES])[drawn.requests.task]
    e = drawn.router.propensity
    assert set(np.unique(e[ruled])) == {0.0, 1.0}
    assert e[~ruled].min() > 0.03
    assert np.allclose(e.sum(axis=1), 1)
    for point in (drawn.verify, drawn.reuse):
        assert point.propensity.min() > 0.05


def test_harder_tasks_get_more_verification_so_that_the_naive_contrast_misleads() -> None:
    """Kills a world without confounding, in which any estimator would look good."""
    drawn = world()
    inside = drawn.requests.task == 1
    hard = drawn.requests.x_difficulty[inside]
    verified = drawn.verify.taken[inside] == 1
    assert hard[verified].mean() > hard[~verified].mean() + 0.1
    assert drawn.requests.quality[inside][verified].mean() < drawn.requests.quality[inside][~verified].mean()
