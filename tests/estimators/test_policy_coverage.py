"""Intervals of a policy's value against the truth of simulated logs."""

from __future__ import annotations

import numpy as np
import pytest
from shadowprice.estimators.policy_value import policy_value
from shadowprice.ingest.simulator.regime import Regime, draw, truth

_RUNS = 30
_FEWEST = 25
"""P(25 or fewer of 30 intervals hold) is 1.6 % at a true coverage of 95 %."""


@pytest.mark.slow
@pytest.mark.parametrize("regime", [Regime(n=600, actions=3), Regime(n=800, clusters=40, icc=0.2)])
def test_the_intervals_hold_the_population_value_as_often_as_promised(regime: Regime) -> None:
    """Kills a standard error without weights or clusters."""
    value = float(np.mean(truth(regime).arms))
    held: dict[str, list[bool]] = {}
    for seed in range(_RUNS):
        frame = policy_value(draw(regime, seed=seed).frame, "uniform").drop_nulls("lower")
        for row in frame.iter_rows(named=True):
            held.setdefault(row["estimator"], []).append(row["lower"] <= value <= row["upper"])
    for name, hits in held.items():
        assert sum(hits) >= _FEWEST - (_RUNS - len(hits)), name
