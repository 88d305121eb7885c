"""The gates: each refuses what it must, at the limit it states, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shadowprice.estimators.gates import (
    MIN_EVENTS,
    count_fault,
    effective_clusters,
    event_fault,
    overlap,
    trim_threshold,
    undecided,
    undecided_fault,
)

NAMES = ("large", "small")


def arms(n_a: int, n_b: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the first action, then rows of the second."""
    took_a = np.arange(n_a + n_b) < n_a
    return took_a, ~took_a


def fault_of(
    e_a: np.ndarray, e_b: np.ndarray, took_a: np.ndarray, took_b: np.ndarray, *, estimated: bool
) -> str | None:
    """The gate of undecided decisions on rows."""
    rarer = min(int(took_a.sum()), int(took_b.sum()))
    return undecided_fault(undecided(e_a, e_b, estimated=estimated), rarer, estimated=estimated)


def test_equal_weights_are_worth_their_number() -> None:
    """Kills another formula of the effective sample size; the smaller arm counts."""
    took_a, took_b = arms(40, 60)
    size = overlap(np.full(100, 3.0), took_a, took_b)
    assert size.ess == pytest.approx(40)
    assert size.max_share == pytest.approx(1 / 40)


def test_one_dominating_weight_is_worth_about_one_decision() -> None:
    """Kills counting rows instead of weights, or looking at one arm only."""
    took_a, took_b = arms(50, 50)
    for heavy in (0, 99):
        w = np.ones(100)
        w[heavy] = 1e6
        size = overlap(w, took_a, took_b)
        assert size.ess == pytest.approx(1.0, abs=0.01)
        assert size.max_share == pytest.approx(1.0, abs=0.01)


def test_an_arm_that_was_never_taken_has_no_effective_sample() -> None:
    """Kills a division by zero, or an answer from one arm."""
    took_a, took_b = arms(10, 0)
    assert overlap(np.ones(10), took_a, took_b).ess == 0.0


@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=20))
def test_effective_clusters_lie_between_one_and_their_number(sizes: list[int]) -> None:
    """Kills counting clusters as equal, or a formula that is not (sum m)^2 / sum m^2."""
    cluster = np.repeat(np.arange(len(sizes)), sizes)
    got = effective_clusters(cluster, np.ones(cluster.size, dtype=bool))
    assert got == pytest.approx(sum(sizes) ** 2 / sum(m * m for m in sizes))
    assert 1 - 1e-9 <= got <= len(sizes) + 1e-9


def test_effective_clusters_look_at_the_rows_of_the_arm_only() -> None:
    """Kills counting clusters in which the action was never taken."""
    cluster = np.arange(20)
    assert effective_clusters(cluster, cluster < 5) == pytest.approx(5)
    assert effective_clusters(cluster, cluster < 0) == 0.0


@pytest.mark.parametrize(("n_a", "n_b", "fault"), [(30, 30, None), (29, 30, "large"), (30, 29, "small")])
def test_thirty_decisions_of_each_action_are_needed(n_a: int, n_b: int, fault: str | None) -> None:
    """Kills another limit, or a limit on the sum of both arms."""
    got = count_fault(np.arange(n_a + n_b), *arms(n_a, n_b), NAMES)
    if fault is None:
        assert got is None
    else:
        assert got == f"29 decisions took {fault} where the other was possible; 30 are needed"


@pytest.mark.parametrize(("clusters", "refused"), [(10, False), (9, True)])
def test_ten_effective_clusters_of_each_action_are_needed(clusters: int, refused: bool) -> None:
    """Kills a t interval on nine clusters."""
    took_a, took_b = arms(90, 90)
    cluster = np.where(took_a, np.arange(180), np.arange(180) % clusters)
    got = count_fault(cluster, took_a, took_b, NAMES)
    assert (got is not None) is refused
    if refused:
        assert got == "9.0 effective clusters took small; 10 are needed"


@pytest.mark.parametrize(
    ("events", "rest", "refused"), [(5, 5, False), (4, 40, True), (40, 4, True), (0, 44, True)]
)
def test_five_events_and_five_non_events_of_each_action_are_needed(
    events: int, rest: int, refused: bool
) -> None:
    """Kills an interval around a rate of 0 or 1, or a gate on one arm or one side only."""
    poor = np.repeat([1.0, 0.0], [events, rest])
    rich = np.repeat([1.0, 0.0], [20, 20])
    for first, second, name in ((poor, rich, "large"), (rich, poor, "small")):
        y = np.concatenate([first, second])
        got = event_fault(y, *arms(first.size, second.size), NAMES)
        assert (got is not None) is refused
        if refused:
            assert got == f"{name} has {events} events and {rest} non-events; {MIN_EVENTS} of each are needed"


