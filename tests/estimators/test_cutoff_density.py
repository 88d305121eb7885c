"""A heap of decisions on one side of the cut-off is found; a density that merely slopes is not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from shadowprice.estimators.cutoff_density import density_fault

SEEDS = 200


def doubted(x: np.ndarray, weight: np.ndarray | None = None, cluster: np.ndarray | None = None) -> bool:
    """Whether the density at 0 is doubted."""
    cluster = np.arange(x.size) if cluster is None else cluster
    return density_fault(x, cluster, np.ones(x.size) if weight is None else weight) is not None


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng: rng.uniform(-1.0, 0.5, size=1000),
        lambda rng: rng.normal(1.0, 1.0, size=1000),
        lambda rng: rng.exponential(size=1000) - 0.5,
    ],
    ids=["flat", "rising", "falling"],
)
def test_an_honest_score_is_doubted_in_one_of_a_hundred_logs(
    draw: Callable[[np.random.Generator], np.ndarray],
) -> None:
    """Kills: taking a slope for a jump. At 1 %, 8 or more of 200 have probability 0.1 %."""
    assert sum(doubted(draw(np.random.default_rng(s))) for s in range(SEEDS)) < 8


def test_decisions_pushed_over_the_cut_off_are_found_and_counted() -> None:
    """Kills: a test without power: 60 % of those within 0.1 below it moved above."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=2000)
    pushed = (x < 0) & (x > -0.1) & (rng.random(2000) < 0.6)
    x[pushed] = -x[pushed]
    fault = density_fault(x, np.arange(2000), np.ones(2000))
    assert fault is not None
    assert "pile up at the cut-off" in fault
    assert "z = +" in fault


def test_sampling_weights_undo_a_heap_that_the_log_sampler_made() -> None:
    """Kills: counting rows where each stands for several: half of those below were dropped."""
    rng = np.random.default_rng(1)
    x = rng.uniform(-1, 1, size=6000)
    chance = np.where(x < 0, 0.5, 1.0)
    kept = rng.random(6000) < chance
    assert doubted(x[kept])
    assert not doubted(x[kept], weight=1 / chance[kept])


def test_one_session_that_repeats_itself_is_one_piece_of_evidence() -> None:
    """Kills: a variance by row: 150 copies of one decision just above the cut-off are one session."""
    rng = np.random.default_rng(2)
    x = np.concatenate([rng.uniform(-1, 1, size=1500), np.full(150, 0.01)])
    session = np.concatenate([np.arange(1500), np.full(150, 1500)])
    assert doubted(x)
    assert not doubted(x, cluster=session)


def test_a_short_log_is_not_tested() -> None:
    """Kills: a verdict from a handful of rows."""
    assert density_fault(np.linspace(0.01, 1, 19), np.arange(19), np.ones(19)) is None
