"""LiteLLM's choices: what was chosen against what ran, how much of it was chance, and the response cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from litellm_logs import payload, routing
from reading import lines, rows, run
from shadowprice.ingest.readers import litellm


def _rows(folder: Path, **fields: Any) -> list[dict[str, Any]]:
    return rows(run(litellm, lines([payload(**fields)]), folder))


@pytest.mark.parametrize(
    ("fields", "metadata", "action"),
    [
        ({}, {"routing_decision": routing(routed_model="openai/gpt-4o")}, "gpt-4o"),
        ({}, {"original_model_group": "frontier"}, "frontier"),
        ({}, {}, "fast"),
        ({"model_group": ""}, {}, "gpt-4o-mini"),
        ({"model_group": "", "model": "azure/eu/gpt-4o", "custom_llm_provider": "azure"}, {}, "eu/gpt-4o"),
    ],
)
def test_the_action_is_what_was_chosen_not_what_ran(
    fields: dict[str, Any], metadata: dict[str, Any], action: str, tmp_path: Path
) -> None:
    """Kills crediting the policy with a fallback's model."""
    (row,) = _rows(tmp_path, metadata=metadata, **fields)
    assert row["action"] == action


def test_a_heuristic_routers_rule_and_cut_offs_are_kept(tmp_path: Path) -> None:
    """Kills weighting a rule's choices, and losing the score that a discontinuity design needs."""
    (row,) = _rows(tmp_path, metadata={"routing_decision": routing()})
    assert {name: value for name, value in row.items() if name.startswith("x_")} == {
        "x_router_type": "complexity",
        "x_tier": "SIMPLE",
        "x_cause": "heuristic_scorer",
        "x_score": 0.31,
        "x_escalated": False,
        "x_boundary_simple_medium": 0.35,
        "x_boundary_medium_complex": 0.6,
    }
    assert row["policy_version"] == "fp-9"
    assert (row["propensity"], row["propensity_source"]) == (1.0, "deterministic")
    assert row["exploration"] is False
    assert "candidates" not in row


@pytest.mark.parametrize(
    ("decision", "source", "exploration"),
    [
        ({"cause": "bandit"}, "unknown", True),
        ({"cause": "keyword"}, "deterministic", False),
        ({"cause": "heuristic_v2"}, "deterministic", False),
        ({"cause": "session_affinity_pin"}, "unknown", None),
        ({"cause": "health_failover"}, "unknown", None),
        ({"cause": "default_fallback"}, "unknown", None),
        ({"cause": "llm_classifier"}, "unknown", None),
        ({"cause": "capability_classifier", "classifier_threshold": 0.5}, "deterministic", False),
        ({"cause": "capability_classifier_fallback", "classifier_threshold": 0.5}, "unknown", None),
        ({"cause": "of the future"}, "unknown", None),
        ({"cause": None}, "unknown", None),
    ],
)
def test_the_cause_says_how_much_of_a_choice_was_chance(
    decision: dict[str, Any], source: str, exploration: bool | None, tmp_path: Path
) -> None:
    """Kills pins and failovers that count as preferences, and a bandit that counts as a rule."""
    (row,) = _rows(tmp_path, metadata={"routing_decision": routing(**decision)})
    assert row["propensity_source"] == source
    assert row.get("exploration") is exploration
    assert row.get("x_cause") == decision["cause"]


def test_a_classifiers_odds_are_features_never_a_propensity(tmp_path: Path) -> None:
    """Kills the most tempting mistake: confidence is not the probability of the choice."""
    told = routing(
        cause="llm_classifier",
        classifier_probabilities={"SIMPLE": 0.9, "very complex!": 0.1},
        classifier_confidence=0.9,
        classifier_p_solve=0.8,
        classifier_cost=0.0001,
    )
    (row,) = _rows(tmp_path, metadata={"routing_decision": told})
    assert "propensity" not in row
    assert "propensities" not in row
    assert row["x_classifier_probability_simple"] == 0.9
    assert row["x_classifier_probability_very_complex"] == 0.1
    assert (row["x_classifier_confidence"], row["x_classifier_p_solve"]) == (0.9, 0.8)


@pytest.mark.parametrize("hit", [True, "True"])
def test_a_response_cache_hit_cost_nothing_and_spent_nothing(hit: Any, tmp_path: Path) -> None:
    """Kills 'unpriced' for the documented free path, and tokens of the stored answer counted as spent."""
    model, reuse = _rows(tmp_path, cache_hit=hit, cache_key="k", response_cost=0.0)
    assert (model["cost_usd"], model["cost_source"]) == (0.0, "logged")
    assert (model["tok_input_uncached"], model["tok_output"]) == (0, 0)
    assert model["cache_hit_kind"] == reuse["cache_hit_kind"] == "response"
    assert reuse["decision_id"] == "chatcmpl-1:reuse"
    assert (reuse["layer"], reuse["decision_point"], reuse["action"]) == ("serving", "reuse", "reuse")
    assert reuse["request_id"] == model["request_id"]
    assert reuse["propensity_source"] == "deterministic"


def test_a_cache_that_was_asked_in_vain_decided_to_recompute(tmp_path: Path) -> None:
    """Kills losing the other arm of the cache's decision."""
    model, reuse = _rows(tmp_path, cache_hit=False, cache_key="k")
    assert reuse["action"] == "recompute"
    assert model["cache_hit_kind"] == reuse["cache_hit_kind"] == "none"
    assert reuse["cost_usd"] == 0.003


@pytest.mark.parametrize(
    ("hit", "key"), [(None, None), (False, None), (False, "Cache OFF"), (False, ""), (None, "k")]
)
def test_without_a_cache_there_is_no_cache_decision(hit: Any, key: Any, tmp_path: Path) -> None:
    """Kills cache decisions invented from cache_hit false, which streams and failures log without a cache."""
    (row,) = _rows(tmp_path, cache_hit=hit, cache_key=key)
    assert "cache_hit_kind" not in row
