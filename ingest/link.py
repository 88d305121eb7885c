"""Staged parts to final tables: drop repeats, spread contexts, link outcomes, add untaken decisions.

DuckDB does it with bounded memory (it spills beside the staged parts) and in a total order, so that the same
input gives the same bytes.
"""

from __future__ import annotations

import contextlib
import glob
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa

from ..errors import IngestError
from ..schemas.columns import LAYERS
from ..schemas.config import Config
from ..schemas.files import atomic_path
from ..schemas.store import QUARANTINE
from ..schemas.tables import arrow_schema
from . import link_sql as sql
from .batches import FEATURE_TYPES, FeatureKind, staged_schema
from .facts import linked_facts
from .lines import printable
from .menus import conflicts as menu_conflicts
from .menus import fill_candidates
from .parts import write_part
from .quality import Scale, chosen_quality, reject_out_of_range
from .seam import Table
from .staging import QUARANTINE_PIECE, Staged

MEMORY_LIMIT: Final = "600MB"
THREADS: Final = 2
MAX_FEATURES: Final = 2000
_STAGED_TABLES: Final[tuple[Table, ...]] = ("decisions", "outcomes", "engine_steps", "contexts", "menus")
_BATCH_ROWS: Final = 16_384


def link(
    sources: list[Staged], *, folder: Path, scratch: Path, generation: str, config: Config
) -> dict[str, Any]:
    """Write the tables of `generation` and the quarantine into the store at `folder`; the manifest's facts.

    Raises: IngestError when the sources together bring more x_* columns than a table should have.
    """
    features = _features(sources)
    spill = scratch / f"spill-{generation}"
    connection = _connect(spill, scratch)
    try:
        for table in _STAGED_TABLES:
            _attach(connection, table, sources, features)
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        listed = _link_decisions(connection, features, config)
        scale, rejected = _link_outcomes(connection, config)
        staged_outcomes = sum(source.rows.get("outcomes", 0) for source in sources)
        kept = connection.execute("SELECT count(*) FROM o1").fetchall()[0][0]
        facts = linked_facts(
            connection,
            quality_name=scale.name if scale else None,
            features=features,
            repeated_outcomes=staged_outcomes - kept - len(rejected),
        )
        facts["counts"] |= listed
        rejected += _conflicts(connection)
        tables = _write_tables(connection, folder, generation, features)
    except (duckdb.OutOfMemoryException, duckdb.IOException) as error:
        raise IngestError(
            f"linking failed: {printable(str(error).splitlines()[0])}",
            where=printable(str(folder)),
            expected=f"{MEMORY_LIMIT} of memory and room on disk for what does not fit",
            cure="Free some disk, or ingest fewer logs at once; staged logs are kept.",
        ) from error
    finally:
        connection.close()
        shutil.rmtree(spill, ignore_errors=True)
    _write_quarantine(folder, sources, rejected)
    facts["counts"]["quarantined"] = sum(source.quarantined for source in sources) + len(rejected)
    return {**facts, "tables": tables, "features": features}


@dataclass(frozen=True, slots=True)
class _Rejected:
    """A row that was whole by itself but cannot stand beside the others."""

    file: str
    row: int
    reason: str


def _connect(spill: Path, scratch: Path) -> duckdb.DuckDBPyConnection:
    shutil.rmtree(spill, ignore_errors=True)
    spill.mkdir(parents=True)
    settings: dict[str, str | bool | int | float | list[str]] = {
        "memory_limit": MEMORY_LIMIT,
        "threads": THREADS,
        "temp_directory": str(spill),
        "preserve_insertion_order": False,
    }
    connection = duckdb.connect(config=settings)
    connection.execute("SET TimeZone = 'UTC'")
    for bar in ("enable_progress_bar", "enable_progress_bar_print"):
        # It would be drawn on stdout, among the results. A notebook that can draw none refuses to be told so.
        with contextlib.suppress(duckdb.InvalidInputException):
            connection.execute(f"SET {bar} = false")
    readable = ", ".join(_literal(f"{path}/") for path in (scratch.resolve(), _unglobbed(scratch.resolve())))
    connection.execute(f"SET allowed_directories = [{readable}]")
    return connection


def _unglobbed(path: Path) -> str:
    """`path` for DuckDB's file functions, which take brackets and stars in a folder's name for a pattern."""
    return glob.escape(str(path))


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _features(sources: list[Staged]) -> dict[str, FeatureKind]:
    kinds: dict[str, set[FeatureKind]] = {}
    for source in sources:
        for name, found in source.features.items():
            kinds.setdefault(name, set()).update(found)
    if len(kinds) > MAX_FEATURES:
        raise IngestError(
            f"{len(kinds)} x_* columns in all files together",
            expected=f"at most {MAX_FEATURES}",
            cure="Leave out logs that turn values into column names.",
        )
    return {name: "text" if "text" in found else "real" for name, found in sorted(kinds.items()) if found}


