"""The semantic router's replay records, written here from the writer's source; no real record is at hand."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutation import mutated
from reading import lines, reasons, rows, run
from shadowprice.ingest.checks import problem
from shadowprice.ingest.readers import semantic_router
from shadowprice.ingest.readers.registry import find_reader
from shadowprice.ingest.seam import Rejected, Row

SCORES: dict[str, Any] = {
    "big": {"score": 0.61, "posterior_mean": 0.7, "predicted_quality": 0.65, "cost_penalty": 0.04},
    "small": {"score": 0.7, "posterior_mean": 0.5, "predicted_quality": 0.71, "cost_penalty": 0.01},
}
RECORD: dict[str, Any] = {
    "id": "replay-1",
    "timestamp": "2026-01-03T04:05:06.123456789Z",
    "request_id": "r1",
    "session_id": "s1",
    "turn_index": 2,
    "recipe": "default",
    "decision": "math",
    "decision_tier": 1,
    "category": "math",
    "original_model": "auto",
    "selected_model": "small",
    "selection_method": "static",
    "confidence_score": 0.93,
    "learning": {
        "adaptation": {
            "mode": "apply",
            "action": "propose_switch",
            "reason": "sampled_win",
            "candidate_set": "decision",
            "base_model": "big",
            "proposal_model": "small",
            "sampling": {"used": True, "seed": 7},
            "scores": SCORES,
        }
    },
    "outcomes": [
        {
            "timestamp": "2026-01-03T05:00:00Z",
            "source": "user",
            "target": "model",
            "verdict": "underpowered",
            "reason": "a secret",
            "score": 3.0,
        }
    ],
    "signals": {"keyword": ["maths"], "domain": []},
    "request_body": "a secret",
    "prompt": "a secret",
    "response_status": 200,
    "lifecycle_state": "completed",
    "duration_ms": 1500,
    "jailbreak_enabled": True,
    "prompt_tokens": 100,
    "cached_prompt_tokens": 30,
    "cache_write_tokens": 20,
    "completion_tokens": 40,
    "actual_cost": 0.002,
    "currency": "USD",
}


def _rows(folder: Path, **fields: Any) -> list[dict[str, Any]]:
    return rows(run(semantic_router, lines([{**RECORD, **fields}]), folder))


def _adaptation(**fields: Any) -> dict[str, Any]:
    return {"learning": {"adaptation": {**RECORD["learning"]["adaptation"], **fields}}}


def test_a_record_is_a_choice_among_its_candidates(tmp_path: Path) -> None:
    """Kills cached tokens counted twice, ms read as s, a seed taken for a propensity, and contents kept."""
    items = run(semantic_router, lines([RECORD]), tmp_path)
    assert rows(items) == [
        {
            "decision_id": "replay-1",
            "request_id": "r1",
            "session_id": "s1",
            "ts": datetime(2026, 1, 3, 4, 5, 6, 123456, tzinfo=UTC),
            "policy_version": "default/math",
            "layer": "router",
            "decision_point": "model",
            "action": "small",
            "action_executed": "small",
            "candidates": ["big", "small"],
            "exploration": True,
            "latency_s": 1.5,
            "tok_input_uncached": 50,
            "tok_cache_read": 30,
            "tok_cache_write": 20,
            "tok_output": 40,
            "cost_usd": 0.002,
            "cost_source": "logged",
            "x_category": "math",
            "x_decision_tier": 1,
            "x_confidence": 0.93,
            "x_selection_method": "static",
            "x_original_model": "auto",
            "x_signals": "keyword",
            "x_jailbreak": False,
        }
    ]
    assert "secret" not in str(items)


def test_a_verdict_is_an_outcome_and_its_score_is_a_weight(tmp_path: Path) -> None:
    """Kills the score 3 (three verdicts) read as a quality, and feedback of a person taken for code's."""
    (outcome,) = rows(run(semantic_router, lines([RECORD]), tmp_path), "outcomes")
    assert outcome == {
        "decision_id": "replay-1",
        "request_id": "r1",
        "name": "model_fit",
        "value": 0.0,
        "label": "underpowered",
        "source": "human",
        "ts": datetime(2026, 1, 3, 5, tzinfo=UTC),
    }


