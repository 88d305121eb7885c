"""Logs of a policy that learned as it went: found out, estimated without bias, refused without order."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from shadowprice.estimators.adaptive import adaptive_contrast, policy_changed, policy_order
from shadowprice.estimators.problem import Problem, problems
from shadowprice.ingest.simulator.regime import KnownWorld, Regime, draw, truth
from shadowprice.schemas.config import Config

LEARNING = Regime(n=1000, adaptive=True, effect=0.0, spread=0.0)


def problem_of(world: KnownWorld) -> Problem:
    """The one decision point of a drawn world; its rows stay in order."""
    return next(iter(problems(world.frame, Config())))


def with_versions(world: KnownWorld, versions: int) -> KnownWorld:
    """The same log with its rows in `versions` releases by time."""
    n = world.frame.height
    names = [f"v{i * versions // n}" for i in range(n)]
    return replace(world, frame=world.frame.with_columns(policy_version=pl.Series(names)))


def test_a_policy_that_learned_is_found() -> None:
    """Kills: a comparison of names instead of probabilities, or one that ignores the versions."""
    for seed in range(10):
        world = draw(LEARNING, seed=seed)
        assert policy_changed(problem_of(world), world.e)


def test_releases_that_choose_alike_are_not_called_changed() -> None:
    """Kills: taking chance differences of context between versions for another policy."""
    for seed in range(20):
        world = with_versions(draw(Regime(n=1000), seed=seed), 5)
        assert not policy_changed(problem_of(world), world.e)


def test_versions_come_in_the_order_of_time_not_of_their_names() -> None:
    """Kills: sorting names, which puts batch-10 before batch-2."""
    world = draw(LEARNING, seed=0)
    frame = world.frame.with_columns(
        policy_version=pl.Series([f"b{9 - i * 10 // 1000}" for i in range(1000)])
    )
    order = policy_order(problem_of(replace(world, frame=frame)))
    assert order is not None
    assert (np.diff(order) >= 0).all()


def test_the_estimate_is_the_weighted_mean_of_forward_scores() -> None:
    """Kills: weights of another power, scores that see later versions. Recomputed without context."""
    world = draw(LEARNING, seed=1)
    frame = world.frame.drop(c for c in world.frame.columns if c.startswith("x_"))
    problem = problem_of(replace(world, frame=frame))
    y, arm, e = problem.outcomes[:, 0], problem.arm, world.e
    top = bottom = 0.0
    for batch in range(10):
        rows = range(batch * 100, batch * 100 + 100)
        h = np.mean([1 / e[i, 0] + 1 / e[i, 1] for i in rows]) ** -0.5
        mu = [y[: batch * 100][arm[: batch * 100] == k] for k in (0, 1)]
        past = [float(m.mean()) if m.size >= 30 else 0.0 for m in mu]
        for i in rows:
            psi = [past[k] + (arm[i] == k) / e[i, k] * (y[i] - past[k]) for k in (0, 1)]
            top, bottom = top + h * (psi[1] - psi[0]), bottom + h
    found = adaptive_contrast(problem, e, "a1", "a0")
    assert found.value == pytest.approx(top / bottom)
    assert found.versions == 10


def test_a_reader_who_peeks_gets_a_wider_interval() -> None:
    """Kills: the fixed-time interval sold as one for repeated reading."""
    world = draw(LEARNING, seed=2)
    found = adaptive_contrast(problem_of(world), world.e, "a1", "a0")
    assert found.anytime_lower is not None
    assert found.lower is not None
    assert found.anytime_lower < found.lower


def test_without_an_order_or_an_arm_there_is_a_reason() -> None:
    """Kills: an estimate from rows whose order is unknown, or from a handful of rows."""
    world = draw(LEARNING, seed=3)
    nameless = replace(world, frame=world.frame.drop("policy_version"))
    assert "policy_version" in (adaptive_contrast(problem_of(nameless), world.e, "a1", "a0").reason or "")
    kept = (world.taken == 1) | (np.cumsum(world.taken == 0) <= 20)
    few = problem_of(replace(world, frame=world.frame.filter(pl.Series(kept))))
    reason = adaptive_contrast(few, world.e[kept], "a1", "a0").reason
    assert reason is not None
    assert "30 are needed" in reason
    holes = world.frame.with_columns(quality=pl.when(pl.int_range(pl.len()) > 0).then("quality"))
    found = adaptive_contrast(problem_of(replace(world, frame=holes)), world.e, "a1", "a0")
    assert found.reason == "some outcomes are missing"
    assert found.value is None


@pytest.mark.slow
def test_intervals_hold_the_truth_where_means_are_biased() -> None:
    """Kills: sample means, unweighted scores with normal intervals.

    60 worlds of three equal arms: fewer than 52 hits of 95 % has probability 0.4 %. The mean
    outcome of an arm, averaged over arms, is 2 points too low, because bad luck is never made good: that is
    what makes the world a test.
    """
    regime = replace(LEARNING, actions=3)
    hits = sequences = 0
    errors, naive = [], []
    for seed in range(60):
        world = draw(regime, seed=seed)
        problem = problem_of(world)
        known = truth(regime).ate
        found = adaptive_contrast(problem, world.e, "a2", "a0")
        assert found.value is not None
        assert found.lower is not None
        assert found.upper is not None
        assert found.anytime_lower is not None
        assert found.anytime_upper is not None
        hits += found.lower <= known <= found.upper
        sequences += found.anytime_lower <= known <= found.anytime_upper
        errors.append(found.value - known)
        means = [problem.outcomes[problem.arm == k, 0].mean() for k in range(3)]
        naive.append(np.mean(means) - np.mean(truth(regime).arms))
    assert hits >= 52
    assert sequences >= hits
    assert abs(np.mean(errors)) < 3 * np.std(errors) / np.sqrt(60)
    assert np.mean(naive) < -0.01
