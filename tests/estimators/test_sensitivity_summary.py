"""One record per finding, and its rows in the two frames that are stored and drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hidden import confounded, hidden_contrast, scored
from shadowprice.estimators.omitted import robustness_value
from shadowprice.estimators.pairs import NET
from shadowprice.estimators.sensitivity import sensitivity_bounds
from shadowprice.estimators.sensitivity_arm import arm_models
from shadowprice.estimators.sensitivity_observed import ObservedStrength
from shadowprice.estimators.sensitivity_summary import (
    BOUNDS,
    STRENGTHS,
    SUMMARY,
    Sensitivity,
    bounds_frame,
    sensitivities,
    summary_frame,
)
from shadowprice.ingest.simulator.regime import Regime, draw

STRONGEST = ObservedStrength(feature="x_difficulty", strength=2.5)


def results(frame: Any, margins: dict[int, float]) -> tuple[Sensitivity, ...]:
    """The sensitivity of the contrast of `frame` over all decisions."""
    problem, scores, pair = scored(frame)
    rows = np.ones(problem.n, dtype=bool)
    models = arm_models(scores, pair, tuple(margins), seed=0)
    source = scores.propensities.source
    return sensitivities(models, pair, "all", rows, margins, source=source, observed=(STRONGEST,))


def test_each_asked_quantity_has_its_bounds_and_its_summary() -> None:
    """Kills a frame that mixes up quantities or strengths."""
    frame = confounded(1, n=600, effect=1.5).frame
    found = results(frame, {0: 0.0, NET: 0.1})
    table = bounds_frame(found)
    assert table.schema == BOUNDS.schema
    assert table["strength"].to_list() == [*STRENGTHS, *STRENGTHS]
    contrast = hidden_contrast(frame, NET)
    rows = np.ones(contrast.pair.problem.n, dtype=bool)
    at_two = sensitivity_bounds(contrast, strength=2.0, rows=rows)
    row = table.filter(quantity="net", strength=2.0).row(0, named=True)
    assert row["lower_ci"] == at_two.lower_ci
    assert row["upper"] == at_two.upper
    summary = summary_frame(found)
    assert summary.schema == SUMMARY.schema
    quality, net = summary.iter_rows(named=True)
    assert (quality["margin"], net["margin"]) == (0.0, 0.1)
    assert quality["robustness_value"] == robustness_value(hidden_contrast(frame), rows=rows).value
    assert net["robustness_value"] == robustness_value(contrast, rows=rows, null=0.1).value
    assert 1 < quality["lambda_star"] < quality["lambda_star_point"]
    assert quality["strongest_feature"] == "x_difficulty"
    assert quality["strongest_lambda"] == 2.5


@pytest.mark.parametrize(
    ("identification", "reading"),
    [("R", "log integrity"), ("U", "log integrity"), ("O", "hidden confounding")],
)
def test_where_choice_was_randomised_or_replayed_it_reads_as_a_test_of_the_log(
    identification: Any, reading: str
) -> None:
    """Kills hidden confounding where the policy could not see anything hidden."""
    (found,) = results(draw(Regime(n=600, identification=identification), seed=1).frame, {0: 0.0})
    assert found.reading == reading


def test_a_finding_beyond_the_cap_has_no_number_but_says_so() -> None:
    """Kills a cap that reads as a measured strength."""
    summary = summary_frame(results(confounded(2, n=600).frame, {1: 0.0})).row(0, named=True)
    assert summary["lambda_star"] is None
    assert summary["reason"].startswith("> 10")


def test_no_result_is_an_empty_frame_in_the_layout() -> None:
    """Kills a frame without columns."""
    assert bounds_frame(()).schema == BOUNDS.schema
    assert summary_frame(()).schema == SUMMARY.schema
