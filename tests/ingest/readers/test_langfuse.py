"""Langfuse exports in both spellings, hand-written from the documented fields: no licensed sample exists."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutation import mutated
from reading import ignored, lines, reasons, rows, run, run_file
from shadowprice.ingest.lines import read_head
from shadowprice.ingest.pipeline import ingest
from shadowprice.ingest.readers import langfuse, langfuse_agents
from shadowprice.ingest.readers.langfuse_observation import token_columns
from shadowprice.ingest.readers.registry import READERS, find_reader
from shadowprice.ingest.seam import Ignored, Rejected, Row
from shadowprice.schemas.store import open_store


def observation(**fields: Any) -> dict[str, Any]:
    """A streamed generation of 2 s with the first token after 0.5 s, as the blob-storage export writes it."""
    return {
        "id": "obs-1",
        "trace_id": "trace-1",
        "project_id": "p",
        "environment": "production",
        "type": "GENERATION",
        "parent_observation_id": "obs-0",
        "start_time": "2026-11-21 08:31:06.250000",
        "end_time": "2026-11-21 08:31:08.250000",
        "completion_start_time": "2026-11-21 08:31:06.750000",
        "name": "answer",
        "level": "DEFAULT",
        "status_message": "",
        "version": "",
        "metadata": {},
        "provided_model_name": "gpt-4o",
        "usage_details": {"input": 70, "input_cached_tokens": 30, "output": 20, "total": 120},
        "cost_details": {"input": 0.002, "total": 0.003},
        "total_cost": 0.003,
        "latency": 2000,
        "prompt_name": "answer",
        "prompt_version": 7,
        **fields,
    }


def trace(**fields: Any) -> dict[str, Any]:
    """One row of the traces table."""
    return {
        "id": "trace-1",
        "timestamp": "2026-11-21 08:31:06.000000",
        "name": "support",
        "environment": "production",
        "session_id": "s-1",
        "user_id": "acme",
        "release": "2.1",
        "version": None,
        "tags": ["vip", "eu"],
        **fields,
    }


def score(**fields: Any) -> dict[str, Any]:
    """One row of the scores table."""
    return {
        "id": "score-1",
        "timestamp": "2026-11-22 09:00:00.000000",
        "trace_id": "trace-1",
        "observation_id": None,
        "name": "helpful",
        "value": 0.75,
        "string_value": None,
        "data_type": "NUMERIC",
        "source": "ANNOTATION",
        "comment": "secret words",
        **fields,
    }


def camel(fields: dict[str, Any]) -> dict[str, Any]:
    """`fields` as the API spells them."""
    return {
        first + "".join(part.capitalize() for part in rest): value
        for (first, *rest), value in ((name.split("_"), value) for name, value in fields.items())
    }


def _one(folder: Path, **fields: Any) -> dict[str, Any]:
    (row,) = rows(run(langfuse, lines([observation(**fields)]), folder))
    return row


def test_a_generation_is_a_model_decision_with_times_of_its_own(tmp_path: Path) -> None:
    """Kills reading `latency` (2000 here, 2 elsewhere), cached tokens inside of input, and lost ids."""
    assert _one(tmp_path) == {
        "decision_id": "obs-1",
        "request_id": "trace-1",
        "parent_id": "obs-0",
        "ts": datetime(2026, 11, 21, 8, 31, 6, 250_000, tzinfo=UTC),
        "policy_version": "answer@7",
        "layer": "router",
        "decision_point": "model",
        "action": "gpt-4o",
        "action_executed": "gpt-4o",
        "latency_s": 2.0,
        "ttft_s": 0.5,
        "decode_s": 1.5,
        "tok_input_uncached": 70,
        "tok_cache_read": 30,
        "tok_output": 20,
        "cost_usd": 0.003,
        "cost_source": "logged",
        "x_environment": "production",
        "x_prompt": "answer@7",
    }


@pytest.mark.parametrize("latency", [2, 2000, 2.0, "2", None, -1, "soon"])
def test_latency_is_never_read(latency: Any, tmp_path: Path) -> None:
    """Kills a thousandfold error: the same field holds s by one export path and ms by another."""
    assert _one(tmp_path, latency=latency)["latency_s"] == 2.0


def test_the_apis_spelling_and_text_cells_say_the_same(tmp_path: Path) -> None:
    """Kills knowing one spelling only, numbers as text, and JSON in the cells of a CSV file."""
    plain = rows(run(langfuse, lines([observation()]), tmp_path))
    assert rows(run(langfuse, json.dumps([camel(observation())]), tmp_path)) == plain
    texts = observation(
        usage_details={"input": "70", "input_cached_tokens": "30", "output": "20"}, total_cost="0.003"
    )
    assert rows(run(langfuse, lines([texts]), tmp_path)) == plain
    out = io.StringIO()
    cells = {k: json.dumps(v) if isinstance(v, dict) else v for k, v in observation().items()}
    table = csv.DictWriter(out, cells)
    table.writeheader()
    table.writerow(cells)
    assert langfuse.sniff(out.getvalue().encode())
    assert rows(run(langfuse, out.getvalue(), tmp_path)) == plain


def test_parquet_with_map_columns_and_times_says_the_same(tmp_path: Path) -> None:
    """Kills the third file type of the export, where usage is a map and times are no text."""
    whole = observation()
    whole["start_time"] = datetime(2026, 11, 21, 8, 31, 6, 250_000)
    for name in ("metadata", "cost_details"):
        del whole[name]
    table = pa.table({name: [value] for name, value in whole.items() if name != "usage_details"})
    usage = pa.array([list(whole["usage_details"].items())], pa.map_(pa.string(), pa.uint64()))
    path = tmp_path / "0.parquet"
    pq.write_table(table.append_column("usage_details", usage), path)
    assert langfuse.sniff(read_head(path))
    assert rows(run_file(langfuse, path)) == rows(run(langfuse, lines([observation()]), tmp_path))


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"input": 70, "cache_read_input_tokens": 30, "output": 20, "total": 120}, (70, 30, None, 20, None)),
        # OpenAI's numbers sent as they came: the total says that the cached tokens are inside of input
        ({"input": 100, "input_cached_tokens": 30, "output": 20, "total": 120}, (70, 30, None, 20, None)),
        ({"input": 5, "input_cache_creation": 9, "input_cached": 4, "output": 1}, (5, 4, 9, 1, None)),
        (
            {"input": 5, "input_audio_tokens": 2, "output": 1, "output_reasoning_tokens": 3},
            (7, None, None, 4, 3),
        ),
        ({"promptTokens": 5, "completionTokens": 2, "totalTokens": 7}, (5, None, None, 2, None)),
        ({"input": 0, "output": 0, "total": 0}, (None,) * 5),
        ({}, (None,) * 5),
    ],
)
def test_usage_keys_are_disjoint_unless_the_total_denies_it(
    usage: dict[str, int], expected: tuple[Any, ...]
) -> None:
    """Kills counting cached tokens twice, adding `total` to its parts, and zeros that mean unknown."""
    names = ("tok_input_uncached", "tok_cache_read", "tok_cache_write", "tok_output", "tok_reasoning")
    found = token_columns(usage)
    assert tuple(found.get(name) for name in names) == expected


def test_a_negative_count_is_rejected(tmp_path: Path) -> None:
    """Kills clipping."""
    (reason,) = reasons(run(langfuse, lines([observation(usage_details={"input": -4})]), tmp_path))
    assert "input: -4 is not a count" in reason


def test_a_cost_of_zero_is_left_to_pricing(tmp_path: Path) -> None:
    """Kills free calls: a model without a price in Langfuse costs 0 there."""
    assert "cost_usd" not in _one(tmp_path, total_cost=0, cost_details={})
    assert _one(tmp_path, total_cost=None)["cost_usd"] == 0.003


def test_an_older_usage_object_counts_only_in_tokens(tmp_path: Path) -> None:
    """Kills characters, images and seconds stored as tokens."""
    older = {"input": 9, "output": 2, "total": 11, "unit": "TOKENS", "inputCost": 0.1}
    row = _one(tmp_path, usage_details=None, usage=older)
    assert (row["tok_input_uncached"], row["tok_output"]) == (9, 2)
    assert "tok_output" not in _one(tmp_path, usage_details=None, usage={**older, "unit": "CHARACTERS"})


@pytest.mark.parametrize(
    ("fields", "action", "executed"),
    [
        ({"type": "TOOL", "name": "get_weather"}, "read", "get_weather"),
        ({"type": "RETRIEVER", "name": "docs"}, "read", "docs"),
        ({"type": "GUARDRAIL", "name": "pii"}, "verify", "pii"),
        ({"type": "EVALUATOR", "name": "judge"}, "verify", "judge"),
        ({"type": "AGENT", "name": "researcher"}, "delegate", "researcher"),
    ],
)
def test_other_types_are_agent_steps(
    fields: dict[str, Any], action: str, executed: str, tmp_path: Path
) -> None:
    """Kills seeing generations only."""
    row = _one(tmp_path, **fields)
    assert (row["layer"], row["action"], row["action_executed"]) == ("agent", action, executed)
    assert "tok_output" not in row


def test_what_decides_nothing_is_ignored_by_its_type(tmp_path: Path) -> None:
    """Kills decisions invented from plain spans, and a root agent that delegates to nobody."""
    listed = [observation(type=kind) for kind in ("SPAN", "EVENT", "CHAIN", "EMBEDDING", "NEW")]
    root = observation(type="AGENT", parent_observation_id="", session_id="s", user_id="u", tags='["b","a"]')
    items = run(langfuse, lines([*listed, root]), tmp_path)
    known = [f"{kind} observation" for kind in ("span", "event", "chain", "embedding")]
    assert ignored(items) == [*known, "observation of another type"]
    assert rows(items) == []
    (context,) = rows(items, "contexts")
    assert (context["session_id"], context["tenant_id"], context["x_tags"]) == ("s", "u", "a|b")


@pytest.mark.parametrize("order", [1, -1])
def test_an_agent_below_plain_spans_is_still_the_root(order: int, tmp_path: Path) -> None:
    """Kills a delegation invented by a span around the agent, which the export writes after it."""
    agent = observation(id="a", type="AGENT", name="support", parent_observation_id="b", level="ERROR")
    listed = [
        agent,
        observation(id="b", type="SPAN", parent_observation_id="c"),
        observation(id="c", type="SPAN", parent_observation_id=None),
        observation(id="d", type="AGENT", name="researcher", parent_observation_id="e"),
        observation(id="e", type="SPAN", parent_observation_id="a"),
        observation(id="f", type="AGENT", name="lost", parent_observation_id="unseen"),
        observation(id="g", type="AGENT", name="step", parent_observation_id="h"),
        observation(id="h", type="CHAIN", parent_observation_id=None),
    ]
    items = run(langfuse, lines(listed[::order]), tmp_path)
    found = sorted((row["decision_id"], row["action_executed"]) for row in rows(items))
    assert found == [("d", "researcher"), ("f", "lost"), ("g", "step")]
    assert len(rows(items, "contexts")) == 1
    (error,) = rows(items, "outcomes")
    assert error == {"request_id": "trace-1", "name": "error", "label": "error", "source": "code"}


def test_agents_that_wait_too_long_are_not_held(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Kills memory that grows with the file, and an endless walk up a damaged trace."""
    monkeypatch.setattr(langfuse_agents, "MAX_WAITING", 2)
    listed = [
        observation(id=f"a{n}", type="AGENT", name="x", parent_observation_id=f"s{n}") for n in range(4)
    ]
    spans = [observation(id=f"s{n}", type="SPAN", parent_observation_id=None) for n in range(4)]
    items = run(langfuse, lines([*listed, *spans]), tmp_path)
    assert [row["decision_id"] for row in rows(items)] == ["a0", "a1"]
    assert len(rows(items, "contexts")) == 2
    loop = [listed[0], observation(id="s0", type="SPAN", parent_observation_id="s0")]
    assert len(rows(run(langfuse, lines(loop), tmp_path))) == 1


