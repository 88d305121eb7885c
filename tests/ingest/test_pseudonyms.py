"""Pseudonyms: equal ids stay equal, links hold, and neither ids nor the key are anywhere in the store."""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from mapped import record, tree, write_log, write_mapping
from shadowprice.errors import ConfigError
from shadowprice.ingest.pipeline import ingest
from shadowprice.ingest.pseudonyms import read_key, without_quotes
from shadowprice.schemas.columns import DECISIONS
from shadowprice.schemas.store import Store

KEY = "0123456789abcdef" * 4


def key_file(folder: Path, text: str = KEY) -> Path:
    path = folder / "key"
    path.write_text(f"{text}\n", encoding="utf-8")
    return path


def read(folder: Path, out: str, *, key: Path | None) -> Store:
    log = write_log(
        folder / "log.jsonl",
        [
            *(record(n, session="s-alice", resolved=1) for n in range(5)),
            record(7, p=0),
            record(1, took=9),
            record(8, request=17),
            json.dumps(record(9, took="r9 of s-alice")),
        ],
    )
    return ingest(log, out=folder / out, mapping=write_mapping(folder), pseudonymise=key)


def test_ids_become_keyed_hashes_and_everything_else_stays(tmp_path: Path) -> None:
    """Kills a plain hash, another key per file or column, and a lost link; HMAC is recomputed here."""
    plain = read(tmp_path, "plain", key=None).decisions().sort("ts").collect()
    store = read(tmp_path, "hidden", key=key_file(tmp_path))
    hidden = store.decisions().sort("ts").collect()
    for name in ("decision_id", "request_id", "session_id"):
        expected = [
            None
            if text is None
            else "p-" + hmac.new(KEY.encode(), f"id:{text}".encode(), hashlib.sha256).hexdigest()[:32]
            for text in plain[name]
        ]
        assert hidden[name].to_list() == expected
    ids = [column.name for column in DECISIONS if column.name.endswith("_id")]
    assert hidden.drop(ids).equals(plain.drop(ids))
    assert hidden["quality"].null_count() == plain["quality"].null_count()
    assert store.manifest["links"]["linked"] == 5


def test_neither_an_id_nor_the_key_is_anywhere_in_the_store(tmp_path: Path) -> None:
    """Kills an id in a quarantine reason, in staged parts or in the manifest, and a key that is kept."""
    key = key_file(tmp_path)
    store = read(tmp_path, "out", key=key)
    files = tree(tmp_path / "out")
    rows = [
        json.dumps(pq.ParquetFile(tmp_path / "out" / name).read().to_pylist(), default=str)
        for name in files
        if name.endswith(".parquet")
    ]
    held = b"\n".join(files.values()).decode("latin-1") + "\n".join(rows)
    assert '"action": "small"' in held
    for secret in ("s-alice", '"r1"', '"d1"', '"17"', KEY[:20]):
        assert secret not in held
    assert store.manifest["pseudonyms"]["key_id"] == read_key(key).key_id
    assert KEY not in repr(read_key(key))


def test_an_id_that_is_no_text_is_refused_without_repeating_it(tmp_path: Path) -> None:
    """Kills an id in a quarantine reason, and one that stays as it is because it is a number."""
    hidden = read_key(key_file(tmp_path)).applied({"request_id": 4711, "action": "a"})
    assert hidden == "request_id is int, expected text"


def test_a_store_with_pseudonyms_is_never_written_over_with_plain_ids(tmp_path: Path) -> None:
    """Kills forgetting the option once, and mixing two keys in one store."""
    key = key_file(tmp_path)
    read(tmp_path, "out", key=key)
    before = tree(tmp_path / "out")
    with pytest.raises(ConfigError, match="ids of this store are pseudonyms"):
        read(tmp_path, "out", key=None)
    (tmp_path / "other").mkdir()
    with pytest.raises(ConfigError, match="another key"):
        read(tmp_path, "out", key=key_file(tmp_path / "other", KEY[::-1]))
    assert tree(tmp_path / "out") == before
    read(tmp_path, "out", key=key)
    assert tree(tmp_path / "out") == before


def test_nothing_of_an_earlier_plain_store_remains(tmp_path: Path) -> None:
    """Kills staged parts with plain ids that outlive the change to pseudonyms."""
    read(tmp_path, "out", key=None)
    read(tmp_path, "out", key=key_file(tmp_path))
    read(tmp_path, "fresh", key=key_file(tmp_path))
    assert tree(tmp_path / "out") == tree(tmp_path / "fresh")


def test_the_key_among_the_logs_is_not_read_as_one(tmp_path: Path) -> None:
    """Kills a key whose digest and name stand in the manifest."""
    logs = tmp_path / "logs"
    write_log(logs / "a.jsonl", [record(1)])
    store = ingest(logs, out=tmp_path / "out", mapping=write_mapping(tmp_path), pseudonymise=key_file(logs))
    assert [source["name"] for source in store.manifest["sources"]] == ["a.jsonl"]
    assert store.manifest["refused"] == []


@pytest.mark.parametrize("text", ["", "hunter2", "a" * 64, "x" * 5000])
def test_a_key_that_can_be_guessed_is_refused_without_repeating_it(text: str, tmp_path: Path) -> None:
    """Kills a password as a key, and one in an error message."""
    with pytest.raises(ConfigError, match="no random key") as caught:
        read_key(key_file(tmp_path, text))
    assert not text or text not in str(caught.value)
    with pytest.raises(ConfigError, match="No such file"):
        read_key(tmp_path / "absent")


def test_quoted_values_are_cut_out_of_a_reason() -> None:
    """Kills an id that a reader quotes, also one with quotes in it."""
    assert without_quotes("a is 'x\\'y', not \"z\"; 3 left") == "a is '…', not '…'; 3 left"
