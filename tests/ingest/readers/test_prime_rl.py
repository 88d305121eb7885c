"""prime-rl's episodes, written here from the writer's source, and its token exports (specimens)."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutation import mutated
from paths import shared_data
from reading import ignored, lines, reasons, rows, run_file
from shadowprice.errors import IngestError
from shadowprice.ingest.checks import problem
from shadowprice.ingest.pipeline import ingest
from shadowprice.ingest.readers import prime_rl, prime_rl_tokens
from shadowprice.ingest.readers.registry import find_reader
from shadowprice.ingest.seam import Ignored, Item, LogFile, Rejected, Row
from shadowprice.schemas.config import Config


def _trace(name: str, **more: Any) -> dict[str, Any]:
    usage = {"prompt_tokens": 10, "completion_tokens": 30, "cached_input_tokens": 5, "reasoning_tokens": 8}
    return {
        "id": name,
        "agent": {"name": "solver", "trainable": True},
        "rewards": {
            "correct": {"score": 1.0, "weight": 2.0},
            "style": {"score": 0.5, "weight": 1.0},
            "late": None,
        },
        "metrics": {"turns": 2.0, "skipped": None},
        "calls": [{"usage": usage}, {"usage": usage}, {"usage": None}],
        "nodes": [{"message": "a secret"}],
        "timing": {"agent": {"start": 1790000000.0, "end": 1790000060.5}},
        **more,
    }


def _episode(
    name: str = "e1", *, start: int | None = 2, traces: list[Any] | None = None, **more: Any
) -> dict[str, Any]:
    policy = {} if start is None else {"policy": {"start": start, "end": start + 1}}
    return {
        "id": name,
        "env": {"id": "gsm8k", "name": "math"},
        "task": {"type": "T", "data": {"question": "a secret"}},
        "group": {"id": "g1"},
        "run": {"type": "train", "id": "run-1", "work": {"type": "train", "step": 3, **policy}},
        "ok": True,
        "errors": [],
        "traces": [_trace("t1")] if traces is None else traces,
        **more,
    }


def _log(folder: Path, place: str, body: str) -> LogFile:
    path = folder / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(body)
    return LogFile(path, place, hashlib.sha256(body.encode()).hexdigest())


def _read(folder: Path, *, kept: list[Any], everything: list[Any], subset: str) -> list[Item]:
    logs = {
        "effective": _log(folder, "step_5/train/effective/traces.jsonl", lines(kept)),
        "all": _log(folder, "step_5/train/all/traces.jsonl", lines(everything)),
    }
    return list(prime_rl.read(logs[subset], Config()))


def test_a_trace_of_effective_entered_the_update_with_the_lag_of_its_step(tmp_path: Path) -> None:
    """Kills the lag taken at dispatch (step 3), cache reads as part of the prompt, and contents kept."""
    items = _read(tmp_path, kept=[_episode()], everything=[], subset="effective")
    (row,) = rows(items)
    assert row == {
        "decision_id": "run-1:step-5:t1",
        "request_id": "run-1:e1",
        "session_id": "run-1:g1",
        "x_context_id": "run-1:g1",
        "x_env": "math",
        "layer": "training",
        "decision_point": "keep",
        "action": "keep",
        "kept": True,
        "version_behaviour": "2",
        "version_trained": "4",
        "version_lag": 2,
        "update_id": "run-1:step-5",
        "ts": datetime.fromtimestamp(1790000060.5, UTC),
        "reward": 2.5,
        "tok_input_uncached": 20,
        "tok_cache_read": 10,
        "tok_output": 60,
        "tok_reasoning": 16,
    }
    assert "secret" not in str(items)
    assert [(row["name"], row["value"]) for row in rows(items, "outcomes")] == [
        ("reward:correct", 1.0),
        ("reward:style", 0.5),
        ("turns", 2.0),
    ]


def test_what_only_all_has_was_dropped(tmp_path: Path) -> None:
    """Kills kept rollouts counted twice, and dropped ones lost: the files' difference is the decision."""
    everything = [_episode(), _episode("e2", traces=[_trace("t2"), _trace("t3")])]
    items = _read(tmp_path, kept=[_episode()], everything=everything, subset="all")
    assert [(r["decision_id"], r["action"], r["kept"]) for r in rows(items)] == [
        ("run-1:step-5:t2", "drop", False),
        ("run-1:step-5:t3", "drop", False),
    ]
    assert ignored(items) == ["kept: read from effective/"]


