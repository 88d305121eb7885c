"""The files of a run folder: what a stage leaves for the next, whole or absent, readable by the owner."""

from __future__ import annotations

import hashlib
import json
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

import polars as pl
import pyarrow.parquet as pq

from .errors import SchemaError
from .estimators.prices.tables import prices_frame, prices_json
from .schemas.files import atomic_path, write_text
from .schemas.records import SAVINGS, VALUE_CURVE, Estimates, Finding, Prediction, Price, Prices, Reading
from .schemas.tables import SCHEMA_VERSION, arrow_schema, check_version
from .schemas.trends import VALUE_TREND

RUN: Final = "run.json"
META: Final = "states/meta.json"
TRUTH: Final = "states/truth.parquet"
TABLES: Final = {"contrasts": "estimates", "ledger": "ledger"}
"""Field of Estimates -> shared table, which is also the name of its file."""
LEDGER: Final = f"{TABLES['ledger']}.parquet"
STATES: Final = tuple(f.name for f in fields(Estimates) if f.type == "pl.DataFrame" and f.name not in TABLES)
"""The other frames of Estimates; each is a file in states/."""
REPORTS: Final = {"html": "report.html", "markdown": "report.md", "json": "report.json"}
OUTPUTS: Final[dict[str, tuple[str, ...]]] = {
    "estimate": tuple(f"{table}.parquet" for table in TABLES.values()),
    "prices": ("prices.json", "prices.parquet"),
    "diagnose": ("findings.json", "findings.parquet", "predictions.json"),
    "report": tuple(REPORTS.values()),
}
"""Stage -> the files that it leaves, in the order of the stages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Meta:
    """What the estimates in a run folder were made from: enough to run every later stage again."""

    run_id: str
    store: str
    seed: int
    level: float
    window: tuple[str | None, str | None]
    notes: tuple[str, ...]
    config: dict[str, Any]


def write_estimates(
    folder: Path, est: Estimates, *, run_id: str, store: str, config: dict[str, Any], with_ledger: bool = True
) -> None:
    """Write estimates.parquet, ledger.parquet and states/, the description last. store: its digest.

    with_ledger: off when the estimator has already written the ledger, partition by partition.
    """
    for field, table in TABLES.items():
        if table == TABLES["ledger"] and not with_ledger:
            continue
        _write_shared(folder / f"{table}.parquet", getattr(est, field), table)
    for state in STATES:
        _write_frame(folder / "states" / f"{state}.parquet", getattr(est, state))
    meta = {
        "schema_version": SCHEMA_VERSION,
        "run_id": run_id,
        "store": store,
        "seed": est.seed,
        "level": est.level,
        "window": list(est.window),
        "notes": list(est.notes),
        "config": config,
    }
    write_text(folder / META, _json_text(meta))


def read_meta(folder: Path) -> Meta:
    """What the estimates in `folder` were made from.

    Raises: SchemaError when no estimates are there, or another version wrote them.
    """
    data = _read_json(folder / META, verb="estimate")
    if absent := [field.name for field in fields(Meta) if field.name not in data]:
        cure = "Run 'shadowprice estimate RUN' again."
        raise SchemaError(f"no {', '.join(absent)}", where=str(folder / META), cure=cure)
    return Meta(
        run_id=data["run_id"],
        store=data["store"],
        seed=data["seed"],
        level=data["level"],
        window=tuple(data["window"]),
        notes=tuple(data["notes"]),
        config=data["config"],
    )


def read_estimates(folder: Path, *, with_ledger: bool = True) -> Estimates:
    """The estimates that `write_estimates` left in `folder`; without the ledger, its frame is empty."""
    meta = read_meta(folder)
    frames = {
        field: _read_shared(folder / f"{table}.parquet")
        if with_ledger or field != "ledger"
        else _empty(table)
        for field, table in TABLES.items()
    }
    frames |= {state: _read_frame(folder / "states" / f"{state}.parquet") for state in STATES}
    return Estimates(**frames, level=meta.level, seed=meta.seed, window=meta.window, notes=meta.notes)


def scan_ledger(folder: Path) -> pl.LazyFrame:
    """A lazy frame over the ledger in `folder`, which may be larger than memory.

    Raises: SchemaError when it is not there, or another version wrote it.
    """
    path = folder / LEDGER
    if not path.is_file():
        raise SchemaError("file is missing", where=str(path), cure="Run 'shadowprice estimate RUN' again.")
    check_version(pq.read_schema(path), where=str(path))
    return pl.scan_parquet(path)


def write_prices(folder: Path, prices: Prices) -> None:
    """Write prices.parquet and prices.json; when they change, later stages are out of date and removed."""
    text = prices_json(prices)
    if not _holds(folder, {"prices.json": text}):
        clear(folder, stage="prices")
        _write_frame(folder / "prices.parquet", prices_frame(prices))
        write_text(folder / "prices.json", text)


def read_prices(folder: Path) -> Prices:
    """The prices that `write_prices` left in `folder`."""
    data = _read_json(folder / "prices.json", verb="prices")
    stamp = {
        "run_id": data["run_id"],
        "window_from": data["data_window"]["from"],
        "window_to": data["data_window"]["to"],
    }
    return Prices(
        prices=tuple(Price(**row, **stamp) for row in data["prices"]),
        value_curve=pl.DataFrame(_part(data, "value_curve", folder / "prices.json"), schema=VALUE_CURVE),
        savings=pl.DataFrame(_part(data, "savings", folder / "prices.json"), schema=SAVINGS),
        trend=pl.DataFrame(_part(data, "trend", folder / "prices.json"), schema=VALUE_TREND),
        **stamp,
    )


def write_findings(
    folder: Path, findings: Sequence[Finding], predictions: Sequence[Prediction], *, run_id: str
) -> None:
    """Write findings.parquet, findings.json and predictions.json; when they change, the report is out of date
    and removed."""
    head = {"schema_version": SCHEMA_VERSION, "run_id": run_id}
    told = {"findings": findings, "predictions": predictions}
    texts = {
        f"{what}.json": _json_text({**head, what: [r.to_dict() for r in records]})
        for what, records in told.items()
    }
    if not _holds(folder, texts):
        clear(folder, stage="diagnose")
        _write_frame(folder / "findings.parquet", records_frame(findings, Finding))
        for name, text in texts.items():
            write_text(folder / name, text)


def read_findings(folder: Path) -> tuple[Finding, ...]:
    """The findings that `write_findings` left in `folder`."""
    data = _read_json(folder / "findings.json", verb="diagnose")
    return tuple(Finding(**row) for row in data["findings"])


def read_predictions(folder: Path) -> tuple[Prediction, ...]:
    """The verdicts that `write_findings` left in `folder`."""
    data = _read_json(folder / "predictions.json", verb="diagnose")
    return tuple(_prediction(row) for row in data["predictions"])


def _prediction(row: dict[str, Any]) -> Prediction:
    further, curve = (tuple(Reading(**one) for one in row.pop(name)) for name in ("further", "curve"))
    return Prediction(**row, further=further, curve=curve)


def write_report(folder: Path, record: dict[str, Any], **texts: str) -> None:
    """Write report.html, report.md, report.json, and last run.json, which says that the run is complete."""
    named = {REPORTS[kind]: text for kind, text in texts.items()}
    if _holds(folder, named) and finished_run(folder) is not None:
        return
    clear(folder, stage="report")
    for name, text in named.items():
        write_text(folder / name, text)
    digests = {name: digest(folder / name) for names in OUTPUTS.values() for name in names}
    write_text(folder / RUN, _json_text({"schema_version": SCHEMA_VERSION, **record, "outputs": digests}))


def write_truth(folder: Path, truth: pl.DataFrame | None) -> None:
    """Keep the known truth of a simulated world for the report; None removes that of an earlier run."""
    if truth is None:
        (folder / TRUTH).unlink(missing_ok=True)
    else:
        _write_frame(folder / TRUTH, truth)


def read_truth(folder: Path) -> pl.DataFrame | None:
    """The known truth of a simulated world, or None for logs of the real one."""
    return _read_frame(folder / TRUTH) if (folder / TRUTH).is_file() else None


def finished_run(folder: Path) -> dict[str, Any] | None:
    """run.json of the complete run in `folder`; None when there is none, or a killed one to do again."""
    try:
        record = json.loads((folder / RUN).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except ValueError:
        return None  # not ours, or a half-written file of a full disk
    return record if isinstance(record, dict) and {"run_id", "store"} <= record.keys() else None


def clear(folder: Path, *, stage: str) -> None:
    """Remove what `stage` and later ones left, run.json first, and temporary files of killed runs."""
    stages = list(OUTPUTS)
    later = stages[stages.index(stage) :]
    states = [META] if stage == "estimate" else []
    for name in (RUN, *states, *(name for each in later for name in OUTPUTS[each])):
        (folder / name).unlink(missing_ok=True)
    for place in (folder, folder / "states"):
        for leftover in place.glob(".*.tmp"):
            leftover.unlink(missing_ok=True)


def digest(file: Path) -> str:
    """The SHA-256 of a file's bytes."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def records_frame(records: Sequence[Any], cls: type) -> pl.DataFrame:
    """Frozen records as a frame whose column types come from the record's fields, also when empty."""
    hints = typing.get_type_hints(cls)
    schema = {name: _dtype(hints[name]) for name in cls.__dataclass_fields__}
    return pl.DataFrame([record.to_dict() for record in records], schema=schema)


