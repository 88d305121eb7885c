"""What could overturn a contrast, and what its risk is: the doors to sensitivity, controls and losses."""

from __future__ import annotations

import polars as pl
import pytest
import shadowprice as sp
from shadowprice.errors import SchemaError
from shadowprice.ingest.simulator.regime import Regime, draw


def test_a_large_effect_stands_up_to_more_than_a_small_one() -> None:
    """Kills: a Lambda* that does not know the effect, or a summary without its comparison."""
    stars = []
    for effect in (0.5, 1.5):
        found = sp.scrutiny(draw(Regime(identification="O", n=1500, effect=effect), seed=1).frame, "a1", "a0")
        quality = found.summary.row(by_predicate=pl.col("quantity") == "quality", named=True)
        assert quality["strongest_feature"] == "x_difficulty"
        assert quality["reading"] == "hidden confounding"
        stars.append(quality["lambda_star"])
    assert 1.0 < stars[0] < stars[1]


def test_placebos_are_zero_where_choice_was_random_and_seen_where_a_cause_is_left_out() -> None:
    """Kills: placebo effects that are always zero, or that are adjusted for the placebo itself."""
    logged = sp.scrutiny(draw(Regime(n=2000), seed=2).frame, "a1", "a0").placebos
    assert ((logged["lower"] < 0) & (logged["upper"] > 0)).all()
    observed = sp.scrutiny(draw(Regime(n=2000, identification="O"), seed=2).frame, "a1", "a0").placebos
    moved = observed.filter(pl.col("feature") == "x_difficulty")
    assert moved["lower"].item() > 0.2


def test_a_contrast_that_cannot_be_made_has_nothing_to_scrutinise() -> None:
    """Kills: bounds around a number that does not exist."""
    frame = draw(Regime(n=500, identification="O"), seed=3).frame
    bare = frame.drop([c for c in frame.columns if c.startswith("x_")])
    found = sp.scrutiny(bare, "a1", "a0")
    assert found.bounds.is_empty()
    assert "confounded" in str(found.reason)
    assert "nothing" not in str(found)


def test_risk_says_expected_loss_and_worst_case_of_every_action() -> None:
    """Kills: an action without a row, a worst case below the expectation."""
    found = sp.risk(draw(Regime(n=4000, incident_rate=0.05, tail=2.5), seed=4).frame, "a0")
    assert set(found["action"].drop_nulls()) == {"a0", "a1"}
    for action in ("a0", "a1"):
        own = found.filter((pl.col("action") == action) & pl.col("baseline").is_null())
        values = {row["measure"]: row for row in own.iter_rows(named=True)}
        assert 0.0 < values["expected"]["value"] <= values["knightian"]["upper"]


@pytest.mark.parametrize("ask", [lambda f: sp.scrutiny(f, "a9", "a0"), lambda f: sp.risk(f, "a9")])
def test_an_action_that_no_decision_took_is_one_error(ask: object) -> None:
    """Kills: another question answered in silence."""
    frame = draw(Regime(n=200), seed=5).frame
    with pytest.raises(SchemaError, match="no decision took 'a9'"):
        ask(frame)  # type: ignore[operator]


def test_several_decision_points_are_one_error() -> None:
    """Kills: the first decision point standing for all."""
    frame = draw(Regime(n=200), seed=6).frame
    both = pl.concat(
        [frame, frame.with_columns(decision_point=pl.lit("other"), decision_id="o" + pl.col("decision_id"))]
    )
    with pytest.raises(SchemaError, match="2 decision points"):
        sp.scrutiny(both, "a1", "a0")