def _attach(
    connection: duckdb.DuckDBPyConnection,
    table: Table,
    sources: list[Staged],
    features: dict[str, FeatureKind],
) -> None:
    """View raw_<table> over all staged parts of `table`; without parts it is empty."""
    files = [_unglobbed(path.resolve()) for source in sources for path in source.files(table)]
    if files:
        connection.read_parquet(files, union_by_name=True, filename=True).create_view(f"raw_{table}")
        return
    kinds = features if table in ("decisions", "contexts") else {}
    schema = staged_schema(table, kinds).append(pa.field("filename", pa.string()))
    connection.execute(sql.empty_table(f"raw_{table}", schema))


def _present(connection: duckdb.DuckDBPyConnection, table: Table) -> sql.Present:
    """The columns staged for `table`; features are real or text, as DuckDB united them."""
    columns = connection.execute(f"DESCRIBE raw_{table}").fetchall()
    return {name: "real" if kind == "DOUBLE" else None for name, kind, *_ in columns}


def _link_decisions(
    connection: duckdb.DuckDBPyConnection, features: dict[str, FeatureKind], config: Config
) -> dict[str, int]:
    """Build base: unique decisions with their contexts and candidates, and the untaken ones.

    The counts of what lists of candidates came to.
    """
    run = connection.execute
    present = _present(connection, "decisions")
    run(sql.decisions_view(features, present))
    run(sql.contexts_table(features, _present(connection, "contexts")))
    run(sql.dropped_table(features, present))
    run(sql.base_table(features, present))
    listed = fill_candidates(connection)
    run("CREATE TABLE optional (decision_point VARCHAR)")
    for point in config.optional_points:
        run("INSERT INTO optional VALUES (?)", [point])
    run(sql.POINTS)
    run(sql.CAP_CANDIDATES)
    run(sql.STEPS)
    run(sql.untaken_rows(features))
    return listed


def _link_outcomes(
    connection: duckdb.DuckDBPyConnection, config: Config
) -> tuple[Scale | None, list[_Rejected]]:
    """Build o1, e1 and the labels; the quality's scale and the outcomes outside theirs."""
    run = connection.execute
    run(sql.unique_outcomes())
    run(sql.UNIQUE_STEPS)
    scale = chosen_quality(connection, config)
    rejected = [_Rejected(*found) for found in reject_out_of_range(connection, scale)]
    run("CREATE TABLE rule (name VARCHAR, low DOUBLE, high DOUBLE)")
    if scale is not None:
        run("INSERT INTO rule VALUES (?, ?, ?)", [scale.name, scale.low, scale.high])
    run(sql.TARGETS)
    run(sql.labels_table("by_decision"))
    run(sql.labels_table("by_request"))
    return scale, rejected


def _conflicts(connection: duckdb.DuckDBPyConnection) -> list[_Rejected]:
    found = connection.execute(
        "SELECT source_file, source_row, first_file, first_row FROM dropped WHERE NOT same"
    ).fetchall()
    return [
        _Rejected(file, row, f"duplicate decision_id, first seen at {printable(first)}:{first_row}")
        for file, row, first, first_row in found
    ] + [
        _Rejected(file, row, f"other candidates from the same time on than {printable(first)}:{first_row}")
        for file, row, first, first_row in menu_conflicts(connection)
    ]


def _write_tables(
    connection: duckdb.DuckDBPyConnection,
    folder: Path,
    generation: str,
    features: dict[str, FeatureKind],
) -> dict[str, list[str]]:
    """The relative paths of the parts written, per table."""
    present = _present(connection, "decisions")
    labelled = bool(connection.execute(sql.LABELLED).fetchall()[0][0])
    part = f"part-{generation}-0.parquet"
    types = {name: FEATURE_TYPES[kind] for name, kind in features.items()}
    jobs: list[tuple[str, str, pa.Schema, str]] = [
        (
            "decisions",
            f"decisions/layer={layer}/{part}",
            arrow_schema("decisions", types),
            sql.final_decisions(features, present, layer=layer, labelled=labelled),
        )
        for layer in LAYERS
    ]
    jobs.append(("outcomes", f"outcomes/{part}", arrow_schema("outcomes"), sql.FINAL_OUTCOMES))
    jobs.append(("engine_steps", f"engine_steps/{part}", arrow_schema("engine_steps"), sql.FINAL_STEPS))
    written: dict[str, list[str]] = {"decisions": [], "outcomes": [], "engine_steps": []}
    for table, name, schema, query in jobs:
        reader = connection.sql(query).to_arrow_reader(_BATCH_ROWS)
        if write_part(reader, schema, folder / name):
            written[table].append(name)
    return written


def _write_quarantine(folder: Path, sources: list[Staged], rejected: list[_Rejected]) -> None:
    """Write quarantine.jsonl: what reading and checks refused, source by source, then what linking did."""
    with atomic_path(folder / QUARANTINE) as path, path.open("wb") as target:
        for source in sources:
            with (source.folder / QUARANTINE_PIECE).open("rb") as piece:
                shutil.copyfileobj(piece, target)
        for entry in sorted(rejected, key=lambda r: (r.file, r.row, r.reason)):
            line = {"file": entry.file, "row": entry.row, "reason": entry.reason}
            target.write((json.dumps(line) + "\n").encode())