def _part(data: dict[str, Any], name: str, path: Path) -> Any:
    if name not in data:
        cure = "Run 'shadowprice prices RUN' again with this release."
        raise SchemaError(f"no {name}, so another release wrote it", where=str(path), cure=cure)
    return data[name]


def _dtype(hint: Any) -> pl.DataType:
    inner = [t for t in typing.get_args(hint) if t is not types.NoneType] or [hint]
    return {bool: pl.Boolean(), int: pl.Int64(), float: pl.Float64()}.get(inner[0], pl.String())


def _write_shared(path: Path, frame: pl.DataFrame, table: str) -> None:
    schema = arrow_schema(table)
    missing = [name for name in schema.names if name not in frame.columns]
    if missing:
        raise SchemaError(f"columns {', '.join(missing)} are missing", where=table)
    arrow = frame.select(schema.names).to_arrow(compat_level=pl.CompatLevel.oldest()).cast(schema)
    with atomic_path(path) as temporary:
        pq.write_table(arrow, temporary, compression="zstd")


def _read_shared(path: Path) -> pl.DataFrame:
    check_version(pq.read_schema(path), where=str(path))
    return _read_frame(path)


def _empty(table: str) -> pl.DataFrame:
    frame = pl.from_arrow(arrow_schema(table).empty_table())
    assert isinstance(frame, pl.DataFrame)
    return frame