def test_a_trace_is_its_requests_context(tmp_path: Path) -> None:
    """Kills sessions and users that the observations table does not repeat."""
    assert rows(run(langfuse, lines([trace()]), tmp_path), "contexts") == [
        {
            "request_id": "trace-1",
            "ts": datetime(2026, 11, 21, 8, 31, 6, tzinfo=UTC),
            "session_id": "s-1",
            "tenant_id": "acme",
            "x_environment": "production",
            "x_tags": "eu|vip",
            "x_release": "2.1",
            "x_trace_name": "support",
        }
    ]


def test_the_api_answers_one_trace_with_everything_inside(tmp_path: Path) -> None:
    """Kills reading the envelope only."""
    whole = {**camel(trace()), "observations": [camel(observation())], "scores": [camel(score())]}
    items = run(langfuse, json.dumps(whole), tmp_path)
    assert [len(rows(items, table)) for table in ("contexts", "decisions", "outcomes")] == [1, 1, 1]  # type: ignore[arg-type]
    assert not reasons(items)


def test_a_page_of_the_api_is_read_like_its_entries(tmp_path: Path) -> None:
    """Kills needing a tool between the API's answer and the reader."""
    page = json.dumps({"data": [camel(observation()), 7], "meta": {"page": 1}})
    assert find_reader(page.encode(), name="page").NAME == "langfuse"
    items = run(langfuse, page, tmp_path)
    assert len(rows(items)) == 1
    assert reasons(items) == ["neither an observation, a trace nor a score of Langfuse"]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {"value": 0.75, "source": "human"}),
        (
            {"source": "EVAL", "observation_id": "obs-1"},
            {"value": 0.75, "source": "llm_judge", "decision_id": "obs-1"},
        ),
        ({"source": "API", "value": "1"}, {"value": 1.0}),
        (
            {"data_type": "BOOLEAN", "value": 1, "string_value": "True"},
            {"value": 1.0, "label": "True", "source": "human"},
        ),
        (
            {"data_type": "CATEGORICAL", "value": 0, "string_value": "good"},
            {"label": "good", "source": "human"},
        ),
    ],
)
def test_scores_are_outcomes(fields: dict[str, Any], expected: dict[str, Any], tmp_path: Path) -> None:
    """Kills a judge taken for a human, a category's placeholder 0 taken for a score, and stored comments."""
    (row,) = rows(run(langfuse, lines([score(**fields)]), tmp_path), "outcomes")
    assert row.pop("ts") == datetime(2026, 11, 22, 9, tzinfo=UTC)
    assert row == {"request_id": "trace-1", "name": "helpful", **expected}


