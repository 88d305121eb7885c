"""False discovery control against statsmodels and its own definition."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, stats
from shadowprice.reports.multiplicity import (
    adjusted_in_families,
    benjamini_hochberg,
    dependence_factor,
    e_value,
    selected_level,
    sequence_reach,
)
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


def test_p_values_under_any_dependence_equal_those_of_statsmodels() -> None:
    """Kills a factor that is off by one."""
    p = np.random.default_rng(1).beta(0.4, 1.0, size=23)
    expected = multipletests(p, method="fdr_by")[1]
    ours = np.minimum(1.0, np.array(benjamini_hochberg(p.tolist())) * dependence_factor(p.size))
    assert ours.tolist() == pytest.approx(expected.tolist(), abs=1e-15)


@pytest.mark.parametrize("n", [1.0, 50.0, 2_000.0])
@pytest.mark.parametrize("mean", [0.0, -0.5, -3.0])
def test_evidence_is_worth_one_at_most_where_nothing_can_be_gained(n: float, mean: float) -> None:
    """Kills a lost 2, square root or normal probability, without which a false finding is free."""

    def weighed(z: float) -> float:
        return e_value(z, n) * float(stats.norm.pdf(z, loc=mean))

    expected, _ = integrate.quad(weighed, -60.0, 60.0, points=[mean, mean + 10.0], limit=400)
    if mean == 0.0:
        assert expected == pytest.approx(1.0, abs=1e-6)
    else:
        assert 0.0 < expected < 1.0


def test_evidence_at_its_ends_is_a_number() -> None:
    """Kills an overflow, and infinity minus infinity where a p-value is 0 or 1."""
    assert e_value(-np.inf, 100.0) == 0.0
    assert e_value(np.inf, 100.0) > 1e300
    assert 0.0 <= e_value(-50.0, 100.0) < 0.02


def test_a_sequence_holds_at_every_look_where_a_plain_interval_does_not() -> None:
    """Kills a reach that forgets log(1 + s): of 1,000 growing samples at 60 looks, 5 % may ever miss."""
    steps = np.random.default_rng(4).normal(size=(1000, 60, 50))
    n = 50.0 * np.arange(1, 61)
    z = np.abs(steps.sum(axis=2).cumsum(axis=1)) / np.sqrt(n)
    reach = np.array([sequence_reach(k, level=0.95) for k in n.tolist()])
    assert (z > reach).any(axis=1).mean() <= 0.05
    assert (z > 1.96).any(axis=1).mean() > 0.25
