"""What the report says, in order, as text, tables and charts; the page and the Markdown only set it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from ..schemas.records import QUANTITIES, Finding
from . import charts, ingested, price_charts, price_trend, slices
from . import numbers as fmt
from .allocation import allocation_charts
from .charts import Chart
from .decomposition import decomposition, spend_split
from .escape import short
from .headline import Headline, headline
from .names import mode_name, place_name, source, status_name
from .predicted import prediction_charts, predictions_table
from .samples import sample_chart
from .saving_sections import saving_assumptions, saving_facts, saving_rows, saving_terms
from .scrutinised import Scrutinised, scrutinised
from .tables import (
    Table,
    all_checks_table,
    break_even_table,
    checks_table,
    coverage_table,
    effect,
    estimate_groups,
    estimates_table,
    findings_table,
    money,
    prices_table,
    split_table,
    table,
)
from .tornado import tornado
from .truth import truth_tables
from .view import RunView
from .waterfall import waterfall

_MAX_SECTIONS: Final = 20
"""Findings with a section of their own; the rest stand in the tables."""
_MAX_OVERLAPS: Final = 12
_EXAMPLES: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One finding in full."""

    title: str
    status: str
    grade: str
    claim: str
    change: str
    facts: tuple[tuple[str, str], ...]
    terms: Table
    overlap: Chart | None
    scrutiny: Scrutinised
    assumptions: tuple[str, ...]
    examples: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """Everything on the page, ready to be set.

    nothing: what stands in place of findings. hidden: slices too small to show, in words.
    """

    scope: tuple[str, ...]
    simulated: bool
    evidence: Chart | None
    spend: str
    headline: Headline
    findings: Table
    nothing: str
    break_evens: Table
    checks: Table
    forest: Chart | None
    waterfall: Chart | None
    tornado: Chart | None
    split: Table
    planes: tuple[Chart, ...]
    allocations: tuple[Chart, ...]
    samples: Chart | None
    strips: tuple[Chart, ...]
    curve: Chart | None
    trends: tuple[Chart, ...]
    drifts: Table
    predictions: Table
    prediction_curves: tuple[Chart, ...]
    overlaps: tuple[Chart, ...]
    sections: tuple[Section, ...]
    sections_left_out: int
    truth: tuple[Table, ...]
    coverage: Table
    estimates: Table
    all_checks: Table
    prices: Table
    ingest: tuple[Table, ...]
    provenance: Table
    notes: tuple[str, ...]
    hidden: str


def content(view: RunView, *, hidden: str = "") -> Content:
    """The content of the report on `view`; `hidden` says which slices were too small to show."""
    est, found = view.est, view.findings
    head = headline(est, view.prices, found)
    shown = [f for f in found if f.status in ("found", "inconclusive")]
    return Content(
        scope=_scope(view),
        simulated=view.truth is not None,
        evidence=charts.evidence_bar(est.coverage),
        spend=_spend(est.coverage),
        headline=head,
        findings=findings_table(found, moves=False),
        nothing=_nothing(found),
        break_evens=break_even_table(view.prices),
        checks=checks_table(found),
        forest=charts.forest(found),
        waterfall=waterfall(est, decomposition(est, view.prices, found)),
        tornado=tornado(est, view.prices, found),
        split=split_table(spend_split(est, view.prices)),
        planes=tuple(slices.planes(est, view.prices)),
        allocations=allocation_charts(est, view.allocation),
        samples=sample_chart(est),
        strips=price_charts.price_strips(view.prices),
        curve=price_charts.value_chart(view.prices.value_curve),
        trends=price_trend.trend_charts(est, view.prices, found),
        drifts=price_trend.drift_table(est, view.prices),
        predictions=predictions_table(view.predictions),
        prediction_curves=prediction_charts(view.predictions),
        overlaps=_overlaps(view),
        sections=tuple(_section(view, shown, i) for i in range(1, min(len(shown), _MAX_SECTIONS) + 1)),
        sections_left_out=max(0, len(shown) - _MAX_SECTIONS),
        truth=truth_tables(view),
        coverage=coverage_table(est.coverage),
        estimates=estimates_table(est),
        all_checks=all_checks_table(found),
        prices=prices_table(view.prices),
        ingest=ingested.ingest_tables(view.manifest),
        provenance=_provenance(view.provenance),
        notes=tuple(short(note, longest=400) for note in est.notes),
        hidden=hidden,
    )


