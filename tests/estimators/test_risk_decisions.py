"""The risk of single decisions: means that agree with the arm's, max-min where an arm is new."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from risks import loss_world, prepared, risks, the
from shadowprice.estimators.risk_decisions import DecisionRisks, decision_risks
from shadowprice.estimators.risk_records import RiskSettings
from worlds import LARGE, SMALL


def known(frame: pl.DataFrame, settings: RiskSettings) -> DecisionRisks:
    """The risks of a log that has some."""
    problem, propensities = prepared(frame)
    found = decision_risks(problem, propensities, settings=settings, seed=0)
    assert isinstance(found, DecisionRisks), found
    return found


def test_decisions_average_to_the_arms_expected_and_worst_loss() -> None:
    """Kills a spread that loses dollars: the mean over decisions is the arm's own estimate."""
    frame = loss_world(1, n=3000, slope=1.0)
    found, arms = known(frame, RiskSettings(beta=0.9)), risks(frame)
    for name in (LARGE, SMALL):
        k = found.arms.index(name)
        assert found.expected[:, k].mean() == pytest.approx(the(arms, "expected", name).value)
        assert found.worst[:, k].mean() == pytest.approx(the(arms, "knightian", name).upper)
    assert found.shares is not None
    assert found.shares.shape == (3000, 2)


def test_the_worst_case_is_priced_exactly_where_an_arm_is_new() -> None:
    """Kills an expectation trusted off the support, and a worst case used on it."""
    found = known(loss_world(2, n=3000, slope=1.0), RiskSettings(beta=0.9))
    np.testing.assert_array_equal(found.priced[found.novel], found.worst[found.novel])
    np.testing.assert_array_equal(found.priced[~found.novel], found.expected[~found.novel])
    assert 0 < found.novel.mean() < 0.1
    assert (found.worst > found.expected).all()


def test_an_arm_without_a_tail_is_priced_at_the_cap_or_unknown() -> None:
    """Kills a risk of 0 for an arm whose losses were never seen."""
    frame = loss_world(3, n=1000, large=0.0)
    capped, free = (known(frame, RiskSettings(beta=0.9, cap_usd=c)) for c in (100.0, None))
    k = capped.arms.index(LARGE)
    assert np.isnan(free.priced[:, k]).all()
    assert (capped.priced[:, k] > 0.2).all()
    assert capped.shares is None
    assert LARGE in str(capped.reason)


def test_a_log_without_losses_has_a_reason() -> None:
    """Kills a risk of 0 where nothing was logged."""
    nothing = loss_world(4, n=200).with_columns(incident=pl.lit(None), loss_usd=pl.lit(None))
    problem, propensities = prepared(nothing)
    found = decision_risks(problem, propensities, settings=RiskSettings(), seed=0)
    assert found == "neither incident nor loss_usd is logged"
