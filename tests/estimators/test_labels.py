"""Quality that is known for some rows: labels drawn with known chances, and a judge that is corrected."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
import shadowprice as sp
from shadowprice.estimators.design import make_design
from shadowprice.estimators.folds import cluster_folds
from shadowprice.estimators.labels import find_labels, judged_mean
from shadowprice.estimators.problem import Problem, problems
from shadowprice.ingest.simulator.regime import Regime, draw, truth
from shadowprice.schemas.config import Config

JUDGED = Regime(n=2000, label_share=0.1, judge_bias=0.1)
WORLDS = 60


def problem_of(frame: pl.DataFrame) -> Problem:
    """The only decision point of `frame`."""
    (problem,) = problems(frame, Config())
    return problem


def headline(frame: pl.DataFrame) -> sp.Estimate:
    """The ATO of quality of the dearest arm."""
    return sp.estimate(frame, baseline="a0").where(quantity="quality", segment="all", action="a1")[0]


def test_the_logged_chance_of_a_label_is_used_as_it_stands() -> None:
    """Kills: estimating what the sampler wrote down."""
    frame = draw(JUDGED, seed=1).frame
    problem = problem_of(frame)
    design = make_design(problem.frame, problem.features)
    folds = cluster_folds(problem.cluster_ids, seed=0, repeat=0)[problem.cluster]
    labels = find_labels(problem, design, folds)
    assert labels.logged
    for k in range(2):
        assert np.array_equal(labels.probability[k][:, 0], problem.frame["label_prob"].to_numpy())
        assert (labels.probability[k][:, 1] == 1.0).all()


def test_the_calibrated_score_predicts_labels_that_it_never_saw() -> None:
    """Kills: a judge that is taken at its word, or fitted on the rows that it predicts."""
    world = draw(Regime(n=4000, label_share=0.3, judge_bias=0.1), seed=2)
    problem = problem_of(world.frame)
    design = make_design(problem.frame, problem.features)
    folds = cluster_folds(problem.cluster_ids, seed=0, repeat=0)[problem.cluster]
    taken = problem.arm == 1
    fitted = judged_mean(problem, design, folds, taken, find_labels(problem, design, folds))
    assert fitted is not None
    truly = world.potential[np.arange(4000), world.taken][np.argsort(world.frame["decision_id"].to_numpy())]
    hidden = taken & world.frame.sort("decision_id")["quality"].is_null().to_numpy()
    raw = problem.frame["judge_score"].to_numpy()
    assert abs((fitted - truly)[hidden].mean()) < 0.03 < abs((raw - truly)[hidden].mean())
    assert ((fitted - truly)[hidden] ** 2).mean() < 0.6 * truly[hidden].var()


def test_a_judge_without_any_label_is_not_a_quality() -> None:
    """Kills: judge scores that pass for outcomes when nobody checked them."""
    frame = draw(JUDGED, seed=3).frame.with_columns(quality=pl.lit(None, dtype=pl.Float64))
    found = headline(frame)
    assert found.value is None
    assert "link an outcome" in str(found.reason)


def test_a_judge_that_favours_an_arm_is_named() -> None:
    """Kills: silence about a bias that does not cancel."""
    reason = headline(draw(Regime(n=6000, label_share=0.3, judge_bias=0.15), seed=4).frame).reason
    assert "the judge favours a1 over a0 by 0.1" in str(reason)
    fair = headline(draw(Regime(n=6000, label_share=0.3, judge_bias=0.0), seed=4).frame).reason
    assert "favours" not in str(fair)
    assert "judge scores stand in for missing labels" in str(fair)


@pytest.mark.slow
@pytest.mark.parametrize("chosen", [False, True], ids=["labels at random", "labels where the judge doubts"])
def test_ten_percent_of_labels_undo_a_judge_that_favours_an_arm(chosen: bool) -> None:
    """Kills: raw judge scores as outcomes (they cover in less than a third of 60 worlds), and intervals
    around the corrected mean that are too short (fewer than 52 of 60 has probability 0.4 % at 95 %) or
    ignore the judge (they would be twice as wide)."""
    regime = Regime(n=2000, label_share=0.1, judge_bias=0.1, label_by_judge=chosen)
    target = truth(regime).ato
    covered = raw_covered = 0
    widths, plain = [], []
    for seed in range(WORLDS):
        frame = draw(regime, seed=seed).frame
        ours = headline(frame)
        covered += float(ours.lower or 0.0) <= target <= float(ours.upper or 0.0)
        judged = headline(frame.with_columns(quality=pl.col("judge_score")).drop("judge_score", "label_prob"))
        raw_covered += float(judged.lower or 0.0) <= target <= float(judged.upper or 0.0)
        widths.append(float(ours.upper or 0.0) - float(ours.lower or 0.0))
        if seed < 10:
            blind = headline(frame.drop("judge_score"))
            plain.append(float(blind.upper or 0.0) - float(blind.lower or 0.0))
    assert covered >= 52
    assert raw_covered < 20
    assert np.mean(widths) < 0.6 * np.mean(plain)