def test_scores_that_judge_no_trace_or_are_text_are_ignored(tmp_path: Path) -> None:
    """Kills outcomes that hang in the air, and content in the store."""
    items = run(
        langfuse, lines([score(trace_id=None), score(data_type="CORRECTION", string_value="words")]), tmp_path
    )
    assert ignored(items) == [
        "score of a session or of a dataset run",
        "correction score: content is not stored",
    ]


def test_an_error_is_an_outcome_without_its_message(tmp_path: Path) -> None:
    """Kills failures that look like successes, and prompts that leak through status messages."""
    items = run(langfuse, lines([observation(level="ERROR", status_message="prompt was: hello")]), tmp_path)
    assert rows(items, "outcomes") == [
        {"request_id": "trace-1", "decision_id": "obs-1", "name": "error", "label": "error", "source": "code"}
    ]
    assert "hello" not in repr(items)


def test_a_recipe_in_metadata_makes_a_choice_identifiable(tmp_path: Path) -> None:
    """Kills ignoring logged propensities, as an object, as JSON in text, and as one key per column."""
    recipe = {"candidates": ["gpt-4o", "mini"], "propensities": [0.1, 0.9], "x_score": 0.3}
    flat = {f"shadowprice.{name}": json.dumps(value) for name, value in recipe.items()}
    for metadata in ({"shadowprice": recipe}, {"shadowprice": json.dumps(recipe)}, flat):
        row = _one(tmp_path, metadata=metadata)
        assert (row["propensity"], row["propensity_source"]) == (0.1, "logged")
        assert float(row["x_score"]) == 0.3


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"start_time": ""}, "no field start_time"),
        ({"start_time": "yesterday"}, "start_time: 'yesterday' is not a time"),
        ({"id": None}, "no field id"),
        ({"provided_model_name": ""}, "a generation that names no model"),
        ({"usage_details": "many"}, "usage_details is text that is no JSON"),
        ({"tags": "{}x"}, "tags is text that is no JSON"),
        ({"metadata": {"shadowprice": {"propensty": 1}}}, "did you mean shadowprice.propensity?"),
    ],
)
def test_what_cannot_be_used_is_rejected_with_its_reason(
    fields: dict[str, Any], message: str, tmp_path: Path
) -> None:
    """Kills crashes, and rows with made-up values."""
    (reason,) = reasons(run(langfuse, lines([observation(**fields)]), tmp_path))
    assert message in reason


