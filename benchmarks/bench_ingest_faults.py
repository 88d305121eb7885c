"""Ingest under SIGKILL at random instants, on a full disk, and met by another run: counts against the source.

Every row of the generated logs has an id of its own, so lost and doubled rows are told apart by counting.
Run: python benchmarks/bench_ingest_faults.py [--kills 20] [--rows 30000]; the full disk needs root
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shadowprice.errors import SchemaError
from shadowprice.schemas.store import open_store

SEED = 1
FILES = 6
MAPPING = """\
format = "csv"
layer = "router"
decision_point = "model"
outcomes = [{name = "resolved", from = "resolved", source = "human", key = "decision_id"}]
[columns]
decision_id = "id"
request_id = "request"
ts = {from = "at", unit = "s", timezone = "UTC"}
action = "model"
cost_usd = {from = "cost", unit = "USD"}
"""


def write_logs(folder: Path, rows: int) -> None:
    """Files of rows with ids of their own, together `rows`."""
    folder.mkdir()
    for file in range(FILES):
        with (folder / f"{file}.csv").open("w", encoding="utf-8") as target:
            target.write("id,request,at,model,cost,resolved\n")
            for n in range(file, rows, FILES):
                target.write(f"d{n},r{n // 2},{1_790_000_000 + n},m{n % 3},{n % 7 + 1},{n % 2}\n")


def command(logs: Path, out: Path, mapping: Path) -> list[str]:
    """The command line of one ingest."""
    options = ["--mapping", str(mapping), "--out", str(out), "--quiet"]
    return [sys.executable, "-m", "shadowprice", "ingest", str(logs), *options]


def counted(out: Path, rows: int) -> str:
    """'whole' when every row of the source is in the store exactly once, else what is wrong."""
    store = open_store(out)
    ids = store.decisions().select("decision_id").collect()["decision_id"]
    outcomes = store.scan("outcomes").select("decision_id").collect()["decision_id"]
    wrong = [
        f"{name}: {len(found)} rows, {found.n_unique()} ids, expected {rows}"
        for name, found in (("decisions", ids), ("outcomes", outcomes))
        if not len(found) == found.n_unique() == rows
    ]
    if refused := store.manifest["refused"]:
        wrong.append(f"{len(refused)} files refused")
    return "; ".join(wrong) or "whole"


def bytes_of(out: Path) -> dict[str, bytes]:
    """What the store holds, file by file, the lock apart."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def kill_at(seconds: float, run: list[str]) -> bool:
    """Whether the run was killed after `seconds`, rather than done before."""
    with subprocess.Popen(run, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        return process.wait() == -signal.SIGKILL


def kills(folder: Path, logs: Path, mapping: Path, *, times: int, rows: int) -> Iterator[str]:
    """Kill at random instants of a run's length; then run to the end, count and compare the bytes."""
    began = time.perf_counter()
    subprocess.run(command(logs, folder / "undisturbed", mapping), check=True, stdout=subprocess.DEVNULL)
    length = time.perf_counter() - began
    expected = bytes_of(folder / "undisturbed")
    rng = random.Random(SEED)
    for number in range(times):
        out = folder / f"killed-{number}"
        at = rng.uniform(0.05, 1.0) * length
        killed = kill_at(at, command(logs, out, mapping))
        try:
            state = counted(out, rows)
        except SchemaError:
            state = "no store yet"
        subprocess.run(command(logs, out, mapping), check=True, stdout=subprocess.DEVNULL)
        same = "same bytes" if bytes_of(out) == expected else "OTHER BYTES"
        done = "killed" if killed else "had ended"
        yield f"SIGKILL {at / length:4.0%} of a run | {done}, {state} | {counted(out, rows)}, {same}"


@contextmanager
def small_disk(place: Path, mib: int) -> Iterator[None]:
    """A file system of `mib` MiB at `place`."""
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(place)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(place)], check=True)


def full_disk(folder: Path, logs: Path, mapping: Path, *, rows: int) -> Iterator[str]:
    """Ingest onto a disk that is too small, make room, ingest again."""
    if os.geteuid() != 0:
        yield "full disk | not measured: needs root for a tmpfs | -"
        return
    place = folder / "small"
    with small_disk(place, 1):
        failed = subprocess.run(command(logs, place / "out", mapping), capture_output=True, text=True)
        told = failed.stderr.strip().splitlines()[-1] if failed.stderr.strip() else "silent"
        subprocess.run(["mount", "-o", "remount,size=512m", str(place)], check=True)
        subprocess.run(command(logs, place / "out", mapping), check=True, stdout=subprocess.DEVNULL)
        kind = told.partition(": ")[0]
        yield f"full disk | exit {failed.returncode}, {kind} | {counted(place / 'out', rows)}"


def meeting(folder: Path, logs: Path, mapping: Path, *, rows: int) -> Iterator[str]:
    """Two runs on one folder at once: one works, the other is told, the store is whole."""
    run = command(logs, folder / "met", mapping)
    both = [subprocess.Popen(run, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) for _ in "ab"]
    told = [process.communicate()[1] for process in both]
    codes = sorted(process.returncode for process in both)
    refused = sum("another run is writing here" in text for text in told)
    yield f"two runs at once | exits {codes}, {refused} told | {counted(folder / 'met', rows)}"


def main() -> None:
    """Print one line per fault; exit with 1 when a row was lost or doubled."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--rows", type=int, default=30_000)
    given = parser.parse_args()
    print("| fault | then | after the next run |\n|---|---|---|", flush=True)
    sound = True
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        logs, mapping = folder / "logs", folder / "own.mapping.toml"
        write_logs(logs, given.rows)
        mapping.write_text(MAPPING, encoding="utf-8")
        lines = [
            kills(folder, logs, mapping, times=given.kills, rows=given.rows),
            full_disk(folder, logs, mapping, rows=given.rows),
            meeting(folder, logs, mapping, rows=given.rows),
        ]
        for line in (line for part in lines for line in part):
            sound = sound and ("whole" in line.rpartition("|")[2] or "not measured" in line)
            sound = sound and "OTHER" not in line
            print(f"| {line} |", flush=True)
    sys.exit(0 if sound else 1)


if __name__ == "__main__":
    main()
