"""Speed and memory of ingest beside DuckDB, which writes the same file as Parquet and gives it no meaning.

One run per file, each in a process of its own with two threads; only the ratio travels between machines.
With --files 2 the log is in two files, which two processes of ours read at once.
Run: python benchmarks/bench_ingest.py [--mb 75] [--files 1] [--formats otlp,litellm,csv,parquet]
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from shadowprice.ingest.simulator import Knobs, simulate

GOALS = {"otlp": 0.5, "litellm": 0.5, "csv": 0.7, "parquet": 0.7}
GOAL_MIB = 1536.0
SEED = 1
HEX_ID = re.compile(rb'(?<=["-])(?:[0-9a-f]{32}|[0-9a-f]{16})(?=")')
MAPPING = """\
format = "{format}"
layer = "router"
decision_point = "model"
[columns]
decision_id = "id"
request_id = "request"
ts = {{from = "at", unit = "ms", timezone = "UTC"}}
action = "model"
propensity = {{from = "p", source = "logged"}}
cost_usd = {{from = "cost", unit = "USD"}}
latency_s = {{from = "took", unit = "ms"}}
tok_input_uncached = {{from = "in", convention = "inclusive", cache_read = "cached"}}
tok_output = "out"
x_difficulty = "hard"
"""
OURS = """
import sys
from shadowprice.ingest.pipeline import ingest
log, out, *mapping = sys.argv[1:]
store = ingest(log, out=out, mapping=mapping or None)
counts = store.manifest["counts"]
print(counts["decisions"] + counts["outcomes"], counts["quarantined"])
"""
DUCKDB = """
import duckdb, sys
log, out, reader = sys.argv[1:]
duckdb.execute("SET threads = 2")
duckdb.execute(f"COPY (SELECT * FROM {reader}) TO '{out}' (FORMAT parquet, COMPRESSION zstd)")
"""


def repeated(source: Path, target: Path, size: int) -> None:
    """The log at `source` again and again, each time with ids of its own, until `size` bytes."""
    body = source.read_bytes()
    with target.open("wb") as file:
        number = 0
        while file.tell() < size:
            own = b"%04x" % number
            file.write(HEX_ID.sub(lambda hit, own=own: own + hit.group()[4:], body))
            number += 1


def table(rows: int) -> pa.Table:
    """Calls of a router, as a generic export would have them."""
    rng = np.random.default_rng(SEED)
    prompt = rng.integers(100, 20_000, rows)
    return pa.table(
        {
            "id": [f"d{n:012d}" for n in range(rows)],
            "request": [f"r{n // 3:012d}" for n in range(rows)],
            "at": 1_790_000_000_000 + np.cumsum(rng.integers(1, 2_000, rows)),
            "model": rng.choice(["gpt-5-mini", "claude-sonnet-4-6", "claude-opus-4-6"], rows),
            "p": np.full(rows, 1 / 3),
            "cost": rng.gamma(2.0, 0.01, rows),
            "took": rng.integers(50, 30_000, rows),
            "in": prompt,
            "cached": prompt // 2,
            "out": rng.integers(1, 4_000, rows),
            "hard": rng.normal(size=rows),
        }
    )


def measured(script: str, *args: str | Path) -> tuple[float, float, str]:
    """Wall seconds, peak MiB and output of a script in a process of its own."""
    began = time.perf_counter()
    with subprocess.Popen([sys.executable, "-c", script, *map(str, args)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        said = process.stdout.read().decode()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"a measured process ended with {process.returncode}")
    per_mib = 1024 * 1024 if sys.platform == "darwin" else 1024
    return time.perf_counter() - began, usage.ru_maxrss / per_mib, said


def makers(folder: Path, size: int) -> dict[str, tuple[str, Callable[[Path], None]]]:
    """Format -> DuckDB's reader and what writes a log of about `size` bytes."""
    logs = simulate(folder / "world", seed=SEED, knobs=Knobs(requests=2_000), with_truth=False).logs
    rows = size // 100
    json_reader = "read_json('{}', format = 'newline_delimited', maximum_object_size = 67108864)"
    return {
        "otlp": (json_reader, lambda path: repeated(logs / "agent-spans.jsonl", path, size)),
        "litellm": (json_reader, lambda path: repeated(logs / "litellm.jsonl", path, size)),
        "csv": ("read_csv('{}')", lambda path: pa.csv.write_csv(table(rows), path)),
        "parquet": ("read_parquet('{}')", lambda path: pq.write_table(table(rows), path)),
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mb", type=int, default=75, help="megabytes per file")
    parser.add_argument("--files", type=int, default=1, help="files that these megabytes are in")
    parser.add_argument("--formats", default=",".join(GOALS))
    given = parser.parse_args()
    print("| log | MB | rows stored | quarantined | seconds | MB/s | DuckDB s | ratio (goal) | peak MiB |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name, (reader, make) in makers(folder, given.mb * 1_000_000 // given.files).items():
            if name not in given.formats.split(","):
                continue
            logs = folder / f"logs-{name}"
            logs.mkdir()
            for number in range(given.files):
                make(logs / f"log-{number}.{name}")
            mapping = folder / f"{name}.toml"
            mapping.write_text(MAPPING.format(format=name), encoding="utf-8")
            needs = [mapping] if name in ("csv", "parquet") else []
            theirs, _, _ = measured(DUCKDB, logs, folder / "duck.parquet", reader.format(logs / "*"))
            seconds, peak, said = measured(OURS, logs, folder / f"out-{name}", *needs)
            rows, refused = said.split()
            mb = sum(log.stat().st_size for log in logs.iterdir()) / 1e6
            cells = [name, f"{mb:.0f}", f"{int(rows):,}", refused, f"{seconds:.1f}", f"{mb / seconds:.1f}"]
            cells += [f"{theirs:.1f}", f"{theirs / seconds:.2f} ({GOALS[name]})"]
            print(f"| {' | '.join(cells)} | {peak:.0f} (under {GOAL_MIB:.0f}) |", flush=True)
            shutil.rmtree(logs)


if __name__ == "__main__":
    main()
