"""False discovery control against statsmodels and its own definition."""

from __future__ import annotations

import numpy as np
import pytest
from shadowprice.reports.multiplicity import adjusted_in_families, benjamini_hochberg, selected_level
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


def test_families_are_selected_before_their_tests_are() -> None:
    """Kills control within each family alone: .03 is a discovery at 10 % alone, among five families none."""
    quiet = [[0.6, 0.9], [0.5], [0.7, 0.8], [0.95]]
    assert adjusted_in_families([[0.03, 0.5], *quiet]).adjusted[0][0] > 0.1
    found = adjusted_in_families([[0.001, 0.5], *quiet])
    assert found.share == pytest.approx(1 / 5)
    assert found.adjusted[0] == pytest.approx((0.01, 1.0))  # 2 tests times 5 families
    assert min(p for family in found.adjusted[1:] for p in family) > 0.1


def test_a_second_family_with_a_discovery_eases_the_first() -> None:
    """Kills a plain Bonferroni over families, which ignores how many were selected."""
    both = adjusted_in_families([[0.001], [0.015], [0.9], []])
    assert both.share == pytest.approx(2 / 3)
    assert [len(family) for family in both.adjusted] == [1, 1, 1, 0]
    assert [family[0] for family in both.adjusted[:3]] == pytest.approx([0.0015, 0.0225, 1.0])


def test_a_discovery_is_made_in_exactly_the_selected_families() -> None:
    """Kills a family that is selected and then finds nothing, or the reverse."""
    rng = np.random.default_rng(3)
    for _ in range(300):
        families = [rng.beta(0.3, 1.0, size=rng.integers(0, 6)).tolist() for _ in range(7)]
        judged = adjusted_in_families(families)
        found = sum(any(p <= 0.1 for p in family) for family in judged.adjusted)
        tested = sum(bool(family) for family in families)
        assert judged.share == pytest.approx(max(found, 1) / max(tested, 1))


def test_no_effect_anywhere_means_few_discoveries() -> None:
    """Kills seven families at 10 % each, which would find something in every second quiet log."""
    rng = np.random.default_rng(5)
    quiet = [[rng.uniform(size=4).tolist() for _ in range(7)] for _ in range(2000)]
    alarms = sum(min(p for f in adjusted_in_families(w).adjusted for p in f) <= 0.1 for w in quiet)
    assert 0.07 < alarms / 2000 < 0.13
