"""Shadow-eval jobs, attempts and funnels, hand-written from the writer's tables."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from litellm_logs import spend
from mutation import mutated
from reading import ignored, lines, reasons, rows, run
from shadowprice.ingest.checks import problem
from shadowprice.ingest.pipeline import ingest
from shadowprice.ingest.readers import litellm_shadow
from shadowprice.ingest.readers.registry import find_reader
from shadowprice.ingest.seam import Ignored, Rejected, Row
from shadowprice.schemas.store import open_store


def job(**fields: Any) -> dict[str, Any]:
    """A job that pairs a tenth of the requests."""
    return {
        "id": "job-1",
        "target_type": "key",
        "router_name": "smart",
        "direction": "forward",
        "judge_model": "judge",
        "shadow_percentage": 10.0,
        "created_at": "2026-11-20 00:00:00.000",
        "ends_at": "2026-11-27 00:00:00.000",
        "stopped_at": None,
        **fields,
    }


def attempt(**fields: Any) -> dict[str, Any]:
    """A pair in which the served answer was preferred."""
    return {
        "id": "a-1",
        "job_id": "job-1",
        "request_id": "chatcmpl-1",
        "outcome": "real",
        "tier": "SIMPLE",
        "real_model": "gpt-4o",
        "shadow_model": "gpt-4o-mini",
        "confidence": 0.9,
        "judge_cost": 0.002,
        "shadow_cost": 0.0003,
        "real_cost": 0.003,
        "real_classifier_cost": 0.0,
        "shadow_classifier_cost": 0.0001,
        "error": None,
        "created_at": "2026-11-21 08:32:00.000",
        **fields,
    }


FUNNEL = {"job_id": "job-1", "not_sampled": 900, "unjudgeable": 6, "shed": 0, "withheld": 2}


def _named(items: Any) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in rows(items, "outcomes")}


def test_a_pair_is_a_verdict_with_both_costs_and_its_sampling_share(tmp_path: Path) -> None:
    """Kills a pair without its costs or its known chance of being drawn, and percent read as a share."""
    items = run(litellm_shadow, lines([job(), attempt()]), tmp_path)
    told = _named(items)
    assert told["real_preferred"] == {
        "request_id": "chatcmpl-1",
        "decision_id": "chatcmpl-1",
        "name": "real_preferred",
        "value": 1.0,
        "label": "gpt-4o against gpt-4o-mini",
        "source": "llm_judge",
        "ts": datetime(2026, 11, 21, 8, 32, tzinfo=UTC),
    }
    assert {name: (row["value"], row["label"]) for name, row in told.items() if name != "real_preferred"} == {
        "real_cost_usd": (0.003, "gpt-4o"),
        "shadow_cost_usd": (0.0003, "gpt-4o-mini"),
        "shadow_classifier_cost_usd": (0.0001, "gpt-4o-mini"),
        "judge_cost_usd": (0.002, "gpt-4o against gpt-4o-mini"),
        "shadow_share": (0.1, "gpt-4o against gpt-4o-mini"),
    }
    assert all(problem("outcomes", row) is None for row in told.values())


@pytest.mark.parametrize(
    ("verdict", "value"), [("real", 1.0), ("shadow", 0.0), ("tie", 0.5), ("error", None)]
)
def test_a_verdict_is_a_number_and_an_error_is_none(
    verdict: str, value: float | None, tmp_path: Path
) -> None:
    """Kills an error counted as a loss, and arms the wrong way round."""
    items = run(litellm_shadow, lines([attempt(outcome=verdict)]), tmp_path)
    row = _named(items)["real_preferred"]
    assert row.get("value") == value
    assert (row["label"] == "error") is (value is None)
    assert problem("outcomes", row) is None


def test_a_cost_of_zero_is_not_known(tmp_path: Path) -> None:
    """Kills the table's default 0 stored as a free call."""
    told = _named(
        run(
            litellm_shadow,
            lines([attempt(shadow_cost=0.0, shadow_classifier_cost=0, judge_cost="0")]),
            tmp_path,
        )
    )
    assert sorted(told) == ["real_cost_usd", "real_preferred"]


def test_the_share_is_only_told_where_its_job_is_known(tmp_path: Path) -> None:
    """Kills another job's share."""
    assert "shadow_share" not in _named(run(litellm_shadow, lines([attempt(), job()]), tmp_path))
    assert "shadow_share" not in _named(run(litellm_shadow, lines([job(id="job-2"), attempt()]), tmp_path))


def test_jobs_and_funnels_are_told_in_the_counts(tmp_path: Path) -> None:
    """Kills silence about who was not paired: selection inside of the sample."""
    assert ignored(run(litellm_shadow, lines([job(), FUNNEL]), tmp_path)) == [
        "shadow-eval job: pairs 10 % of requests",
        "shadow-eval funnel: 900 not_sampled, 6 unjudgeable, 0 shed, 2 withheld",
    ]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (attempt(outcome="maybe"), "outcome is 'maybe', expected one of real, tie, shadow, error"),
        (attempt(request_id=""), "no field request_id"),
        (attempt(real_cost="much"), "real_cost: 'much' is not a number"),
        (job(shadow_percentage=0), "expected a number in (0, 100]"),
        (job(shadow_percentage=101), "expected a number in (0, 100]"),
        ({"a": 1}, "neither a job, an attempt nor a funnel"),
    ],
)
def test_what_cannot_be_used_is_rejected(record: dict[str, Any], message: str, tmp_path: Path) -> None:
    """Kills made-up verdicts and shares."""
    (reason,) = reasons(run(litellm_shadow, lines([record]), tmp_path))
    assert message in reason


def test_a_pair_meets_the_call_in_the_spend_log(tmp_path: Path) -> None:
    """Kills a key that no decision has."""
    (tmp_path / "spend.jsonl").write_text(lines([spend()]))
    (tmp_path / "attempts.csv").write_text(
        ",".join(attempt()) + "\n" + ",".join("" if v is None else str(v) for v in attempt().values()) + "\n"
    )
    store = ingest([tmp_path / "spend.jsonl", tmp_path / "attempts.csv"], out=tmp_path / "out")
    links = open_store(store.path).manifest["links"]
    assert links["by_name"]["real_preferred"] == {"total": 1, "linked": 1}
    assert links["unlinked"] == 0


def test_each_table_is_recognised_and_no_other_is(tmp_path: Path) -> None:
    """Kills claiming what merely has a request and an outcome."""
    for record in (job(), attempt(), FUNNEL):
        assert find_reader(lines([record]).encode(), name="dump").NAME == "litellm_shadow"
    assert litellm_shadow.sniff((",".join(attempt()) + "\n").encode())
    assert not litellm_shadow.sniff(lines([spend()]).encode())
    assert not litellm_shadow.sniff(b'{"request_id": "a", "outcome": "real"}\n')


@settings(
    max_examples=100,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_no_mutation_of_a_record_raises(data: st.DataObject, tmp_path: Path) -> None:
    """Kills an unguarded type assumption anywhere between the file and the rows."""
    record = mutated(data, data.draw(st.sampled_from([job(), attempt(), FUNNEL])))
    for item in run(litellm_shadow, lines([job(), record]), tmp_path):
        assert isinstance(item, Row | Rejected | Ignored)
