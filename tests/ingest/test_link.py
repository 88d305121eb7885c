"""Linking: repeats, contexts, outcomes, untaken decisions; each rule seen in a store of a few rows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from mapped import START, record, tree, write_log, write_mapping
from paths import shared_data
from shadowprice.errors import ConfigError, IngestError
from shadowprice.ingest import link
from shadowprice.ingest.pipeline import ingest
from shadowprice.schemas.config import Config, QualityRule, parse_config
from shadowprice.schemas.store import Store

CONTEXTS = """\
format = "jsonl"
table = "contexts"
files = "*.ctx"
[columns]
request_id = "request"
session_id = "session"
tenant_id = "tenant"
ts = {from = "at", unit = "s"}
x_kind = "kind"
x_size = "size"
"""


def store_of(folder: Path, *logs: list[dict[str, Any]], config: Config | None = None) -> Store:
    """The store of one log per list of records, called a.jsonl, b.jsonl, ..."""
    for name, records in zip("abcdef", logs, strict=False):
        write_log(folder / "logs" / f"{name}.jsonl", records)
    mapping = write_mapping(folder)
    return ingest(folder / "logs", out=folder / "out", config=config, mapping=mapping)


def with_contexts(
    folder: Path, records: list[Any], contexts: list[Any], config: Config | None = None
) -> Store:
    write_log(folder / "logs" / "c.ctx", contexts)
    write_log(folder / "logs" / "a.jsonl", records)
    path = folder / "ctx.mapping.toml"
    path.write_text(CONTEXTS, encoding="utf-8")
    return ingest(folder / "logs", out=folder / "out", config=config, mapping=[write_mapping(folder), path])


def rows(store: Store, *names: str) -> list[tuple[Any, ...]]:
    return store.decisions().select("decision_id", *names).sort("decision_id").collect().rows()


def quarantine(store: Store) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (store.path / "quarantine.jsonl").read_text().splitlines()]


def agent(
    number: int, request: str, point: str = "act", action: str = "read", **fields: Any
) -> dict[str, Any]:
    whole = record(number, layer="agent", point=point, action=action, request=request, cost=None, p=None)
    return {**whole, **fields}


def test_a_repeated_row_is_counted_once_and_another_content_is_quarantined(tmp_path: Path) -> None:
    """Kills counting a request twice, and silently keeping one of two contradicting rows."""
    store = store_of(tmp_path, [record(1), record(2)], [record(1), record(2, took=999)])
    assert rows(store, "source_file", "latency_s") == [("d1", "a.jsonl", 0.12), ("d2", "a.jsonl", 0.12)]
    assert store.manifest["counts"]["duplicates"] == 1
    assert quarantine(store) == [
        {"file": "b.jsonl", "row": 2, "reason": "duplicate decision_id, first seen at a.jsonl:2"}
    ]


def test_the_first_row_by_file_and_line_is_the_one_that_stays(tmp_path: Path) -> None:
    """Kills a choice that depends on the order in which files were given or staged."""
    store = store_of(tmp_path, [record(3), record(1, took=5)], [record(1, took=7)])
    assert rows(store, "latency_s") == [("d1", 0.005), ("d3", 0.12)]


def test_a_context_fills_what_rows_of_its_request_lack_and_nothing_else(tmp_path: Path) -> None:
    """Kills overwriting what a row says itself, and spreading to other requests."""
    records = [record(1), record(2, request="r1", session="own", kind="seen"), record(3)]
    store = with_contexts(
        tmp_path,
        records,
        [{"request": "r1", "session": "s", "tenant": "t", "kind": "told", "size": 7}, {"request": "r9"}],
    )
    assert rows(store, "session_id", "tenant_id", "x_kind", "x_size") == [
        ("d1", "s", "t", "told", 7.0),
        ("d2", "own", "t", "seen", 7.0),
        ("d3", None, None, None, None),
    ]


def test_outcomes_reach_their_decision_or_every_row_of_their_request(tmp_path: Path) -> None:
    """Kills linking by request only, by decision only, or across requests."""
    records = [record(1, resolved=1), record(2, request="r1"), record(3, resolved=0), record(4)]
    store = store_of(tmp_path, records)
    assert rows(store, "quality", "quality_source", "quality_observed") == [
        ("d1", 1.0, "human", True),
        ("d2", 1.0, "human", True),
        ("d3", 0.0, "human", True),
        ("d4", None, None, False),
    ]
    links = store.manifest["links"]
    assert (links["quality_name"], links["outcomes"], links["linked"]) == ("resolved", 2, 2)


def test_an_outcome_of_a_known_decision_is_not_the_whole_requests(tmp_path: Path) -> None:
    """Kills spreading one step's label over the request; an unknown decision's label falls to the request."""
    path = tmp_path / "labels.mapping.toml"
    path.write_text(
        'format = "jsonl"\ntable = "outcomes"\nfiles = "*.labels"\n'
        'outcomes = [{name = "resolved", from = "v", source = "human"}]\n'
        '[columns]\nrequest_id = "r"\ndecision_id = "d"\n',
        encoding="utf-8",
    )
    labels = [{"r": "r1", "d": "d1", "v": 1}, {"r": "r2", "d": "unknown", "v": 0}]
    write_log(tmp_path / "logs" / "x.labels", labels)
    records = [record(1), record(2, request="r1"), record(3, request="r2")]
    write_log(tmp_path / "logs" / "a.jsonl", records)
    store = ingest(tmp_path / "logs", out=tmp_path / "out", mapping=[write_mapping(tmp_path), path])
    assert rows(store, "quality") == [("d1", 1.0), ("d2", None), ("d3", 0.0)]


def test_a_store_without_any_label_does_not_say_that_rows_were_not_labelled(tmp_path: Path) -> None:
    """Kills quality_observed = false where nobody labels anything."""
    assert rows(store_of(tmp_path, [record(1)]), "quality_observed") == [("d1", None)]


def test_a_rows_own_quality_stays(tmp_path: Path) -> None:
    """Kills overwriting a row's label by the request's."""
    store = store_of(tmp_path, [record(1, quality=0.25, resolved=1), record(2)])
    assert rows(store, "quality", "quality_observed") == [("d1", 0.25, True), ("d2", None, False)]


def test_the_first_default_outcome_within_the_unit_interval_is_the_quality(tmp_path: Path) -> None:
    """Kills taking stars of 1 to 5 for a quality in [0, 1]."""
    store = store_of(tmp_path, [record(1, score=0.7), record(2, score=0.2, resolved=3)])
    assert store.manifest["links"]["quality_name"] == "score"
    assert rows(store, "quality", "quality_source") == [("d1", 0.7, "code"), ("d2", 0.2, "code")]


def test_the_configured_quality_is_rescaled_and_values_outside_are_quarantined(tmp_path: Path) -> None:
    """Kills clipping a wrong label into the scale, and rescaling by the wrong end."""
    config = Config(quality=QualityRule(name="score", low=1, high=5))
    store = store_of(tmp_path, [record(1, score=4), record(2, score=9), record(3, score=1)], config=config)
    assert rows(store, "quality") == [("d1", 0.75), ("d2", None), ("d3", 0.0)]
    assert quarantine(store) == [
        {"file": "a.jsonl", "row": 2, "reason": "outcome 'score' is 9, expected a number in [1, 5]"}
    ]
    assert store.manifest["counts"]["outcomes"] == 2


def test_a_scale_may_run_downwards_but_not_be_a_point(tmp_path: Path) -> None:
    """Kills dividing by zero, and refusing scales where less is better."""
    config = Config(quality=QualityRule(name="score", low=5, high=1))
    assert rows(store_of(tmp_path, [record(1, score=4)], config=config), "quality") == [("d1", 0.25)]
    with pytest.raises(ConfigError, match="two different ends"):
        store_of(
            tmp_path, [record(1, score=4)], config=Config(quality=QualityRule(name="score", low=1, high=1))
        )


def test_the_last_label_by_time_wins_and_undated_ones_come_first(tmp_path: Path) -> None:
    """Kills taking the first label, the largest, or the order of lines."""
    text = (
        'format = "jsonl"\ntable = "outcomes"\nfiles = "*.labels"\n'
        'outcomes = [{name = "resolved", from = "v", source = "human", ts = {from = "at", unit = "s"}}]\n'
        '[columns]\nrequest_id = "r"\n'
    )
    path = tmp_path / "labels.mapping.toml"
    path.write_text(text, encoding="utf-8")
    labels = [
        {"r": "r1", "v": 0, "at": START + 9},
        {"r": "r1", "v": 1, "at": START + 5},
        {"r": "r2", "v": 1, "at": START},
        {"r": "r2", "v": 0},
        {"r": "elsewhere", "v": 1},
    ]
    write_log(tmp_path / "logs" / "x.labels", labels)
    write_log(tmp_path / "logs" / "a.jsonl", [record(1), record(2)])
    store = ingest(tmp_path / "logs", out=tmp_path / "out", mapping=[write_mapping(tmp_path), path])
    assert rows(store, "quality") == [("d1", 0.0), ("d2", 1.0)]
    links = store.manifest["links"]
    assert (links["linked"], links["unlinked"]) == (4, 1)
    assert links["by_name"] == {"resolved": {"total": 5, "linked": 4}}


def test_an_incident_is_true_false_or_unknown(tmp_path: Path) -> None:
    """Kills counting requests that nobody checked as safe."""
    store = store_of(tmp_path, [record(1, incident=1), record(2, incident=0), record(3)])
    assert rows(store, "incident") == [("d1", True), ("d2", False), ("d3", None)]


def test_steps_are_counted_within_the_request_in_the_order_of_time(tmp_path: Path) -> None:
    """Kills numbering by line, or across requests."""
    records = [agent(5, "r"), agent(2, "r"), agent(3, "q"), record(9, request="r")]
    store = store_of(tmp_path, records)
    assert rows(store, "step") == [("d2", 0), ("d3", 0), ("d5", 1), ("d9", None)]


def test_an_optional_decision_that_left_no_row_is_one_of_action_skip(tmp_path: Path) -> None:
    """Kills comparing verified requests with nothing: the untaken decisions are the other arm."""
    records = [
        agent(1, "r1", kind="easy", resolved=1),
        agent(2, "r1", "verify", "verify", kind="easy"),
        agent(3, "r2", kind="hard", session="s2", resolved=0),
        agent(4, "r2", kind="hard", session="s2"),
        record(5, request="r3"),
    ]
    store = store_of(tmp_path, records)
    frame = store.decisions().filter(pl.col("decision_point") == "verify").sort("action").collect()
    assert store.manifest["counts"]["untaken"] == 1
    skipped, taken = frame.to_dicts()
    expected = {
        "layer": "agent",
        "request_id": "r2",
        "session_id": "s2",
        "action": "skip",
        "candidates": ["verify", "skip"],
        "propensity_source": "unknown",
        "cost_usd": 0.0,
        "cost_source": "logged",
        "latency_s": 0.0,
        "quality": 0.0,
        "x_kind": "hard",
        "source_format": "linked",
    }
    assert {name: skipped[name] for name in expected} == expected
    assert skipped["ts"].timestamp() == START + 3
    assert taken["candidates"] == ["verify", "skip"]
    assert taken["request_id"] == "r1"


def test_points_that_never_occur_or_are_not_configured_add_no_rows(tmp_path: Path) -> None:
    """Kills inventing decisions that this agent does not have."""
    records = [agent(1, "r1"), agent(2, "r2", "verify", "verify")]
    none = store_of(tmp_path, records, config=parse_config({"optional_points": ["plan"]}))
    assert none.manifest["counts"]["untaken"] == 0
    one = store_of(tmp_path, records)
    assert rows(one, "decision_point")[0][0] != "d1"
    assert one.manifest["counts"]["untaken"] == 1


def test_a_feature_that_differs_within_the_request_is_not_the_untaken_decisions(tmp_path: Path) -> None:
    """Kills copying one step's feature onto a decision of the whole request."""
    records = [
        agent(1, "r1", kind="a"),
        agent(2, "r1", kind="b"),
        agent(3, "r2", "verify", "verify"),
        agent(4, "r3", kind="a"),
        agent(5, "r3"),
    ]
    frame = store_of(tmp_path, records).decisions().filter(pl.col("action") == "skip").collect()
    assert frame["x_kind"].to_list() == [None, None]


