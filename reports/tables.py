"""Tables of the report as plain text cells: the same rows feed the page and the Markdown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import polars as pl

from ..schemas.records import QUANTITIES, Estimates, Finding, Prices
from . import numbers as fmt
from .escape import short, visible
from .names import mode_name, place_name, slice_name, status_name

Kind = Literal["text", "number", "grade", "status"]

MAX_ROWS: Final = 400
"""Rows of one table on the page; report.json has all of them. Keeps the page under 1 MB."""
_MOST_REASONS: Final = 8
"""Reasons for prices that are not known that a terminal shows; prices.json has them all."""
_LONGEST_REASON: Final = 110
_CONTRAST: Final = ("layer", "decision_point", "segment", "action", "baseline")


@dataclass(frozen=True, slots=True)
class Column:
    """A heading and how its cells are set."""

    label: str
    kind: Kind = "text"


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of text. `more` counts rows that are only in report.json."""

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    more: int = 0


def table(title: str, columns: str, rows: Iterable[Sequence[Any]], *, limit: int = MAX_ROWS) -> Table:
    """A table; `columns` are labels joined by '|', prefixed '#' for numbers, '@' grades, '!' statuses."""
    kinds: dict[str, Kind] = {"#": "number", "@": "grade", "!": "status"}
    heads = tuple(Column(c.lstrip("#@!"), kinds.get(c[:1], "text")) for c in columns.split("|"))
    texts = [tuple(_text(cell) for cell in row) for row in rows]
    return Table(title=title, columns=heads, rows=tuple(texts[:limit]), more=max(0, len(texts) - limit))


def _text(cell: Any) -> str:
    return fmt.ABSENT if cell is None or cell == "" else short(str(cell), longest=400)


def money(f: Finding) -> str:
    """Dollars of a finding with their interval."""
    if f.usd is None:
        return fmt.ABSENT
    return f"{fmt.usd(f.usd)} {fmt.bracket(fmt.usd(f.usd_lower), fmt.usd(f.usd_upper))}"


def split_table(split: pl.DataFrame) -> Table:
    """Per decision point, what spending better and what spending more would gain."""
    rows = [
        (
            f"{r['layer']} · {r['decision_point']}",
            fmt.usd(r["total_usd"]),
            _usd_between(r, "better"),
            _usd_between(r, "more"),
            fmt.usd(r["spend_usd"], signed=True),
            r["reason"],
        )
        for r in split.to_dicts()
    ]
    columns = "decision point|#value|#by spending better|#by spending more|#spend|why there is none"
    return table("Spending better, spending more", columns, rows)


def _usd_between(row: dict[str, Any], name: str) -> str | None:
    if row[f"{name}_usd"] is None:
        return None
    ends = fmt.bracket(fmt.usd(row[f"{name}_lower"]), fmt.usd(row[f"{name}_upper"]))
    return f"{fmt.usd(row[f'{name}_usd'])} {ends}"


def findings_table(findings: Sequence[Finding], *, moves: bool = True) -> Table:
    """What was found or is open, in rank order; without `moves`, a move that 'do' names stands there only."""
    rows = [
        (
            i,
            mode_name(f.mode),
            place_name(f) if moves or not f.counted else slice_name(f),
            money(f),
            f"{100 * f.level:.1f} %".replace(".0", "") if f.level else None,
            f.grade,
            fmt.break_even(f.break_even_usd),
            status_name(f),
            f.recommendation if f.counted else f.reason,
        )
        for i, f in enumerate((f for f in findings if f.status in ("found", "inconclusive")), start=1)
    ]
    return table("Findings", "##|finding|where|#USD|#level|@grade|#V*|!status|do", rows)


