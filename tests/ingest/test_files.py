"""Which files the given paths mean: everything is read or recorded, and nothing outside is reached."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from shadowprice.errors import IngestError
from shadowprice.ingest.files import find_inputs
from shadowprice.ingest.snapshots import snapshot


def make(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name, encoding="utf-8")


def test_a_folder_means_every_file_below_in_the_order_of_names(tmp_path: Path) -> None:
    """Kills a listing in the order of the file system, and names that hold the path of this machine."""
    make(tmp_path, "b.jsonl", "a/z.jsonl", "a/c.jsonl")
    found = find_inputs([tmp_path])
    assert [name for name, _ in found.files] == ["a/c.jsonl", "a/z.jsonl", "b.jsonl"]
    assert found.refused == ()


def test_hidden_files_and_folders_are_recorded_not_read(tmp_path: Path) -> None:
    """Kills reading .git, and leaving things out in silence."""
    make(tmp_path, "a.jsonl", ".secret", ".git/config")
    found = find_inputs([tmp_path])
    assert [name for name, _ in found.files] == ["a.jsonl"]
    assert [item.name for item in found.refused] == [".git", ".secret"]
    assert [name for name, _ in find_inputs([tmp_path / ".secret"]).files] == [".secret"]


def test_links_that_leave_the_folder_are_recorded_not_followed(tmp_path: Path) -> None:
    """Kills reading /etc through a link in a folder of logs."""
    make(tmp_path, "outside/secret", "logs/a.jsonl")
    logs = tmp_path / "logs"
    (logs / "out").symlink_to(tmp_path / "outside" / "secret")
    (logs / "folder").symlink_to(tmp_path / "outside")
    (logs / "dangling").symlink_to(logs / "absent")
    (logs / "loop").symlink_to(logs / "loop")
    (logs / "twin").symlink_to(logs / "a.jsonl")
    found = find_inputs([logs])
    assert [name for name, _ in found.files] == ["a.jsonl"]
    assert {item.name: item.error.split(";")[0] for item in found.refused} == {
        "out": "link that leaves the folder",
        "folder": "link to a folder",
        "dangling": "link to nothing, or to itself",
        "loop": "link to nothing, or to itself",
    }


def test_a_pipe_is_recorded_and_never_opened(tmp_path: Path) -> None:
    """Kills waiting for ever on a named pipe."""
    os.mkfifo(tmp_path / "pipe")
    assert find_inputs([tmp_path]).refused[0].error == "not a regular file"
    with pytest.raises(IngestError, match="not a regular file"):
        snapshot("pipe", tmp_path / "pipe")


def test_a_file_given_twice_is_one_input(tmp_path: Path) -> None:
    """Kills counting every row twice when a file is named beside its folder."""
    make(tmp_path, "a.jsonl")
    assert len(find_inputs([tmp_path, tmp_path / "a.jsonl", tmp_path]).files) == 1


def test_what_the_run_writes_is_no_input(tmp_path: Path) -> None:
    """Kills reading the store of an earlier run that lies inside the folder of logs."""
    make(tmp_path, "a.jsonl", "out/store/part.parquet")
    found = find_inputs([tmp_path], skip=[tmp_path / "out" / "store"])
    assert [name for name, _ in found.files] == ["a.jsonl"]


def test_an_empty_folder_and_an_absent_path_are_one_clear_error(tmp_path: Path) -> None:
    """Kills an empty store where a path was mistyped."""
    with pytest.raises(IngestError, match=r"no files\. Expected at least one log file"):
        find_inputs([tmp_path])
    with pytest.raises(IngestError, match="no such file or folder"):
        find_inputs([tmp_path / "absent"])


def test_a_name_that_is_not_utf8_is_stored_escaped(tmp_path: Path) -> None:
    """Kills a name that no table can hold."""
    (tmp_path / os.fsdecode(b"a\xff.jsonl")).write_text("{}", encoding="utf-8")
    assert [name for name, _ in find_inputs([tmp_path]).files] == ["a\\udcff.jsonl"]


def test_files_of_one_name_in_two_folders_keep_apart(tmp_path: Path) -> None:
    """Kills: a row whose provenance fits two files."""
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "log.jsonl").write_text("{}\n")
    (tmp_path / "b" / "more.jsonl").write_text("{}\n")
    found = find_inputs([tmp_path / "a", tmp_path / "b"])
    assert [name for name, _ in found.files] == ["a/log.jsonl", "b/log.jsonl", "more.jsonl"]
    single = find_inputs([tmp_path / "a" / "log.jsonl", tmp_path / "b" / "log.jsonl"])
    assert [name for name, _ in single.files] == ["a/log.jsonl", "b/log.jsonl"]
