"""econml's learners say what ours say where both can speak, and what they cannot do is one clear error."""

from __future__ import annotations

import importlib
from dataclasses import replace
from typing import Any, get_args

import numpy as np
import polars as pl
import pytest
import shadowprice as sp
from shadowprice.errors import ConfigError
from shadowprice.estimators.econml_learners import Learner, econml_effects
from shadowprice.estimators.problem import Problem, problems
from shadowprice.schemas.config import Config
from worlds import LARGE, SMALL, router_world

LEARNERS: tuple[Learner, ...] = get_args(Learner)


def problem_of(frame: pl.DataFrame) -> Problem:
    (problem,) = problems(frame, Config())
    return problem


@pytest.mark.slow
@pytest.mark.parametrize("learner", LEARNERS)
def test_econml_and_ours_agree_on_the_average_and_on_who_gains(learner: Learner) -> None:
    """Kills a sign, a swapped arm or another estimand: averages differ by less than .02, about one standard
    error of either (quality is a grade; propensities are estimated there and logged here); econml's
    interval holds the truth, and its effects follow the true ones."""
    pytest.importorskip("econml", reason="econml is an optional second opinion")
    world = router_world(3, n=1500, smooth=True, slope=0.8, gain=0.1, spread=0.2)
    found = econml_effects(problem_of(world.frame), LARGE, SMALL, learner, seed=0)
    ours = sp.estimate(world.frame, baseline=SMALL).where(quantity="quality", estimand="ATE")[0]
    assert ours.value is not None
    assert found.ate == pytest.approx(ours.value, abs=0.02)
    assert found.ate_lower <= world.ate <= found.ate_upper
    assert np.corrcoef(found.tau, world.tau)[0, 1] > 0.8
    assert ((found.lower <= found.tau) & (found.tau <= found.upper)).all()
    assert found.ate == pytest.approx(found.tau.mean(), abs=1e-6)


@pytest.mark.slow
def test_the_other_direction_has_the_other_sign_and_other_rows_have_no_number() -> None:
    """Kills a baseline that is ignored, and effects for decisions that took a third action."""
    pytest.importorskip("econml", reason="econml is an optional second opinion")
    frame = router_world(4, n=600, smooth=True).frame
    third = pl.when(pl.int_range(600) % 6 == 0).then(pl.lit("third")).otherwise("action")
    problem = problem_of(frame.with_columns(action=third))
    there = econml_effects(problem, LARGE, SMALL, "linear-dr", seed=0)
    back = econml_effects(problem, SMALL, LARGE, "linear-dr", seed=0)
    assert back.ate == pytest.approx(-there.ate, abs=1e-6)
    assert np.isnan(there.tau).tolist() == (np.arange(600) % 6 == 0).tolist()


def test_without_econml_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kills an ImportError from deep inside."""

    def missing(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(ConfigError, match="pip install econml"):
        econml_effects(problem_of(router_world(n=100).frame), LARGE, SMALL, "linear-dr", seed=0)


def test_an_unknown_learner_action_or_an_absent_context_is_one_clear_error() -> None:
    """Kills a KeyError, and a fit on nothing."""
    problem = problem_of(router_world(n=100).frame)
    with pytest.raises(ConfigError, match="linear-dr, forest-dr, causal-forest"):
        econml_effects(problem, LARGE, SMALL, "x-learner", seed=0)  # pyright: ignore[reportArgumentType]
    pytest.importorskip("econml", reason="econml is an optional second opinion")
    with pytest.raises(ConfigError, match="huge"):
        econml_effects(problem, "huge", SMALL, "linear-dr", seed=0)
    with pytest.raises(ConfigError, match="no context features"):
        econml_effects(replace(problem, features=()), LARGE, SMALL, "linear-dr", seed=0)
