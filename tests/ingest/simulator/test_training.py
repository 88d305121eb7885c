"""The simulated trainer: each law against its formula, and the dollars of keeping stale rollouts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy import optimize, stats
from shadowprice.errors import ConfigError
from shadowprice.ingest.simulator.training import (
    BUDGETS,
    TrainSettings,
    stale_usd,
    stops_at_lag,
    train_path,
)

LARGE = TrainSettings(runs=20, updates=50, rollouts=40)


def slopes(columns: list[np.ndarray], y: np.ndarray) -> np.ndarray:
    """Least squares of y on the columns with an intercept, naively; the intercept last."""
    design = np.column_stack([*columns, np.ones(y.size)])
    return np.linalg.lstsq(design, y, rcond=None)[0]


def test_the_mean_signal_follows_its_formula_at_every_lag_and_difficulty() -> None:
    """Kills decay per update instead of per lag, or a difficulty that shifts the average."""
    path = train_path(LARGE, seed=1)
    lag, x = path.rollouts["version_lag"].to_numpy(), path.rollouts["difficulty"].to_numpy()
    expected = 1.0 * 0.88**lag * np.exp(0.2 * x - 0.02)
    assert np.allclose(path.mean_signal.to_numpy(), expected)


def test_logged_signals_scatter_around_their_mean_and_only_kept_rollouts_have_one() -> None:
    """Kills noise with a bias or the wrong spread, and a log that knows what dropped rollouts teach."""
    path = train_path(LARGE, seed=1)
    rows = path.rollouts.with_columns(mean=path.mean_signal)
    assert rows.filter(~pl.col("kept"))["learning_signal"].null_count() == rows.filter(~pl.col("kept")).height
    errors = rows.filter("kept").select(pl.col("learning_signal") - pl.col("mean")).to_series().to_numpy()
    assert abs(errors.mean()) < 4 * 0.3 / np.sqrt(errors.size)
    assert errors.std() == pytest.approx(0.3, rel=0.02)


def test_lag_is_work_plus_jitter_on_average_and_both_parts_move_it_one_for_one() -> None:
    """Kills a lag without the difficulty-linked or without the exogenous part."""
    rows = train_path(LARGE, seed=2).rollouts
    work = 1.5 * np.exp(0.5 * rows["difficulty"].to_numpy())
    jitter, lag = rows["jitter_updates"].to_numpy(), rows["version_lag"].to_numpy().astype(float)
    by_work, by_jitter, rest = slopes([work, jitter], lag)
    assert by_work == pytest.approx(1, abs=0.01)
    assert by_jitter == pytest.approx(1, abs=0.01)
    assert rest == pytest.approx(0, abs=0.02)
    assert jitter.mean() == pytest.approx(3.0, rel=0.03)
    assert abs(stats.spearmanr(jitter, rows["difficulty"].to_numpy()).statistic) < 0.02
    versions = rows["version_trained"] - rows["version_behaviour"]
    assert (versions == rows["version_lag"]).all()


def test_difficulty_confounds_the_decay_and_the_jitter_frees_it() -> None:
    """Kills a world in which the naive slope is right, or one whose instrument is not."""
    settings = replace(LARGE, signal_noise=0.0, hard_signal=0.4, jitter_updates=1.5)
    path = train_path(settings, seed=3)
    log_signal, lag = np.log(path.mean_signal.to_numpy()), path.rollouts["version_lag"].to_numpy()
    naive = slopes([lag], log_signal)[0]
    z = path.rollouts["jitter_updates"].to_numpy()
    by_jitter = np.cov(z, log_signal)[0, 1] / np.cov(z, lag)[0, 1]
    truth = np.log1p(-settings.decay)
    assert naive - truth > 0.04
    assert by_jitter == pytest.approx(truth, abs=0.01)


def test_rollouts_are_kept_with_the_logged_probabilities() -> None:
    """Kills a rule without exploration, or a log with other probabilities than those drawn from."""
    rows = train_path(LARGE, seed=4).rollouts
    assert set(rows["keep_prob"].unique()) == {0.1, 0.9}
    for chance in (0.1, 0.9):
        at = rows.filter(pl.col("keep_prob") == chance)
        assert stats.binomtest(at["kept"].sum(), at.height, chance).pvalue > 1e-3
    assert (rows.filter(pl.col("keep_prob") == 0.1)["version_lag"] > LARGE.keep_lag).all()


def test_advantages_are_rewards_less_their_mean_in_the_update() -> None:
    """Kills a baseline over the whole run."""
    rows = train_path(LARGE, seed=5).rollouts
    mean = pl.col("reward").mean().over("run", "update")
    assert rows.select((pl.col("reward") - mean - pl.col("advantage")).abs().max()).item() < 1e-12
    assert set(rows["reward"].unique()) == {0.0, 1.0}


def test_rewards_follow_the_capability_of_the_version_that_wrote_the_rollout() -> None:
    """Kills rewards of the version that was trained: they are logistic(capability then - difficulty)."""
    path = train_path(replace(LARGE, scale=0.02), seed=6)
    level = path.updates.select("run", pl.col("update").alias("wrote"), "capability")
    rows = path.rollouts.with_columns(wrote=pl.col("version_behaviour").clip(0)).join(
        level, on=["run", "wrote"], how="left", maintain_order="left"
    )
    expected = 1 / (1 + np.exp((rows["difficulty"] - rows["capability"]).to_numpy()))
    score = (rows["reward"].to_numpy() - expected).sum() / np.sqrt((expected * (1 - expected)).sum())
    assert abs(score) < 3.5


def test_capability_grows_by_its_gain_less_what_is_forgotten() -> None:
    """Kills forgetting of the gain, or a path that starts elsewhere in each update."""
    rows = train_path(LARGE, seed=1).updates
    after = rows["capability"] + rows["gain"] - 0.05 * rows["capability"]
    assert np.allclose(after, rows["capability_after"])
    for _, run in rows.group_by("run"):
        assert run["capability"][0] == 0
        assert np.allclose(run["capability"][1:], run["capability_after"][:-1])


def test_randomised_budgets_identify_the_exponents_and_reacting_ones_do_not() -> None:
    """Kills a wrong exponent, and a reaction that does nothing (simultaneity biases upwards)."""
    settings = replace(LARGE, luck=0.3)
    biased = train_path(replace(settings, reaction=1.0), seed=7)
    for path, free in ((train_path(settings, seed=7), True), (biased, False)):
        logs = [np.log(path.updates[name].to_numpy()) for name in BUDGETS]
        found = slopes(logs, np.log(path.updates["gain"].to_numpy()))[:3]
        # sd .3 / (.5 sqrt(1000)) = .019
        assert (np.abs(found - np.array(settings.exponents)).max() < 0.06) == free
    assert found.sum() > sum(settings.exponents) + 0.2


def test_gains_follow_cobb_douglas_on_average() -> None:
    """Kills luck whose mean is not 1."""
    path = train_path(replace(LARGE, luck=0.4), seed=8)
    product = 0.004 * np.prod(
        [path.updates[name].to_numpy() ** a for name, a in zip(BUDGETS, LARGE.exponents, strict=True)], axis=0
    )
    luck = path.updates["gain"].to_numpy() / product
    assert luck.mean() == pytest.approx(1, abs=4 * 0.4 / np.sqrt(luck.size))
    assert np.log(luck).std() == pytest.approx(0.4, rel=0.1)


def test_the_lag_at_which_a_rollout_stops_paying_solves_its_equation() -> None:
    """Kills a threshold with the prices exchanged: 2.0 * 1.0 * 0.88^l = 0.9, solved numerically here."""
    root = optimize.brentq(lambda lag: 2.0 * 0.88**lag - 0.9, 0, 100)
    assert stops_at_lag(TrainSettings()) == pytest.approx(root, abs=1e-9)
    assert stops_at_lag(TrainSettings(decay=0.0)) == np.inf
    assert stops_at_lag(TrainSettings(decay=0.0, keep_usd=3.0)) == -np.inf
    assert stops_at_lag(TrainSettings(keep_usd=3.0)) < 0


def test_stale_dollars_are_the_summed_losses_beyond_that_lag_weighted_by_the_chance_of_keeping() -> None:
    """Kills dollars of fresh rollouts, or of those that the trainer dropped."""
    path = train_path(TrainSettings(runs=2, updates=20, rollouts=10), seed=1)
    total = 0.0
    for row, signal in zip(path.rollouts.iter_rows(named=True), path.mean_signal, strict=True):
        if row["version_lag"] >= 7:  # the threshold is 6.2
            total += row["keep_prob"] * (0.9 - 2.0 * signal)
    assert path.truth.stale_usd == pytest.approx(total)
    assert total > 0
    lag = np.array([1, 20, 30])
    signal, kept = np.array([0.5, 0.1, 0.1]), np.array([True, True, False])
    assert stale_usd(TrainSettings(), lag=lag, mean_signal=signal, kept=kept) == pytest.approx(0.7)


def test_without_decay_nothing_is_lost_to_staleness() -> None:
    """Kills a null world with dollars."""
    assert train_path(TrainSettings(decay=0.0), seed=1).truth.stale_usd == 0


def test_a_stricter_trainer_loses_less() -> None:
    """Kills dollars that ignore the trainer's rule."""
    lost = [train_path(TrainSettings(keep_lag=k), seed=1).truth.stale_usd for k in (6, 10, 40)]
    assert 0 < lost[0] < lost[1] < lost[2]


def test_the_same_seed_repeats_the_path_and_another_does_not() -> None:
    """Kills luck from outside the seed."""
    one, same, other = (train_path(TrainSettings(runs=2), seed=seed) for seed in (1, 1, 2))
    assert one.rollouts.equals(same.rollouts)
    assert one.updates.equals(same.updates)
    assert not one.rollouts.equals(other.rollouts)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"decay": 1.0}, "decay 1.0"),
        ({"signal": 0.0}, "signal 0.0"),
        ({"luck": -0.1}, "luck -0.1"),
        ({"reaction": float("nan")}, "reaction nan"),
        ({"runs": 0}, "runs 0"),
        ({"explore": 0.0}, "explore 0.0"),
        ({"keep_lag": -1}, "keep_lag -1"),
        ({"budgets": (1.0, 0.0, 1.0)}, "budgets"),
        ({"exponents": (0.1, -0.2, 0.1)}, "exponents"),
    ],
)
def test_settings_that_cannot_be_are_refused_at_birth(wrong: dict[str, Any], said: str) -> None:
    """Kills a path of NaN."""
    with pytest.raises(ConfigError, match=said):
        TrainSettings(**wrong)
