"""What is wrong, or missing, in this place and in a run, and what to do about each; nothing is changed."""

from __future__ import annotations

import json
import os
import platform
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Any, Final, Literal

import polars as pl

from . import rundir, settings
from .errors import ShadowpriceError
from .ingest.pricing import price_book
from .reports import numbers as fmt
from .reports.escape import short
from .reports.ingested import refused_lines
from .runs import store_digest
from .schemas.store import QUARANTINE, Store, open_store

State = Literal["ok", "note", "broken"]

EXTRAS: Final = ("econml", "s3")
"""Extras that add something for a user; the others are for developers."""
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_EXTRA: Final = re.compile(r"extra\s*==\s*['\"]([\w-]+)['\"]")
_MANY: Final = 0.5
"""Share of decisions without an id from which its absence is worth a note."""
_REASONS: Final = 3
_STAGES: Final = {"prices": "prices.json", "diagnose": "findings.json", "report": rundir.RUN}


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing looked at. state: ok; note, where it costs evidence; broken, where a verb would fail or
    mislead. cure: what to do, None when nothing has to be done."""

    name: str
    state: State
    found: str
    cure: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The check as plain values."""
        return asdict(self)


def environment(config: Path | None, variables: Mapping[str, str] | None = None) -> tuple[Check, ...]:
    """Versions, extras, the price book and the configuration that a verb started here would use."""
    return (
        Check(name="python", state="ok", found=f"{platform.python_version()} on {platform.system()}"),
        Check(name="shadowprice", state="ok", found=version("shadowprice")),
        *_libraries(),
        *(_extra(name) for name in EXTRAS),
        Check(
            name="price book",
            state="ok",
            found=f"{price_book()}, in the package; it carries no date of its own",
        ),
        _configuration(config, os.environ if variables is None else variables),
    )


def _libraries() -> Iterator[Check]:
    """Every library that is always needed, in one line, or one line for each that is absent."""
    found: list[str] = []
    for name in _required(None):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            yield Check(name=name, state="broken", found="not installed", cure=f"pip install {name}")
    yield Check(name="libraries", state="ok", found=", ".join(found))


def _required(extra: str | None) -> list[str]:
    """Names of the packages that shadowprice, or one of its extras, asks for."""
    names: list[str] = []
    for line in requires("shadowprice") or []:
        of = _EXTRA.search(line)
        name = _NAME.match(line)
        if name and (of.group(1) if of else None) == extra:
            names.append(name.group())
    return names


def _extra(extra: str) -> Check:
    name = f"extra {extra}"
    try:
        found = ", ".join(f"{package} {version(package)}" for package in _required(extra))
    except PackageNotFoundError:
        cure = f"pip install 'shadowprice[{extra}]', if you need it."
        return Check(name=name, state="ok", found="not installed", cure=cure)
    return Check(name=name, state="ok", found=found)


def _configuration(file: Path | None, variables: Mapping[str, str]) -> Check:
    try:
        found = settings.resolve(file, environment=variables)
    except ShadowpriceError as error:
        return Check(name="configuration", state="broken", found=str(error), cure=error.cure)
    prices = found.config.prices
    if prices.task_value is None and not prices.task_value_by_class:
        told = f"{found.file}, without a task value" if found.file else "no shadowprice.toml here or above"
        cure = "No dollars without a task value: 'shadowprice init LOGS' drafts a configuration."
        return Check(name="configuration", state="note", found=told, cure=cure)
    return Check(name="configuration", state="ok", found=str(found.file or "environment"))


def of_run(folder: str | Path) -> tuple[Check, ...]:
    """What ingest could not use, what it could not attribute, and which stages are missing or out of date.

    Raises: SchemaError when `folder` holds no store at all.
    """
    folder = Path(folder)
    store = open_store(folder)
    return (*_logs(store), *_decisions(store), *_stages(folder, store), *_leftovers(folder))


def _logs(store: Store) -> Iterator[Check]:
    manifest = store.manifest
    counts, links = manifest["counts"], manifest["links"]
    sources = manifest["sources"]
    formats = ", ".join(sorted({short(str(s["format"])) for s in sources}))
    read = f"{fmt.count(counts['decisions'])} decisions from {len(sources)} files as {formats}"
    nothing = counts["decisions"] == 0
    cure = "See the reasons below, or give the files with --format or --mapping." if nothing else None
    yield Check(name="store", state="broken" if nothing else "ok", found=read, cure=cure)
    for line in refused_lines(manifest["refused"]):
        cure = "Give it with --format or --mapping, or leave it out."
        yield Check(name="refused file", state="note", found=line, cure=cure)
    yield _quarantine(store, counts["quarantined"])
    unlinked, outcomes = links["unlinked"], links["outcomes"]
    share = f" ({fmt.share(unlinked / outcomes)})" if outcomes else ""
    yield Check(
        name="outcomes",
        state="note" if unlinked or not outcomes else "ok",
        found=f"{fmt.count(unlinked)} of {fmt.count(outcomes)} match no decision{share}"
        if outcomes
        else "none",
        cure="Give outcomes the request_id or decision_id of the decision."
        if unlinked or not outcomes
        else None,
    )
    book = manifest.get("price_book")
    if book != price_book():
        cure = "Ingest again to price with this book."
        yield Check(
            name="price book", state="note", found=f"priced with {book}, here is {price_book()}", cure=cure
        )


