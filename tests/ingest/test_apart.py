"""One large log, staged in stretches by one process or several: the store is that of reading it whole."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mapped import record, tree, write_mapping
from otlp_logs import chat, span, traces
from shadowprice.ingest import cores, intake, staging, stitching, stretches
from shadowprice.ingest.pipeline import ingest
from shadowprice.ingest.readers import litellm

from tests.litellm_logs import payload

AGENT = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "s\u00fcpport"}
PLAIN = {"http.request.method": "POST"}


def calls(first: int, count: int, **fields: Any) -> list[bytes]:
    """Lines of LiteLLM calls."""
    told = (payload(id=f"c{n}", litellm_call_id=f"c{n}", **fields) for n in range(first, first + count))
    return [json.dumps(one).encode() for one in told]


def spans(count: int) -> list[bytes]:
    """Lines of OTLP in which each agent's parent, a plain span, stands far behind it."""
    agents = [traces(span(n, {**AGENT, "shadowprice.x_n": n}, parent=n + 500)) for n in range(1, count)]
    models = [traces(span(n + 1000, chat(), parent=n)) for n in range(1, count)]
    above = [traces(span(n + 500, PLAIN, parent=n + 600 if n % 2 else None)) for n in range(1, count)]
    return [json.dumps(one, ensure_ascii=False).encode() for one in (*agents, *models, *above)]