def test_an_agent_that_took_no_step_skipped_everything(tmp_path: Path) -> None:
    """Kills leaving out requests whose agent did nothing: that is selection on what it did."""
    records = [agent(1, "r1", "verify", "verify")]
    contexts = [{"request": "r1", "size": 1}, {"request": "r2", "size": 2, "session": "s", "at": START}]
    store = with_contexts(tmp_path, records, contexts)
    skipped = store.decisions().filter(pl.col("action") == "skip").collect().to_dicts()
    assert [(row["request_id"], row["session_id"], row["x_size"]) for row in skipped] == [("r2", "s", 2.0)]
    assert skipped[0]["ts"].timestamp() == START


def test_a_feature_that_is_text_somewhere_is_text_everywhere(tmp_path: Path) -> None:
    """Kills a column of two types, and categories 3 and 3.0 beside each other."""
    store = store_of(tmp_path, [record(1, kind=3)], [record(2, kind="3"), record(4, kind="b")], [record(3)])
    # the mapping takes "3" for a number, so only the second file's batch is text
    assert store.features() == {"x_kind": "text"}
    assert rows(store, "x_kind") == [("d1", "3"), ("d2", "3"), ("d3", None), ("d4", "b")]


def test_rows_are_partitioned_by_layer_and_ordered_by_time(tmp_path: Path) -> None:
    """Kills an order that depends on files, and a partition without its own column."""
    store = store_of(tmp_path, [record(3), agent(1, "r"), record(2), record(1, at=None, id="null-time")])
    names = store.manifest["tables"]["decisions"]
    assert [name.split("/")[1] for name in names] == ["layer=router", "layer=agent"]
    router = pl.read_parquet(store.path / names[0], hive_partitioning=False)
    assert router["decision_id"].to_list() == ["d2", "d3", "null-time"]
    assert set(router["layer"]) == {"router"}


