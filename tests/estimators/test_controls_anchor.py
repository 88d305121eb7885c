"""The anchor objects when a hidden cause moved the other decisions, agrees when none did, or says why not."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hidden import VALUE_USD, confounded, scored
from shadowprice.estimators.controls import Anchor
from shadowprice.estimators.controls_anchor import anchor_of
from shadowprice.estimators.pairs import NET, Valuation
from threadpoolctl import threadpool_limits


def anchored(ratio: float, explored: int, column: int = 0, seed: int = 0) -> Anchor:
    """A log of class O with a slice whose action was drawn with a coin: its rows come from the same world
    without a hidden cause and without a policy, by keeping each arm with the inverse of its probability."""
    world = confounded(seed, n=1500, hidden=ratio)
    free = confounded(seed + 100, n=6000, hidden=1.0)
    e = free.e[np.arange(6000), free.taken]
    coin = np.random.default_rng(seed).random(6000) < 0.1 / np.maximum(e, 0.1)
    slice_ = free.frame.filter(pl.Series(coin)).head(explored)
    slice_ = slice_.with_columns(
        exploration=pl.lit(value=True), decision_id=pl.format("e{}", "decision_id"), session_id="decision_id"
    )
    frame = pl.concat([world.frame.with_columns(exploration=pl.lit(value=False)), slice_])
    with threadpool_limits(limits=1):
        problem = scored(frame)[0]
        value = Valuation(task_value=np.full(problem.n, VALUE_USD), latency_price=0.0, risk_price=0.0)
        return anchor_of(problem, "a1", "a0", value, column=column, seed=0)


@pytest.mark.slow
def test_the_anchor_objects_to_a_hidden_cause_and_only_then() -> None:
    """Kills an anchor that compares a slice with itself, or reads the wrong rows: at an odds ratio of 4 the
    unrandomised effect is off by more than .3, at 1 it is not."""
    off, fine = anchored(4.0, 700), anchored(1.0, 700)
    assert off.agrees is False
    assert off.z is not None
    assert off.z > 3
    assert fine.agrees is True


@pytest.mark.slow
def test_the_net_value_can_be_anchored_too() -> None:
    """Kills a task value that is not cut to the slice."""
    net, quality = anchored(4.0, 700, NET), anchored(4.0, 700)
    assert net.z is not None
    assert quality.z is not None
    assert net.z == pytest.approx(quality.z, rel=0.1)


def test_too_small_a_slice_is_a_reason() -> None:
    """Kills a test on a handful of explored decisions."""
    found = anchored(1.0, 20)
    assert found.agrees is None
    assert found.reason is not None
    assert found.reason.startswith("exploration decisions:")