def _write_frame(path: Path, frame: pl.DataFrame) -> None:
    arrow = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    with atomic_path(path) as temporary:
        pq.write_table(arrow, temporary, compression="zstd")


def _read_frame(path: Path) -> pl.DataFrame:
    if not path.is_file():
        raise SchemaError("file is missing", where=str(path), cure="Run 'shadowprice estimate RUN' again.")
    frame = pl.from_arrow(pq.read_table(path))
    assert isinstance(frame, pl.DataFrame)
    return frame


def _json_text(data: dict[str, Any]) -> str:
    return json.dumps(data, indent=1, allow_nan=False) + "\n"


def _holds(folder: Path, texts: dict[str, str]) -> bool:
    """Whether the files are there with these texts, the last of their stage, so that the stage is whole."""
    files = {folder / name: text for name, text in texts.items()}
    return all(file.is_file() and file.read_bytes() == text.encode() for file, text in files.items())


def _read_json(path: Path, *, verb: str) -> dict[str, Any]:
    if not path.is_file():
        cure = f"Run 'shadowprice {verb} RUN' first."
        raise SchemaError("the stage before has not run", where=str(path), cure=cure)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        version = data["schema_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise SchemaError("not a file of a run", where=str(path), cure=f"Run '{verb}' again.") from error
    if version != SCHEMA_VERSION:
        raise SchemaError(
            f"schema version {version}",
            where=str(path),
            expected=f"version {SCHEMA_VERSION}",
            cure="Upgrade shadowprice, or make the run again with this release.",
        )
    return data
