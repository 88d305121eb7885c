"""The price charts of the report: one price seen from every layer, and what each cap would bring."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import altair as alt
import polars as pl

from ..schemas.records import Price, Prices
from . import numbers as fmt
from .charts import WIDE, Chart
from .escape import short
from .svg import draw, ink, styled
from .tables import table

_SEEN: Final = {
    "A second": ("latency_price", "implied_latency_price", "revealed_latency_price"),
    "An incident": ("risk_price", "revealed_risk_price", "accounting_risk_price"),
    "A solved task": ("task_value", "realised_task_value", "revealed_task_value"),
    "The last dollar": ("implied_cost_price",),
}
"""What is priced -> the prices of it, in the order in which they are drawn. The implied price of risk is not
among them: it is a load on top of the loss."""
_ORIGIN: Final = {
    "user": "set",
    "implied": "implied",
    "revealed": "revealed",
    "fitted": "from logs",
}
_MOST: Final = 12
_QUANTITIES: Final = {"cost": "mean cost", "latency": "mean latency", "risk": "mean risk"}
_DASHES: Final = {"mean cost": [1, 0], "mean latency": [6, 3], "mean risk": [2, 2]}


def price_strips(prices: Prices) -> tuple[Chart, ...]:
    """Per thing that is priced, every price of it with its interval: where layers disagree, one is wrong."""
    drawn = [_strip(prices, what, names, i) for i, (what, names) in enumerate(_SEEN.items())]
    return tuple(c for c in drawn if c is not None)


def value_chart(curve: pl.DataFrame) -> Chart | None:
    """What the best use of each cap would gain per decision, as the cap moves; None where nothing binds.

    A cap that is slack all along has no line, only its rows in the table.
    """
    drawn = curve.drop_nulls("gain_usd")
    rows: list[dict[str, Any]] = [
        {"share": row["share"], "gain": row["gain_usd"], "what": _QUANTITIES[row["quantity"]]}
        for row in drawn.filter((pl.col("multiplier") > 0).any().over("quantity")).iter_rows(named=True)
    ]
    if not rows:
        return None
    base = alt.Chart(alt.InlineData(values=rows))
    dash = alt.Scale(domain=list(_DASHES), range=list(_DASHES.values()))
    lines = base.mark_line(strokeWidth=2, color=ink("accent")).encode(
        x=alt.X("share:Q", title="cap, as a share of today's", axis=alt.Axis(format="%", tickCount=5)),
        y=alt.Y("gain:Q", title="USD a decision, against today", scale=alt.Scale(zero=False)),
        strokeDash=alt.StrokeDash("what:N", scale=dash, legend=None),
    )
    ends = (
        alt.Chart(alt.InlineData(values=[r for r in rows if r["share"] == max(x["share"] for x in rows)]))
        .mark_text(align="left", dx=5, fontSize=11, color=ink("muted"))
        .encode(x="share:Q", y="gain:Q", text="what:N")
    )
    title = _swing(rows)
    cells = [
        (
            _QUANTITIES[row["quantity"]],
            fmt.share(row["share"]),
            f"{row['cap']:.4g}",
            fmt.usd(row["gain_usd"]),
            f"{row['multiplier']:.4g}" if row["multiplier"] is not None else None,
            row["reason"],
        )
        for row in curve.iter_rows(named=True)
    ]
    return Chart(
        title=title,
        svg=draw(styled(alt.layer(lines, ends), width=WIDE - 240, height=180), label=title, name="curve"),
        table=table(title, "cap|#share|#level|#USD a decision|#multiplier|note", cells),
    )


def _swing(rows: list[dict[str, Any]]) -> str:
    """What a tenth more and a tenth less of the first cap that binds would do."""
    first = rows[0]["what"]
    at = {round(r["share"], 2): r["gain"] for r in rows if r["what"] == first}
    more, less = at.get(1.1), at.get(0.9)
    parts = [f"10 % more {first} would bring {fmt.usd(more)} a decision"] if more is not None else []
    parts += [f"10 % less would lose {fmt.usd(-less)}"] if less is not None else []
    return ", ".join(parts) or f"What moving {first} would bring"


def _strip(prices: Prices, what: str, names: tuple[str, ...], number: int) -> Chart | None:
    """One price from every layer; None where fewer than two are known."""
    known = [p for n in names for p in prices.named(n) if p.value is not None and p.segment == "all"]
    if len(known) < 2 or all(p.source == "user" for p in known):
        return None
    shown = known[:_MOST]
    others = [_apart(p, shown) for p in shown]
    rows = [{**_row(i, p), "mark": "≠" if others[i - 1] else ""} for i, p in enumerate(shown, start=1)]
    base = alt.Chart(alt.InlineData(values=rows))
    y = alt.Y(
        "where:N",
        sort=alt.EncodingSortField(field="order"),
        title=None,
        axis=alt.Axis(grid=False, ticks=False),
    )
    tone = alt.condition("datum.origin == 'set'", alt.value(ink("ink")), alt.value(ink("accent")))
    layers = [
        base.mark_rule(strokeWidth=2).encode(x="lower:Q", x2="upper:Q", y=y, color=tone),
        base.mark_circle(size=70, opacity=1).encode(
            x=alt.X("value:Q", title=known[0].unit, axis=alt.Axis(tickCount=5)), y=y, color=tone
        ),
        base.mark_text(align="left", dx=8, fontSize=13, fontWeight=600, color=ink("ink")).encode(
            x="upper:Q", y=y, text="mark:N"
        ),
    ]
    values = [float(p.value or 0.0) for p in known]
    unit = known[0].unit.split("/")[0]
    far = sum(bool(o) for o in others)
    noise = f"{far} of {len(shown)} disagree beyond noise" if far else "no two disagree beyond noise"
    title = (
        f"{what} is worth {min(values):.3g} to {max(values):.3g} {unit}, depending on who is asked; {noise}"
    )
    cells = [
        (
            r["where"],
            f"{p.value:.4g}",
            fmt.bracket(f"{p.lower:.4g}", f"{p.upper:.4g}")
            if p.lower is not None and p.upper is not None
            else None,
            p.unit,
            p.grade or fmt.ABSENT,
            ", ".join(str(n) for n in apart),
            p.reason or p.method,
        )
        for r, p, apart in zip(rows, shown, others, strict=True)
    ]
    figure = styled(alt.layer(*layers), width=WIDE - 240, height=26 * len(rows))
    return Chart(
        title=title,
        svg=draw(figure, label=title, name=f"price{number}"),
        table=table(title, "where|#value|#interval|unit|@grade|apart from|note", cells),
    )


def _apart(price: Price, others: Sequence[Price]) -> list[int]:
    """Numbers, from 1, of the prices whose interval has no point in common with that of `price`.

    A price that was set is a point. One of which an end is not known is never called apart.
    """
    mine = _ends(price)
    theirs = [_ends(other) for other in others]
    return [
        i
        for i, ends in enumerate(theirs, start=1)
        if mine is not None and ends is not None and (mine[0] > ends[1] or mine[1] < ends[0])
    ]


def _ends(price: Price) -> tuple[float, float] | None:
    if price.source == "user" and price.value is not None:
        return price.value, price.value
    return None if price.lower is None or price.upper is None else (price.lower, price.upper)


def _row(order: int, p: Price) -> dict[str, Any]:
    origin = _ORIGIN.get(p.source, p.source)
    place = f"{p.layer}.{p.decision_point}" if p.layer else ("all points" if p.source != "user" else "")
    return {
        "order": order,
        "where": short(f"{order}. {' · '.join(x for x in (place, origin) if x)}", longest=44),
        "origin": origin,
        "value": p.value,
        "lower": p.value if p.lower is None else p.lower,
        "upper": p.value if p.upper is None else p.upper,
    }
