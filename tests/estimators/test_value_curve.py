"""The value of each cap around where it is: concave, its slope the multiplier, out of reach explained."""

from __future__ import annotations

import numpy as np
import polars as pl
from shadowprice.estimators.prices.duals import logged_loads
from shadowprice.estimators.prices.value_curve import SHARES, value_curve

from tests.estimators.test_duals import point


def test_the_curve_is_concave_with_the_multiplier_as_its_slope() -> None:
    """Kills a curve of another programme, and multipliers in another unit than the cap."""
    made = point().market
    curve = value_curve(made, 0.5 * logged_loads(made) * np.array([1.0, np.inf, np.inf]))
    assert curve["quantity"].to_list() == ["cost"] * len(SHARES)
    cap, gain, slope = (curve[c].to_numpy() for c in ("cap", "gain_usd", "multiplier"))
    chords = np.diff(gain) / np.diff(cap)
    assert (np.diff(gain) >= -1e-6).all()
    assert (np.diff(slope) <= 1e-3).all()
    assert (chords <= slope[:-1] + 1e-3).all()  # a concave curve lies below its tangents
    assert (chords >= slope[1:] - 1e-3).all()


def test_free_and_unknown_quantities_have_no_curve() -> None:
    """Kills rows for what nothing limits."""
    made = point().market
    assert value_curve(made, np.full(3, np.inf)).is_empty()


def test_a_cap_that_cannot_be_kept_says_so() -> None:
    """Kills a gain beyond the reach of the open actions."""
    made = point().market
    least = float(made.predicted[:, :, 1].min(axis=1).mean())
    curve = value_curve(made, np.array([1.06 * least, np.inf, np.inf]))
    lost = curve.filter(pl.col("gain_usd").is_null())
    assert 1 <= lost.height < len(SHARES)
    assert lost["reason"].str.contains("cannot be kept").all()
    assert curve.filter(share=1.0)["gain_usd"].to_list() == [0.0]


def test_without_a_feasible_cap_there_is_no_curve() -> None:
    """Kills a curve around a cap that no choice keeps."""
    assert value_curve(point().market, np.array([1e-4, np.inf, np.inf])).is_empty()
