"""Prints the table of formats as Markdown: what each reader made of public samples, and what it filled.

    python benchmarks/formats_table.py > benchmarks/FORMATS.md

Samples are not part of this repository. A format without one says so, and its reader rests on documentation.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from shadowprice.errors import ShadowpriceError
from shadowprice.ingest.files import find_inputs
from shadowprice.ingest.intake import snapshot
from shadowprice.ingest.opening import read_head
from shadowprice.ingest.readers.registry import READERS, find_reader
from shadowprice.ingest.seam import Item, Rejected, Row
from shadowprice.schemas.config import Config

SAMPLES: Final = Path(__file__).resolve().parents[2] / "shared" / "data"
FOLDERS: Final = ("formats", "rl_format_specimens", "tau_bench", "azure_llm_2023", "mooncake_fast25")
_HEAD: Final = """# Formats

Made by `python benchmarks/formats_table.py`. *Filled*: the columns that a public sample of the format filled;
*rejected*: records that went to quarantine; *ignored*: those that are no decision. A column that is not named
was in no sample; the docstring of a reader says which its format can never fill.
"""


def _counts() -> dict[str, int]:
    return defaultdict(int)


@dataclass(slots=True)
class Seen:
    """What one reader made of the samples."""

    files: int = 0
    rows: dict[str, int] = field(default_factory=_counts)
    columns: set[str] = field(default_factory=set[str])
    rejected: dict[str, int] = field(default_factory=_counts)
    ignored: int = 0


def read_samples() -> dict[str, Seen]:
    """Reader name -> what it made of every sample that it recognises."""
    seen: dict[str, Seen] = defaultdict(Seen)
    folders = [SAMPLES / name for name in FOLDERS if (SAMPLES / name).is_dir()]
    for name, path in find_inputs(folders).files:
        assert isinstance(path, Path)
        try:
            reader = find_reader(read_head(path), name=name)
            log, _ = snapshot(name, path)
            _read(seen[reader.NAME], reader.read(log, Config()))
        except ShadowpriceError:
            continue  # a licence, a README, or a format that no reader knows
    return seen


def _read(seen: Seen, items: Iterable[Item]) -> None:
    seen.files += 1
    for item in items:
        if isinstance(item, Row):
            seen.rows[item.table] += 1
            seen.columns |= {k for k, v in item.values.items() if v is not None}
        elif isinstance(item, Rejected):
            seen.rejected[item.reason] += 1
        else:
            seen.ignored += 1


def main() -> int:
    if not SAMPLES.is_dir():
        print(f"no samples at {SAMPLES}", file=sys.stderr)
        return 2
    print(_HEAD)
    print("| format | samples | rows | rejected | ignored | filled |")
    print("|---|---|---|---|---|---|")
    seen = read_samples()
    for reader in READERS:
        own = seen.get(reader.NAME)
        if own is None:
            print(f"| {reader.NAME} | none here | | | | |")
            continue
        rows = ", ".join(f"{n} {table}" for table, n in sorted(own.rows.items()))
        fixed = sorted(c for c in own.columns if not c.startswith(("x_", "_")))
        features = sum(c.startswith("x_") for c in own.columns)
        filled = ", ".join(fixed) + (f", {features} x_*" if features else "")
        rejected = sum(own.rejected.values())
        print(f"| {reader.NAME} | {own.files} | {rows} | {rejected} | {own.ignored} | {filled} |")
    print("\n## Why records were rejected\n")
    for name, own in sorted(seen.items()):
        for reason, count in sorted(own.rejected.items()):
            print(f"- {name}: {count} x {reason}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