def test_a_verdict_on_something_else_has_no_value(tmp_path: Path) -> None:
    """Kills a verdict on the route counted as one on the model."""
    told = {"target": "route", "verdict": "good_fit", "source": "eval", "timestamp": "0001-01-01T00:00:00Z"}
    (outcome,) = rows(run(semantic_router, lines([{**RECORD, "outcomes": [told]}]), tmp_path), "outcomes")
    assert (outcome["name"], outcome["label"], outcome["source"]) == ("route_verdict", "good_fit", "code")
    assert not {"value", "ts"} & outcome.keys()


def test_protection_may_run_another_model_than_was_proposed(tmp_path: Path) -> None:
    """Kills the guard's model credited to the sampler."""
    (row,) = _rows(tmp_path, selected_model="big")
    assert (row["action"], row["action_executed"]) == ("small", "big")


def test_learning_that_only_observes_chose_nothing(tmp_path: Path) -> None:
    """Kills a proposal that was never followed taken for the choice, with candidates it was not made from."""
    (row,) = _rows(tmp_path, selected_model="big", **_adaptation(mode="observe"))
    assert row["action"] == "big"
    assert not {"candidates", "propensity", "exploration"} & row.keys()


def test_without_sampling_the_choice_is_a_rule(tmp_path: Path) -> None:
    """Kills weighting a choice that nothing else could have been."""
    (row,) = _rows(tmp_path, **_adaptation(sampling={"used": False}))
    assert (row["propensity"], row["propensities"]) == (1.0, [0.0, 1.0])
    assert (row["propensity_source"], row["exploration"]) == ("deterministic", False)


def test_without_learning_the_selection_stands_alone(tmp_path: Path) -> None:
    """Kills a classifier's confidence taken for a propensity."""
    (row,) = _rows(tmp_path, learning=None)
    assert row["action"] == "small"
    assert not {"candidates", "propensity", "propensity_source"} & row.keys()


def test_a_choice_outside_its_candidates_is_refused_by_the_store(tmp_path: Path) -> None:
    """Kills a damaged record stored with candidates that its action is not among."""
    items = run(semantic_router, lines([{**RECORD, **_adaptation(proposal_model="other")}]), tmp_path)
    found = [problem(item.table, item.values) for item in items if isinstance(item, Row)]
    assert found[0] is not None
    assert "not among the candidates" in found[0]


@pytest.mark.parametrize(
    ("kind", "stored"), [("exact", "response"), ("semantic", "semantic"), ("new kind", None)]
)
def test_a_cached_answer_is_a_cache_decision_and_costs_nothing(
    kind: str, stored: str | None, tmp_path: Path
) -> None:
    """Kills the stored answer's tokens paid twice, and a cache decision lost."""
    model, reuse = _rows(
        tmp_path,
        from_cache=True,
        cache_hit_kind=kind,
        cache_similarity=0.97,
        cache_entry_age_seconds=60.0,
        actual_cost=0.0,
    )
    assert (model["tok_input_uncached"], model["tok_output"], model["cost_usd"]) == (0, 0, 0.0)
    assert (reuse["layer"], reuse["decision_point"], reuse["action"]) == ("serving", "reuse", "reuse")
    assert (reuse["parent_id"], reuse["request_id"]) == ("replay-1", "r1")
    assert (reuse["cache_similarity"], reuse["cache_age_s"]) == (0.97, 60.0)
    assert reuse.get("cache_hit_kind") == model.get("cache_hit_kind") == stored
    assert (reuse["propensity"], reuse["propensity_source"]) == (1.0, "deterministic")


