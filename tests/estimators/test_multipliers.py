"""Multipliers of caps: against the whole linear programme, slack caps, caps out of reach."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import sparse
from scipy.optimize import linprog
from shadowprice.estimators.prices.multipliers import Multipliers, best_actions, multipliers

Array = NDArray[np.float64]
NAMES = ("cost", "latency")


def stakes(seed: int, n: int = 120) -> tuple[Array, Array, Array]:
    """Random worth with closed actions, positive loads and uneven weights."""
    rng = np.random.default_rng(seed)
    worth = rng.normal(size=(n, 3)) + np.arange(3)
    worth[:, 1:][rng.random((n, 2)) < 0.15] = -np.inf
    load = rng.lognormal(size=(n, 3, 2)) * np.arange(1, 4)[None, :, None]
    return worth, load, rng.uniform(0.5, 2.0, size=n)


def whole_programme(worth: Array, load: Array, weight: Array, caps: Array) -> tuple[Array, float]:
    """Marginals of the caps and the optimum from the programme over all n x K mixtures."""
    n, k = worth.shape
    share = weight / weight.sum()
    is_open = np.isfinite(worth).ravel()
    gain = (np.where(np.isfinite(worth), worth, 0.0) * share[:, None]).ravel()
    bound = np.isfinite(caps)
    found = linprog(
        -gain,
        A_ub=(load * share[:, None, None]).reshape(n * k, -1).T[bound],
        b_ub=caps[bound],
        A_eq=sparse.kron(sparse.eye(n), np.ones((1, k))),
        b_eq=np.ones(n),
        bounds=np.column_stack([np.zeros(n * k), is_open.astype(float)]),
        method="highs",
    )
    assert found.status == 0
    out = np.zeros(caps.size)
    out[bound] = -found.ineqlin.marginals
    return out, -float(found.fun)


@pytest.mark.parametrize("shares", [(0.6, 0.8), (0.8, np.inf), (np.inf, 0.5), (3.0, 0.7)])
def test_they_are_the_marginals_of_the_programme_over_all_mixtures(shares: tuple[float, float]) -> None:
    """Kills a wrong sign, a lost weight, a cut that is not a bound: HiGHS on n x K variables disagrees."""
    worth, load, weight = stakes(1)
    free = best_actions(worth, load, np.zeros(2))
    used = np.average(load[np.arange(len(worth)), free], axis=0, weights=weight)
    caps = np.array(shares) * used
    found = multipliers(worth, load, weight, caps, names=NAMES)
    assert isinstance(found, Multipliers)
    mu, optimum = whole_programme(worth, load, weight, caps)
    assert found.optimum == pytest.approx(optimum, abs=2e-6)
    assert found.mu == pytest.approx(mu, rel=2e-2, abs=1e-3)  # one piece of the dual is that wide


def test_a_cap_that_is_not_reached_has_multiplier_0() -> None:
    """Kills a price for a slack cap (complementary slackness, paper Eq. 3)."""
    worth, load, weight = stakes(2)
    found = multipliers(worth, load, weight, np.array([1e3, np.inf]), names=NAMES)
    assert isinstance(found, Multipliers)
    assert found.mu.tolist() == [0.0, 0.0]
    assert found.optimum == pytest.approx(np.average(worth.max(axis=1), weights=weight))


def test_a_cap_out_of_reach_is_explained_with_what_could_be_reached() -> None:
    """Kills an endless search or a huge price where no choice keeps the cap."""
    worth, load, weight = stakes(3)
    found = multipliers(worth, load, weight, np.array([np.inf, 1e-3]), names=NAMES)
    assert isinstance(found, str)
    assert "cap on mean latency cannot be kept" in found
    assert "0.001" in found


def test_caps_that_exclude_each_other_are_explained() -> None:
    """Kills a multiplier at the end of the search range when each cap alone could be kept."""
    worth, weight = np.zeros((50, 2)), np.ones(50)
    load = np.zeros((50, 2, 2))
    load[:, 0, 0] = load[:, 1, 1] = 1.0  # one action uses the first, the other the second
    found = multipliers(worth, load, weight, np.array([0.4, 0.4]), names=NAMES)
    assert isinstance(found, str)
    assert "at once" in found


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.floats(0.01, 100.0))
def test_dollars_in_another_unit_change_multipliers_in_proportion(seed: int, scale: float) -> None:
    """Kills a tolerance or a bound that depends on the unit of worth."""
    worth, load, weight = stakes(seed, n=60)
    caps = np.array([0.7, 0.7]) * np.average(load[:, 0], axis=0, weights=weight) * 2.0
    one = multipliers(worth, load, weight, caps, names=NAMES)
    other = multipliers(worth * scale, load, weight, caps, names=NAMES)
    if isinstance(one, str):
        assert one == other
        return
    assert isinstance(other, Multipliers)
    assert other.optimum == pytest.approx(one.optimum * scale, abs=1e-5 * scale)
