"""Stale rollouts: another library, the simulated trainer's truth with and without decay, refusals."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
import statsmodels.api as sm
from scipy import stats
from shadowprice.errors import SchemaError
from shadowprice.estimators.capital.fading import Signals, fit_fading
from shadowprice.estimators.capital.staleness import staleness_prices
from shadowprice.ingest.simulator.training import TrainSettings, train_path

WORLD = TrainSettings(runs=2, updates=28, rollouts=16)


def log(settings: TrainSettings, seed: int) -> pl.DataFrame:
    """The rollouts of a simulated trainer in the decisions layout."""
    rows = train_path(settings, seed=seed).rollouts
    return rows.select(
        decision_id=pl.format("r{}", pl.int_range(pl.len())),
        layer=pl.lit("training"),
        decision_point=pl.lit("keep"),
        action=pl.when("kept").then(pl.lit("keep")).otherwise(pl.lit("drop")),
        version_lag="version_lag",
        update_id=pl.format("run-{}-{}", "run", "update"),
        kept="kept",
        reward="reward",
        x_difficulty="difficulty",
        x_learning_signal="learning_signal",
    )


def signals(frame: pl.DataFrame) -> Signals:
    """The rollouts of `log` as arrays."""
    _, update = np.unique(frame["update_id"].to_numpy().astype(str), return_inverse=True)
    x = frame["x_difficulty"].to_numpy()
    return Signals(
        signal=frame["x_learning_signal"].fill_null(float("nan")).to_numpy(),
        lag=frame["version_lag"].to_numpy().astype(float),
        controls=((x - x.mean()) / x.std())[:, None],
        update=update,
    )


def test_the_equation_is_the_poisson_likelihood_with_a_level_for_every_update() -> None:
    """Kills a wrong score or centring: GLM(Poisson) of statsmodels with a dummy per update; its
    clustered errors are a little below CR3."""
    frame = log(replace(WORLD, signal_noise=0.1, updates=10), seed=1).drop_nulls("x_learning_signal")
    found, rows = signals(frame), frame.height
    dummies = np.eye(int(found.update.max()) + 1)[found.update]
    design = np.column_stack([found.design, dummies])
    y = np.maximum(found.signal, 0.0)
    ours = fit_fading(replace(found, signal=y))
    theirs = sm.GLM(y, design, family=sm.families.Poisson()).fit(
        cov_type="cluster", cov_kwds={"groups": found.update}, tol=1e-12
    )
    assert rows == y.size
    assert not isinstance(ours, str)
    assert ours.theta[:2] == pytest.approx(theirs.params[:2], abs=1e-6)
    assert np.sqrt(np.diag(ours.cov))[:2] == pytest.approx(theirs.bse[:2], rel=0.25)


def test_without_noise_the_truth_is_found_exactly() -> None:
    """Kills a decay per update or a level at the mean lag: eta = -log(1 - delta), level of fresh signals."""
    path = train_path(replace(WORLD, signal_noise=0.0, explore=0.4), seed=2)
    rows = path.rollouts
    found = fit_fading(
        Signals(
            signal=rows["learning_signal"].cast(pl.Float64).fill_null(float("nan")).to_numpy(),
            lag=rows["version_lag"].to_numpy().astype(float),
            controls=rows["difficulty"].to_numpy()[:, None],
            update=(rows["run"] * 28 + rows["update"]).to_numpy(),
        )
    )
    assert not isinstance(found, str)
    fresh = np.exp(0.2 * rows["difficulty"].to_numpy() - 0.02)
    assert found.theta == pytest.approx([-np.log(0.88), 0.2, np.log(fresh.mean())], abs=1e-6)


def test_the_error_of_the_level_is_that_of_leaving_updates_out() -> None:
    """Kills a linearisation that loses the direct part: refits without each update give the same error."""
    found = signals(log(replace(WORLD, updates=8), seed=3))
    whole = fit_fading(found)
    assert not isinstance(whole, str)
    refits = []
    for g in range(16):
        rows = found.update != g
        _, update = np.unique(found.update[rows], return_inverse=True)
        part = fit_fading(
            Signals(
                signal=found.signal[rows], lag=found.lag[rows], controls=found.controls[rows], update=update
            )
        )
        assert not isinstance(part, str)
        refits.append(part.theta)
    moved = np.array(refits) - whole.theta
    assert np.sqrt(np.diag(15 / 16 * moved.T @ moved)) == pytest.approx(np.sqrt(np.diag(whole.cov)), rel=0.15)


def test_decay_and_the_lag_at_which_rollouts_stop_paying_are_recovered() -> None:
    """Kills a lag without the level or the cost: truth log(2 / .9) / -log(.88) = 6.2 versions."""
    path = train_path(WORLD, seed=4)
    decay, lag = staleness_prices(log(WORLD, 4), seed=0, signal_usd=2.0, keep_usd=0.9)
    for price, truth in ((decay, 0.12), (lag, path.truth.stops_at_lag)):
        assert price.lower is not None
        assert price.upper is not None
        assert price.lower < truth < price.upper
        assert price.upper - price.lower < 0.6 * truth


def test_difficulty_that_is_held_constant_does_not_hide_decay() -> None:
    """Kills an unadjusted slope: hard prompts are staler and teach more; the price without them says so."""
    hard = replace(WORLD, hard_signal=0.5, hard_work=0.8, jitter_updates=1.0, updates=60)
    frame = log(hard, 5)
    adjusted, _ = staleness_prices(frame, seed=0)
    naive, _ = staleness_prices(frame.drop("x_difficulty"), seed=0)
    assert adjusted.lower is not None
    assert adjusted.upper is not None
    assert adjusted.lower < 0.12 < adjusted.upper
    assert naive.upper is not None
    assert naive.upper < 0.12
    assert naive.reason is not None
    assert "no difficulty" in naive.reason


def test_an_algorithm_without_decay_is_not_accused() -> None:
    """Kills a decay that must be positive: 0 is in the interval, the reason says so, no lag is made up."""
    decay, lag = staleness_prices(log(replace(WORLD, decay=0.0), 6), seed=0, signal_usd=2.0, keep_usd=0.9)
    assert decay.lower is not None
    assert decay.upper is not None
    assert decay.lower < 0.0 < decay.upper < 0.02
    assert decay.reason is not None
    assert "no decay can be told from 0" in decay.reason
    assert lag.value is None
    assert lag.reason is not None
    assert "there may be no such lag" in lag.reason


def test_a_fresh_rollout_that_does_not_pay_has_a_negative_lag_and_says_so() -> None:
    """Kills a lag clipped at 0."""
    _, lag = staleness_prices(log(WORLD, 7), seed=0, signal_usd=0.5, keep_usd=0.9)
    assert lag.value is not None
    assert lag.value < 0.0
    assert lag.reason is not None
    assert "even a fresh rollout" in lag.reason


def test_the_cost_of_keeping_is_read_off_the_log() -> None:
    """Kills the mean cost of all rollouts: kept less dropped ones, 0.9 USD here."""
    frame = log(WORLD, 8).with_columns(cost_usd=pl.lit(0.1) + 0.9 * pl.col("kept").cast(pl.Float64))
    _, stated = staleness_prices(frame, seed=0, signal_usd=2.0, keep_usd=0.9)
    _, logged = staleness_prices(frame, seed=0, signal_usd=2.0)
    assert logged.value == pytest.approx(stated.value)


def test_a_rollout_that_costs_nothing_more_when_kept_has_no_lag() -> None:
    """Kills a division by a cost of 0: kept and dropped rollouts cost the same."""
    _, lag = staleness_prices(log(WORLD, 8).with_columns(cost_usd=pl.lit(0.1)), seed=0, signal_usd=2.0)
    assert lag.value is None
    assert lag.reason is not None
    assert "set prices.rollout" in lag.reason


def test_signals_may_come_as_outcomes() -> None:
    """Kills a signal that is only read where it is a feature: both give the same prices."""
    frame = log(WORLD, 9)
    outcomes = frame.drop_nulls("x_learning_signal").select(
        "decision_id", name=pl.lit("learning_signal"), value="x_learning_signal"
    )
    other = outcomes.with_columns(name=pl.lit("resolved"), value=pl.lit(1.0))
    told = staleness_prices(frame.drop("x_learning_signal"), seed=0, outcomes=pl.concat([outcomes, other]))
    assert told == staleness_prices(frame, seed=0)


def test_runs_that_number_their_updates_alike_are_kept_apart() -> None:
    """Kills updates of two runs that share one level: 14 ids, but 28 updates."""
    path = train_path(replace(WORLD, updates=14), seed=14).rollouts
    frame = log(replace(WORLD, updates=14), 14)
    alike = frame.with_columns(
        update_id=path["update"].cast(pl.String), x_run=pl.format("run {}", path["run"])
    )
    (apart, _), (told, _) = (staleness_prices(f, seed=0) for f in (frame, alike))
    assert told.clusters == 28
    assert told.value == pytest.approx(apart.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"x_learning_signal": None}, "log the outcome learning_signal"),
        ({"version_lag": None}, "version_lag is not logged"),
        ({"update_id": None}, "update_id is not logged"),
        ({"layer": "serving"}, "no training decision"),
        ({"update_id": "one"}, "1 updates have learning signals"),
        ({"version_lag": 3}, "do not differ enough"),
    ],
)
def test_a_log_that_lacks_something_is_told_what_to_log(change: dict[str, Any], said: str) -> None:
    """Kills a crash, a zero or a silent absence."""
    frame = log(WORLD, 10).with_columns(pl.lit(v).alias(k) for k, v in change.items())
    for price in staleness_prices(frame, seed=0, signal_usd=2.0, keep_usd=0.9):
        assert price.value is None
        assert price.reason is not None
        assert said in price.reason


def test_signals_that_are_not_positive_cannot_fade() -> None:
    """Kills a decay of noise: signals of mean below 0 have no level."""
    frame = log(WORLD, 11).with_columns(x_learning_signal=-pl.col("x_learning_signal"))
    decay, _ = staleness_prices(frame, seed=0)
    assert decay.value is None


@pytest.mark.parametrize("stated", [{"signal_usd": 0.0}, {"keep_usd": -1.0}, {"signal_usd": float("nan")}])
def test_impossible_dollars_are_one_clear_error(stated: dict[str, float]) -> None:
    """Kills logs of nothing."""
    with pytest.raises(SchemaError, match="positive USD"):
        staleness_prices(log(WORLD, 12), seed=0, **stated)


def test_a_negative_lag_is_one_clear_error() -> None:
    """Kills rollouts from the future."""
    with pytest.raises(SchemaError, match="version_lag"):
        staleness_prices(log(WORLD, 12).with_columns(version_lag=pl.lit(-1)), seed=0)


def test_a_large_log_is_sampled_by_whole_updates_and_says_so() -> None:
    """Kills a sample of rows, which would thin every update; the seed fixes it."""
    from shadowprice.estimators.capital.records import bounded

    frame = log(WORLD, 13)
    kept, said = bounded(frame, "update_id", seed=3, limit=300)
    assert kept.height < 500
    assert "whole groups of update_id" in said
    assert (kept.group_by("update_id").len()["len"] == 16).all()
    assert bounded(frame, "update_id", seed=3, limit=300)[0].equals(kept)


@pytest.mark.slow
@pytest.mark.parametrize("truth", [0.0, 0.12])
def test_decay_is_covered_with_and_without(truth: float) -> None:
    """Kills errors of independent rollouts and a bias from noise: 150 worlds. At a true 95 % fewer hits than
    the 0.2 % quantile are not chance."""
    hits = 0
    for seed in range(150):
        decay, _ = staleness_prices(log(replace(WORLD, decay=truth), seed), seed=0)
        assert decay.lower is not None
        assert decay.upper is not None
        hits += decay.lower <= truth <= decay.upper
    assert hits >= stats.binom(150, 0.95).ppf(0.002)
