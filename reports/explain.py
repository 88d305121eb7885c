"""One decision, or every decision of a request: what each choice was worth, term by term of Eq. 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import polars as pl

from ..schemas.columns import FEATURE_PREFIX, LAYERS
from ..schemas.config import Config
from ..schemas.records import QUANTITIES, Finding, Price, Prices
from .names import source, target
from .privacy import MIN_UNITS, small_cells

Row = dict[str, Any]

_EFFECTS: Final = ("dq", "dc", "dl", "dr")
_SYMBOLS: Final = ("V ΔQ", "− ΔC", "− λ ΔL", "− ρ ΔR")
_MEASURED: Final = (
    "cost_usd",
    "cost_source",
    "latency_s",
    "quality",
    "quality_source",
    "incident",
    "loss_usd",
    "tok_input_uncached",
    "tok_cache_read",
    "tok_cache_write",
    "tok_output",
)
_HIDDEN: Final = f"hidden: a slice by person or tenant with fewer than {MIN_UNITS} units, or its complement"


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One term of Eq. 1: price times effect, in USD per decision, or why it has no number.

    effect: in the unit of the quantity (quality in [0, 1], USD, s, unit of the risk price). price: None when
    it is not set; a term whose price is 0 counts 0 also where its effect is unknown.
    """

    symbol: str
    quantity: str
    effect: float | None
    effect_lower: float | None
    effect_upper: float | None
    price: float | None
    unit: str
    usd: float | None
    usd_lower: float | None
    usd_upper: float | None
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Worth:
    """One contrast of the ledger for one decision: its terms add up to `nmv`, USD per decision.

    taken: whether the decision took the 'action', the 'baseline' or 'neither'. comparable, clusters: the
    decisions of the same contrast in the same segment, and their clusters; None with `apart` saying why.
    """

    action: str
    baseline: str
    taken: str
    terms: tuple[Term, ...]
    nmv: float | None
    nmv_lower: float | None
    nmv_upper: float | None
    grade: str
    segment: str
    reason: str | None
    comparable: int | None
    clusters: int | None
    apart: str | None
    break_even: Price | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """One decision with what was decided, what came of it, and what each alternative was worth.

    candidates: (action, its probability or None). measured, context: columns of the row that hold a value.
    findings: those that would move this decision. reason: why nothing is compared here, or None.
    """

    decision_id: str
    layer: str
    decision_point: str
    at: str | None
    action: str
    executed: str | None
    candidates: tuple[tuple[str, float | None], ...]
    propensity: float | None
    propensity_source: str | None
    exploration: bool | None
    measured: Row
    context: Row
    worths: tuple[Worth, ...]
    findings: tuple[Finding, ...]
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """Every decision asked for, in the order of layers and of time; beside them those of the same request.

    asked: the id as given. whole_request: it names a request, so that all its decisions are explained.
    prices: the prices set by the user. `to_dict` is the stable export.
    """

    asked: str
    request_id: str | None
    whole_request: bool
    decisions: tuple[Explained, ...]
    beside: tuple[Explained, ...]
    prices: tuple[Price, ...]

    def to_dict(self) -> Row:
        """The explanation as plain values."""
        return asdict(self)


def explain(
    asked: str,
    rows: pl.DataFrame,
    ledger: pl.DataFrame,
    contrasts: pl.DataFrame,
    coverage: pl.DataFrame,
    *,
    config: Config,
    prices: Prices | None = None,
    findings: Sequence[Finding] = (),
) -> Explanation:
    """The explanation of the decision, or the request, called `asked`.

    rows: all decisions of its request, in the decisions layout. ledger: their rows of ledger.parquet.
    contrasts, coverage: of the run. prices and findings may be absent when those stages have not run.
    """
    hidden = small_cells(contrasts)
    whole = bool((rows["request_id"] == asked).fill_null(value=False).any())
    order = pl.col("layer").replace_strict({name: k for k, name in enumerate(LAYERS)}, default=len(LAYERS))
    ordered = rows.sort(order, "ts", "step", "decision_id", nulls_last=True)
    shown = [f for f in findings if f.segment not in hidden]
    by_id = {str(key[0]): part.to_dicts() for key, part in ledger.group_by("decision_id")}
    every = [
        _explained(row, by_id.get(row["decision_id"], []), contrasts, coverage, hidden, config, prices, shown)
        for row in ordered.iter_rows(named=True)
    ]
    asked_for = [e for e in every if whole or e.decision_id == asked]
    return Explanation(
        asked=asked,
        request_id=next((r for r in ordered["request_id"] if r is not None), None),
        whole_request=whole,
        decisions=tuple(asked_for),
        beside=tuple(e for e in every if e not in asked_for),
        prices=tuple(p for p in (prices.prices if prices else ()) if p.source == "user" or p.symbol == "p_C"),
    )


def task_value(row: Row, config: Config) -> float | None:
    """V of a decision in USD per task: that of its class, else the default; None where neither is set."""
    own = config.prices.task_value_by_class.get(str(row.get(config.task_class) or ""))
    amount = own or config.prices.task_value
    return amount.value if amount is not None else None


def terms(entry: Row, value: float | None, config: Config, reasons: dict[str, str]) -> tuple[Term, ...]:
    """The four terms of Eq. 1 of a ledger row; where all have a number, they add up to its nmv.

    value: V of the decision. reasons: quantity -> why it is not identified.
    """
    p = config.prices
    weights = (
        (value, "USD/task"),
        (-1.0, "USD/USD"),
        (-p.latency.value if p.latency else 0.0, "USD/s"),
        (-p.risk.value if p.risk else 0.0, p.risk.unit if p.risk else "USD/event"),
    )
    found = zip(_EFFECTS, _SYMBOLS, QUANTITIES, weights, strict=True)
    return tuple(_term(entry, *parts, reasons) for parts in found)