def test_rows_at_a_windows_edge_count_once(tmp_path: Path) -> None:
    """Kills counting twice what two windows export, whose ends are both inclusive."""
    (tmp_path / "a.jsonl").write_text(lines([observation(), observation(id="obs-2")]))
    (tmp_path / "b.jsonl").write_text(lines([observation(id="obs-2"), observation(id="obs-3")]))
    (tmp_path / "scores.jsonl").write_text(lines([score(), score()]))
    store = ingest(sorted(tmp_path.glob("*.jsonl")), out=tmp_path / "out")
    counts = open_store(store.path).manifest["counts"]
    assert (counts["decisions"], counts["outcomes"], counts["duplicates"]) == (3, 1, 2)
    assert counts["quarantined"] == 0


def test_an_observation_that_still_ran_gives_way_to_itself_when_done(tmp_path: Path) -> None:
    """Kills an empty first version at a window's edge that keeps the whole one out of the store."""
    running = observation(
        end_time=None, completion_start_time=None, usage_details={}, cost_details={}, total_cost=None
    )
    (tmp_path / "a.jsonl").write_text(lines([running]))
    (tmp_path / "b.jsonl").write_text(lines([observation()]))
    store = ingest([tmp_path / "a.jsonl", tmp_path / "b.jsonl"], out=tmp_path / "out")
    assert open_store(store.path).manifest["counts"]["quarantined"] == 0
    assert store.decisions().collect()["latency_s"].to_list() == [2.0]


