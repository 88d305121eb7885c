"""TRL's completions in Parquet: kept rollouts with their advantage, a reward only where one says it all."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from paths import shared_data
from reading import log_of, reasons, rows, run_file
from shadowprice.errors import IngestError
from shadowprice.ingest.checks import problem
from shadowprice.ingest.lines import read_head
from shadowprice.ingest.readers import trl
from shadowprice.ingest.readers.registry import find_reader
from shadowprice.ingest.seam import Item, Row
from shadowprice.schemas.config import Config


def _items(folder: Path, table: dict[str, list[Any]]) -> list[Item]:
    path = folder / "completions_00003.parquet"
    pq.write_table(pa.table(table), path)
    return run_file(trl, path)


def _table(n: int = 1, **more: list[Any]) -> dict[str, list[Any]]:
    return {
        "step": [3] * n,
        "prompt": ["What is 1+2?"] * n,
        "completion": ["three, I think"] * n,
        **more,
        "advantage": [0.7] * n,
    }


def test_a_row_is_a_kept_rollout_with_its_advantage(tmp_path: Path) -> None:
    """Kills the only reward lost, and the completion kept."""
    items = _items(tmp_path, _table(accuracy_reward=[1.0]))
    (row,) = rows(items)
    assert row == {
        "decision_id": row["decision_id"],
        "request_id": row["decision_id"],
        "session_id": row["session_id"],
        "x_context_id": f"step-3:{row['session_id']}",
        "layer": "training",
        "decision_point": "keep",
        "action": "keep",
        "kept": True,
        "reward": 1.0,
        "advantage": 0.7,
        "update_id": "step-3",
    }
    assert "three" not in str(items)


def test_of_two_rewards_neither_is_the_reward(tmp_path: Path) -> None:
    """Kills a sum without the weights, which are not logged: each is an outcome of its own."""
    items = _items(tmp_path, _table(accuracy_reward=[1.0], format_reward=[0.5]))
    assert "reward" not in rows(items)[0]
    assert [(row["name"], row["value"]) for row in rows(items, "outcomes")] == [
        ("accuracy_reward", 1.0),
        ("format_reward", 0.5),
    ]


def test_a_reward_that_did_not_apply_is_no_zero(tmp_path: Path) -> None:
    """Kills NaN (a reward function that returned nothing) stored, or taken as 0."""
    items = _items(tmp_path, _table(2, accuracy_reward=[math.nan, 0.0]))
    assert [row.get("reward") for row in rows(items)] == [None, 0.0]
    assert len(rows(items, "outcomes")) == 1


def test_prompts_may_be_conversations_and_extras_texts(tmp_path: Path) -> None:
    """Kills a crash on a list of messages, and two conversations in one group."""
    chats = [[{"role": "user", "content": text}] for text in ("a", "a", "b")]
    table = {**_table(3, note=["x", "y", "z"], r=[1.0, 1.0, 1.0]), "prompt": chats}
    found = rows(_items(tmp_path, table))
    assert [found[0]["session_id"] == row["session_id"] for row in found] == [True, True, False]


def test_a_large_file_is_recognised_although_parquet_tells_its_columns_at_its_end(tmp_path: Path) -> None:
    """Kills sniffing the first 64 KiB only: there stand prompts, not names."""
    n = 3000
    path = tmp_path / "c.parquet"
    table = {**_table(n, r=[1.0] * n), "prompt": [f"{i:0200d}" for i in range(n)]}
    pq.write_table(pa.table(table), path, compression="none")
    assert path.stat().st_size > 300_000
    assert find_reader(read_head(path), name="c").NAME == "trl"
    assert len(rows(run_file(trl, path))) == n


def test_a_row_without_a_step_is_rejected(tmp_path: Path) -> None:
    """Kills update 'step-None'."""
    items = _items(tmp_path, {**_table(2, r=[1.0, 1.0]), "step": [None, 3]})
    assert reasons(items) == ["step is null, expected the number of the update"]
    assert len(rows(items)) == 1


def test_a_damaged_file_is_one_error(tmp_path: Path) -> None:
    """Kills a stack trace for a file that was cut while it was copied."""
    path = tmp_path / "whole.parquet"
    pq.write_table(pa.table(_table(r=[1.0])), path)
    with pytest.raises(IngestError, match="not readable as Parquet"):
        list(trl.read(log_of(path.read_bytes()[:-40], tmp_path), Config()))


def test_the_specimens_keep_every_rollout() -> None:
    """Kills a lost row, and rows that the store refuses."""
    items = run_file(trl, shared_data("rl_format_specimens") / "trl/completions/completions_00002.parquet")
    assert len(rows(items)) == 16
    assert len(rows(items, "outcomes")) == 32
    assert {row["update_id"] for row in rows(items)} == {"step-2"}
    assert all(problem(item.table, item.values) is None for item in items if isinstance(item, Row))