def test_an_unfinished_step_is_refused_not_dropped(tmp_path: Path) -> None:
    """Kills every rollout of the running step taken as dropped."""
    log = _log(tmp_path, "step_5/train/all/traces.jsonl", lines([_episode()]))
    with pytest.raises(IngestError, match="the step is not finished"):
        list(prime_rl.read(log, Config()))


def test_a_file_out_of_its_folder_is_refused_with_a_cure(tmp_path: Path) -> None:
    """Kills rollouts whose update and fate are guessed."""
    log = _log(tmp_path, "traces.jsonl", lines([_episode()]))
    with pytest.raises(IngestError, match="Give the folder that holds the step_N folders"):
        list(prime_rl.read(log, Config()))


def test_a_link_is_not_followed_to_learn_what_was_kept(tmp_path: Path) -> None:
    """Kills reading a file elsewhere because a folder of logs points there."""
    log = _log(tmp_path, "step_5/train/all/traces.jsonl", lines([_episode()]))
    (tmp_path / "secret.jsonl").write_text(lines([_episode()]))
    beside = tmp_path / "step_5/train/effective"
    beside.mkdir()
    (beside / "traces.jsonl").symlink_to(tmp_path / "secret.jsonl")
    with pytest.raises(IngestError, match="not finished"):
        list(prime_rl.read(log, Config()))


def test_evaluations_and_other_agents_are_no_decisions(tmp_path: Path) -> None:
    """Kills an evaluation in the training data, and a judge's trace taken for a rollout."""
    judge = _trace("t9", agent={"name": "judge", "trainable": False})
    other = _episode("e3", run={"id": "run-1", "work": {"type": "eval", "step": 3}})
    items = _read(tmp_path, kept=[_episode(traces=[judge]), other], everything=[], subset="effective")
    log = _log(tmp_path, "step_5/eval/all/traces.jsonl", lines([_episode()]))
    items += list(prime_rl.read(log, Config()))
    assert ignored(items) == [
        "trace of an agent that is not trained",
        "evaluation episode",
        "evaluation episode",
    ]
    assert rows(items) == []


@pytest.mark.parametrize(
    ("start", "behaviour", "lag"), [(4, "4", 0), (6, "6", 0), (0, "0", 4), (None, None, None)]
)
def test_a_lag_is_never_negative_and_frozen_policies_have_none(
    start: int | None, behaviour: str | None, lag: int | None, tmp_path: Path
) -> None:
    """Kills lag 0 for a policy that is never trained, and a lag below 0."""
    (row,) = rows(_read(tmp_path, kept=[_episode(start=start)], everything=[], subset="effective"))
    assert (row.get("version_behaviour"), row.get("version_lag")) == (behaviour, lag)


def test_rewards_that_were_not_scored_are_no_zero(tmp_path: Path) -> None:
    """Kills reward 0 for a trace whose scoring did not run, and a failed span's end as 1970."""
    trace = _trace("t1", rewards={"correct": None}, timing={"agent": {"start": 0.0, "end": 0.0}}, calls=[])
    (row,) = rows(_read(tmp_path, kept=[_episode(traces=[trace])], everything=[], subset="effective"))
    assert "reward" not in row
    assert "ts" not in row
    assert "tok_output" not in row


def test_an_episode_without_a_trace_decided_nothing(tmp_path: Path) -> None:
    """Kills a row for a crash before the first token."""
    items = _read(tmp_path, kept=[], everything=[_episode(traces=[], ok=False)], subset="all")
    assert ignored(items) == ["failed episode without a trace"]


def test_a_run_ends_in_the_store_with_every_fate_once(tmp_path: Path) -> None:
    """Kills a rollout lost or doubled between the files of a run, and one that waited for the next update."""
    logs, early, late = tmp_path / "logs", _episode("e1"), _episode("e2", traces=[_trace("t2")])
    _log(logs, "run/rollouts/step_5/train/all/traces.jsonl", lines([early, late]))
    _log(logs, "run/rollouts/step_5/train/effective/traces.jsonl", lines([early]))
    _log(logs, "run/rollouts/step_6/train/all/traces.jsonl", "")
    _log(logs, "run/rollouts/step_6/train/effective/traces.jsonl", lines([late]))
    store = ingest(logs, out=tmp_path / "out")
    columns = ["request_id", "update_id", "kept", "version_lag"]
    assert store.decisions().select(columns).sort(columns).collect().rows() == [
        ("run-1:e1", "run-1:step-5", True, 2),
        ("run-1:e2", "run-1:step-5", False, 2),
        ("run-1:e2", "run-1:step-6", True, 3),
    ]
    assert store.manifest["counts"]["quarantined"] == 0
    assert store.manifest["counts"]["duplicates"] == 0