@pytest.mark.parametrize("told", [{"usage_details": {"input": 5}}, {"total_cost": 0.1}, {"level": "ERROR"}])
def test_an_observation_that_was_never_ended_but_tells_something_is_kept(
    told: dict[str, Any], tmp_path: Path
) -> None:
    """Kills losing the calls of programs that forget to end them."""
    bare = {"end_time": None, "usage_details": {}, "cost_details": {}, "total_cost": None}
    row = _one(tmp_path, **{**bare, **told})
    assert "latency_s" not in row
    items = run(langfuse, lines([observation(**bare)]), tmp_path)
    assert ignored(items) == ["unfinished observation"]


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (observation(), True),
        (trace(), True),
        (score(), True),
        (camel(observation()), True),
        (camel(score()), True),
        ({"id": "a", "timestamp": 1, "tags": []}, False),
        ({"trace_id": "a", "span_id": "b", "name": "n", "annotator_kind": "LLM"}, False),
    ],
)
def test_its_three_tables_are_recognised_by_their_fields(record: dict[str, Any], expected: bool) -> None:
    """Kills claiming everything that has an id and a trace, and a second reader that claims these."""
    head = lines([record]).encode()
    assert [reader.NAME for reader in READERS if reader.sniff(head)].count("langfuse") == expected
    if expected:
        assert find_reader(head, name="export").NAME == "langfuse"


@settings(
    max_examples=150,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_no_mutation_of_a_record_raises(data: st.DataObject, tmp_path: Path) -> None:
    """Kills an unguarded type assumption anywhere between the file and the rows."""
    whole = {**trace(), "observations": [observation()], "scores": [score()]}
    record = mutated(data, data.draw(st.sampled_from([observation(), trace(), score(), whole])))
    for item in run(langfuse, lines([record]), tmp_path):
        assert isinstance(item, Row | Rejected | Ignored)
