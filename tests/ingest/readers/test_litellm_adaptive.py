"""Adaptive-router states, sessions and calls in one file, hand-written from the writer's source."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from litellm_logs import START, payload, routing, spend
from mutation import mutated
from reading import ignored, lines, reasons, rows, run
from shadowprice.ingest.checks import problem
from shadowprice.ingest.pricing import without_hints
from shadowprice.ingest.readers import litellm, litellm_adaptive, litellm_spend
from shadowprice.ingest.readers.registry import find_reader
from shadowprice.ingest.seam import Ignored, Rejected, Row


def snapshot(age_s: float = 60, **fields: Any) -> dict[str, Any]:
    """What GET /adaptive_router/state tells of one router, with the time it was taken."""
    cells = [
        {"request_type": kind, "model": model, "alpha": alpha, "beta": 1.0, "samples": 0, "quality_mean": 0.5}
        for kind in ("writing", "general")
        for model, alpha in (("openai/gpt-4o-mini", 1.0), ("claude", 2.0))
    ]
    return {
        "taken_at": START - age_s,
        "router_name": "smart",
        "available_models": ["openai/gpt-4o-mini", "claude"],
        "weights": {"quality": 1.0, "cost": 0.0},
        "exploration_rate": 1.0,
        "model_costs": {"openai/gpt-4o-mini": 0.2, "claude": 3.0},
        "cells": cells,
        **fields,
    }


def bandit(**more: Any) -> dict[str, Any]:
    """The routing decision of an adaptive router."""
    drawn = {
        "router_type": "adaptive",
        "router_model_name": "smart",
        "cause": "bandit",
        "request_type": "writing",
    }
    return routing(**{**drawn, "tier": None, "score": None, "tier_boundaries": None, **more})


def call(metadata: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """A payload whose model the adaptive router chose."""
    return payload(metadata={"routing_decision": bandit(**more), **(metadata or {})})


def cell(**fields: Any) -> dict[str, Any]:
    """A row of LiteLLM_AdaptiveRouterState."""
    return {
        "router_name": "smart",
        "request_type": "writing",
        "model_name": "claude",
        "alpha": 3.0,
        "beta": 1.0,
        "total_samples": 0,
        "last_updated_at": "2026-11-21 08:31:00.000",
        **fields,
    }


def session(**fields: Any) -> dict[str, Any]:
    """A row of LiteLLM_AdaptiveRouterSession."""
    return {
        "session_id": "chat-7",
        "router_name": "smart",
        "model_name": "claude",
        "classified_type": "writing",
        "misalignment_count": 1,
        "satisfaction_count": 0,
        "turn_count": 4,
        "terminal_status": None,
        "last_user_content": "secret words",
        "last_activity_at": "2026-11-21 08:40:00.000",
        **fields,
    }


def _one(folder: Path, *records: dict[str, Any]) -> dict[str, Any]:
    (row,) = rows(run(litellm, lines(records), folder))
    return row


def test_a_state_before_the_call_makes_its_odds_known(tmp_path: Path) -> None:
    """Kills unknown odds where posterior and rule are logged: Beta(2, 1) beats a uniform 2 of 3 times."""
    row = _one(tmp_path, snapshot(), call())
    assert row["candidates"] == ["gpt-4o-mini", "claude"]
    assert row["propensities"] == pytest.approx([1 / 3, 2 / 3])
    assert row["propensity"] == pytest.approx(1 / 3)
    assert (row["propensity_source"], row["exploration"], row["x_state_age_s"]) == (
        "reconstructed",
        True,
        60.0,
    )
    assert row["action"] == "gpt-4o-mini"
    assert problem("decisions", without_hints(row)) is None


@pytest.mark.parametrize(
    ("records", "why"),
    [
        ([call()], "no state"),
        ([call(), snapshot()], "state behind the call in the file"),
        ([snapshot(age_s=-1), call()], "state taken after the call"),
        ([snapshot(age_s=3601), call()], "state too old"),
        ([snapshot(router_name="other"), call()], "state of another router"),
        ([snapshot(cells=snapshot()["cells"][:1]), call()], "a cell is missing"),
        ([snapshot(), call(routed_model="unheard-of")], "choice outside of the menu"),
        ([snapshot(), call(cause="default_fallback")], "no draw"),
        ([snapshot(), call({"requester_metadata": {"min_quality_tier": 2}})], "models ruled out by tier"),
        ([snapshot(), call({"requester_custom_headers": {"X-LiteLLM-Min-Quality-Tier": "2"}})], "the same"),
        ([snapshot(exploration_rate=0.0), call()], "a choice that was impossible"),
    ],
)  # fmt: skip
def test_odds_that_are_not_known_stay_unknown(
    records: list[dict[str, Any]], why: str, tmp_path: Path
) -> None:
    """Kills propensities from states that did not lead to the call, or that the call did not obey."""
    row = _one(tmp_path, *records)
    assert "propensity" not in row, why
    assert "propensities" not in row, why
    assert row["propensity_source"] == "unknown"


def test_the_last_state_before_the_call_counts(tmp_path: Path) -> None:
    """Kills the first state, or the nearest in the file, taken for the one in force."""
    older = snapshot(age_s=600, cells=[{**c, "alpha": 50.0} for c in snapshot()["cells"]])
    for states in ((older, snapshot()), (snapshot(), older)):
        assert _one(tmp_path, *states, call())["propensity"] == pytest.approx(1 / 3)


def test_a_row_of_the_state_table_updates_one_cell(tmp_path: Path) -> None:
    """Kills reading snapshots only: Beta(3, 1) beats a uniform 3 of 4 times."""
    row = _one(tmp_path, snapshot(), cell(), call())
    assert row["propensities"] == pytest.approx([1 / 4, 3 / 4])
    assert row["x_state_age_s"] == 6.25


def test_the_spend_log_says_the_same(tmp_path: Path) -> None:
    """Kills propensities in one of the two logs only."""
    row = rows(
        run(litellm_spend, lines([snapshot(), spend(metadata={"routing_decision": bandit()})]), tmp_path)
    )[0]
    assert row["propensity"] == pytest.approx(1 / 3)


def test_a_recipe_overrules_what_was_reconstructed(tmp_path: Path) -> None:
    """Kills a guess that wins over what the application logged."""
    recipe = {"shadowprice": {"candidates": ["gpt-4o-mini", "claude"], "propensities": [0.9, 0.1]}}
    row = _one(tmp_path, snapshot(), call({"spend_logs_metadata": recipe}))
    assert (row["propensity"], row["propensity_source"]) == (0.9, "logged")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"taken_at": None}, "without the time it was taken, expected a field taken_at"),
        ({"weights": {}}, "weights without quality and cost"),
        ({"weights": {"quality": 0.7, "cost": 0.3}, "model_costs": {}}, "without model_costs"),
        ({"available_models": []}, "available_models is no list of names"),
        ({"available_models": [f"m{n}" for n in range(65)]}, "65 available models, expected at most 64"),
        ({"cells": [{"request_type": "writing", "model": "m", "samples": 0}]}, "without alpha and beta"),
        ({"cells": [{"request_type": "writing", "model": "m", "alpha": -1, "beta": 1}]}, "posterior Beta(-1"),
    ],
)
def test_a_state_that_tells_no_odds_is_rejected(fields: dict[str, Any], message: str, tmp_path: Path) -> None:
    """Kills odds from a mean alone, and from a state of unknown time."""
    (reason,) = reasons(run(litellm, lines([snapshot(**fields)]), tmp_path))
    assert message in reason


def test_states_and_sessions_alone_have_a_reader_of_their_own(tmp_path: Path) -> None:
    """Kills an unknown format where the tables are dumped one by one, and stored texts of the last turn."""
    body = lines([{"routers": [snapshot()], "taken_at": START}, cell(), session()])
    assert find_reader(body.encode(), name="dump").NAME == "litellm_adaptive"
    items = run(litellm_adaptive, body, tmp_path)
    assert ignored(items) == ["adaptive router state"] * 2
    common = {
        "request_id": "chat-7",
        "label": "claude",
        "source": "code",
        "ts": datetime(2026, 11, 21, 8, 40, tzinfo=UTC),
    }
    assert rows(items, "outcomes") == [
        {**common, "name": "router_misalignment_count", "value": 1.0},
        {**common, "name": "router_satisfaction_count", "value": 0.0},
        {**common, "name": "router_turn_count", "value": 4.0},
    ]  # fmt: skip
    assert "secret" not in repr(items)


def test_a_head_full_of_states_does_not_lose_the_calls_behind_it(tmp_path: Path) -> None:
    """Kills a file that is recognised by its first records only."""
    body = lines([*(snapshot() for _ in range(30)), call(), spend(request_id="other")])
    assert litellm_adaptive.sniff(body[: body.index("litellm_call_id")].encode())
    items = run(litellm_adaptive, body, tmp_path)
    assert [row.get("propensity_source") for row in rows(items)] == ["reconstructed", None]
    assert not reasons(items)


def test_a_call_in_the_head_leaves_the_file_to_its_own_reader() -> None:
    """Kills two readers for one file."""
    head = lines([snapshot(), call()]).encode()
    assert find_reader(head, name="log").NAME == "litellm"
    assert find_reader(lines([cell(), spend()]).encode(), name="log").NAME == "litellm_spend"


def test_cache_hits_lost_by_switching_are_outcomes_of_the_session(tmp_path: Path) -> None:
    """Kills the one table that tells what a switch of models cost."""
    told = {
        "session_id": "s",
        "same_model_turns": 3,
        "same_model_hits": 2,
        "return_expired_misses": 1,
        "spend": 0.1,
    }
    items = run(litellm_adaptive, lines([told]), tmp_path)
    assert {row["name"]: row["value"] for row in rows(items, "outcomes")} == {
        "router_same_model_turns": 3.0,
        "router_same_model_hits": 2.0,
        "router_return_expired_misses": 1.0,
    }


@settings(
    max_examples=150,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_no_mutation_of_a_record_raises(data: st.DataObject, tmp_path: Path) -> None:
    """Kills an unguarded type assumption anywhere between the file and the rows."""
    records = [snapshot(), cell(), session(), call()]
    place = data.draw(st.integers(0, len(records) - 1))
    records[place] = mutated(data, records[place])
    for item in run(litellm_adaptive, lines(records), tmp_path):
        assert isinstance(item, Row | Rejected | Ignored)