@settings(
    max_examples=60,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_no_damage_raises(data: st.DataObject, tmp_path: Path) -> None:
    """Kills an unguarded type assumption, in the file or in the one beside it."""
    damaged = mutated(data, _episode())
    for subset in ("effective", "all"):
        items = _read(tmp_path, kept=[damaged], everything=[damaged, _episode("e2")], subset=subset)
        assert all(isinstance(item, Row | Rejected | Ignored) for item in items)
        for item in items:
            if isinstance(item, Row):
                problem(item.table, item.values)


EXPORT: dict[str, Any] = {
    "schema_version": 1,
    "step": 2,
    "rank": 0,
    "env_name": "gsm8k",
    "token_ids": [5, 6, 7, 8],
    "loss_mask": [False, True, True, True],
    "advantages": [9.0, 0.5, 0.5, 0.5],
    "inference_logprobs": [0.0, -0.1, -0.2, -0.3],
    "log_importance_ratio": [9.0, 0.1, -0.4, 0.0],
    "is_masked": [True, False, True, False],
}


def _export(folder: Path, record: dict[str, Any], *, stable: bool = True) -> list[Item]:
    log = _log(folder, "token_exports/step_2/rank_0.jsonl", json.dumps(record) + "\n")
    if stable:
        (log.path.parent / "STABLE").touch()
    return list(prime_rl_tokens.read(log, Config()))


def test_an_exported_sequence_is_summed_up_over_its_trained_tokens(tmp_path: Path) -> None:
    """Kills prompt tokens in the summary, arrays in the store, and the traces' decision counted twice."""
    (row,) = rows(_export(tmp_path, EXPORT))
    assert row["decision_point"] == "update"
    assert (row["update_id"], row["version_trained"]) == ("token_exports:step-2", "1")
    assert (row["tok_output"], row["advantage"]) == (3, 0.5)
    assert row["x_mean_log_ratio"] == pytest.approx(-0.1)
    assert row["x_max_log_ratio"] == 0.4
    assert row["x_masked_share"] == pytest.approx(1 / 3)


def test_arrays_that_are_all_null_are_unknown(tmp_path: Path) -> None:
    """Kills ratio 0, which would say that the policy has not moved."""
    nothing = [None] * 4
    (row,) = rows(_export(tmp_path, {**EXPORT, "log_importance_ratio": nothing, "is_masked": nothing}))
    assert not {"x_mean_log_ratio", "x_max_log_ratio", "x_masked_share"} & row.keys()


def test_a_step_that_is_still_written_is_refused(tmp_path: Path) -> None:
    """Kills half a step: the trainer marks a whole one."""
    with pytest.raises(IngestError, match="there is no file STABLE"):
        _export(tmp_path, EXPORT, stable=False)


def test_arrays_of_other_lengths_are_rejected(tmp_path: Path) -> None:
    """Kills a mask laid over the wrong tokens."""
    assert reasons(_export(tmp_path, {**EXPORT, "advantages": [0.5]})) == [
        "advantages has 1 items, loss_mask has 4"
    ]


def test_the_specimens_are_recognised_and_read() -> None:
    """Kills an export taken for episodes, and rows that the store refuses."""
    path = shared_data("rl_format_specimens") / "prime_rl/token_exports/step_1/rank_0.jsonl"
    assert find_reader(path.read_bytes(), name="a").NAME == "prime_rl_tokens"
    assert find_reader(lines([_episode()]).encode(), name="a").NAME == "prime_rl"
    (item,) = run_file(prime_rl_tokens, path)
    assert isinstance(item, Row)
    assert problem(item.table, item.values) is None
    assert item.values["x_mean_log_ratio"] == pytest.approx(-0.15 / 4)


@settings(
    max_examples=40,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_no_damaged_export_raises(data: st.DataObject, tmp_path: Path) -> None:
    """Kills an unguarded type assumption about an array or its items."""
    for item in _export(tmp_path, mutated(data, EXPORT)):
        assert isinstance(item, Row | Rejected)
        if isinstance(item, Row):
            problem(item.table, item.values)
