"""CVaR against its definition, DoubleML and known truth; shares that add up."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from risks import arms_of, loss_world
from shadowprice.estimators.cvar import Cvar, cvar, euler_shares, excess_over, value_at_risk
from shadowprice.estimators.risk_mean import Excess, difference, excess_loss
from worlds import LARGE, SMALL


def known(frame: pl.DataFrame, arm: str, beta: float) -> Cvar:
    """The CVaR of an arm that has one."""
    found = cvar(arms_of(frame)[arm], beta=beta)
    assert isinstance(found, Cvar), found
    return found


def graded(seed: int, n: int) -> pl.DataFrame:
    """Losses of 1 to 9 USD, each seen often: they have a ceiling."""
    frame = loss_world(seed, n=n, small=0.2, large=0.3, tail=None)
    return frame.with_columns(loss_usd=pl.col("loss_usd") * (pl.int_range(pl.len()) % 9 + 1))


def test_under_the_logged_choices_it_is_the_minimum_over_eta() -> None:
    """Kills a quantile of the wrong tail: Rockafellar and Uryasev's objective, minimised over all losses."""
    frame = graded(1, 1000)
    loss = frame["loss_usd"].to_numpy()
    least = min(eta + np.maximum(loss - eta, 0).mean() / 0.1 for eta in np.unique(loss))
    found = known(frame, "logged", 0.9)
    assert found.interval.value == pytest.approx(least)
    assert found.value_at_risk == np.quantile(loss, 0.9, method="inverted_cdf")


def test_keep_prob_stands_for_the_decisions_that_were_not_kept() -> None:
    """Kills weights that stop at the quantile: incidents kept by half equal the same rows twice."""
    frame = graded(2, 800).with_columns(pl.when("incident").then(0.5).otherwise(1.0).alias("keep_prob"))
    loss, weight = frame["loss_usd"].to_numpy(), 1 / frame["keep_prob"].to_numpy()
    least = min(eta + np.average(np.maximum(loss - eta, 0), weights=weight) / 0.1 for eta in np.unique(loss))
    assert known(frame, "logged", 0.9).interval.value == pytest.approx(least)


def test_rare_losses_have_a_value_at_risk_of_0_and_a_cvar_of_their_mean_divided() -> None:
    """Kills a tail that is cut where it carries everything."""
    arm = arms_of(loss_world(3, n=4000, small=0.01, large=0.01, tail=None))[SMALL]
    found, mean = cvar(arm, beta=0.95), excess_loss(arm, above=0.0)
    assert isinstance(found, Cvar)
    assert isinstance(mean, Excess)
    assert found.value_at_risk == 0.0
    assert found.interval.value == pytest.approx(difference(mean, None).value / 0.05)


def test_the_value_at_risk_of_an_arm_is_its_own_not_that_of_its_logged_rows() -> None:
    """Kills a quantile without weights: hard cases went to `large`, its logged losses are too frequent."""
    arm = arms_of(loss_world(4, n=40_000, small=0.1, large=0.1, slope=2.0))[LARGE]
    truth = (0.1 / 0.05) ** (1 / 2.5)
    logged = float(np.quantile(arm.losses.loss[arm.took], 0.95))
    assert value_at_risk(arm, beta=0.95) == pytest.approx(truth, rel=0.03)
    assert logged > 1.07 * truth


def test_shares_add_up_and_are_linear_in_the_choices() -> None:
    """Kills shares against an arm's own quantile: with the portfolio's they add up to CVaR - eta*."""
    parts = arms_of(loss_world(5, n=4000, small=0.2, large=0.1, slope=1.0))
    whole = cvar(parts["logged"], beta=0.95)
    assert isinstance(whole, Cvar)
    arms = (parts[LARGE], parts[SMALL])
    excesses = [excess_over(arm, whole.value_at_risk) for arm in arms]
    found = [e for e in excesses if isinstance(e, Excess)]
    shares = euler_shares(tuple(found), whole, beta=0.95)
    own = np.where(arms[0].took, shares[:, 0], shares[:, 1])
    assert own.mean() == pytest.approx(whole.interval.value - whole.value_at_risk)
    assert (shares >= 0).all()
    assert shares[:, 1].mean() == pytest.approx(2 * shares[:, 0].mean(), rel=0.4)


def test_doubleml_finds_the_same() -> None:
    """Kills a wrong score: another library's CVaR of the same potential loss, to half a standard error."""
    doubleml = pytest.importorskip("doubleml", reason="doubleml is not installed")
    linear = pytest.importorskip("sklearn.linear_model")
    frame = loss_world(6, n=3000, small=0.5, large=0.5, tail=8.0, slope=0.5)
    ours = known(frame, LARGE, 0.9)
    data = frame.select("x_a", loss="loss_usd", arm=(pl.col("action") == LARGE).cast(pl.Float64)).to_pandas()
    model = doubleml.DoubleMLCVAR(
        doubleml.DoubleMLData(data, "loss", "arm"),
        ml_g=linear.LinearRegression(),
        ml_m=linear.LogisticRegression(),
        treatment=1,
        quantile=0.9,
    )
    model.fit()
    assert ours.interval.value == pytest.approx(float(model.coef[0]), abs=0.5 * float(model.se[0]))


@pytest.mark.slow
def test_intervals_of_heavy_tailed_losses_cover() -> None:
    """Kills tails without uncertainty: Pareto(2.5), 60 worlds, confounded. At a true 95 % fewer than 52 hits
    have probability 0.4 %; a mean error beyond three of its own standard errors and the 3 % that the penalty
    on heavy tails may cost has less."""
    truths = np.array([0.1 * 2.5 / 1.5, (0.1 / 0.05) ** 0.4 / 0.6])
    errors, hits = [], np.zeros(2)
    for seed in range(60):
        arm = arms_of(loss_world(seed, n=3000, small=0.1, large=0.1, slope=1.0))[LARGE]
        tail, mean = cvar(arm, beta=0.95), excess_loss(arm, above=0.0)
        assert isinstance(tail, Cvar), tail
        assert isinstance(mean, Excess), mean
        found = (difference(mean, None), tail.interval)
        hits += [f.lower <= t <= f.upper for f, t in zip(found, truths, strict=True)]
        errors.append([f.value for f in found] / truths - 1)
    assert (hits >= 52).all()
    noise = np.std(errors, axis=0, ddof=1) / np.sqrt(60)
    assert (np.abs(np.mean(errors, axis=0)) < 3 * noise + 0.03).all()
