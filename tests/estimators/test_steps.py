"""Decisions of an agent step by step: one-step departures, what was known, and what followed."""

from __future__ import annotations

from functools import cache

import numpy as np
import polars as pl
import pytest
import shadowprice as sp
from shadowprice.estimators.problem import problems
from shadowprice.estimators.steps import asked_at_each_step
from shadowprice.schemas.config import Config
from worlds import sigmoid

STEPS = 6
LIFT = 0.4
WORLDS = 60
Array = np.ndarray


def _go_on(state: Array, step: int, rng: np.random.Generator, forced: Array | None = None) -> Array:
    """The final state of sessions that are at `step`, the first answer forced or drawn."""
    for t in range(step, STEPS):
        verify = rng.random(state.size) < sigmoid(-1.2 * state)
        if forced is not None and t == step:
            verify = forced
        state = state + LIFT * verify + 0.3 * rng.normal(size=state.size)
    return state


@cache
def truth() -> float:
    """The overlap-weighted gain in success of verifying at one step and then going on as logged, from a
    large world in which every step is lived through twice with the same luck."""
    rng = np.random.default_rng(99)
    state = rng.normal(size=60_000)
    total = weight = 0.0
    for step in range(STEPS):
        e = sigmoid(-1.2 * state)
        ends = [
            sigmoid(_go_on(state, step, np.random.default_rng(step), np.full(state.size, verify)) - 1.0)
            for verify in (True, False)
        ]
        h = e * (1 - e)
        total, weight = total + float((h * (ends[0] - ends[1])).sum()), weight + float(h.sum())
        verify = rng.random(state.size) < e
        state = state + LIFT * verify + 0.3 * rng.normal(size=state.size)
    return total / weight


def session_log(seed: int, *, sessions: int = 200, logged: bool = True) -> pl.DataFrame:
    """An agent that verifies when its state looks bad; each choice is a row with its step."""
    rng = np.random.default_rng(seed)
    state = rng.normal(size=sessions)
    parts = []
    for _ in range(STEPS):
        e = sigmoid(-1.2 * state)
        verify = rng.random(sessions) < e
        parts.append((state, verify, np.where(verify, e, 1 - e)))
        state = state + LIFT * verify + 0.3 * rng.normal(size=sessions)
    solved = rng.random(sessions) < sigmoid(state - 1.0)
    frame = pl.concat(
        pl.DataFrame(
            {
                "decision_id": [f"r{i:05d}-{t}" for i in range(sessions)],
                "layer": "agent",
                "decision_point": "verify",
                "request_id": [f"r{i:05d}" for i in range(sessions)],
                "step": np.full(sessions, t),
                "action": np.where(verify, "verify", "skip"),
                "propensity": p,
                "quality": solved.astype(float),
                "cost_usd": 0.05 * verify,
                "latency_s": 2.0 * verify,
                "x_state": known,
            }
        )
        for t, (known, verify, p) in enumerate(parts)
    )
    return frame if logged else frame.drop("propensity")


def test_the_truth_is_far_from_the_naive_difference() -> None:
    """Kills: a world so easy that any method is right."""
    frame = session_log(0, sessions=20_000)
    naive = dict(frame.group_by("action").agg(pl.col("quality").mean()).iter_rows())
    assert 0.02 < truth() < 0.09
    assert naive["verify"] - naive["skip"] < 0.0


def test_every_step_is_a_decision_clustered_by_request() -> None:
    """Kills: one row per request where the log asks at each step, and steps counted as independent."""
    (problem,) = problems(session_log(1), Config())
    assert problem.stepwise
    assert problem.n == 200 * STEPS
    assert problem.cluster_key == "request_id"
    assert {"x_step", "x_taken_before", "x_state"} <= set(problem.features)


def test_a_log_that_only_shows_what_was_done_is_asked_once_per_request() -> None:
    """Kills: taking several verifications of one request for a choice at each step."""
    frame = session_log(2).filter(pl.col("action") == "verify")
    untaken = frame.unique("request_id", keep="first").with_columns(
        request_id="skipped-" + pl.col("request_id"),
        decision_id="skipped-" + pl.col("decision_id"),
        action=pl.lit("skip"),
        step=pl.lit(None, dtype=pl.Int64),
    )
    both = pl.concat([frame, untaken.select(frame.columns)])
    assert not asked_at_each_step(both)
    (problem,) = problems(both, Config())
    assert not problem.stepwise
    assert problem.n == both["request_id"].n_unique()


def test_cost_to_go_counts_this_step_and_what_came_later_only() -> None:
    """Kills: the whole request's cost as the outcome of its last step."""
    (problem,) = problems(session_log(3), Config())
    frame = problem.frame.sort("request_id", "step")
    logged = session_log(3).sort("request_id", "step")["cost_usd"].to_numpy().reshape(-1, STEPS)
    expected = logged[:, ::-1].cumsum(axis=1)[:, ::-1].ravel()
    assert frame["cost_usd"].to_numpy() == pytest.approx(expected)
    before = (logged > 0).cumsum(axis=1) - (logged > 0)
    assert frame["x_taken_before"].to_numpy() == pytest.approx(before.ravel())


def test_a_later_step_of_unknown_cost_leaves_earlier_ones_unknown() -> None:
    """Kills: an unpriced step that counts as free."""
    frame = session_log(4).with_columns(
        cost_usd=pl.when((pl.col("step") == 3) & (pl.col("action") == "verify"))
        .then(None)
        .otherwise("cost_usd")
    )
    (problem,) = problems(frame, Config())
    found = problem.frame.filter(pl.col("cost_usd").is_null())
    odd = frame.filter(pl.col("cost_usd").is_null())["request_id"].unique()
    assert set(found["request_id"]) == set(odd)
    assert found["step"].max() == 3


@pytest.mark.slow
@pytest.mark.parametrize("logged", [True, False], ids=["logged propensities", "estimated propensities"])
def test_one_step_departures_are_estimated_with_intervals_that_cover(logged: bool) -> None:
    """Kills: a naive difference, steps of a session as independent, costs before the step. Fewer than 52 of
    60 has probability 0.4 % at 95 % coverage; the mean error is within three of its standard errors."""
    covered, errors = 0, []
    for seed in range(WORLDS):
        est = sp.estimate(session_log(seed, logged=logged))
        found = est.where(quantity="quality", segment="all", action="verify", estimand="ATO")[0]
        assert "one-step departures" in found.method
        covered += float(found.lower or 0.0) <= truth() <= float(found.upper or 0.0)
        errors.append(float(found.value or 0.0) - truth())
    assert covered >= 52
    assert abs(np.mean(errors)) < 3 * np.std(errors, ddof=1) / np.sqrt(WORLDS)
