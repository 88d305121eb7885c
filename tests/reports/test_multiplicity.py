"""False discovery control against statsmodels and its own definition."""

from __future__ import annotations

import numpy as np
import pytest
from shadowprice.reports.multiplicity import benjamini_hochberg, selected_level
from statsmodels.stats.multitest import multipletests


@pytest.mark.parametrize("seed", range(5))
def test_adjusted_p_values_equal_those_of_statsmodels(seed: int) -> None:
    """Kills a wrong rank, a missing running minimum or a lost order."""
    p = np.random.default_rng(seed).beta(0.4, 1.0, size=23)
    expected = multipletests(p, method="fdr_bh")[1]
    assert benjamini_hochberg(p.tolist()) == pytest.approx(expected.tolist(), abs=1e-15)


def test_ties_and_the_empty_list_are_handled() -> None:
    """Kills a division by zero and an order that ties upset."""
    assert benjamini_hochberg([]) == ()
    assert benjamini_hochberg([0.02, 0.02, 0.9]) == pytest.approx((0.03, 0.03, 0.9))


def test_the_level_of_selected_intervals_rises_with_selection_and_never_falls_below_the_run() -> None:
    """Kills 1 - q R / m without the floor, and R swapped with m."""
    assert selected_level(1, 20, level=0.95) == pytest.approx(0.995)
    assert selected_level(20, 20, level=0.95) == 0.95
    assert selected_level(0, 0, level=0.95) == 0.95
