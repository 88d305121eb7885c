"""The stages of a run; each reads the files of the one before: store, estimates, prices, findings, report."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from . import rundir
from .errors import ExportError, SchemaError
from .schemas.config import Config, load_config, parse_config
from .schemas.files import exclusive
from .schemas.records import Estimates, Finding, Prediction, Prices
from .schemas.store import Store, open_store
from .schemas.tables import SCHEMA_VERSION
from .settings import config_dict
from .terminal import Progress

if TYPE_CHECKING:
    from .ingest.seam import Reader

Paths = str | Path | Iterable[str | Path]
Mappings = str | Path | Sequence[str | Path]

RECORDED_VERSIONS: Final = (
    "shadowprice",
    "polars",
    "numpy",
    "scipy",
    "scikit-learn",
    "pyarrow",
    "genai-prices",
)
RUN_ID_DIGITS: Final = 12
"""Hexadecimal digits, 48 bits: two of a million runs share an id with odds of one in 500."""
STREAM_FROM: Final = 1_000_000
"""Decisions from which the estimates are made partition by partition, in memory that no longer grows."""
_BESIDE: Final = ".ingest-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A complete run: where it is and what it found; `identified` is False when no contrast has a number."""

    path: Path
    run_id: str
    identified: bool
    estimates: Estimates
    prices: Prices
    findings: tuple[Finding, ...]
    predictions: tuple[Prediction, ...]
    manifest: dict[str, Any]
    truth: pl.DataFrame | None = None

    @property
    def report(self) -> Path:
        """The page to open."""
        return self.path / rundir.REPORTS["html"]


def audit(
    paths: Paths,
    *,
    out: str | Path,
    config: Config | None = None,
    format: str | None = None,
    mapping: Mappings | None = None,
    readers: Sequence[Reader] = (),
    pseudonymise: str | Path | None = None,
    seed: int = 0,
    force: bool = False,
    progress: Progress | None = None,
    truth: pl.DataFrame | None = None,
) -> Run:
    """The complete run over the logs at `paths`, with all its files in `out`.

    readers: readers of your own, see `shadowprice.reader`.
    pseudonymise: a file with a secret key; ids are then stored as keyed hashes.
    truth: the known contrasts of a simulated world, shown beside the estimates and used nowhere else.

    Raises: IngestError, ConfigError; ExportError when `out` holds another finished run and `force` is off.
    """
    folder, config = Path(out), config or Config()
    with exclusive(folder):
        if not force:
            _refuse_other_settings(folder, config, seed)
        clock = _Clock()
        ingest_run(
            paths,
            out=folder,
            config=config,
            format=format,
            mapping=mapping,
            readers=readers,
            pseudonymise=pseudonymise,
            force=force,
            progress=progress,
        )
        clock.lap("ingest")
        estimate_run(folder, config=config, seed=seed, force=force, progress=progress)
        rundir.write_truth(folder, truth)
        clock.lap("estimate")
        prices_run(folder, progress=progress)
        clock.lap("prices")
        diagnose_run(folder, progress=progress)
        clock.lap("diagnose")
        return report_run(folder, progress=progress, clock=clock)


def ingest_run(
    paths: Paths,
    *,
    out: str | Path,
    config: Config | None = None,
    format: str | None = None,
    mapping: Mappings | None = None,
    readers: Sequence[Reader] = (),
    pseudonymise: str | Path | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Store:
    """The store of the run folder `out`, filled from the logs at `paths`.

    Where `out` holds a finished run, the logs are read beside it first: the same logs change nothing,
    and other logs replace it only when they could be read and `force` is on.

    readers: readers of your own, see `shadowprice.reader`.
    pseudonymise: a file with a secret key; ids are then stored as keyed hashes.
    Raises: ExportError when they are other logs and `force` is off.
    """
    from .ingest.pipeline import ingest

    folder = Path(out)
    with exclusive(folder):
        for leftover in folder.glob(f"{_BESIDE}*"):
            shutil.rmtree(leftover)
        heard = _of_stage("ingest", progress)
        read = partial(
            ingest,
            paths,
            config=config,
            format=format,
            mapping=mapping,
            readers=readers,
            pseudonymise=pseudonymise,
            progress=heard,
        )
        finished = rundir.finished_run(folder)
        if finished is None and not force:
            return read(out=folder)
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=_BESIDE) as beside:
            fresh = read(out=Path(beside))
            if finished is not None and store_digest(fresh) == finished["store"]:
                return open_store(folder)
            if not force:
                raise _other_run(folder, (finished or {})["run_id"], "other logs")
            rundir.clear(folder, stage="estimate")
            shutil.rmtree(folder / "store", ignore_errors=True)
            fresh.path.rename(folder / "store")
        return open_store(folder)


