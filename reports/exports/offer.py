"""What a run may say to another system: identified prices and effects, and what was left out and why."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import polars as pl

from ...errors import ExportError
from ...schemas.records import Estimate, Price
from ...schemas.tables import SCHEMA_VERSION
from ..escape import short, visible
from ..privacy import without_small_cells
from ..view import RunView

VALID_DAYS: Final = 30
"""Days after the last logged decision until which a price is offered: traffic and list prices move."""
LONGEST_NAME: Final = 200
"""Characters of a name from a log that another system is asked to hold."""
_WEAK: Final = ("D", "N")
_UNITS: Final = {
    "quality": "quality",
    "cost": "USD",
    "latency": "s",
    "risk": "event, or USD of loss",
    "net": "USD",
}
_LOG_NEXT: Final = "a randomised share of the choices, with candidates and propensity"
_SEE_REASON: Final = "what the reason names"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One number for another system. kind: 'price' or 'effect'; name: of the price, or 'delta_quality' and
    its like. A price that the user set has no interval."""

    kind: str
    name: str
    unit: str
    segment: str
    value: float
    lower: float | None
    upper: float | None
    level: float | None
    layer: str | None
    decision_point: str | None
    action: str | None
    baseline: str | None
    source: str
    grade: str | None
    n: int | None
    clusters: int | None
    ess: float | None
    method: str | None
    note: str | None

    @property
    def reading(self) -> str | None:
        """What turns the meaning of a price round, such as 'pays only below this task value'. The note of an
        effect only qualifies it, and stays in the record."""
        return self.note if self.kind == "price" else None

    @property
    def key(self) -> str:
        """What the row is about, the same in every run and every target."""
        about = (self.layer, self.decision_point, self.action, self.baseline, self.segment)
        return "/".join((self.name, *(part or "-" for part in about)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A number that is not offered: what it would have been about, why not, and what to log."""

    name: str
    segment: str
    about: str
    reason: str
    log_next: str

    @classmethod
    def of(cls, *, name: str, about: str, reason: str, log_next: str, segment: str = "") -> Skipped:
        """One about a thing that a log named, its name made safe to show."""
        return cls(name=name, segment=segment, about=short(about), reason=reason, log_next=log_next)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """Everything a run offers: `rows` in the order of the run, `skipped`, and the stamp of the run."""

    rows: tuple[Row, ...]
    skipped: tuple[Skipped, ...]
    run_id: str
    window: tuple[str | None, str | None]
    hidden: str

    @property
    def valid_until(self) -> str | None:
        """The day from which the numbers are too old, in UTC; None without timestamps in the logs."""
        end = self.window[1]
        return None if end is None else str((datetime.fromisoformat(end) + timedelta(days=VALID_DAYS)).date())

    def stamp(self) -> dict[str, Any]:
        """Where the numbers come from. The clock has no part in it: the same run gives the same bytes."""
        return {
            "schema_version": SCHEMA_VERSION,
            "run_id": self.run_id,
            "data_window": list(self.window),
            "valid_until": self.valid_until,
        }

    def record(self) -> dict[str, Any]:
        """The full record: every row with its interval, grade and counts, and every skipped one."""
        return {
            **self.stamp(),
            "rows": [asdict(row) for row in self.rows],
            "skipped": [asdict(one) for one in self.skipped],
            "hidden": self.hidden or None,
        }


def offer(view: RunView, *, max_rows: int) -> Offer:
    """What the run in `view` offers; grades D and N, unknown values and unprintable names are skipped.

    Slices that could point at a person are not even named.

    Raises: ExportError for more than `max_rows` rows.
    """
    view, hidden = without_small_cells(view)
    rows: list[Row] = []
    skipped: list[Skipped] = []
    for found in (*_prices(view.prices.prices), *_effects(view.est.contrasts)):
        if isinstance(found, Skipped):
            skipped.append(found)
        elif (
            fault := unspeakable(found.segment, found.decision_point, found.action, found.baseline)
        ) is not None:
            about = tuple(short(part) for part in found.key.split("/", 1))
            skipped.append(
                Skipped(
                    name=about[0], segment="", about=about[1], reason=fault, log_next="a plain, short name"
                )
            )
        else:
            rows.append(found)
    if len(rows) > max_rows:
        raise ExportError(
            f"{len(rows)} rows",
            where="export",
            expected=f"at most {max_rows}",
            cure="Raise --max-rows, or estimate fewer segments.",
        )
    window = (view.prices.window_from, view.prices.window_to)
    return Offer(
        rows=tuple(rows), skipped=tuple(skipped), run_id=view.prices.run_id, window=window, hidden=hidden
    )


def _prices(prices: tuple[Price, ...]) -> Iterator[Row | Skipped]:
    for p in prices:
        about = _about(p.layer, p.decision_point, p.action, p.baseline)
        if p.value is None or p.grade in _WEAK:
            reason = p.reason or f"grade {p.grade}"
            log_next = {"user": "a price in the config", "break_even": _LOG_NEXT}.get(p.source, _SEE_REASON)
            yield Skipped(name=p.name, segment=p.segment, about=about, reason=reason, log_next=log_next)
            continue
        yield Row(
            kind="price",
            name=p.name,
            unit=p.unit,
            segment=p.segment,
            value=p.value,
            lower=p.lower,
            upper=p.upper,
            level=p.level,
            layer=p.layer,
            decision_point=p.decision_point,
            action=p.action,
            baseline=p.baseline,
            source=p.source,
            grade=p.grade,
            n=p.n,
            clusters=p.clusters,
            ess=p.ess,
            method=p.method,
            note=p.reason,
        )


def _effects(contrasts: pl.DataFrame) -> Iterator[Row | Skipped]:
    """The headline of every contrast: overlap-weighted where it is there, else the average over all."""
    keys = ("layer", "decision_point", "segment", "action", "baseline", "quantity")
    chosen: dict[tuple[str, ...], Estimate] = {}
    for row in contrasts.iter_rows(named=True):
        found = Estimate(**row)
        key = tuple(row[name] for name in keys)
        if key not in chosen or (found.estimand == "ATO" and chosen[key].estimand != "ATO"):
            chosen[key] = found
    for e in chosen.values():
        name = "net_marginal_value" if e.quantity == "net" else f"delta_{e.quantity}"
        if e.value is None or e.grade in _WEAK:
            yield Skipped(
                name=name,
                segment=e.segment,
                about=_about(e.layer, e.decision_point, e.action, e.baseline),
                reason=e.reason or f"grade {e.grade}: bounds only",
                log_next=_LOG_NEXT,
            )
            continue
        yield Row(
            kind="effect",
            name=name,
            unit=_UNITS[e.quantity],
            segment=e.segment,
            value=e.value,
            lower=e.lower,
            upper=e.upper,
            level=e.level,
            layer=e.layer,
            decision_point=e.decision_point,
            action=e.action,
            baseline=e.baseline,
            source=e.estimand,
            grade=e.grade,
            n=e.n,
            clusters=e.clusters,
            ess=e.ess,
            method=e.method,
            note=e.reason,
        )


def _about(layer: str | None, point: str | None, action: str | None, baseline: str | None) -> str:
    if layer is None:
        return "the whole run"
    return short(f"{layer}.{point}: {action} vs {baseline}")


def unspeakable(*names: str | None) -> str | None:
    """Why one of `names` is not handed on: invisible characters let one name pose as another."""
    for name in names:
        if name is not None and visible(name) != name:
            return "its name holds control or invisible characters"
        if name is not None and len(name) > LONGEST_NAME:
            return f"its name has {len(name)} characters, at most {LONGEST_NAME} are exported"
    return None
