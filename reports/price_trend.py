"""Break-even values over time: what V* was in each period of the log, and whether it moved beyond noise."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from statistics import median
from typing import Any, Final

import altair as alt
import polars as pl

from ..schemas.records import Estimates, Finding, Prices
from . import numbers as fmt
from .charts import WIDE, Chart
from .escape import short
from .svg import Drawing, draw, ink, styled
from .tables import Table, table

Row = dict[str, Any]
Key = tuple[str, str, str, str]

_MOST: Final = 4
"""Charts on the page; the table has every contrast."""
_REACH: Final = 1.5
"""Whiskers are drawn this many median intervals beyond the outermost values."""
_INDENT: Final = 0.1
"""Share of the width at which the name of a V is centred."""
_QUANTITIES: Final = ("break_even", "quality", "net")


def trend_charts(est: Estimates, prices: Prices, findings: Sequence[Finding]) -> tuple[Chart, ...]:
    """V* by period for the contrasts that moved, then those with a finding, then those with most spend."""
    by_key = _by_contrast(prices.trend)
    tests = _tests(est)
    moved = {key for key, about in tests.items() if _moved(about.get("break_even"))}
    drawable = [key for key, rows in by_key.items() if len(_known(rows)) > (0 if key in moved else 1)]
    found = {(f.layer, f.decision_point, f.action, f.baseline) for f in findings if f.status == "found"}
    spend = {(layer, point): usd for layer, point, usd in _spend(est).iter_rows()}
    ranked = sorted(drawable, key=lambda key: (key not in moved, key not in found, -spend.get(key[:2], 0.0)))
    return tuple(
        _chart(key, by_key[key], tests[key], _task_values(prices), name=f"trend{i}")
        for i, key in enumerate(ranked[:_MOST])
    )


def drift_table(est: Estimates, prices: Prices) -> Table:
    """Every contrast with what its periods say: V* at both ends, and which quantity moved beyond noise."""
    values = _by_contrast(prices.trend)
    rows = [
        (
            f"{key[2]} instead of {key[3]}",
            f"{key[0]} · {key[1]}",
            tests.get("break_even", {}).get("periods"),
            _ends(values.get(key, [])),
            *(_verdict(tests.get(quantity)) for quantity in _QUANTITIES),
            tests.get("break_even", {}).get("reason"),
        )
        for key, tests in _tests(est).items()
    ]
    heads = "contrast|where|#periods|#V* first to last|V*|ΔQ|net at V|why there is none"
    return table("Break-even values over time", heads, rows)


def _by_contrast(frame: pl.DataFrame) -> dict[Key, list[Row]]:
    held: dict[Key, list[Row]] = {}
    for row in frame.iter_rows(named=True):
        held.setdefault((row["layer"], row["decision_point"], row["action"], row["baseline"]), []).append(row)
    return held


def _tests(est: Estimates) -> dict[Key, dict[str, Row]]:
    return {key: {r["quantity"]: r for r in rows} for key, rows in _by_contrast(est.drift).items()}


def _spend(est: Estimates) -> pl.DataFrame:
    return est.coverage.group_by("layer", "decision_point").agg(pl.col("spend_usd").sum())


def _moved(test: Row | None) -> bool:
    return test is not None and test["p_adjusted"] is not None and test["p_adjusted"] <= 1.0 - test["level"]


def _verdict(test: Row | None) -> str | None:
    if test is None or test["p_adjusted"] is None:
        return None
    noise = "beyond noise" if _moved(test) else "within noise"
    return f"{noise}, p {fmt.probability(test['p_adjusted'])}"


def _ends(rows: list[Row]) -> str | None:
    return f"{fmt.usd(rows[0]['value'])} to {fmt.usd(rows[-1]['value'])}" if _known(rows) else None


def _known(rows: list[Row]) -> list[float]:
    return [r["value"] for r in rows if r["value"] is not None]


def _task_values(prices: Prices) -> tuple[float, ...]:
    """The task value that was set; the lowest and the highest where classes differ."""
    known = sorted({p.value for p in prices.named("task_value") if p.value is not None})
    return tuple(dict.fromkeys((*known[:1], *known[-1:])))


def _chart(
    key: Key, rows: list[Row], tests: dict[str, Row], set_values: tuple[float, ...], *, name: str
) -> Chart:
    title = _title(key, rows, tests)
    cells = [
        (
            r["period"],
            fmt.date_range(r["period_from"], r["period_to"]),
            fmt.usd(r["value"]) if r["value"] is not None else None,
            fmt.bracket(fmt.usd(r["lower"]), fmt.usd(r["upper"])) if r["value"] is not None else None,
            fmt.count(r["n"]),
            fmt.count(r["clusters"]),
            r["grade"],
            r["reason"],
        )
        for r in rows
    ]
    heads = "#period|days|#V* a task|#95 % interval|#n|#clusters|@grade|note"
    figure = styled(_layers(rows, set_values), width=WIDE - 180, height=200)
    return Chart(title=title, svg=draw(figure, label=title, name=name), table=table(title, heads, cells))


def _title(key: Key, rows: list[Row], tests: dict[str, Row]) -> str:
    """What V* did, and whether that is noise."""
    known, ends = _known(rows), (rows[0]["value"], rows[-1]["value"])
    what = short(f"V* of {key[2]} instead of {key[3]} at {key[1]}", longest=120)
    if None in ends or {*ends} == {min(known), max(known)}:
        first, last = ("no finite value" if v is None else fmt.usd(v) for v in ends)
        told = f"{what} went from {first} to {last}" + ("" if ends[1] is None else " a task")
    else:
        told = f"{what} lay between {fmt.usd(min(known))} and {fmt.usd(max(known))} a task"
    test = tests.get("break_even")
    if test is None or test["p_adjusted"] is None:
        return f"{told}: not tested"
    if _moved(test):
        return f"{told}: beyond noise"
    return f"{told}: within noise" + ("; its net value at V moved" if _moved(tests.get("net")) else "")


def _layers(rows: list[Row], set_values: tuple[float, ...]) -> Drawing:
    """A cross per period, as wide as the period and as high as the interval; a V as a dashed line."""
    known = [r for r in rows if r["value"] is not None]
    low, high = _range(known, set_values)
    span = [_when(rows[0])[0], _when(rows[-1])[-1]]
    x = alt.X(
        "at:T",
        title=None,
        scale=alt.Scale(type="utc", domain=span),
        axis=alt.Axis(format="%-d %b", tickCount=5),
    )
    y = alt.Y("y:Q", title="V*, USD a task", scale=alt.Scale(domain=[low, high]), axis=alt.Axis(tickCount=5))
    marks = alt.Chart(alt.InlineData(values=[_mark(r, low, high) for r in known]))
    words = alt.Chart(alt.InlineData(values=_words(rows, set_values, low, high)))
    lines = alt.Chart(alt.InlineData(values=[{"y": v} for v in set_values if low <= v <= high]))
    ends = marks.mark_text(fontSize=11, color=ink("accent"))
    layers = [
        lines.mark_rule(color=ink("ink"), strokeDash=[4, 3], strokeWidth=1.2).encode(y=y),
        marks.mark_line(strokeWidth=1, color=ink("pale")).encode(x=x, y=y),
        marks.mark_rule(strokeWidth=2, color=ink("accent")).encode(x=x, y="lower:Q", y2="upper:Q"),
        marks.mark_rule(strokeWidth=2, color=ink("accent")).encode(x="start:T", x2="end:T", y=y),
        marks.mark_circle(size=70, opacity=1, color=ink("accent")).encode(x=x, y=y),
        ends.encode(x=x, y="upper:Q", text="over:N"),
        ends.encode(x=x, y="lower:Q", text="under:N"),
        words.mark_text(fontSize=10, dy=-6, color=ink("muted")).encode(x=x, y="y:Q", text="word:N"),
    ]
    return alt.layer(*layers)


def _range(known: list[Row], set_values: tuple[float, ...]) -> tuple[float, float]:
    """What is drawn: all values, whiskers as far as they tell something, and each V that lies near."""
    values = [r["value"] for r in known]
    reach = _REACH * median(r["upper"] - r["lower"] for r in known)
    low = max(min(r["lower"] for r in known), min(values) - reach)
    high = min(max(r["upper"] for r in known), max(values) + reach)
    size = max(high - low, 1e-9)
    near = [v for v in set_values if low - size <= v <= high + size]
    return min([low, *near]) - 0.06 * size, max([high, *near]) + 0.06 * size


def _mark(row: Row, low: float, high: float) -> Row:
    """One period; an end beyond what is drawn becomes an arrow."""
    start, middle, end = _when(row)
    return {
        "start": start,
        "at": middle,
        "end": end,
        "y": row["value"],
        "lower": max(row["lower"], low),
        "upper": min(row["upper"], high),
        "over": "▲" if row["upper"] > high else "",
        "under": "▼" if row["lower"] < low else "",
    }


def _words(rows: list[Row], set_values: tuple[float, ...], low: float, high: float) -> list[Row]:
    """Where each V lies, and which periods have no V*."""
    first, last = _when(rows[0])[0], _when(rows[-1])[-1]
    left = first + _INDENT * (last - first)
    found = [{"at": _when(r)[1], "y": low, "word": "no V*"} for r in rows if r["value"] is None]
    for v in set_values:
        where = "" if low <= v <= high else " lies above" if v > high else " lies below"
        found.append({"at": left, "y": min(max(v, low), high), "word": f"V = {fmt.usd(v)}{where}"})
    return found


def _when(row: Row) -> tuple[float, float, float]:
    """Start, middle and end of a period in milliseconds; a time without a zone is taken to be UTC."""
    ends = [datetime.fromisoformat(row[name]) for name in ("period_from", "period_to")]
    start, end = (1000.0 * (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() for at in ends)
    return start, (start + end) / 2.0, end