def estimate_run(
    folder: str | Path,
    *,
    config: Config | None = None,
    seed: int = 0,
    force: bool = False,
    progress: Progress | None = None,
) -> Estimates:
    """The estimates from the store in `folder`, written there; later stages are out of date and removed.

    Raises: SchemaError without a store; ExportError for another finished run when `force` is off.
    """
    from .estimators.estimate import estimate

    folder, config = Path(folder), config or Config()
    with exclusive(folder):
        store = open_store(folder)
        digest = store_digest(store)
        run_id = run_id_of(digest, config, seed)
        finished = rundir.finished_run(folder)
        if finished is not None and finished["run_id"] != run_id and not force:
            raise _other_run(folder, finished["run_id"], "another configuration, seed or version")
        rundir.clear(folder, stage="estimate")
        streamed = store.manifest["counts"]["decisions"] > STREAM_FROM
        ledger = folder / rundir.LEDGER if streamed else None
        heard = _of_stage("estimate", progress)
        est = estimate(store, config=config, seed=seed, ledger=ledger, progress=heard)
        rundir.write_estimates(
            folder, est, run_id=run_id, store=digest, config=config_dict(config), with_ledger=not streamed
        )
        return est


def prices_run(folder: str | Path, *, progress: Progress | None = None) -> Prices:
    """The prices fitted to the estimates and the store in `folder`, stamped with the run, written there.

    Raises: SchemaError without estimates, or when the store has changed since they were made.
    """
    from .estimators.prices.fit import fit_prices

    folder = Path(folder)
    meta = rundir.read_meta(folder)
    _tell(progress, "prices")
    est = rundir.read_estimates(folder, with_ledger=False)
    store = _same_store(folder, meta)
    prices = fit_prices(est, _config(meta), decisions=store, run_id=meta.run_id)
    rundir.write_prices(folder, prices)
    return prices


def diagnose_run(folder: str | Path, *, progress: Progress | None = None) -> tuple[Finding, ...]:
    """The findings from the estimates and prices in `folder`, written there with the paper's predictions
    tested on the store."""
    from .estimators.predictions.predictions import predictions
    from .reports.diagnose import diagnose

    folder = Path(folder)
    meta = rundir.read_meta(folder)
    _tell(progress, "diagnose")
    est = rundir.read_estimates(folder, with_ledger=False)
    findings = diagnose(est, rundir.read_prices(folder), _config(meta))
    tested = predictions(_same_store(folder, meta), _config(meta), seed=meta.seed)
    rundir.write_findings(folder, findings, tested, run_id=meta.run_id)
    return findings


def report_run(
    folder: str | Path,
    *,
    scrutiny: bool = False,
    progress: Progress | None = None,
    clock: _Clock | None = None,
) -> Run:
    """The run in `folder` with its report written and run.json, which makes it complete, written last.

    scrutiny: also test each counted finding against hidden causes, placebos and its own predictions, which
    takes as long as estimating its decision point a few times.
    """
    from .estimators.scrutiny import scrutinies
    from .reports.allocation import realised
    from .reports.page import build
    from .reports.view import RunView

    folder, clock = Path(folder), clock or _Clock()
    meta = rundir.read_meta(folder)
    _tell(progress, "report")
    store = _same_store(folder, meta)
    provenance = _provenance(meta, store)
    view = RunView(
        est=rundir.read_estimates(folder),
        prices=rundir.read_prices(folder),
        findings=rundir.read_findings(folder),
        predictions=rundir.read_predictions(folder),
        manifest=store.manifest,
        provenance=provenance,
        truth=rundir.read_truth(folder),
        allocation=realised(store.decisions(), _config(meta)),
    )
    if scrutiny:
        counted = [f for f in view.findings if f.status == "found" and f.counted and f.action]
        keys = [(f.layer, f.decision_point, str(f.action), str(f.baseline)) for f in counted]
        heard = _of_stage("scrutiny", progress)
        tested = scrutinies(store, keys, config=_config(meta), seed=meta.seed, progress=heard)
        view = replace(view, scrutinies=tested)
    report = build(view)
    clock.lap("report")
    identified = not view.est.contrasts.filter(pl.col("estimand") != "not_identified").is_empty()
    record = {**provenance, "identified": identified, "seconds": clock.seconds}
    rundir.write_report(folder, record, html=report.html, markdown=report.markdown, json=report.json)
    return Run(
        path=folder,
        run_id=meta.run_id,
        identified=identified,
        estimates=view.est,
        prices=view.prices,
        findings=view.findings,
        predictions=view.predictions,
        manifest=store.manifest,
        truth=view.truth,
    )