def _term(
    entry: Row,
    name: str,
    symbol: str,
    quantity: str,
    priced: tuple[float | None, str],
    reasons: dict[str, str],
) -> Term:
    (weight, unit), effect = priced, entry[name]
    ends = (entry[f"{name}_lower"], entry[f"{name}_upper"])
    unpriced = quantity in ("latency", "risk") and weight == 0.0
    reason = usd = lower = upper = None
    if unpriced:
        usd, lower, upper = 0.0, 0.0, 0.0
        reason = "no price is set, so the term counts 0"
    elif effect is None:
        reason = reasons.get(quantity) or entry["reason"] or "not identified"
    elif weight is None:
        reason = "no task value V is set"
    else:
        usd = weight * effect
        lower, upper = sorted(weight * end for end in ends)
    return Term(
        symbol=symbol,
        quantity=quantity,
        effect=effect,
        effect_lower=ends[0],
        effect_upper=ends[1],
        price=None if weight is None else abs(weight),
        unit=unit,
        usd=usd,
        usd_lower=lower,
        usd_upper=upper,
        reason=reason,
    )


def _explained(
    row: Row,
    entries: list[Row],
    contrasts: pl.DataFrame,
    coverage: pl.DataFrame,
    hidden: set[str],
    config: Config,
    prices: Prices | None,
    findings: Sequence[Finding],
) -> Explained:
    mine = contrasts.filter(layer=row["layer"], decision_point=row["decision_point"])
    value = task_value(row, config)
    worths = tuple(_worth(row, entry, mine, hidden, value, config, prices) for entry in entries)
    return Explained(
        decision_id=row["decision_id"],
        layer=row["layer"],
        decision_point=row["decision_point"],
        at=row["ts"].isoformat() if row["ts"] is not None else None,
        action=row["action"],
        executed=row["action_executed"],
        candidates=_candidates(row),
        propensity=row["propensity"],
        propensity_source=row["propensity_source"],
        exploration=row["exploration"],
        measured={name: row[name] for name in _MEASURED if row.get(name) is not None},
        context={k: v for k, v in row.items() if k.startswith(FEATURE_PREFIX) and v is not None},
        worths=worths,
        findings=tuple(f for f in findings if _moves(f, row)),
        reason=None if worths else _why_nothing(row, coverage),
    )


def _candidates(row: Row) -> tuple[tuple[str, float | None], ...]:
    names, shares = row["candidates"] or (), row["propensities"]
    if shares is None or len(shares) != len(names):
        return tuple((n, row["propensity"] if n == row["action"] else None) for n in names)
    return tuple(zip(names, shares, strict=True))


def _worth(
    row: Row,
    entry: Row,
    contrasts: pl.DataFrame,
    hidden: set[str],
    value: float | None,
    config: Config,
    prices: Prices | None,
) -> Worth:
    action, baseline, segment = entry["action"], entry["baseline"], entry["segment"] or "all"
    same = contrasts.filter(action=action, baseline=baseline)
    whole = same.filter(pl.col("value").is_null(), segment="all").drop_nulls("reason")
    reasons = dict(whole.select("quantity", "reason").iter_rows())
    taken = {action: "action", baseline: "baseline"}.get(row["action"], "neither")
    n, clusters, apart = _comparable(same, segment, hidden)
    return Worth(
        action=action,
        baseline=baseline,
        taken=taken,
        terms=terms(entry, value, config, reasons),
        nmv=entry["nmv"],
        nmv_lower=entry["nmv_lower"],
        nmv_upper=entry["nmv_upper"],
        grade=entry["grade"],
        segment=_HIDDEN if segment in hidden else segment,
        reason=entry["reason"],
        comparable=n,
        clusters=clusters,
        apart=apart,
        break_even=None if segment in hidden else _break_even(prices, row, entry, segment),
    )


def _comparable(
    same: pl.DataFrame, segment: str, hidden: set[str]
) -> tuple[int | None, int | None, str | None]:
    """Decisions of this contrast in this segment and their clusters, or why they are not told."""
    if segment in hidden:
        return None, None, _HIDDEN
    here = same.filter(pl.col("segment") == segment)
    if here.is_empty():
        return None, None, f"{segment} has too few decisions to be compared on its own"
    n, clusters = here.select(pl.col("n").max(), pl.col("clusters").max()).row(0)
    return int(n), int(clusters), None


def _break_even(prices: Prices | None, row: Row, entry: Row, segment: str) -> Price | None:
    key = (row["layer"], row["decision_point"], entry["action"], entry["baseline"])
    found = [
        p
        for p in (prices.named("break_even_task_value") if prices else ())
        if (p.layer, p.decision_point, p.action, p.baseline) == key and p.segment in (segment, "all")
    ]
    return next((p for p in found if p.segment == segment), found[0] if found else None)


def _moves(f: Finding, row: Row) -> bool:
    """Whether the change that `f` proposes, or leaves open, would move this decision."""
    if f.action is None or f.status not in ("found", "inconclusive"):
        return False
    column, _, level = f.segment.partition("=")
    inside = f.segment == "all" or (row.get(column) is not None and str(row[column]) == level)
    here = (f.layer, f.decision_point) == (row["layer"], row["decision_point"])
    return here and inside and source(f) == row["action"] and target(f) != row["action"]


def _why_nothing(row: Row, coverage: pl.DataFrame) -> str:
    here = coverage.filter(layer=row["layer"], decision_point=row["decision_point"])
    reasons = here.sort(pl.col("grade") == "N", descending=True)["reason"].drop_nulls()
    return str(reasons[0]) if reasons.len() else "this decision is in no contrast"