def write(path: Path, lines: list[bytes]) -> Path:
    """A log of these lines, some ending as on Windows or followed by noise; the last one has no end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    ends = [b"\n", b"\r\n", b"\n\n", b"\n{damaged\n", b"\n \xff\n"]
    path.write_bytes(b"".join(line + ends[n % len(ends)] for n, line in enumerate(lines[:-1])) + lines[-1])
    return path


def stored(folder: Path) -> dict[str, bytes]:
    """Every file of the store, without what is staged beside it."""
    return {name: body for name, body in tree(folder / "store").items() if ".staging" not in name}


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets the bytes of a stretch in this process, 0 for never; logs of any size are cut."""

    def set_size(size: int) -> None:
        monkeypatch.setattr(stretches, "MIN_BYTES", 0 if size else 1 << 40)
        monkeypatch.setattr(stretches, "STRETCH_BYTES", size or 1 << 40)

    return set_size


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("size", [700, 9000])
@pytest.mark.parametrize("lines", [calls(0, 60), spans(20)], ids=["litellm", "otlp"])
def test_the_store_of_stretches_is_that_of_the_whole_log(
    lines: list[bytes],
    size: int,
    processes: int,
    small: Callable[[int], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Kills rows, line numbers, reasons or orders that depend on the cuts, or on who reads a stretch."""
    log = write(tmp_path / "logs/a.jsonl", lines)
    monkeypatch.setattr(staging, "BATCH_ROWS", 7)
    monkeypatch.setattr(cores, "worthwhile", lambda tasks, size: processes)
    for folder, bytes_ in (("whole", 0), ("cut", size)):
        small(bytes_)
        ingest(log.parent, out=tmp_path / folder)
    whole = stored(tmp_path / "whole")
    assert whole == stored(tmp_path / "cut")
    manifest = json.loads(whole["manifest.json"])
    assert manifest["counts"]["quarantined"] == len(whole["quarantine.jsonl"].splitlines()) > 10


@pytest.mark.parametrize(
    ("why", "processes"),
    [("state", 1), ("state", 2), ("phase", 1), ("phase", 2), ("features", 1), ("features together", 1)],
)
def test_a_log_whose_lines_need_one_another_is_read_whole(
    why: str,
    processes: int,
    small: Callable[[int], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Kills odds, queue times and refusals that a cut changes."""
    monkeypatch.setattr(cores, "worthwhile", lambda tasks, size: processes)
    for module in (staging, stitching):
        monkeypatch.setattr(module, "MAX_FILE_FEATURES", 12)
    told = [{"spend_logs_metadata": {"shadowprice": {f"x_{n % 26}": 1.0}}} for n in range(60)]
    state = {"router_name": "r", "request_type": "t", "model_name": "m", "alpha": 1, "beta": 1, "taken_at": 1}
    lines = {
        "state": [*calls(0, 50), json.dumps(state).encode(), *calls(50, 50)],
        "phase": [*spans(5), json.dumps(traces(span(99, {}, parent=1, name="prefill_waiting"))).encode()],
        "features": [line for n in range(60) for line in calls(n, 1, metadata=told[n])],
        "features together": [line for n in range(60) for line in calls(n, 1, metadata=told[n // 4])],
    }[why]
    log = write(tmp_path / "logs/a.jsonl", lines)
    for folder, size in (("whole", 0), ("cut", 5000)):
        small(size)
        ingest(log.parent, out=tmp_path / folder)
    assert stored(tmp_path / "whole") == stored(tmp_path / "cut")
    assert not list((tmp_path / "cut/store/.staging").glob("*/from-*"))


def test_a_reader_that_does_not_declare_it_is_never_given_a_stretch(
    small: Callable[[int], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kills stretches for a reader whose rows depend on the file."""
    log = write(tmp_path / "logs/a.jsonl", calls(0, 20))
    monkeypatch.delattr(litellm, "SPLITS")
    monkeypatch.setattr(intake, "stage_stretch", None)
    small(100)
    assert ingest(log.parent, out=tmp_path / "out").manifest["counts"]["decisions"] == 20


KILL = """
import os, signal, sys
from shadowprice.ingest import cores, pipeline, stitching, stretches
log, out, at = sys.argv[1:]
stretches.MIN_BYTES, stretches.STRETCH_BYTES = 0, 5000
cores.worthwhile = lambda tasks, size: 2 if at.startswith("crew") else 1
def die(*args, **options):
    os.kill(os.getpid(), signal.SIGKILL)
left = [3]
def third(*args, whole=stitching.stage, **options):
    left[0] -= 1
    return whole(*args, **options) if left[0] else die()
def progress(done, total, label):
    if at == "crew" and done:
        die()
if at == "stretch":
    stitching.stage = third
elif at.endswith("stitch"):
    stitching.finish = die
pipeline.ingest(log, out=out, progress=progress)
"""


@pytest.mark.parametrize("at", ["stretch", "stitch", "crew", "crew stitch"])
def test_a_run_killed_between_stretches_goes_on_to_the_bytes_of_an_undisturbed_one(
    at: str, small: Callable[[int], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kills half a stretch that is taken for a whole one, and whole ones that are read again."""
    log = write(tmp_path / "logs/a.jsonl", calls(0, 60))
    run = [sys.executable, "-c", KILL, str(log.parent), str(tmp_path / "out"), at]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    kept = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").glob("store/.staging/*/from-*/done.json")}
    assert kept or at == "crew"
    small(5000)
    monkeypatch.setattr(cores, "worthwhile", lambda tasks, size: 1)
    for out in ("out", "fresh"):
        ingest(log.parent, out=tmp_path / out)
    assert tree(tmp_path / "out") == tree(tmp_path / "fresh")
    assert kept == {path: path.stat().st_mtime_ns for path in kept}


def test_a_mapped_log_is_cut_too(
    small: Callable[[int], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kills a mapping that the processes do not know of, or that reads stretches as a whole log."""
    monkeypatch.setattr(cores, "worthwhile", lambda tasks, size: 2)
    log = write(tmp_path / "logs/a.jsonl", [json.dumps(record(n)).encode() for n in range(60)])
    for folder, size in (("whole", 0), ("cut", 3000)):
        small(size)
        ingest(log.parent, out=tmp_path / folder, mapping=write_mapping(tmp_path), format="mapping")
    assert stored(tmp_path / "whole") == stored(tmp_path / "cut")
    assert list((tmp_path / "cut/store/.staging").glob("*/from-*"))


@pytest.mark.parametrize("processes", [1, 2])
def test_a_second_run_over_the_same_log_reads_nothing(
    processes: int, small: Callable[[int], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kills stretches that are staged, or swept away, although the log is done."""
    monkeypatch.setattr(cores, "worthwhile", lambda tasks, size: processes)
    log = write(tmp_path / "logs/a.jsonl", calls(0, 60))
    small(5000)
    first = ingest(log.parent, out=tmp_path / "out").manifest
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*") if path.is_file()}
    write(log.parent / "b.jsonl", calls(100, 3))
    assert ingest(log.parent, out=tmp_path / "out").manifest["counts"]["decisions"] == 63
    log.with_name("b.jsonl").unlink()
    assert ingest(log.parent, out=tmp_path / "out").manifest == first
    staged = {path: at for path, at in before.items() if ".staging" in path.parts}
    assert len(staged) > 20
    assert staged == {path: path.stat().st_mtime_ns for path in staged}


def grown(log: Path) -> None:
    with log.open("ab") as target:
        target.write(b"\n" + b"\n".join(calls(100, 5)))


def rewritten(log: Path) -> None:
    write(log, calls(0, 60, model="other"))


def rotated(log: Path) -> None:
    log.rename(log.with_name("a.1"))
    write(log, calls(200, 2))


@pytest.mark.parametrize("when", ["stretch", "stitch"])
@pytest.mark.parametrize(("act", "decisions"), [(grown, 60), (rewritten, None), (rotated, None)])
def test_a_log_that_moves_between_stretches_is_read_as_it_was_or_refused(
    act: Callable[[Path], None],
    decisions: int | None,
    when: str,
    small: Callable[[int], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Kills a store that holds stretches of two files, or rows that no digest covers."""
    log = write(tmp_path / "logs/a.jsonl", calls(0, 60))
    write(tmp_path / "logs/b.jsonl", calls(300, 1))
    small(5000)
    from shadowprice.ingest.intake import Intake

    whole, acts = getattr(Intake, "stage_stretch" if when == "stretch" else "stitch"), iter([act])

    def moving(*args: Any, **options: Any) -> Any:
        for one in acts:
            one(log)
        return whole(*args, **options)

    monkeypatch.setattr(Intake, "stage_stretch" if when == "stretch" else "stitch", moving)
    manifest = ingest(log.parent, out=tmp_path / "out").manifest
    refused = {item["name"]: item["error"] for item in manifest["refused"]}
    assert manifest["counts"]["decisions"] == (decisions or 0) + 1
    if decisions is None:
        assert "written over or replaced while it was read" in refused["a.jsonl"]
    else:
        assert refused == {}
    again = ingest(log.parent, out=tmp_path / "out").manifest
    ingest(log.parent, out=tmp_path / "fresh")
    assert stored(tmp_path / "out") == stored(tmp_path / "fresh")
    assert "a.jsonl" not in {item["name"] for item in again["refused"]}


@pytest.mark.parametrize("processes", [1, 2])
def test_progress_over_stretches_never_goes_back_and_ends_at_the_whole(
    processes: int, small: Callable[[int], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kills a bar that starts anew with every stretch, or counts a log once for each of them."""
    monkeypatch.setattr(cores, "worthwhile", lambda tasks, size: processes)
    log = write(tmp_path / "logs/a.jsonl", calls(0, 60))
    small(5000)
    heard: list[tuple[int, int, str]] = []
    ingest(log.parent, out=tmp_path / "out", progress=lambda *told: heard.append(told))
    done = [position for position, _, _ in heard]
    assert done == sorted(done)
    assert heard[-1][0] == heard[-1][1] == log.stat().st_size