def checks_table(findings: Sequence[Finding]) -> Table:
    """What was looked for and not found, per mode: what could have been seen, or why nothing could."""
    rows: list[tuple[str, str, str, str]] = []
    for mode in dict.fromkeys(f.mode for f in sorted(findings, key=lambda f: f.mode)):
        mine = [f for f in findings if f.mode == mode]
        nulls = [f.mde_usd for f in mine if f.status == "none_found" and f.mde_usd is not None]
        if nulls:
            low, high = fmt.usd(min(nulls)), fmt.usd(max(nulls))
            seen = f"≥ {low}" if low == high else f"≥ {low} to ≥ {high}"
            slices = "1 comparison" if len(nulls) == 1 else f"{len(nulls)} comparisons"
            rows.append((mode_name(mode), "none found", slices, f"could have seen {seen} each, 80 % power"))
        for status, label in (("not_identified", "not identified"), ("no_data", "no data")):
            rows += _reasons([f for f in mine if f.status == status], mode, label)
    return table("Looked for and not found", "check|!status|where|meaning", rows)


def _reasons(findings: list[Finding], mode: str, label: str) -> list[tuple[str, str, str, str]]:
    """One row per distinct reason, naming the places when they are few."""
    rows: list[tuple[str, str, str, str]] = []
    for reason in dict.fromkeys(_cause(f) for f in findings):
        same = [f for f in findings if _cause(f) == reason]
        places = "; ".join(place_name(f) for f in same[:2])
        more = f" and {len(same) - 2} more" if len(same) > 2 else ""
        told = "log " in reason or not same[0].recommendation
        advice = "" if told else f". Next: {same[0].recommendation}"
        rows.append((mode_name(mode), label, places + more, f"{reason}{advice}"))
    return rows


def _cause(f: Finding) -> str:
    """The reason without the break-even value, which differs from slice to slice and has its own table."""
    return (f.reason or "").split("; break-even V*", 1)[0]


def all_checks_table(findings: Sequence[Finding]) -> Table:
    """Every comparison that a check made, in rank order."""
    rows = [
        (
            mode_name(f.mode),
            place_name(f),
            status_name(f),
            money(f),
            fmt.usd(f.mde_usd),
            fmt.probability(f.p_adjusted),
            f.grade,
            fmt.count(f.n),
            fmt.count(f.clusters),
        )
        for f in findings
    ]
    heads = "check|where|!status|#USD|#detectable|#adjusted p|@grade|#n|#clusters"
    return table("Every comparison made", heads, rows)


def coverage_table(coverage: pl.DataFrame) -> Table:
    """Evidence per decision point and what to log next."""
    spend = float(coverage["spend_usd"].sum())
    rows = [
        (
            f"{r['layer']} · {r['decision_point']}",
            r["grade"],
            fmt.count(r["decisions"]),
            fmt.usd(r["spend_usd"] or None),
            fmt.share(r["spend_usd"] / spend) if spend > 0 else None,
            fmt.count(r["unpriced_tokens"]) if r["unpriced_decisions"] else "none",
            r["reason"],
            r["advice"],
        )
        for r in coverage.iter_rows(named=True)
    ]
    heads = "decision point|@grade|#decisions|#spend|#share|#unpriced tokens|why|log next"
    return table("Evidence per decision point", heads, rows)


def estimate_groups(contrasts: pl.DataFrame) -> list[dict[str, Any]]:
    """One entry per contrast, segment and estimand, its quantities by name, in a fixed order.

    Quantities without a value stand with the headline estimand of their contrast.
    """
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in contrasts.iter_rows(named=True):
        groups.setdefault(tuple(row[c] for c in _CONTRAST), []).append(row)
    entries: list[dict[str, Any]] = []
    for key, rows in groups.items():
        valued = [r for r in rows if r["value"] is not None]
        estimands = list(dict.fromkeys(r["estimand"] for r in valued))
        estimands = sorted(estimands, key=lambda e: e != "ATO") or ["not_identified"]
        for estimand in estimands:
            mine = {r["quantity"]: r for r in rows if r["estimand"] == estimand}
            if estimand == estimands[0]:
                mine = {**{r["quantity"]: r for r in rows if r["value"] is None}, **mine}
            entries.append({**dict(zip(_CONTRAST, key, strict=True)), "estimand": estimand, "by": mine})
    return entries


def effect(row: dict[str, Any] | None) -> str:
    """A contrast with its interval; a bound without a value; or that it is not identified."""
    if row is None:
        return fmt.ABSENT
    ends = fmt.quantity_interval(row["quantity"], row["lower"], row["upper"])
    if row["value"] is None:
        return (
            f"within {ends} {fmt.unit(row['quantity'])}".strip()
            if row["lower"] is not None
            else "not identified"
        )
    return f"{fmt.quantity(row['quantity'], row['value'])} {ends}"