def _quarantine(store: Store, quarantined: int) -> Check:
    """How many rows were set aside, and the commonest reasons; the values in a reason are left out."""
    if not quarantined:
        return Check(name="quarantine", state="ok", found="no row was set aside")
    reasons: Counter[str] = Counter()
    path = store.path / QUARANTINE
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            try:
                reason = str(json.loads(line)["reason"])
            except (ValueError, KeyError, TypeError):
                reason = "a line that cannot be read"
            reasons[reason.partition(" is ")[0].partition(", expected")[0]] += 1
    top = "; ".join(f"{n} x {short(reason)}" for reason, n in reasons.most_common(_REASONS))
    cure = f"See {path}: file, row and reason of each; correct the log or the mapping and ingest again."
    return Check(name="quarantine", state="note", found=f"{fmt.count(quarantined)} rows: {top}", cure=cure)


def _decisions(store: Store) -> Iterator[Check]:
    """Rows without a price, and rows that nobody is named for."""
    unpriced = (pl.col("cost_source") == "unpriced").fill_null(value=False)
    named = {"request_id": "joins the layers", "tenant_id": "says who pays", "session_id": "is a cluster"}
    row = (
        store.decisions()
        .select(
            pl.len().alias("all"), unpriced.sum().alias("unpriced"), *(pl.col(n).null_count() for n in named)
        )
        .collect(engine="streaming")
        .row(0, named=True)
    )
    total = row["all"] or 1
    tokens = fmt.count(store.manifest["unpriced"]["tokens"])
    told = {
        n: f"{fmt.count(row[n])} of {fmt.count(total)} decisions ({fmt.share(row[n] / total)})" for n in row
    }
    state: State = "note" if row["unpriced"] else "ok"
    yield Check(
        name="unpriced",
        state=state,
        found=f"{told['unpriced']}, {tokens} tokens",
        cure="Log cost_usd, or the model's name as its vendor writes it." if row["unpriced"] else None,
    )
    for name, use in named.items():
        many = row[name] / total > _MANY
        yield Check(
            name=f"without {name}",
            state="note" if many else "ok",
            found=told[name],
            cure=f"Log {name}; it {use}." if many else None,
        )


def _stages(folder: Path, store: Store) -> Iterator[Check]:
    """Each stage: made from what is there now, missing, or out of date."""
    try:
        meta = rundir.read_meta(folder)
    except ShadowpriceError as error:
        yield Check(name="estimate", state="broken", found=error.found, cure=error.cure)
        return
    absent = [name for name in rundir.OUTPUTS["estimate"] if not (folder / name).is_file()]
    again = "Run 'shadowprice estimate RUN' again, then the later stages."
    if store_digest(store) != meta.store:
        found = "stale: the store has changed since"
        yield Check(name="estimate", state="broken", found=found, cure=again)
    elif absent:
        yield Check(name="estimate", state="broken", found=f"without {', '.join(absent)}", cure=again)
    else:
        yield Check(name="estimate", state="ok", found=f"run {meta.run_id}, seed {meta.seed}")
    for stage, name in _STAGES.items():
        yield _stage(folder, stage, name, meta.run_id)
    finished = rundir.finished_run(folder)
    if finished is not None:
        if finished.get("identified") is False:
            cure = "See 'shadowprice inspect RUN' for what to log."
            yield Check(name="evidence", state="note", found="no contrast is identified", cure=cure)
        changed = [n for n, d in finished.get("outputs", {}).items() if not _same(folder / n, d)]
        if changed:
            cure = "Run 'shadowprice audit' again with the same --out and --force."
            yield Check(
                name="outputs",
                state="broken",
                found=f"changed since: {', '.join(map(short, changed))}",
                cure=cure,
            )


def _stage(folder: Path, stage: str, name: str, run_id: str) -> Check:
    path, cure = folder / name, f"Run 'shadowprice {stage} RUN'."
    if not path.is_file():
        return Check(name=stage, state="broken", found=f"has not run: no {name}", cure=cure)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        made = data.get("run_id")
    except (ValueError, AttributeError):
        return Check(name=stage, state="broken", found=f"{name} is not a file of a run", cure=cure)
    if made != run_id:
        found = f"stale: made for run {short(str(made))}, the estimates are of run {run_id}"
        return Check(name=stage, state="broken", found=found, cure=cure)
    return Check(name=stage, state="ok", found=name)


def _same(path: Path, digest: str) -> bool:
    return path.is_file() and rundir.digest(path) == digest


def _leftovers(folder: Path) -> Iterator[Check]:
    """Temporary files and folders of a run that was killed."""
    found = [p.name for pattern in (".*.tmp", "states/.*.tmp", ".ingest-*") for p in folder.glob(pattern)]
    if found:
        cure = "Harmless; the next ingest or estimate removes them."
        yield Check(name="left over", state="note", found=f"{len(found)} of a killed run", cure=cure)


def run_id_of(folder: Path | None) -> str | None:
    """The id of the run in `folder`, None where there are no estimates."""
    try:
        return rundir.read_meta(folder).run_id if folder is not None else None
    except ShadowpriceError:
        return None
