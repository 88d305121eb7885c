"""Candidates from lists beside the logs: the latest of a policy version that is not later than a decision."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from mapped import MAPPING, START, record, write_log, write_mapping
from shadowprice.ingest.pipeline import ingest
from shadowprice.schemas.store import Store


def decision(number: int, *, at: int | None, action: str = "a", **fields: Any) -> dict[str, Any]:
    """Decision `number`, `at` seconds after START."""
    when = None if at is None else START + at
    return {**record(number, at=when, action=action, p=None), "version": "v1", **fields}


def menu(
    *candidates: str, since: int | None = None, until: int | None = None, **fields: Any
) -> dict[str, Any]:
    """A list of version v1."""
    times = {"valid_from": _text(since), "valid_to": _text(until)}
    return {"policy_version": "v1", "candidates": candidates, **times, **fields}


def _text(at: int | None) -> str | None:
    return None if at is None else datetime.fromtimestamp(START + at, UTC).isoformat()


def store_of(folder: Path, decisions: list[Any], *menus: list[Any]) -> Store:
    write_log(folder / "logs" / "log.jsonl", decisions)
    for number, entries in enumerate(menus):
        write_log(folder / "logs" / f"menu{number}.jsonl", entries)
    mapping = write_mapping(folder, MAPPING + 'policy_version = "version"\n')
    return ingest(folder / "logs", out=folder / "out", mapping=mapping)


def candidates(store: Store) -> list[list[str] | None]:
    return store.decisions().sort("decision_id").collect()["candidates"].to_list()


def counts(store: Store) -> tuple[int, int]:
    told = store.manifest["counts"]
    return told["listed"], told["unlisted"]


def test_a_decision_takes_the_latest_list_that_is_not_later(tmp_path: Path) -> None:
    """Kills the first list, the last list, the next one, and one off at the second it begins."""
    menus = [menu("a", "c", since=20), menu("a", since=0), menu("a", "b", since=10)]
    decisions = [decision(n, at=at) for n, at in enumerate((-1, 0, 9, 10, 19, 20, 99))]
    store = store_of(tmp_path, decisions, menus)
    ab, ac = ["a", "b"], ["a", "c"]
    assert candidates(store) == [None, ["a"], ["a"], ab, ab, ac, ac]
    assert counts(store) == (6, 0)
    assert store.manifest["counts"]["quarantined"] == 0


def test_a_list_ends_where_it_says_and_an_older_one_does_not_come_back(tmp_path: Path) -> None:
    """Kills ignoring valid_to, including its second, and an older list that holds again after it."""
    menus = [menu("a", since=0), menu("a", "b", since=10, until=20)]
    decisions = [decision(n, at=at) for n, at in enumerate((9, 19, 20))]
    assert candidates(store_of(tmp_path, decisions, menus)) == [["a"], ["a", "b"], None]


def test_a_list_without_a_time_holds_ever_since_and_for_decisions_without_one(tmp_path: Path) -> None:
    """Kills demanding a time, and a decision without one that takes a list of a certain time."""
    menus = [menu("a", "b"), menu("a", "c", since=10)]
    decisions = [decision(0, at=0), decision(1, at=10), decision(2, at=None)]
    assert candidates(store_of(tmp_path, decisions, menus)) == [["a", "b"], ["a", "c"], ["a", "b"]]


def test_logged_candidates_stay_and_other_versions_get_none(tmp_path: Path) -> None:
    """Kills overwriting what the log says, and a join without the version."""
    decisions = [decision(0, at=0, options="a|z"), decision(1, at=0, version="v2"), decision(2, at=0)]
    assert candidates(store_of(tmp_path, decisions, [menu("a", "b")])) == [["a", "z"], None, ["a", "b"]]


def test_an_action_outside_of_its_list_keeps_unknown_candidates_and_is_counted(tmp_path: Path) -> None:
    """Kills a row that contradicts itself, and a wrong list that nobody hears of."""
    decisions = [
        decision(0, at=0),
        decision(1, at=0, action="z"),
        decision(2, at=0, point="reuse", action="hit"),
    ]
    store = store_of(tmp_path, decisions, [menu("a", "b")])
    assert candidates(store) == [["a", "b"], None, None]
    assert counts(store) == (1, 1)


def test_a_list_that_names_its_point_goes_before_one_that_names_none(tmp_path: Path) -> None:
    """Kills a list of one point at another, and the general one in its place."""
    menus = [menu("a", "b"), menu("a", "n", decision_point="reuse")]
    decisions = [decision(0, at=0), decision(1, at=0, point="reuse")]
    assert candidates(store_of(tmp_path, decisions, menus)) == [["a", "b"], ["a", "n"]]


def test_two_lists_of_one_time_that_differ_are_told_and_equal_ones_are_one(tmp_path: Path) -> None:
    """Kills choosing between two contradicting lists in silence."""
    store = store_of(tmp_path, [decision(0, at=0)], [menu("a", "b")], [menu("a", "b"), menu("a", "c")])
    assert candidates(store) == [["a", "b"]]
    reason = "other candidates from the same time on than menu0.jsonl:1"
    kept = (store.path / "quarantine.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in kept] == [{"file": "menu1.jsonl", "row": 2, "reason": reason}]


def test_a_store_without_lists_does_not_speak_of_them(tmp_path: Path) -> None:
    """Kills counts of 0 that look like a failure of what was not tried."""
    store = store_of(tmp_path, [decision(0, at=0)])
    assert store.manifest["counts"].keys().isdisjoint({"listed", "unlisted"})
