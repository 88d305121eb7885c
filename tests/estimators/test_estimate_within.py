"""Repeated contexts: trials of one task are compared with each other."""

from __future__ import annotations

import polars as pl
import pytest
import statsmodels.formula.api as smf
from asking import covers, ends, estimated, one
from worlds import (
    repeated_contexts_world,
)


def test_within_repeated_contexts_the_effect_is_that_of_a_regression_with_context_dummies() -> None:
    """Kills comparing across tasks, or other weights than n_a n_b / (n_a + n_b)."""
    frame = repeated_contexts_world()
    quality = one(estimated(frame, baseline=None))
    data = frame.select(
        "quality", "x_context_id", plan=(pl.col("action") == "plan").cast(pl.Float64)
    ).to_pandas()
    fit = smf.ols("quality ~ plan + C(x_context_id)", data).fit()
    assert quality.value == pytest.approx(fit.params["plan"], abs=1e-10)
    naive = data.groupby("plan")["quality"].mean()
    assert naive[1.0] - naive[0.0] < 0 < ends(quality)[0]
    assert covers(quality, 0.05)


def test_trials_of_one_context_are_not_independent_whatever_the_log_calls_a_session() -> None:
    """Kills clusters finer than the context: every trial shares its context's difference."""
    frame = repeated_contexts_world()
    by_task, by_trial = estimated(frame, baseline=None), estimated(frame.drop("session_id"), baseline=None)
    assert ends(one(by_trial)) == pytest.approx(ends(one(by_task)))
    assert one(by_trial).clusters == one(by_task).clusters


def test_decisions_without_a_context_do_not_change_the_comparison_within_contexts() -> None:
    """Kills taking 'not logged' for one more context."""
    frame = repeated_contexts_world().with_columns(session_id=pl.format("s{}", pl.int_range(240) // 12))
    lone = frame[:40].with_columns(
        decision_id=pl.format("lone-{}", "decision_id"),
        request_id=pl.format("lone-{}", "request_id"),
        session_id=pl.format("lone-{}", pl.int_range(40)),
        x_context_id=pl.lit(None, dtype=pl.String),
        quality=pl.lit(1.0),
    )
    a, b = one(estimated(frame, baseline=None)), one(estimated(pl.concat([frame, lone]), baseline=None))
    assert (b.value, *ends(b)) == pytest.approx((a.value, *ends(a)))
    assert a.clusters == b.clusters == 19  # of 20, one holds no contrast


def test_within_contexts_keep_prob_counts_trials_that_were_not_kept() -> None:
    """Kills dropping the sampling weight: a trial kept at 50 % stands for two."""
    frame = repeated_contexts_world(tasks=30)
    again = frame.with_columns(
        decision_id=pl.format("{}b", "decision_id"), request_id=pl.format("{}b", "request_id")
    )
    twice = pl.concat([frame, again])
    half = one(estimated(frame.with_columns(keep_prob=pl.lit(0.5)), baseline=None))
    assert half.value == pytest.approx(one(estimated(twice, baseline=None)).value)
