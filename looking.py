"""Looking at logs and finished runs: each function reads what it needs and asks one question of it."""

from __future__ import annotations

import difflib
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from . import rundir, runs
from .errors import ConfigError, ExportError
from .estimators.exploration_plan import ExplorationPlan, plan_exploration
from .reports.compare import Comparison, compare
from .reports.escape import short
from .reports.explain import Explanation, explain
from .reports.inspection import Inspection, inspect
from .reports.privacy import small_cells
from .reports.starter import Starter, starter
from .reports.view import RunView
from .schemas.config import Config, parse_config
from .schemas.files import write_text
from .schemas.store import MANIFEST, Store, open_store
from .terminal import Progress

if TYPE_CHECKING:
    from .ingest.seam import Reader

_PREFIX: Final = 4
"""Characters that a mistyped id must share with the real one to be suggested."""
_LIKE: Final = 2000
"""Ids among which the nearest is looked for; a store holds millions."""


def explain_run(folder: str | Path, asked: str) -> tuple[Explanation, rundir.Meta]:
    """What the decision, or every decision of the request, called `asked` was worth in the run in `folder`.

    Store and ledger are filtered where they lie, so that a run of millions of decisions is not loaded.

    Raises: ConfigError for an id that is not in the run; SchemaError without a store or estimates.
    """
    folder = Path(folder)
    meta = rundir.read_meta(folder)
    store = open_store(folder)
    named = (pl.col("decision_id") == asked) | (pl.col("request_id") == asked)
    rows = store.decisions().filter(named).collect(engine="streaming")
    if rows.is_empty():
        raise _unknown_id(store, asked)
    requests = rows["request_id"].drop_nulls().unique().to_list()
    if requests and not (rows["request_id"] == asked).any():
        rows = store.decisions().filter(pl.col("request_id").is_in(requests)).collect(engine="streaming")
    ledger = rundir.scan_ledger(folder).filter(pl.col("decision_id").is_in(rows["decision_id"].to_list()))
    est = rundir.read_estimates(folder, with_ledger=False)
    found = explain(
        asked,
        rows,
        ledger.collect(engine="streaming"),
        est.contrasts,
        est.coverage,
        config=config_of(meta),
        prices=rundir.read_prices(folder) if (folder / "prices.json").is_file() else None,
        findings=rundir.read_findings(folder) if (folder / "findings.json").is_file() else (),
    )
    return found, meta


def config_of(meta: rundir.Meta) -> Config:
    """The configuration that a run was made with."""
    return parse_config(meta.config, where=rundir.META)


def _unknown_id(store: Store, asked: str) -> ConfigError:
    """The error for an id that no decision has, with the nearest one as the cure."""
    ids = [
        store.decisions().select(pl.col(name).alias("id")).filter(pl.col("id").is_not_null())
        for name in ("decision_id", "request_id")
    ]
    both = pl.concat(ids)
    near = both.filter(pl.col("id").str.starts_with(asked[:_PREFIX])) if asked else both
    like = sorted(set(near.head(_LIKE).collect(engine="streaming")["id"]))
    begun = [one for one in like if asked and one.startswith(asked)]
    close = begun[:1] or difflib.get_close_matches(asked, like, n=1)
    some = both.head(1).collect()["id"].to_list()
    if close:
        cure = f"Did you mean '{short(close[0])}'?"
    elif store.manifest.get("pseudonyms"):
        cure = "The ids of this store are pseudonyms; give one of ledger.parquet (decision_id, request_id)."
    else:
        example = f", for instance '{short(some[0])}'" if some else ""
        cure = f"Give an id of ledger.parquet (decision_id, request_id){example}."
    return ConfigError(f"no decision or request '{short(asked)}'", where=short(str(store.path)), cure=cure)


def diff_runs(first: str | Path, second: str | Path) -> Comparison:
    """What changed from the run in `first` to the run in `second`, and what of it exceeds noise.

    Raises: SchemaError where a run has no estimates, prices or findings.
    """
    return compare(_view(Path(first)), _view(Path(second)))


def _view(folder: Path) -> RunView:
    """A run without its ledger, as far as its findings; whether its report is written does not matter."""
    meta = rundir.read_meta(folder)
    finished = rundir.finished_run(folder) or {}
    return RunView(
        est=rundir.read_estimates(folder, with_ledger=False),
        prices=rundir.read_prices(folder),
        findings=rundir.read_findings(folder),
        provenance={
            "run_id": meta.run_id,
            "store": meta.store,
            "config": meta.config,
            "seed": meta.seed,
            "versions": finished.get("versions", {}),
        },
    )


def plan_run(
    folder: str | Path, *, budget_usd: float, days: float | None = None
) -> tuple[ExplorationPlan, str]:
    """What to randomise after the run in `folder` for `budget_usd` of expected loss, with the run's id.

    Raises: SchemaError without estimates or store; ConfigError for a budget or a time that is not positive.
    """
    folder = Path(folder)
    meta = rundir.read_meta(folder)
    est = rundir.read_estimates(folder, with_ledger=False)
    hidden = small_cells(est.contrasts)
    kept = (
        replace(est, contrasts=est.contrasts.filter(~pl.col("segment").is_in(sorted(hidden))))
        if hidden
        else est
    )
    store = open_store(folder)
    plan = plan_exploration(kept, store, budget_usd=budget_usd, config=config_of(meta), days=days)
    return plan, meta.run_id


def inspect_logs(
    paths: runs.Paths,
    *,
    config: Config | None = None,
    format: str | None = None,
    mapping: runs.Mappings | None = None,
    readers: Sequence[Reader] = (),
    progress: Progress | None = None,
) -> Inspection:
    """What the logs at `paths` hold and what they identify; a folder with a store is opened as it is."""
    with _store_of(
        paths, config=config, format=format, mapping=mapping, readers=readers, progress=progress
    ) as store:
        return inspect(store, config)


def draft_config(
    paths: runs.Paths,
    *,
    out: str | Path,
    format: str | None = None,
    mapping: runs.Mappings | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> Starter:
    """The configuration drafted from the logs at `paths`, or from a run, written to the file `out`.

    Raises: ExportError when the file is there and `force` is off; IngestError when no log can be read.
    """
    path = Path(out)
    if path.exists() and not force:
        raise ExportError("is there already", where=str(path), cure="Choose another --out, or add --force.")
    with _store_of(paths, format=format, mapping=mapping, progress=progress) as store:
        found = starter(store)
    write_text(path, found.text)
    return found


@contextmanager
def _store_of(paths: runs.Paths, **how: Any) -> Generator[Store]:
    """The store at `paths`, or one that is read from the logs there and gone afterwards."""
    only = [paths] if isinstance(paths, str | Path) else list(paths)
    if len(only) == 1 and any((Path(only[0]) / place / MANIFEST).is_file() for place in (".", "store")):
        yield open_store(only[0])
        return
    with tempfile.TemporaryDirectory(prefix="shadowprice-logs-") as folder:
        yield runs.ingest_run(only, out=folder, **how)
