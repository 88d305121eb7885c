"""The export stage of a run: what it offers to another system, and the files that then hold it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from . import rundir
from .reports.exports.export import TARGETS, check_target, files_of, made_for
from .reports.exports.list_prices import read_price_file
from .reports.exports.made import Made
from .reports.exports.offer import Offer, offer
from .reports.exports.supply import Supply, supply
from .reports.view import RunView
from .schemas.config import parse_config
from .schemas.files import exclusive, write_bytes
from .schemas.store import open_store


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What was offered to another system, what of it the target got, and the files that now hold it."""

    offer: Offer
    made: Made
    files: tuple[Path, ...]


def export_run(
    folder: str | Path, *, target: str, out: str | Path, max_rows: int, prices: Path | None = None
) -> Exported:
    """The prices and effects of the run in `folder`, written to `out` in the shape that `target` loads.

    prices: a file of list prices, where the logs do not tell them.

    Raises: ExportError for an unknown target, more than `max_rows` numbers or what is no price file;
    SchemaError without prices.
    """
    offered, made = offer_of(folder, target=target, max_rows=max_rows, prices=prices)
    files = files_of(offered, made, target)
    with exclusive(Path(out)):
        for name, content in files.items():
            write_bytes(Path(out) / name, content)
    return Exported(offer=offered, made=made, files=tuple(Path(out) / name for name in files))


def offer_of(
    folder: str | Path, *, target: str, max_rows: int, prices: Path | None = None
) -> tuple[Offer, Made]:
    """What the run in `folder` may say to `target`, and what it leaves out; nothing is written."""
    check_target(target)
    folder = Path(folder)
    est = rundir.read_estimates(folder, with_ledger=False)
    offered = offer(RunView(est=est, prices=rundir.read_prices(folder), findings=()), max_rows=max_rows)
    if TARGETS[target].is_table:
        return offered, made_for(Supply(offer=offered), target)
    meta = rundir.read_meta(folder)
    given = supply(
        offered,
        open_store(folder),
        pl.scan_parquet(folder / rundir.LEDGER),
        target=target,
        config=parse_config(meta.config, where=rundir.META),
        seed=meta.seed,
        book=read_price_file(prices) if prices else None,
    )
    return offered, made_for(given, target)
