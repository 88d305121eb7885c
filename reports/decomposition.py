"""What is recoverable, split over layers and failure modes so that the parts add up to the cent.

Each part is one change on its own, everything else as logged. At one decision point a decision is moved by
one counted finding at most, and the rest of the point is what its findings leave. The decisions of one
request at different points (route, verify, reuse) are parts of their own, and each part holds only what its
own choice changes: effects of action against action, in which the rest of the request cancels. So a saving of
the cache is not in the routing part. Two changes made together gain the sum where their effects add up; how
they would act on each other is not in a log of one-step departures, and no part claims it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import polars as pl

from ..schemas.records import Estimates, Finding, Prices
from .headline import recoverable

ALL: Final = "all"
NOT_ATTRIBUTED: Final = "not_attributed"
"""The mode of what no counted finding explains."""
TOTAL: Final = "total"
_CENTS: Final = 100

Row = dict[str, Any]
Place = tuple[str, str]

SPLIT: Final = {
    "layer": pl.String,
    "decision_point": pl.String,
    "total_usd": pl.Float64,
    "better_usd": pl.Float64,
    "better_lower": pl.Float64,
    "better_upper": pl.Float64,
    "more_usd": pl.Float64,
    "more_lower": pl.Float64,
    "more_upper": pl.Float64,
    "spend_usd": pl.Float64,
    "reason": pl.String,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part in dollars over the window of the logs, in whole cents; None with a reason where not known.

    part: 'finding', 'rest' or 'total'. mode: of the finding, NOT_ATTRIBUTED, or TOTAL. segment, action and
    baseline as in the finding. lower, upper: of a finding its interval; of the total one-sided bounds; of a
    rest the bound of its point less the other end of its findings, so each end holds with 92.5 % at least.
    """

    part: str
    layer: str
    decision_point: str
    mode: str
    segment: str = ALL
    action: str | None = None
    baseline: str | None = None
    usd: float | None = None
    lower: float | None = None
    upper: float | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decomposition:
    """parts: findings in rank order, then the rest of each decision point. total: their sum."""

    parts: tuple[Part, ...]
    total: Part

    def frame(self) -> pl.DataFrame:
        """One row per part, the total last."""
        kinds = {name: pl.Float64 if name in ("usd", "lower", "upper") else pl.String for name in _FIELDS}
        return pl.DataFrame([asdict(p) for p in (*self.parts, self.total)], schema=kinds)


_FIELDS: Final = tuple(Part.__dataclass_fields__)


def decomposition(est: Estimates, prices: Prices, findings: Sequence[Finding]) -> Decomposition | None:
    """Counted findings, and per decision point what they leave of its recoverable value; None without both.

    The value of a point is that of policies learned from its context (`Estimates.regret`), and the rest is
    value less findings. It is below 0 where the findings add up to more than such policies gain: they are
    few and were chosen for what they showed. Where a point has findings and no value, the findings are its
    value and its rest is unknown.
    """
    counted = [f for f in findings if f.status == "found" and f.counted and f.usd is not None]
    points = {(r["layer"], r["decision_point"]): r for r in est.regret.to_dicts() if r["layer"] != ALL}
    if not counted and all(r["value_usd"] is None for r in points.values()):
        return None
    parts = [_of_finding(f) for f in counted]
    rests: list[Part] = []
    alone: list[Finding] = []
    for place in sorted({*points, *((f.layer, f.decision_point) for f in counted)}):
        mine = [f for f in counted if (f.layer, f.decision_point) == place]
        row = points.get(place)
        if row is not None and row["value_usd"] is not None:
            rests.append(_rest(est, prices, place, row, mine))
        elif mine:
            alone += mine
            reason = row["reason"] if row is not None else "the regret of this point was not estimated"
            rests.append(_part_of_rest(place, reason=reason))
    usd = sum(_cents(p.usd) for p in (*parts, *rests) if p.usd is not None) / _CENTS
    return Decomposition(parts=(*parts, *rests), total=_total(est, prices, usd, alone))


def spend_split(est: Estimates, prices: Prices) -> pl.DataFrame:
    """Per decision point its recoverable value, split into spending better and spending more: SPLIT.

    better_usd: what the same dollars, seconds and risk would gain at their best use, reallocation_value
    times the decisions of the point. more_usd: the rest of the value, from spending another amount; the
    learned policies would spend `spend_usd` more, or less where it is negative. The two add up to total_usd.
    The ends of `more` are the bounds of the point less the other end of `better`.

    Source: METHODS E1 (value gap at equal budgets), H.
    """
    gains = {(p.layer, p.decision_point): p for p in prices.named("reallocation_value")}
    rows: list[Row] = []
    for r in est.regret.filter((pl.col("layer") != ALL) & pl.col("value_usd").is_not_null()).to_dicts():
        price = gains.get((r["layer"], r["decision_point"]))
        row: Row = dict.fromkeys(SPLIT)
        row |= {name: r[name] for name in ("layer", "decision_point", "spend_usd")}
        row["total_usd"] = r["value_usd"]
        if price is None or price.value is None or price.lower is None or price.upper is None:
            row["reason"] = price.reason if price is not None else "no reallocation value was fitted"
        else:
            size = r["decisions"] + r["left_out"]
            better, lower, upper = (size * x for x in (price.value, price.lower, price.upper))
            row |= {
                "better_usd": better,
                "better_lower": lower,
                "better_upper": upper,
                "more_usd": r["value_usd"] - better,
                "more_lower": r["lower_usd"] - upper,
                "more_upper": r["upper_usd"] - lower,
            }
        rows.append(row)
    return pl.DataFrame(rows, schema=SPLIT, orient="row")


def _of_finding(f: Finding) -> Part:
    return Part(
        part="finding",
        layer=f.layer,
        decision_point=f.decision_point,
        mode=f.mode,
        segment=f.segment,
        action=f.action,
        baseline=f.baseline,
        usd=_cents(f.usd) / _CENTS,
        lower=f.usd_lower,
        upper=f.usd_upper,
    )


def _rest(est: Estimates, prices: Prices, place: Place, row: Row, mine: list[Finding]) -> Part:
    """What the findings of one point leave of its value, between the bounds that both allow."""
    found = recoverable(est, prices, mine) if mine else None
    low, high = (found.lower, found.upper) if found is not None else (0.0, 0.0)
    usd = (_cents(row["value_usd"]) - sum(_cents(f.usd) for f in mine)) / _CENTS
    return _part_of_rest(
        place, usd=usd, lower=min(row["lower_usd"] - high, usd), upper=max(row["upper_usd"] - low, usd)
    )


def _part_of_rest(place: Place, **numbers: Any) -> Part:
    return Part(part="rest", layer=place[0], decision_point=place[1], mode=NOT_ATTRIBUTED, **numbers)


def _total(est: Estimates, prices: Prices, usd: float, alone: list[Finding]) -> Part:
    """The sum, between the bounds of all points and the interval of findings at points without a value."""
    row = next((r for r in est.regret.to_dicts() if r["layer"] == ALL), None)
    extra = recoverable(est, prices, alone) if alone else None
    lower = (row["lower_usd"] if row else 0.0) + (extra.lower if extra else 0.0)
    upper = (row["upper_usd"] if row else 0.0) + (extra.upper if extra else 0.0)
    return Part(
        part=TOTAL,
        layer=ALL,
        decision_point=ALL,
        mode=TOTAL,
        usd=usd,
        lower=min(lower, usd),
        upper=max(upper, usd),
    )


def _cents(usd: float | None) -> int:
    return round((usd or 0.0) * _CENTS)