def _scope(view: RunView) -> tuple[str, ...]:
    """Window, size, price book and run id: what the rest of the page is about."""
    decisions = int(view.est.coverage["decisions"].sum()) if view.est.coverage.height else 0
    requests = view.est.ledger["request_id"].drop_nulls().n_unique()
    size = f"{fmt.count(decisions)} decisions"
    book = view.manifest.get("price_book")
    if isinstance(book, dict):
        book = ", ".join(str(v) for v in book.values())
    parts = [
        fmt.date_range(*view.est.window),
        f"{size} in {fmt.count(requests)} requests" if requests else size,
        f"list prices {short(str(book))}" if book else "",
        f"run {short(str(view.provenance['run_id']))}" if view.provenance.get("run_id") else "",
    ]
    return tuple(p for p in parts if p)


def _spend(coverage: pl.DataFrame) -> str:
    if coverage.is_empty():
        return "no decisions"
    tokens, rows = int(coverage["unpriced_tokens"].sum()), int(coverage["unpriced_decisions"].sum())
    priced = float(coverage["spend_usd"].sum())
    spend = f"Priced spend {fmt.usd(priced)}" if priced > 0 else "No cost is known"
    if not rows and not priced:
        return spend
    if not rows:
        return f"{spend}; every decision with a cost is priced"
    return (
        f"{spend}; unpriced and not in any total: {fmt.count(tokens)} tokens in {fmt.count(rows)} decisions"
    )


def _nothing(findings: Sequence[Finding]) -> str:
    if any(f.p_value is not None for f in findings):
        return "Nothing was found. What was looked for, and what could have been seen, is below"
    return "Nothing could be decided in dollars. Why, and what to log or set, is below"


def _overlaps(view: RunView) -> tuple[Chart, ...]:
    keys = ["layer", "decision_point", "action", "baseline"]
    pairs = view.est.overlap.select(keys).unique(maintain_order=True).head(_MAX_OVERLAPS)
    drawn = [
        slices.overlap(view.est, **row, name=f"overlap{i}")
        for i, row in enumerate(pairs.iter_rows(named=True))
    ]
    return tuple(c for c in drawn if c is not None)


def _section(view: RunView, shown: Sequence[Finding], number: int) -> Section:
    f = shown[number - 1]
    saved = saving_rows(view, f)
    by = {} if saved.height else _by_quantity(view, f)
    facts = saving_facts(f, saved) if saved.height else _facts(view, f, by)
    return Section(
        title=f"{number}. {mode_name(f.mode)}: {short(place_name(f), longest=200)}",
        status=status_name(f),
        grade=f.grade,
        claim=short(f.claim, longest=600),
        change=short(f.recommendation if f.counted else (f.reason or ""), longest=600),
        facts=tuple((k, short(v, longest=300)) for k, v in facts),
        terms=saving_terms(f, saved) if saved.height else _terms(view, by),
        overlap=slices.finding_overlap(view.est, f, name=f"finding{number}")
        if number <= _MAX_OVERLAPS and saved.is_empty()
        else None,
        scrutiny=scrutinised(view, shown, number),
        assumptions=saving_assumptions(f) if saved.height else _assumptions(f),
        examples=_examples(view, f),
    )


def _by_quantity(view: RunView, f: Finding) -> dict[str, dict[str, Any]]:
    """The contrast behind a finding, its quantities by name."""
    rows = _contrast(view.est.contrasts, f).filter(pl.col("segment") == f.segment)
    return next(g["by"] for g in estimate_groups(rows) if g["estimand"] in ("ATO", "not_identified"))


def _contrast(frame: pl.DataFrame, f: Finding) -> pl.DataFrame:
    return frame.filter(
        layer=f.layer, decision_point=f.decision_point, action=str(f.action), baseline=str(f.baseline)
    )