def test_hostile_names_are_only_data(tmp_path: Path) -> None:
    """Kills SQL made of log values, and names that break out of the quarantine's lines."""
    evil = "'; DROP TABLE base; --\n\x1b[31m\"<script>"
    records = [record(1, action=evil, request=evil, id=evil, kind=evil, resolved=1)]
    records += [record(2, id=evil, action=evil)]
    store = store_of(tmp_path, records)
    assert rows(store, "action", "x_kind", "quality") == [(evil, evil, evil, 1.0)]
    assert len(quarantine(store)) == 1


def test_unpriced_decisions_are_counted_with_their_tokens(tmp_path: Path) -> None:
    """Kills a total that silently leaves out what could not be priced."""
    tokens = {"in": 100, "cached": 40, "out": 10, "cost": 0}
    store = store_of(tmp_path, [record(1, **tokens), record(2, **tokens, ran="gpt-4o"), record(3)])
    assert store.manifest["unpriced"] == {"decisions": 1, "tokens": 110}
    assert [row[1] for row in rows(store, "cost_source")] == ["unpriced", "priced", "logged"]


def test_linking_spills_to_disk_and_gives_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kills results that depend on memory, and a traceback where there is far too little."""
    records = [
        agent(n, f"r{n // 3}", "act" if n % 3 else "verify", "read", kind="k" * 200, resolved=n % 2)
        for n in range(3000)
    ]
    roomy = store_of(tmp_path, records)
    monkeypatch.setattr(link, "MEMORY_LIMIT", "60MB")
    shutil.move(tmp_path / "out", tmp_path / "roomy")
    assert tree(store_of(tmp_path, records).path) == tree(tmp_path / "roomy" / "store")
    assert roomy.manifest["counts"]["decisions"] == 3000
    monkeypatch.setattr(link, "MEMORY_LIMIT", "1MB")
    shutil.rmtree(tmp_path / "out")
    with pytest.raises(IngestError, match=r"linking failed: .*Free some disk"):
        store_of(tmp_path, records)


def test_all_tau_bench_trials_are_linked_to_their_reward(tmp_path: Path) -> None:
    """Kills leaving out the 18 trials in which the agent called no tool; trials of a task share a context."""
    store = ingest(shared_data("tau_bench"), out=tmp_path)
    links = store.manifest["links"]
    assert (links["quality_name"], links["linked"], links["unlinked"]) == ("reward", 200, 0)
    frame = store.decisions().select("request_id", "session_id", "x_context_id", "quality").collect()
    assert frame["request_id"].n_unique() == 200
    assert frame["x_context_id"].n_unique() == frame["session_id"].n_unique() == 50
    assert frame["quality"].null_count() == 0


def test_the_window_is_that_of_the_decisions(tmp_path: Path) -> None:
    """Kills a window in the machine's zone."""
    store = store_of(tmp_path, [record(0), record(60)])
    assert store.manifest["window"] == ["2026-09-21T14:13:20+00:00", "2026-09-21T14:14:20+00:00"]


def test_linking_never_prints(tmp_path: Path) -> None:
    """Kills DuckDB's progress bar, which it draws on stdout in notebooks and scripts without a file."""
    with link._connect(tmp_path / "spill", tmp_path) as connection:
        told = connection.execute(
            "SELECT current_setting('enable_progress_bar'), current_setting('enable_progress_bar_print')"
        ).fetchall()
    assert told == [(False, False)]