def test_a_lookup_that_missed_is_a_decision_too(tmp_path: Path) -> None:
    """Kills a cache that always hits: misses leave only a similarity, and no lookup leaves nothing."""
    model, reuse = _rows(tmp_path, cache_similarity=0.4, cache_hit_kind="miss")
    assert (reuse["action"], reuse["cache_hit_kind"], model["cache_hit_kind"]) == (
        "recompute",
        "none",
        "none",
    )
    assert len(_rows(tmp_path)) == 1


@pytest.mark.parametrize(
    "fields", [{"currency": "EUR"}, {"currency": None}, {"actual_cost": 0.0}, {"actual_cost": None}]
)
def test_other_money_and_no_money_is_unpriced(fields: dict[str, Any], tmp_path: Path) -> None:
    """Kills euros stored as dollars, and a model without a price taken as free."""
    assert "cost_usd" not in _rows(tmp_path, **fields)[0]


def test_tokens_that_prove_the_other_convention_are_read_by_it(tmp_path: Path) -> None:
    """Kills a negative count where cached tokens come on top."""
    (row,) = _rows(tmp_path, prompt_tokens=40)
    assert (row["tok_input_uncached"], row["tok_cache_read"], row["tok_cache_write"]) == (40, 30, 20)


def test_a_failure_has_no_tokens_and_an_outcome(tmp_path: Path) -> None:
    """Kills 0 tokens stored for a request that was refused, and a failure that looks like success."""
    fields = {"prompt_tokens": 0, "completion_tokens": 0, "cached_prompt_tokens": 0, "cache_write_tokens": 0}
    items = run(
        semantic_router, lines([{**RECORD, **fields, "response_status": 503, "outcomes": None}]), tmp_path
    )
    assert not [name for name in rows(items)[0] if name.startswith("tok_")]
    assert [(row["name"], row["label"]) for row in rows(items, "outcomes")] == [("error", "503")]


def test_flags_are_false_only_where_a_detector_ran(tmp_path: Path) -> None:
    """Kills 'no personal data' claimed for requests that nobody looked at."""
    (row,) = _rows(tmp_path, jailbreak_enabled=False, pii_enabled=True, pii_detected=True)
    assert "x_jailbreak" not in row
    assert row["x_pii"] is True


def test_a_hallucination_is_an_outcome_not_a_feature(tmp_path: Path) -> None:
    """Kills what the answer turned out to be among what was known before the choice."""
    record = {**RECORD, "outcomes": [], "hallucination_enabled": True, "hallucination_detected": True}
    (outcome,) = rows(run(semantic_router, lines([record]), tmp_path), "outcomes")
    assert (outcome["name"], outcome["value"]) == ("hallucination", 1.0)


def test_the_apis_list_is_read_record_by_record(tmp_path: Path) -> None:
    """Kills the whole answer taken as one record, and the rest lost over one bad entry."""
    answer = {"object": "router_replay.list", "count": 3, "total": 3, "limit": 20, "offset": 0}
    body = json.dumps({**answer, "data": [RECORD, 7, {**RECORD, "id": "replay-2"}]})
    assert find_reader(body.encode(), name="a").NAME == "semantic_router"
    items = run(semantic_router, body, tmp_path)
    assert [row["decision_id"] for row in rows(items)] == ["replay-1", "replay-2"]
    assert reasons(items) == ["a int, expected an object"]
    (reason,) = reasons(run(semantic_router, json.dumps({**answer, "data": {}}), tmp_path))
    assert reason == "data is dict, expected a list"


def test_records_are_recognised_and_log_events_are_not() -> None:
    """Kills two readers for one file: events name the same models."""
    assert find_reader(lines([RECORD]).encode(), name="a").NAME == "semantic_router"
    for extra in ("event", "reason_code"):
        assert not semantic_router.sniff(lines([{**RECORD, extra: "x"}]).encode())


@settings(
    max_examples=80,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_no_damage_raises(data: st.DataObject, tmp_path: Path) -> None:
    """Kills an unguarded type assumption in any of the three passes."""
    for item in run(semantic_router, lines([mutated(data, RECORD), RECORD]), tmp_path):
        assert isinstance(item, Row | Rejected)
        if isinstance(item, Row):
            problem(item.table, item.values)