def _entry_reason(by: dict[str, dict[str, Any]]) -> str:
    """Why values are missing or limited, each reason once, with the quantities it is about."""
    about: dict[str, list[str]] = {}
    for name in (*QUANTITIES, "net"):
        reason = by[name]["reason"] if name in by else None
        if reason:
            about.setdefault(reason, []).append(name)
    every = len(by)
    return "; ".join(
        reason if len(names) == every else f"{', '.join(names)}: {reason}" for reason, names in about.items()
    )


def estimates_table(est: Estimates) -> Table:
    """Every contrast, the refused ones with their reasons."""
    rows: list[tuple[Any, ...]] = []
    for e in estimate_groups(est.contrasts):
        by = e["by"]
        first = next(iter(by.values()))
        grades = sorted({r["grade"] for r in by.values()})
        rows.append(
            (
                f"{e['layer']} · {e['decision_point']}",
                e["segment"],
                f"{e['action']} vs {e['baseline']}",
                e["estimand"].replace("_", " "),
                *(effect(by.get(q)) for q in (*QUANTITIES, "net")),
                fmt.count(first["n"]),
                fmt.count(first["clusters"]),
                fmt.count(first["ess"]),
                grades[0],
                _entry_reason(by),
            )
        )
    heads = (
        "decision point|segment|contrast|estimand|#ΔQ|#ΔC|#ΔL|#ΔR|#net|#n|#clusters|#ESS|@grade|"
        "what limits it, or why there is none"
    )
    return table("Every estimate", heads, rows)


def prices_table(prices: Prices) -> Table:
    """Every price, with unit and origin."""
    rows = [
        (
            f"{p.symbol} {p.name.replace('_', ' ')}",
            _price_place(p.layer, p.decision_point, p.segment, p.action, p.baseline),
            f"{p.value:.4g}" if p.value is not None else "unknown",
            fmt.bracket(f"{p.lower:.4g}", f"{p.upper:.4g}")
            if p.lower is not None and p.upper is not None
            else None,
            p.unit,
            p.source.replace("_", "-"),
            p.grade or fmt.ABSENT,
            p.reason or p.method,
        )
        for p in prices.prices
    ]
    return table("Every price", "price|where|#value|#interval|unit|origin|@grade|note", rows)


def unknown_prices(prices: Prices) -> list[str]:
    """How many prices are not known, and why, the commonest reasons first."""
    reasons = Counter(
        visible(p.reason or "") for p in prices.prices if (p.value, p.lower, p.upper) == (None, None, None)
    )
    if not reasons:
        return []
    lines = [
        f"  {n} x {short(why, longest=_LONGEST_REASON)}" for why, n in reasons.most_common(_MOST_REASONS)
    ]
    rest = len(reasons) - len(lines)
    more = [f"  and {rest} more reasons, all in prices.json"] if rest > 0 else []
    return ["", f"{reasons.total()} prices are not known:", *lines, *more]


def break_even_table(prices: Prices) -> Table:
    """From which task value on each action pays, where no task value is set; empty where one is."""
    if any(p.value is not None for p in prices.named("task_value")):
        return table("Break-even task values", "contrast", [])
    rows = [
        (
            f"{p.action} instead of {p.baseline}",
            f"{p.layer} · {p.decision_point} · {p.segment}",
            fmt.usd(p.value),
            fmt.bracket(fmt.usd(p.lower), fmt.usd(p.upper)) if p.lower is not None else None,
            p.grade or fmt.ABSENT,
            p.reason or f"{p.action} pays if a solved task is worth more than this",
        )
        for p in prices.named("break_even_task_value")
    ]
    heads = "action|where|#V* a task|#95 % interval|@grade|meaning"
    return table("Break-even task values", heads, rows)


def _price_place(
    layer: str | None, point: str | None, segment: str, action: str | None, baseline: str | None
) -> str:
    parts = [layer, point, segment, None if action is None else f"{action} vs {baseline}"]
    return " · ".join(part for part in parts if part)
