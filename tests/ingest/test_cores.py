"""Several processes stage logs as one does: the same store, and none of them outlives the run."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from shadowprice.errors import ExportError
from shadowprice.ingest import cores
from shadowprice.ingest.pipeline import ingest

from tests.litellm_logs import payload


def write_logs(folder: Path, files: int = 4) -> Path:
    """Logs of a few calls each, one of them damaged, one that is none, and a table with a mapping."""
    folder.mkdir()
    for number in range(files):
        lines = [json.dumps(payload(litellm_call_id=f"c{number}-{i}", id=f"c{number}-{i}")) for i in range(5)]
        (folder / f"calls-{number}.jsonl").write_text("\n".join([*lines, "{damaged"]) + "\n")
    (folder / "notes.txt").write_text("no log\n")
    (folder / "table.csv").write_text("id,model\na,small\nb,large\n")
    (folder / "map.toml").write_text(
        'format = "csv"\nfiles = "table.csv"\nlayer = "router"\ndecision_point = "model"\n'
        '[columns]\ndecision_id = "id"\naction = "model"\n'
    )
    return folder


def content(store: Path) -> dict[str, bytes]:
    """Every file of a store except locks."""
    return {str(p.relative_to(store)): p.read_bytes() for p in sorted(store.rglob("*")) if p.is_file()}


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes also for logs that are too small to be worth it."""
    monkeypatch.setattr(cores, "MIN_BYTES", 0)
    monkeypatch.setattr(cores, "_cores", lambda: 2)


def test_two_processes_leave_the_bytes_of_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kills an order, a name or a rule that depends on who staged a log, and a forgotten key or mapping."""
    logs, key = write_logs(tmp_path / "logs"), tmp_path / "key"
    key.write_text("0123456789abcdef" * 4)
    for name, processes in (("one", 1), ("two", 2)):
        monkeypatch.setattr(cores, "worthwhile", lambda tasks, size, n=processes: n)
        ingest(logs, out=tmp_path / name, mapping=logs / "map.toml", pseudonymise=key)
    one, two = (content(tmp_path / name / "store") for name in ("one", "two"))
    assert one == two
    manifest = json.loads(one["manifest.json"])
    assert manifest["counts"]["decisions"] == 22
    assert manifest["counts"]["quarantined"] == 4
    assert [item["name"] for item in manifest["refused"]] == ["notes.txt"]


def test_progress_ends_at_the_whole_and_never_goes_back(tmp_path: Path, always: None) -> None:
    """Kills a bar that adds up the bytes of one process only, or counts a log twice."""
    logs = write_logs(tmp_path / "logs")
    heard: list[tuple[int, int, str]] = []
    ingest(logs, out=tmp_path / "out", progress=lambda *told: heard.append(told))
    done = [position for position, _, _ in heard]
    assert done == sorted(done)
    assert heard[-1][0] == heard[-1][1] > 0


def test_an_error_that_ends_the_run_is_raised_here(
    tmp_path: Path, always: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kills taking a store that cannot be written for a log that cannot be read."""
    logs = write_logs(tmp_path / "logs")
    blocked = tmp_path / "out" / "store" / ".staging"
    blocked.parent.mkdir(parents=True)
    blocked.write_text("a file where the folder should be")
    with pytest.raises(ExportError):
        ingest(logs, out=tmp_path / "out")


def test_nothing_is_imported_from_the_present_folder(
    tmp_path: Path, always: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kills starting processes so that a file called json.py beside the logs is run."""
    logs = write_logs(tmp_path / "logs")
    (tmp_path / "json.py").write_text("raise SystemExit('run')")
    monkeypatch.chdir(tmp_path)
    assert ingest(logs, out=tmp_path / "out").manifest["counts"]["decisions"] == 20


@pytest.mark.parametrize("program", ["false", "true"])
def test_processes_that_do_not_start_are_an_error_and_no_silence(
    program: str, tmp_path: Path, always: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kills a broken pipe that is taken for a reader of our output who has gone away, and a wait for ever."""
    found = shutil.which(program)
    assert found is not None
    monkeypatch.setattr(cores.sys, "executable", found)
    with pytest.raises(RuntimeError, match="ended before its work did"):
        ingest(write_logs(tmp_path / "logs"), out=tmp_path / "out")


def test_processes_end_with_the_one_that_started_them(tmp_path: Path) -> None:
    """Kills readers that go on writing after the run was killed, into the folder of the next run."""
    script = (
        "import sys, time\nfrom shadowprice.ingest import cores\n"
        "crew = cores.Crew({'config': {}, 'mappings': [], 'format': None, 'staging': sys.argv[1],"
        " 'key': None}, iter([]), processes=2).__enter__()\n"
        "print(*(m.pid for m in crew._members), flush=True)\ntime.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE) as run:
        assert run.stdout is not None
        members = [int(pid) for pid in run.stdout.readline().split()]
        run.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + 30
    while any(alive(pid) for pid in members) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(members) == 2
    assert not any(alive(pid) for pid in members)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2][:3]


@pytest.mark.parametrize(
    ("tasks", "size", "processes"), [(1, 10**9, 1), (2, 20, 1), (2, 10**9, 2), (20, 10**9, 4)]
)
def test_processes_are_started_only_where_they_save_time(
    tasks: int, size: int, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kills a process per tiny log, and more processes than cores, logs or stretches."""
    monkeypatch.setattr(cores, "_cores", lambda: 4)
    assert cores.worthwhile(tasks, size) == processes
