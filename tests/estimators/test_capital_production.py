"""What buys capability: the simulated trainer's exponents, the equimarginal test, the frontier, refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
import statsmodels.api as sm
from scipy import optimize, stats
from shadowprice.errors import SchemaError
from shadowprice.estimators.capital.frontier import Frontier, frontier
from shadowprice.estimators.capital.production import Production, production
from shadowprice.ingest.simulator.training import BUDGETS, TrainSettings, train_path

WORLD = TrainSettings(runs=20, updates=40, rollouts=1)
EVEN = replace(WORLD, budgets=(120.0, 80.0, 100.0))
"""Budgets in the ratio of the exponents .3, .2, .25, so that every last dollar adds the same."""
LEVERS = ("sft", "dpo", "rl", "verifier")


def fitted(settings: TrainSettings, seed: int, *, randomised: bool = True) -> Production:
    """The production function of a simulated trainer, which must be there."""
    found = production(train_path(settings, seed=seed).updates, budgets=BUDGETS, randomised=randomised)
    assert isinstance(found, Production)
    return found


def test_exponents_are_least_squares_with_a_level_for_every_run() -> None:
    """Kills a fit without run effects: statsmodels with dummies, clustered errors a little below CR3."""
    updates = train_path(WORLD, seed=1).updates
    found = fitted(WORLD, 1)
    run = updates["run"].to_numpy()
    design = np.column_stack([*(np.log(updates[b].to_numpy()) for b in BUDGETS), np.eye(20)[run]])
    theirs = sm.OLS(np.log(updates["gain"].to_numpy()), design).fit(
        cov_type="cluster", cov_kwds={"groups": run}
    )
    assert [s.value for s in found.exponents.values()] == pytest.approx(theirs.params[:3])
    half = [(s.upper - s.lower) / 2 / stats.t.isf(0.025, 19) for s in found.exponents.values()]
    assert half == pytest.approx(theirs.bse[:3], rel=0.1)


def test_marginal_products_are_the_average_over_updates() -> None:
    """Kills a g / X at the means: a_j times the mean of gain / X_j, capability per USD."""
    updates, found = train_path(WORLD, seed=2).updates, fitted(WORLD, 2)
    for name in BUDGETS:
        mean = (updates["gain"] / updates[name]).mean()
        assert isinstance(mean, float)
        assert found.marginal[name].value == pytest.approx(found.exponents[name].value * mean)
    assert found.best == "verifier_usd"
    assert found.grade == "A"


def test_unequal_last_dollars_are_seen_and_equal_ones_are_not_accused() -> None:
    """Kills a test of equal exponents: verification earns twice what rollouts do; an even split passes."""
    assert (fitted(WORLD, 3).equal_p or 0.0) < 1e-4
    rejected = sum((fitted(EVEN, seed).equal_p or 0.0) < 0.05 for seed in range(60))
    # of 60 tests at 5 % more than 8 reject with probability 0.4 %
    assert rejected <= 8


def test_budgets_that_react_to_progress_are_only_an_association() -> None:
    """Kills a causal claim from reacting budgets: their exponents are biased upwards, and no test is made."""
    found = fitted(replace(WORLD, reaction=1.0), 4, randomised=False)
    assert found.equal_p is None
    assert found.grade == "C"
    assert found.reason is not None
    assert "association" in found.reason
    assert all(found.exponents[n].lower > a for n, a in zip(BUDGETS, WORLD.exponents, strict=True))


def test_a_few_runs_idle_updates_and_fixed_budgets_are_refused_in_words() -> None:
    """Kills a t interval over eleven runs, the log of 0, and a singular design."""
    updates = train_path(WORLD, seed=5).updates
    few = production(updates.filter(pl.col("run") < 11), budgets=BUDGETS, randomised=True)
    idle = production(updates.with_columns(gain=pl.lit(0.0)), budgets=BUDGETS, randomised=True)
    fixed = production(updates.with_columns(update_usd=pl.lit(9.0)), budgets=BUDGETS, randomised=True)
    together = production(
        updates.with_columns(update_usd=2 * pl.col("rollout_usd")), budgets=BUDGETS, randomised=True
    )
    for found, said in (
        (few, "11 runs"),
        (idle, "no log"),
        (fixed, "on their own"),
        (together, "on their own"),
    ):
        assert isinstance(found, str)
        assert said in found


def test_budgets_of_zero_and_missing_columns_are_clear_errors() -> None:
    """Kills log(0) and a KeyError."""
    updates = train_path(WORLD, seed=6).updates
    with pytest.raises(SchemaError, match="verifier_usd is 0"):
        production(updates.with_columns(verifier_usd=pl.lit(0.0)), budgets=BUDGETS, randomised=True)
    with pytest.raises(SchemaError, match="'gain' is missing"):
        production(updates.drop("gain"), budgets=BUDGETS, randomised=True)


@pytest.mark.slow
def test_exponents_are_covered() -> None:
    """Kills errors of independent updates where luck is shared: 200 worlds, three exponents each. At a true
    95 % fewer than 550 of 600 hits have probability below 0.1 %."""
    hits = 0
    for seed in range(200):
        found = fitted(replace(WORLD, runs=12, updates=10), seed)
        hits += sum(
            found.exponents[n].lower <= a <= found.exponents[n].upper
            for n, a in zip(BUDGETS, WORLD.exponents, strict=True)
        )
    assert hits >= 550


def returns(seed: int = 0, *, n: int = 40, mean: tuple[float, ...] = (1.0, 1.0, 1.0, 1.0)) -> np.ndarray:
    """Gains per USD of four levers with sd 1, 1, 2 and 1, independent."""
    return np.random.default_rng(seed).normal(mean, (1.0, 1.0, 2.0, 1.0), (n, 4))


def mixed(gains: np.ndarray, levers: tuple[str, ...] = LEVERS) -> Frontier:
    """The frontier, which must be there."""
    found = frontier(gains, levers, seed=0)
    assert isinstance(found, Frontier)
    return found


def test_the_frontier_starts_at_the_least_variance_and_ends_at_the_best_lever() -> None:
    """Kills shares that do not add up, a frontier that bends back, or a solver stuck at its start."""
    found = mixed(returns(1, mean=(1.0, 1.2, 1.5, 0.8)))
    assert found.shares.sum(axis=1) == pytest.approx(np.ones(9), abs=1e-6)
    assert (found.shares >= 0.0).all()
    assert (np.diff(found.points[:, 0]) > 0).all()
    assert (np.diff(found.points[:, 1]) > -1e-9).all()
    assert found.shares[-1][int(np.argmax(found.mean))] == pytest.approx(1.0, abs=1e-5)
    draws = np.random.default_rng(0).dirichlet(np.ones(4), 20_000)
    variance = np.einsum("pk,kl,pl->p", draws, found.cov, draws)
    assert found.points[0, 1] ** 2 <= variance.min() + 1e-9
    middle = draws[draws @ found.mean >= found.points[4, 0]]
    assert found.points[4, 1] ** 2 <= np.einsum("pk,kl,pl->p", middle, found.cov, middle).min() + 1e-9


def test_the_mix_has_the_most_gain_per_unit_of_risk() -> None:
    """Kills a mix that is only one point of the frontier: another optimiser finds no better ratio."""
    found = mixed(returns(2, mean=(1.0, 0.5, 1.5, 0.2)))

    def ratio(raw: np.ndarray) -> float:
        w = np.exp(raw) / np.exp(raw).sum()
        return -float(w @ found.mean / np.sqrt(w @ found.cov @ w))

    best = min(
        optimize.minimize(ratio, start, method="Nelder-Mead", options={"maxiter": 4000}).fun
        for start in (np.zeros(4), np.array([1.0, 0.0, 1.0, -3.0]))
    )
    own = found.mix @ found.mean / np.sqrt(found.mix @ found.cov @ found.mix)
    assert own == pytest.approx(-best, rel=1e-4)
    assert found.mix.sum() == pytest.approx(1.0)


def test_a_mix_beats_levers_that_scatter_alike_and_not_one_that_is_far_better() -> None:
    """Kills a dominance judged on the runs that made the mix: it would always be 1."""
    even = mixed(returns(3, n=60))
    alone = mixed(returns(3, n=60, mean=(4.0, 0.0, 0.0, 0.0)))
    assert min(even.beats.values()) > 0.8
    assert alone.beats["sft"] < 0.6
    assert alone.mix[0] > 0.8


def test_few_runs_one_lever_and_losses_have_no_frontier() -> None:
    """Kills a covariance from eleven runs and a mix of losses."""
    assert isinstance(frontier(returns(n=11), LEVERS, seed=0), str)
    assert isinstance(frontier(returns()[:, :1], ("sft",), seed=0), str)
    assert frontier(returns(mean=(-9.0, -9.0, -9.0, -9.0)), LEVERS, seed=0) == "no lever gains on average"
    with pytest.raises(SchemaError, match="finite"):
        frontier(np.full((20, 4), np.nan), LEVERS, seed=0)


def test_gains_in_another_unit_give_the_same_shares() -> None:
    """Kills a solver whose tolerance has a unit: gains of a millionth."""
    one, tiny = mixed(returns(4)), mixed(1e-6 * returns(4))
    assert tiny.mix == pytest.approx(one.mix, abs=1e-4)
    assert tiny.shares == pytest.approx(one.shares, abs=1e-3)
