"""Calibration mends probabilities on decisions it has not seen, and does not learn noise."""

from __future__ import annotations

import numpy as np
import pytest
from shadowprice.estimators.calibration import calibrated

Array = np.ndarray


def choices(seed: int, n: int, arms: int = 2) -> tuple[Array, Array, Array]:
    """True probabilities (n, arms), choices drawn from them, and folds."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, arms))
    e = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    taken = (rng.random(n)[:, None] > e.cumsum(axis=1)).sum(axis=1)
    return e, np.minimum(taken, arms - 1), rng.integers(5, size=n)


def sharpened(e: Array, power: float) -> Array:
    """Probabilities that are too sure of themselves."""
    out = e**power
    return out / out.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(("n", "arms"), [(600, 2), (4000, 2), (1200, 4), (6000, 4)])
def test_overconfident_probabilities_come_back_towards_the_truth(n: int, arms: int) -> None:
    """Kills: calibration that does nothing or turns the wrong way, with few rows and with many."""
    e, taken, folds = choices(0, n, arms)
    sure = sharpened(e, 2.5)
    mended = calibrated(sure, taken, folds, np.ones(n))
    assert np.abs(mended - e).mean() < 0.5 * np.abs(sure - e).mean()
    assert mended.sum(axis=1) == pytest.approx(np.ones(n))


def test_one_temperature_undoes_one_power() -> None:
    """Kills: a temperature that multiplies instead of dividing: at 400 rows per arm p^2 becomes p again."""
    e, taken, folds = choices(1, 800)
    assert np.abs(calibrated(sharpened(e, 2.0), taken, folds, np.ones(800)) - e).mean() < 0.03


@pytest.mark.parametrize("n", [800, 3000])
def test_a_choice_never_calibrates_itself(n: int) -> None:
    """Kills: fitting on the rows that are corrected: flipping fold 0's choices must not move fold 0."""
    e, taken, folds = choices(2, n)
    other = np.where(folds == 0, 1 - taken, taken)
    first, second = (calibrated(e, t, folds, np.ones(n)) for t in (taken, other))
    assert np.array_equal(first[folds == 0], second[folds == 0])
    assert not np.array_equal(first[folds == 1], second[folds == 1])


def test_right_probabilities_of_a_rare_arm_stay_nearly_right() -> None:
    """Kills: blocks so small that most hold no rare choice and say 0: the arm has 4 %, of 3000 rows."""
    rng = np.random.default_rng(3)
    p = 0.08 * rng.random(3000)
    e = np.column_stack([1 - p, p])
    taken = (rng.random(3000) < p).astype(np.int64)
    got = calibrated(e, taken, rng.integers(5, size=3000), np.ones(3000))[:, 1]
    assert np.abs(got - p).mean() < 0.012
    assert (got == 0).mean() < 0.15


def test_rows_weigh_by_what_they_stand_for() -> None:
    """Kills: counting kept rows: choices of arm 1 were kept at 30 %."""
    e, taken, folds = choices(4, 12_000)
    rng = np.random.default_rng(5)
    chance = np.where(taken == 1, 0.3, 1.0)
    kept = rng.random(12_000) < chance
    got = calibrated(e[kept], taken[kept], folds[kept], 1 / chance[kept])
    assert np.abs(got - e[kept]).mean() < 0.03


def test_one_fold_is_left_as_it_is() -> None:
    """Kills: calibrating rows on themselves when there is nothing else."""
    e, taken, _ = choices(6, 100)
    assert np.array_equal(calibrated(e, taken, np.zeros(100, dtype=np.int64), np.ones(100)), e)


def test_the_weights_of_a_rare_end_are_not_made_of_chance() -> None:
    """Kills: blocks without a floor on takers: a block of 20 rows of which none took the arm has weight
    1 / floor. True probabilities in, at least 80 % of the arm's true effective sample size out."""
    e, _, folds = choices(7, 4000)
    steep = sharpened(e, 1.5)
    drawn = (np.random.default_rng(8).random(4000) > steep[:, 0]).astype(np.int64)
    got = np.maximum(calibrated(steep, drawn, folds, np.ones(4000)), 0.5 / np.sqrt(4000))
    sizes = []
    for p in (steep, got):
        w = 1 / p[drawn == 1, 1]
        sizes.append(w.sum() ** 2 / (w**2).sum())
    assert sizes[1] > 0.8 * sizes[0]
