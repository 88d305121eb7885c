"""What counts as a loss, and the scores of an arm against the formula written out row by row."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from risks import arms_of, loss_world
from shadowprice.estimators.losses import ArmLosses, Losses, incident_score, read_losses, score
from worlds import LARGE, SMALL, decisions


def test_a_loss_is_an_incident_and_an_incident_without_a_loss_is_unknown() -> None:
    """Kills null read as 0 USD, a positive loss without its incident, and nothing read as no incident."""
    frame = decisions(
        6,
        incident=[True, True, False, None, None, None],
        loss_usd=[5.0, None, None, None, 3.0, 0.0],
    )
    found = read_losses(frame)
    assert isinstance(found, Losses)
    np.testing.assert_array_equal(found.incident, [1, 1, 0, np.nan, 1, 0])
    np.testing.assert_array_equal(found.loss, [5, np.nan, 0, np.nan, 3, 0])


def test_only_what_cannot_be_undone_is_an_irreversible_loss() -> None:
    """Kills a flag read the wrong way round, and an unknown flag taken for reversible."""
    frame = decisions(
        4,
        incident=[True, True, True, False],
        loss_usd=[5.0, 6.0, 7.0, 0.0],
        reversible=[True, False, None, None],
    )
    found = read_losses(frame, irreversible=True)
    assert isinstance(found, Losses)
    np.testing.assert_array_equal(found.incident, [0, 1, np.nan, 0])
    np.testing.assert_array_equal(found.loss, [0, 6, np.nan, 0])
    assert read_losses(frame.with_columns(reversible=pl.lit(None)), irreversible=True) == (
        "no decision says whether it is reversible"
    )


def test_without_incidents_and_losses_in_the_log_there_is_a_reason() -> None:
    """Kills absence of a column read as absence of harm."""
    nothing = decisions(3, incident=[None] * 3, loss_usd=[None] * 3)
    assert read_losses(nothing) == "neither incident nor loss_usd is logged"


def tiny(arm: ArmLosses, strength: float) -> np.ndarray:
    """The score one row at a time, from the docstring."""
    loss = arm.losses.loss
    out = []
    for i in range(loss.size):
        others = [
            j for j in np.flatnonzero(arm.took & (arm.losses.incident == 1)) if arm.folds[j] != arm.folds[i]
        ]
        weights = [arm.h[j] * arm.w[j] for j in others]
        mu = arm.p[i] * np.average([loss[j] for j in others], weights=weights)
        f = loss[i] if arm.took[i] else 0.0
        o, w = arm.own[i], arm.w[i]
        out.append(o * f + strength * ((1 - o) * mu + (w - o) * (f - mu)))
    return np.array(out)


@pytest.mark.parametrize("strength", [1.0, 1.5])
def test_scores_are_the_formula_row_by_row(strength: float) -> None:
    """Kills a severity from a row's own fold, a lost propensity, or a bound that moves own outcomes."""
    frame = loss_world(1, n=300, small=0.3, large=0.3).with_columns(keep_prob=pl.lit(0.5))
    arm = arms_of(frame)[LARGE]
    loss = np.where(arm.hits, arm.losses.loss, 0.0)
    np.testing.assert_allclose(score(arm, loss, strength=strength), tiny(arm, strength))


def test_scores_are_right_when_the_incident_model_is_wrong() -> None:
    """Kills reliance on the model: with known propensities any p gives the same mean up to noise."""
    frame = loss_world(2, n=20_000, small=0.1, large=0.05, tail=None, slope=1.5)
    arm = arms_of(frame)[LARGE]
    wrong = replace(arm, p=np.full(arm.p.size, 0.4))
    mean = incident_score(wrong).mean()
    assert mean == pytest.approx(0.05, abs=0.006)
    assert incident_score(arm).mean() == pytest.approx(0.05, abs=0.006)
    naive = float(np.average(arm.losses.incident[arm.took]))
    assert naive > 0.058


def test_unknown_severities_are_made_up_for_by_the_known_ones() -> None:
    """Kills unknown losses counted as 0: half of the severities are erased, the mean stays."""
    frame = loss_world(3, n=20_000, small=0.2, large=0.2, tail=None)
    hide = pl.Series(np.random.default_rng(0).random(frame.height) < 0.5)
    hidden = frame.with_columns(loss_usd=pl.when(hide & pl.col("incident")).then(None).otherwise("loss_usd"))
    arm = arms_of(hidden)[SMALL]
    loss = np.where(arm.hits, arm.losses.loss, 0.0)
    assert np.average(score(arm, loss), weights=arm.h) == pytest.approx(0.2, abs=0.015)


def test_the_logged_choices_need_no_weights() -> None:
    """Kills propensities in the description of what happened."""
    frame = loss_world(4, n=500, small=0.2, large=0.2, slope=1.0)
    arm = arms_of(frame)["logged"]
    np.testing.assert_allclose(score(arm, np.nan_to_num(arm.losses.loss)), frame["loss_usd"].to_numpy())


def test_a_largest_loss_seen_five_times_is_a_ceiling() -> None:
    """Kills a ceiling read off one extreme loss."""
    priced = arms_of(loss_world(5, n=400, tail=None))
    assert priced[SMALL].ceiling() == 1.0
    assert arms_of(loss_world(5, n=400))[SMALL].ceiling() is None
