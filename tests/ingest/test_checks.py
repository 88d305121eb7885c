"""Row invariants: each broken row is refused with a sentence that says what was found and expected."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from shadowprice.errors import SchemaError
from shadowprice.ingest.checks import problem

WHOLE: dict[str, Any] = {
    "decision_id": "d1",
    "layer": "router",
    "decision_point": "model",
    "action": "a",
    "ts": datetime(2026, 1, 1, tzinfo=UTC),
}
OUTCOME = {"request_id": "r", "name": "resolved", "value": 1.0}


def test_a_whole_row_has_no_problem() -> None:
    """Kills a check that refuses good rows; nulls are allowed wherever a column may be null."""
    rich = {
        **WHOLE,
        "candidates": ["a", "b"],
        "propensities": [0.25, 0.75],
        "propensity": 0.25,
        "propensity_source": "logged",
        "keep_prob": 1,
        "latency_s": 0.0,
        "reward": -3.5,
        "advantage": -1,
        "value_usd": -2.0,
        "tok_output": 0,
        "exploration": False,
        "cost_usd": None,
        "x_kind": "text",
        "x_flag": True,
        "x_n": 3,
    }
    assert problem("decisions", rich) is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"decision_id": None}, "decision_id is missing, expected a value in every row"),
        ({"action": ""}, "action is missing, expected a value in every row"),
        ({"layer": "cloud"}, "layer is 'cloud', expected one of router, agent, serving, training"),
        ({"action": 3}, "action is 3, expected text"),
        ({"action": "a\ud800"}, r"action is 'a\ud800', expected valid Unicode"),
        ({"request_id": "x" * 70_000}, "request_id has 70000 characters, expected at most 65536"),
        ({"propensity": float("nan")}, "propensity is nan, expected a finite number"),
        ({"propensity": 0.0}, "propensity of the chosen action is 0.0, expected a number in (0, 1]"),
        ({"propensity": 1.01}, "propensity of the chosen action is 1.01, expected a number in (0, 1]"),
        ({"propensity": "0.5"}, "propensity is '0.5', expected a number"),
        ({"propensity": True}, "propensity is True, expected a number"),
        ({"keep_prob": 0}, "keep_prob is 0, expected a number in (0, 1]"),
        ({"latency_s": -0.1}, "latency_s is -0.1, expected a number >= 0: the clock runs backwards"),
        ({"ttft_s": -5}, "ttft_s is -5, expected a number >= 0: the clock runs backwards"),
        ({"cost_usd": -1.0}, "cost_usd is -1.0, expected a number >= 0"),
        ({"cost_usd": float("inf")}, "cost_usd is inf, expected a finite number"),
        ({"quality": 1.5}, "quality is 1.5, expected a number in [0, 1]"),
        ({"judge_score": -0.5}, "judge_score is -0.5, expected a number in [0, 1]"),
        ({"tok_output": -1}, "tok_output is -1, expected a count >= 0"),
        ({"tok_output": 1.5}, "tok_output is 1.5, expected a whole number"),
        ({"tok_output": 2**63}, "tok_output is 9223372036854775808, expected at most 63 bits"),
        ({"exploration": 1}, "exploration is 1, expected true or false"),
        ({"ts": datetime(2026, 1, 1)}, "ts is 2026-01-01 00:00:00, expected a time with its zone"),
        ({"ts": 1.0}, "ts is 1.0, expected a time"),
        ({"candidates": []}, "candidates is [], expected a list of 1 to 1000 texts"),
        ({"candidates": ["a", 3]}, "an item of candidates is 3, expected text"),
        ({"candidates": ["a", "a"]}, "candidates is ['a', 'a'], expected every action once"),
        ({"candidates": ["b"]}, "action 'a' is not among the candidates ['b']"),
        ({"propensities": [1.0]}, "1 propensities for no candidates, expected one for each"),
        (
            {"candidates": ["a"], "propensities": [0.5, 0.5]},
            "2 propensities for 1 candidates, expected one for each",
        ),
        (
            {"candidates": ["a", "b"], "propensities": [0.5, 0.4]},
            "propensities sum to 0.9, expected 1",
        ),
        (
            {"candidates": ["a", "b"], "propensities": [1.5, -0.5]},
            "an item of propensities is 1.5, expected a number in [0, 1]",
        ),
        (
            {"candidates": ["a", "b"], "propensities": [float("nan"), 1.0]},
            "an item of propensities is nan, expected a number in [0, 1]",
        ),
        (
            {"candidates": ["a", "b"], "propensities": [0.0, 1.0]},
            "propensities give the chosen action 0, expected a number in (0, 1]",
        ),
        (
            {"candidates": ["a", "b"], "propensities": [0.3, 0.7], "propensity": 0.5},
            "propensity is 0.5, but propensities give the chosen action 0.3",
        ),
        ({"x_list": [1]}, "x_list is [1], expected a number, a flag or text"),
        ({"x_nan": float("nan")}, "x_nan is nan, expected a finite number"),
        ({"x_big": 10**400}, "expected a finite number"),
        ({"x_Bad name": 1}, "feature name 'x_Bad name', expected x_ and lower-case letters, digits and _"),
    ],
)
def test_a_broken_row_is_refused_with_what_was_found_and_expected(
    change: dict[str, Any], reason: str
) -> None:
    """Kills each invariant in turn: the row that breaks it must not pass, nor for another reason."""
    found = problem("decisions", {**WHOLE, **change})
    assert found is not None
    assert found.endswith(reason)


def test_reasons_escape_what_a_log_could_do_to_a_terminal() -> None:
    """Kills printing control characters or whole prompts from a log."""
    found = problem("decisions", {**WHOLE, "layer": "\x1b[2J" + "x" * 500})
    assert found is not None
    assert "\x1b" not in found
    assert len(found) < 200


def test_too_many_features_in_one_row_are_refused() -> None:
    """Kills a log that turns values into column names."""
    assert "501 x_* values" in (problem("decisions", {**WHOLE, **{f"x_{i}": i for i in range(501)}}) or "")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"request_id": None}, "neither request_id nor decision_id"),
        ({"value": None}, "neither value nor label"),
        ({"source": "oracle"}, "source is 'oracle', expected one of human"),
        ({"value": float("nan")}, "value is nan, expected a finite number"),
        ({"name": ""}, "name is missing"),
    ],
)
def test_an_outcome_needs_a_target_and_a_result(change: dict[str, Any], words: str) -> None:
    """Kills outcomes that can never be linked or say nothing."""
    assert problem("outcomes", OUTCOME) is None
    assert words in (problem("outcomes", {**OUTCOME, **change}) or "")


def test_contexts_and_engine_steps_have_their_own_columns() -> None:
    """Kills checking every table by the columns of decisions."""
    assert problem("contexts", {"request_id": "r", "session_id": "s", "x_kind": "a"}) is None
    assert "request_id is missing" in (problem("contexts", {"session_id": "s"}) or "")
    assert problem("engine_steps", {"replica": "e0", "step_s": 0.03, "running": 3}) is None
    assert "step_s is -1" in (problem("engine_steps", {"replica": "e0", "step_s": -1}) or "")


@pytest.mark.parametrize(
    ("table", "values"),
    [
        ("decisions", {**WHOLE, "cost": 1.0}),
        ("outcomes", {**OUTCOME, "x_kind": "a"}),
        ("contexts", {"request_id": "r", "action": "a"}),
    ],
)
def test_a_column_that_the_schema_does_not_have_is_a_mistake_of_the_reader(
    table: Any, values: dict[str, Any]
) -> None:
    """Kills a mistyped column that vanishes in silence."""
    with pytest.raises(SchemaError, match="is not in the schema"):
        problem(table, values)