def demo(*, out: str | Path, seed: int = 0, force: bool = False, progress: Progress | None = None) -> Run:
    """The complete run over simulated logs of four layers, with the known truth beside the estimates.

    The logs, their configuration and the truth stay in `out`/demo, to look at and to try the verbs on.
    """
    from .ingest.simulator import simulate

    _tell(progress, "simulate")
    world = simulate(Path(out) / "demo", seed=seed)
    assert world.truth is not None
    config, _ = load_config(world.config)
    truth = pl.read_parquet(world.truth / "contrasts.parquet")
    mapping = sorted(world.logs.glob("*.mapping.toml"))
    return audit(
        world.logs,
        out=out,
        config=config,
        mapping=mapping,
        seed=seed,
        force=force,
        progress=progress,
        truth=truth,
    )


def store_digest(store: Store) -> str:
    """The SHA-256 of what the store holds: sources, counts and files by name."""
    return hashlib.sha256(json.dumps(store.manifest, sort_keys=True).encode()).hexdigest()


def run_id_of(store: str, config: Config, seed: int) -> str:
    """The id of a run: the same store, configuration, seed and release have the same one."""
    parts = {"store": store, "config": config_dict(config), "seed": seed, "version": version("shadowprice")}
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:RUN_ID_DIGITS]


class _Clock:
    """Seconds per stage, for run.json only."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        now = time.perf_counter()
        self.seconds[stage] = round(now - self._last, 3)
        self._last = now


def _provenance(meta: rundir.Meta, store: Store) -> dict[str, Any]:
    return {
        "run_id": meta.run_id,
        "schema_version": SCHEMA_VERSION,
        "versions": {name: version(name) for name in RECORDED_VERSIONS},
        "seed": meta.seed,
        "level": meta.level,
        "config": meta.config,
        "store": meta.store,
        "inputs": store.manifest.get("sources", []),
    }


def _config(meta: rundir.Meta) -> Config:
    return parse_config(meta.config, where=rundir.META)


def _same_store(folder: Path, meta: rundir.Meta) -> Store:
    store = open_store(folder)
    if store_digest(store) != meta.store:
        cure = "Run 'shadowprice estimate RUN' again."
        raise SchemaError("the store has changed since the estimates were made", where=str(folder), cure=cure)
    return store


def _refuse_other_settings(folder: Path, config: Config, seed: int) -> None:
    """Fail before any work when the settings alone show that `folder` holds another run."""
    finished = rundir.finished_run(folder)
    if finished is not None and run_id_of(finished["store"], config, seed) != finished["run_id"]:
        raise _other_run(folder, finished["run_id"], "another configuration, seed or version")


def _other_run(folder: Path, run_id: str, difference: str) -> ExportError:
    return ExportError(
        f"holds the finished run {run_id} with {difference}",
        where=str(folder),
        cure="Choose another --out, or add --force to replace it.",
    )


def _of_stage(stage: str, progress: Progress | None) -> Callable[[int, int, str], None] | None:
    if progress is None:
        return None
    return lambda done, total, what: progress(stage, done, total, what)


def _tell(progress: Progress | None, stage: str) -> None:
    if progress is not None:
        progress(stage, 0, 1, "")
