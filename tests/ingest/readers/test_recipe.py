"""The logging recipe: names and types are checked, defaults follow from the log, nothing is invented."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from shadowprice.ingest.readers.recipe import recipe_columns, with_recipe


def test_columns_arrive_in_the_types_of_the_schema() -> None:
    """Kills numbers that stay text and times that stay text."""
    told = recipe_columns(
        {
            "action": "big",
            "candidates": ["small", "big"],
            "propensity": 0.25,
            "step": "3",
            "exploration": True,
            "ts": "2026-11-03T10:00:00Z",
            "x_region": "eu",
            "x_score": 0.7,
            "x_vip": False,
            "tenant_id": None,
        }
    )
    assert told == {
        "action": "big",
        "candidates": ["small", "big"],
        "propensity": 0.25,
        "propensity_source": "logged",
        "step": 3,
        "exploration": True,
        "ts": datetime(2026, 11, 3, 10, tzinfo=UTC),
        "x_region": "eu",
        "x_score": 0.7,
        "x_vip": False,
    }


def test_a_stated_source_is_kept() -> None:
    """Kills calling a reconstructed propensity logged."""
    told = recipe_columns({"propensity": 0.5, "propensity_source": "reconstructed"})
    assert told["propensity_source"] == "reconstructed"


def test_a_quality_that_is_given_was_observed() -> None:
    """Kills a labelled row that later counts as unlabelled."""
    assert recipe_columns({"quality": 0.5})["quality_observed"] is True
    assert recipe_columns({"quality": 0.5, "quality_observed": False})["quality_observed"] is False


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"propensty": 0.5},
            r"shadowprice\.propensty: no such column; did you mean shadowprice\.propensity\?",
        ),
        ({"colour": "red"}, r"shadowprice\.colour: no such column; use x_<name> for a feature"),
        ({"source_file": "a"}, "no such column"),
        ({"x_": 1}, "no such column"),
        ({"propensity": "high"}, r"shadowprice\.propensity: 'high' is not a number"),
        ({"propensity": float("nan")}, "is not a finite number"),
        ({"propensity": True}, "True is not a number"),
        ({"candidates": "a,b"}, "'a,b' is not a list"),
        ({"candidates": ["a", 1]}, "1 is not text"),
        ({"propensities": [0.5, "x"]}, "'x' is not a number"),
        ({"layer": "kitchen"}, "'kitchen' is not one of router, agent, serving, training"),
        ({"exploration": "yes"}, "'yes' is not true or false"),
        ({"step": 1.5}, "1.5 is not a whole number"),
        ({"action": ""}, "'' is not text"),
        ({"x_list": [1]}, r"shadowprice\.x_list: \[1\] is not a number"),
        ({"ts": "soon"}, "is not a time"),
    ],
)
def test_a_wrong_name_or_type_is_refused_with_its_name(given: dict[str, object], message: str) -> None:
    """Kills a silently dropped attribute, and an error that does not say which attribute it means."""
    with pytest.raises(ValueError, match=message):
        recipe_columns(given)


def test_the_propensity_is_looked_up_among_propensities() -> None:
    """Kills a log with every candidate's probability that counts as one without a propensity."""
    recipe = recipe_columns({"candidates": ["a", "b"], "propensities": [0.2, 0.8]})
    values = with_recipe({"action": "b", "propensity": 1.0}, recipe)
    assert values["propensity"] == 0.8
    assert values["propensity_source"] == "logged"


def test_an_action_outside_the_candidates_gets_no_propensity() -> None:
    """Kills inventing a probability for an action that was never on the menu."""
    recipe = recipe_columns({"candidates": ["a", "b"], "propensities": [0.2, 0.8]})
    assert with_recipe({"action": "c"}, recipe)["propensity"] is None


def test_a_decision_point_brings_its_layer_unless_one_is_given() -> None:
    """Kills a verify decision on a router span that stays in the router's layer."""
    assert with_recipe({"layer": "router"}, {"decision_point": "verify"})["layer"] == "agent"
    assert with_recipe({}, {"decision_point": "verify", "layer": "router"})["layer"] == "router"
    assert with_recipe({"layer": "router"}, {"decision_point": "own"})["layer"] == "router"
