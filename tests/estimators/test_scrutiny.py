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


def test_scrutiny_refuses_what_the_estimate_refuses() -> None:
    """Kills: bounds around a contrast of one cluster, of a rule, or without overlap."""
    for frame in (
        draw(Regime(n=500), seed=7).frame.with_columns(session_id=pl.lit("s")),
        draw(Regime(n=500, identification="D"), seed=7).frame,
        draw(Regime(n=3000, overlap=0.02), seed=7).frame,
    ):
        found = sp.scrutiny(frame, "a1", "a0")
        assert found.reason
        assert found.bounds.is_empty()


def test_scrutiny_tests_predicted_effects_and_knows_a_policy_that_learned() -> None:
    """Kills: calibration that no user can reach, and a sequence offered for a policy that stood still."""
    still = sp.scrutiny(draw(Regime(n=4000, spread=2.0, effect=0.0), seed=8).frame, "a1", "a0")
    assert float(still.calibration["slope"].item()) > 0.0
    assert "did not change" in str(still.learned["reason"])
    moved = sp.scrutiny(draw(Regime(n=3000, adaptive=True), seed=8).frame, "a1", "a0").learned
    ends = [float(str(moved[k])) for k in ("anytime_lower", "lower", "upper", "anytime_upper")]
    assert ends == sorted(ends)


def test_the_risk_of_every_decision_is_listed_under_every_action() -> None:
    """Kills: a decision or an action without a row, a price below the expectation."""
    found = sp.decision_risk(draw(Regime(n=4000, incident_rate=0.05, tail=2.5), seed=9).frame)
    assert found.height == 2 * 4000
    known = found.drop_nulls(["expected", "worst"])
    assert known.height > 0
    assert (known["worst"] >= known["expected"] - 1e-12).all()
    assert (known.filter(~pl.col("novel"))["priced"] == known.filter(~pl.col("novel"))["expected"]).all()


def test_a_second_opinion_is_near_ours() -> None:
    """Kills: arms that are swapped on the way to econml."""
    pytest.importorskip("econml", reason="the extra econml")
    frame = draw(Regime(n=3000, effect=1.0, identification="O"), seed=10).frame
    theirs = sp.second_opinion(frame, "a1", "a0")
    ours = sp.estimate(frame, "a0").where(quantity="quality", segment="all", estimand="ATE")[0]
    assert theirs.height == 3000
    assert theirs["effect"].mean() == pytest.approx(ours.value, abs=0.05)


def test_a_second_opinion_without_labels_says_why() -> None:
    """Kills: econml's crash on an empty design where no quality was logged."""
    pytest.importorskip("econml", reason="the extra econml")
    frame = draw(Regime(n=300), seed=3).frame.with_columns(quality=pl.lit(None, pl.Float64))
    found = sp.second_opinion(frame, "a1", "a0")
    assert found.height == 300
    assert found["effect"].null_count() == 300
    assert found["reason"].unique().to_list() == ["0 decisions with a quality took a1, expected at least 30"]