def _facts(view: RunView, f: Finding, by: dict[str, dict[str, Any]]) -> list[tuple[str, str]]:
    first = next(iter(by.values()))
    level = f"{100 * f.level:.4g} %" if f.level else fmt.ABSENT
    facts = [
        ("Slice", f"{f.layer} · {f.decision_point} · {f.segment}"),
        ("Gain over the window", f"{money(f)} at {level}"),
        ("Decisions moved", fmt.count(f.moved)),
        ("p, adjusted", f"{fmt.probability(f.p_value)}, {fmt.probability(f.p_adjusted)}"),
        ("Detectable with 80 % power", fmt.usd(f.mde_usd)),
        ("n, clusters, ESS", " · ".join(fmt.count(first[k]) for k in ("n", "clusters", "ess"))),
        ("Terms", "ATO: among decisions where the policy was really undecided"),
        ("Gain", f"summed over the decisions that took {source(f)}"),
        ("Method", str(first["method"])),
        ("Break-even V*", _break_even(view, f)),
    ]
    limits = next((r["reason"] for r in by.values() if r["value"] is not None and r["reason"]), None)
    return facts + ([("Limits", limits)] if limits else [])


def _break_even(view: RunView, f: Finding) -> str:
    for p in view.prices.named("break_even_task_value"):
        if (p.layer, p.decision_point, p.segment, p.action, p.baseline) == (
            f.layer,
            f.decision_point,
            f.segment,
            f.action,
            f.baseline,
        ):
            if p.value is None:
                return f"unknown: {p.reason}"
            ends = fmt.bracket(fmt.usd(p.lower), fmt.usd(p.upper))
            note = f"; {p.reason}" if p.reason else f"; {p.action} pays above it"
            return f"{fmt.usd(p.value)} {ends} a task{note}"
    return fmt.ABSENT


def _terms(view: RunView, by: dict[str, dict[str, Any]]) -> Table:
    """The terms of Eq. 1: effect, price and what the term is worth per decision."""
    first = next(iter(by.values()))
    segment = first["segment"]
    symbols = {"quality": "ΔQ", "cost": "ΔC", "latency": "ΔL", "risk": "ΔR", "net": "ν"}
    prices = {
        "quality": _price(view, "task_value", segment),
        "cost": "1 USD/USD",
        "latency": _price(view, "latency_price", segment),
        "risk": _price(view, "risk_price", segment),
        "net": "V ΔQ − ΔC − λ ΔL − ρ ΔR",
    }
    rows = [
        (
            f"{symbols[q]} {q}",
            effect(by.get(q)),
            prices[q],
            by[q]["grade"] if q in by else None,
            by[q]["reason"] if q in by and by[q]["value"] is None else None,
        )
        for q in (*QUANTITIES, "net")
    ]
    title = short(f"Per decision, {first['action']} instead of {first['baseline']}")
    return table(title, "term|#effect|price|@grade|why there is none", rows)


def _price(view: RunView, name: str, segment: str) -> str:
    """The price that holds in `segment`; all of them where the segment has none of its own."""
    known = [p for p in view.prices.named(name) if p.value is not None]
    own = [p for p in known if p.segment == segment] or known
    values = [
        f"{p.symbol} = {p.value:g} {p.unit}" + ("" if p.segment == "all" else f" ({p.segment})") for p in own
    ]
    return ", ".join(values) or "not set"


_BY_GRADE: Final = {
    "A": "The logged probabilities are those of the draw; they pass their calibration test.",
    "B": "The choice followed a known rule, replayed from the log.",
    "C": "No hidden cause drives both the choice and the outcome. These logs cannot test this.",
}


def _assumptions(f: Finding) -> tuple[str, ...]:
    return (
        *((_BY_GRADE[f.grade],) if f.grade in _BY_GRADE else ()),
        "One decision changes and everything else stays as logged; prices and load do not react.",
        "Outcomes that had not arrived when the log ended are like those that had.",
        "The quality label is right on average for both arms.",
        "The slice was chosen before its gain was seen; the false discovery rate over all checks is 10 %.",
    )


def _examples(view: RunView, f: Finding) -> tuple[str, ...]:
    """Ids of decisions in the slice where the change is worth most, by the ledger."""
    rows = _contrast(view.est.ledger, f)
    if f.segment != "all":
        rows = rows.filter(pl.col("segment") == f.segment)
    rows = rows.sort("nmv", "decision_id", descending=[f.direction == "under", False], nulls_last=True)
    return tuple(short(i) for i in rows["decision_id"].head(_EXAMPLES).to_list())


def _provenance(provenance: dict[str, Any]) -> Table:
    rows: list[tuple[str, str]] = []
    for key, value in sorted(provenance.items()):
        text = value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)
        rows.append((key.replace("_", " "), text))
    return table("How this run was made", "what|value", rows)
