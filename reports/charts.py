"""The dollar charts of the report: each states its finding in the title and keeps its numbers in a table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import altair as alt
import polars as pl

from ..schemas.records import GRADES, Finding
from . import numbers as fmt
from .escape import short
from .names import mode_name, place_name, status_name
from .svg import bar, draw, ink, styled
from .tables import Table, money, table

Values = list[dict[str, Any]]

_LABEL: Final = 44
"""Characters of a name that fit beside a chart."""
_MAX_FINDINGS: Final = 15
WIDE: Final = 620


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """title states the finding; table holds the numbers that were drawn."""

    title: str
    svg: str
    table: Table


def evidence_bar(coverage: pl.DataFrame) -> Chart | None:
    """Spend by evidence grade, or decisions when nothing is priced."""
    if coverage.is_empty():
        return None
    spend = float(coverage["spend_usd"].sum())
    what, column = ("spend", "spend_usd") if spend > 0 else ("decisions", "decisions")
    totals = dict(coverage.group_by("grade").agg(pl.col(column).sum()).iter_rows())
    whole = float(sum(totals.values()))
    if whole <= 0:
        return None
    shares = [(g, float(totals.get(g, 0.0)) / whole) for g in GRADES if totals.get(g, 0.0) > 0]
    known = sum(float(totals.get(g, 0.0)) for g in "ABC") / whole
    verb = "has" if what == "spend" else "have"
    title = f"{fmt.share(known)} of {what} {verb} an estimate (grades A to C)"
    rows = [(g, fmt.GRADE_MEANING[g], fmt.share(size), _amount(totals[g], what)) for g, size in shares]
    return Chart(
        title=title,
        svg=bar(shares, label=title),
        table=table("Evidence", f"@grade|meaning|#share of {what}|#{what}", rows),
    )


def _amount(value: float, what: str) -> str:
    return fmt.usd(value) if what == "spend" else fmt.count(value)


def forest(findings: Sequence[Finding]) -> Chart | None:
    """Dollars of every tested comparison with its interval, best first."""
    tested = [f for f in findings if f.usd is not None]
    if not tested:
        return None
    rows: Values = [
        {
            "order": i,
            "what": _label(i, f),
            "usd": f.usd,
            "lower": f.usd_lower,
            "upper": f.usd_upper,
            "found": f.status == "found" and f.counted,
        }
        for i, f in enumerate(tested[:_MAX_FINDINGS], start=1)
    ]
    y = alt.Y(
        "what:N",
        sort=alt.EncodingSortField(field="order"),
        title=None,
        axis=alt.Axis(grid=False, ticks=False),
    )
    base = alt.Chart(alt.InlineData(values=rows))
    tone = alt.condition("datum.found", alt.value(ink("accent")), alt.value(ink("pale")))
    layers = [
        alt.Chart(alt.InlineData(values=[{"v": 0}])).mark_rule(color=ink("muted")).encode(x="v:Q"),
        base.mark_rule(strokeWidth=2).encode(x="lower:Q", x2="upper:Q", y=y, color=tone),
        base.mark_circle(size=70, opacity=1).encode(
            x=alt.X("usd:Q", title="USD gained over the window of the logs", axis=alt.Axis(tickCount=5)),
            y=y,
            color=tone,
        ),
    ]
    counted = sum(f.status == "found" and f.counted for f in findings)
    title = f"{counted} of {len(tested)} tested comparisons gain dollars, interval above 0"
    figure = styled(alt.layer(*layers), width=WIDE - 240, height=26 * len(rows))
    cells = [(mode_name(f.mode), place_name(f), money(f), status_name(f)) for f in tested[:_MAX_FINDINGS]]
    return Chart(
        title=title,
        svg=draw(figure, label=title, name="forest"),
        table=table(title, "check|where|#USD|!status", cells),
    )


def _label(rank: int, f: Finding) -> str:
    """The rank keeps findings of one check in one slice apart."""
    return f"{rank}. {short(f'{mode_name(f.mode)} · {f.segment}', longest=_LABEL)}"