def test_events_that_were_not_observed_do_not_count() -> None:
    """Kills reading an unknown label as a non-event."""
    y = np.array([1.0] * 5 + [np.nan] * 50 + [1.0, 0.0] * 20)
    assert "large has 5 events and 0 non-events" in str(event_fault(y, *arms(55, 40), NAMES))


def crump_by_search(e: np.ndarray) -> float:
    """The alpha on a fine grid that minimises the variance bound: mean of g over kept rows / kept share."""
    g = 1 / (e * (1 - e))
    grid = np.linspace(0.0, 0.4999, 5_000)
    cost = [
        g[keep].mean() / keep.mean() if (keep := np.minimum(e, 1 - e) >= a).any() else np.inf for a in grid
    ]
    return float(grid[int(np.argmin(cost))])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("spread", [3.0, 4.0, 6.0])
def test_the_trimming_threshold_minimises_the_variance_that_it_is_derived_from(
    seed: int, spread: float
) -> None:
    """Kills a wrong root of Crump's equation: a brute-force search over alpha keeps the same rows."""
    z = np.random.default_rng(seed).normal(size=300) * spread
    e = np.clip(1 / (1 + np.exp(-z)), 1e-6, 1 - 1e-6)
    ours, theirs = trim_threshold(e, 1 - e), crump_by_search(e)
    g = 1 / (e * (1 - e))
    kept = [np.minimum(e, 1 - e) >= a for a in (ours, theirs)]
    costs = [g[k].mean() / k.mean() for k in kept]
    assert costs[0] <= costs[1] * 1.02  # the equation and the grid may differ by a row


def test_no_row_is_trimmed_where_overlap_is_good() -> None:
    """Kills a threshold of 0.1 for everybody."""
    e = np.linspace(0.15, 0.85, 101)
    assert trim_threshold(e, 1 - e) == 0.0


def test_with_more_than_two_actions_the_pair_is_compared_within_itself() -> None:
    """Kills trimming by e_a alone: only the share of a among a and b matters."""
    e = np.clip(1 / (1 + np.exp(-5 * np.random.default_rng(0).normal(size=300))), 1e-4, 1 - 1e-4)
    assert trim_threshold(0.3 * e, 0.3 * (1 - e)) == pytest.approx(trim_threshold(e, 1 - e))
    assert 0.0 < trim_threshold(e, 1 - e) < 0.5


@pytest.mark.parametrize("unit", [0.01, 1.0, 100.0])
def test_losses_are_counted_in_any_currency(unit: float) -> None:
    """Kills comparing a loss with 1: the same losses in cents must pass the same gate."""
    losses = unit * np.repeat([0.0, 0.5, 2.0], [20, 3, 3])
    assert event_fault(np.tile(losses, 2), *arms(26, 26), NAMES) is None
    always = unit * np.repeat([0.5, 2.0], [20, 6])
    found = event_fault(np.tile(always, 2), *arms(26, 26), NAMES)
    assert found == f"large has 26 events and 0 non-events; {MIN_EVENTS} of each are needed"


def test_decisions_that_could_not_have_gone_either_way_do_not_count() -> None:
    """Kills: a gate on drawn weights alone. Of 1000 decisions 960 have propensities of .01 and .99, so about
    9.5 + 10 of the rarer arm's 500 are undecided: 20 is below 30 and below 8 %."""
    took_a, took_b = arms(500, 500)
    e = np.where(np.arange(1000) < 960, 0.01, 0.5)
    fault = fault_of(e, 1 - e, took_a, took_b, estimated=False)
    assert fault is not None
    assert "about 20 could have gone either way" in fault


def test_few_decisions_are_enough_where_most_are_undecided() -> None:
    """Kills: a fixed number that refuses small logs with perfect overlap."""
    took_a, took_b = arms(31, 31)
    e = np.full(62, 0.5)
    assert fault_of(e, e, took_a, took_b, estimated=True) is None


def test_estimated_propensities_at_their_floor_prove_no_overlap() -> None:
    """Kills: counting rows whose propensity was only raised to the floor.

    .02 is below 1 / sqrt(1000) = .032."""
    took_a, took_b = arms(500, 500)
    e = np.full(1000, 0.02)
    assert fault_of(e, 1 - e, took_a, took_b, estimated=True) is not None
    assert fault_of(3 * e, 1 - 3 * e, took_a, took_b, estimated=True) is None
    known = np.full(1000, 0.031)
    assert fault_of(known, 1 - known, took_a, took_b, estimated=False) is None


def test_estimated_propensities_must_show_more_undecided_decisions() -> None:
    """Kills: trusting a smooth fit where choices were nearly fixed. 38 undecided of 500 are 8 % less one."""
    took_a, took_b = arms(500, 500)
    e = np.where(np.arange(1000) < 848, 0.001, 0.5)
    assert fault_of(e, 1 - e, took_a, took_b, estimated=True) is not None
    assert fault_of(e, 1 - e, took_a, took_b, estimated=False) is None
