"""The slice charts of the report: quality against cost with the V line, and the overlap behind a contrast."""

from __future__ import annotations

from typing import Any, Final

import altair as alt
import polars as pl

from ..schemas.records import Estimates, Finding, Prices
from . import numbers as fmt
from .charts import Chart
from .escape import short
from .svg import draw, ink, styled
from .tables import table

Values = list[dict[str, Any]]

_LABEL: Final = 44
"""Characters of a name that fit beside a chart."""
_MAX_SLICES: Final = 30
_SMALL: Final = 250
_BIN: Final = 0.05
"""Width of the propensity bins that the estimators count."""
_ENDS: Final = ("value", "lower", "upper")


def planes(est: Estimates, prices: Prices) -> list[Chart]:
    """Quality against cost per slice, one drawing per decision point, with the line where V pays."""
    values = {p.segment: p.value for p in prices.named("task_value") if p.value}
    by_class = len(values) > ("all" in values)
    charts: list[Chart] = []
    for i, (point, rows) in enumerate(_by_point(_quality_and_cost(est)).items()):
        for row in rows:
            fallback = None if by_class and row["segment"] == "all" else values.get("all")
            row["task_value"] = values.get(row["segment"], fallback)
        charts.append(_plane(point, rows[:_MAX_SLICES], name=f"plane{i}"))
    return charts


def _quality_and_cost(est: Estimates) -> Values:
    keys = ["layer", "decision_point", "segment", "action", "baseline"]
    headline = est.contrasts.filter((pl.col("estimand") == "ATO") & pl.col("value").is_not_null())
    sides = [
        headline.filter(pl.col("quantity") == q).select(
            *keys, "n", "grade", pl.col(*_ENDS).name.suffix(f"_{q}")
        )
        for q in ("quality", "cost")
    ]
    return sides[0].join(sides[1].drop("n", "grade"), on=keys, how="inner", maintain_order="left").to_dicts()


def _by_point(rows: Values) -> dict[str, Values]:
    points: dict[str, Values] = {}
    for row in rows:
        points.setdefault(short(f"{row['layer']} · {row['decision_point']}", longest=_LABEL), []).append(row)
    return points


def _plane(point: str, rows: Values, *, name: str) -> Chart:
    shown: Values = [
        {
            "what": short(f"{r['action']} vs {r['baseline']}, {r['segment']}", longest=2 * _LABEL),
            "task_value": r["task_value"],
            **{e: r[f"{e}_cost"] for e in _ENDS},
            **{f"q_{e}": 100 * r[f"{e}_quality"] for e in ("value", "lower", "upper")},
        }
        for r in rows
    ]
    dots = alt.InlineData(values=shown)
    x = alt.X("value:Q", title="ΔC, USD a decision", axis=alt.Axis(tickCount=4))
    y = alt.Y("q_value:Q", title="ΔQ, points", axis=alt.Axis(tickCount=5))
    base = alt.Chart(dots)
    layers = [
        alt.Chart(alt.InlineData(values=[{"v": 0}])).mark_rule(color=ink("line")).encode(x="v:Q"),
        alt.Chart(alt.InlineData(values=[{"v": 0}])).mark_rule(color=ink("line")).encode(y="v:Q"),
        base.mark_rule(color=ink("muted")).encode(x="lower:Q", x2="upper:Q", y="q_value:Q"),
        base.mark_rule(color=ink("muted")).encode(x="value:Q", y="q_lower:Q", y2="q_upper:Q"),
        base.mark_circle(size=55, color=ink("accent"), opacity=1).encode(x=x, y=y),
    ]
    worth = sorted({d["task_value"] for d in shown if d["task_value"]})
    for value in dict.fromkeys((*worth[:1], *worth[-1:])):
        layers[2:2] = _value_line(shown, value, labelled=len(worth) > 1)
    title = f"{point}: {_plane_finding(shown)}"
    figure = styled(alt.layer(*layers), width=_SMALL, height=190)
    cells = [
        (
            d["what"],
            _cell("quality", *(d[f"q_{e}"] / 100 for e in _ENDS)),
            _cell("cost", *(d[e] for e in _ENDS)),
        )
        for d in shown
    ]
    return Chart(
        title=title, svg=draw(figure, label=title, name=name), table=table(title, "slice|#ΔQ|#ΔC", cells)
    )


def _cell(quantity: str, value: float, lower: float, upper: float) -> str:
    return f"{fmt.quantity(quantity, value)} {fmt.quantity_interval(quantity, lower, upper)}"


def _value_line(shown: Values, value: float, *, labelled: bool) -> list[alt.Chart]:
    """Points where V ΔQ = ΔC, over the range of the dots; above it an action is worth its cost."""
    costs = [d[e] for d in shown for e in ("lower", "upper")]
    quality = [d[f"q_{e}"] for d in shown for e in ("lower", "upper")]
    low = max(min([*costs, 0.0]), min([*quality, 0.0]) * value / 100)
    high = min(max([*costs, 0.0]), max([*quality, 0.0]) * value / 100)
    ends = [{"c": c, "q": 100 * c / value, "label": f"V {value:g}"} for c in (low, high)]
    base = alt.Chart(alt.InlineData(values=ends))
    line = base.mark_line(color=ink("ink"), strokeDash=[4, 3], strokeWidth=1.2).encode(x="c:Q", y="q:Q")
    if not labelled:
        return [line]
    far = ends[1] if high > -low else ends[0]
    text = alt.Chart(alt.InlineData(values=[far])).mark_text(color=ink("muted"), fontSize=10, dy=-5)
    return [line, text.encode(x="c:Q", y="q:Q", text="label:N")]


def _plane_finding(shown: Values) -> str:
    valued = [d for d in shown if d["task_value"]]
    if not valued:
        return "quality and cost of each slice; no V line, because V is not set"
    below = sum(d["task_value"] * d["q_upper"] / 100 < d["lower"] for d in valued)
    above = sum(d["task_value"] * d["q_lower"] / 100 > d["upper"] for d in valued)
    slices = "slice" if len(valued) == 1 else "slices"
    which = f"of {len(valued)} {slices} with a V"
    return f"{which}, {above} lie above V ΔQ = ΔC and {below} below, whiskers included"


def overlap(
    est: Estimates, *, layer: str, decision_point: str, action: str, baseline: str, name: str
) -> Chart | None:
    """Propensity of the action among decisions that took each of the two arms."""
    rows = est.overlap.filter(
        layer=layer, decision_point=decision_point, action=action, baseline=baseline
    ).sort("arm", "bin_left")
    if rows.is_empty() or rows["count"].sum() == 0:
        return None
    sides = {action: 1, baseline: -1}
    shown: Values = [
        {
            "left": r["bin_left"],
            "right": r["bin_left"] + _BIN,
            "count": sides[r["arm"]] * r["count"],
            "up": sides[r["arm"]] > 0,
        }
        for r in rows.iter_rows(named=True)
        if r["count"] and r["arm"] in sides
    ]
    top = max(abs(r["count"]) for r in shown)
    tone = alt.condition("datum.up", alt.value(ink("accent")), alt.value(ink("pale")))
    bars = (
        alt.Chart(alt.InlineData(values=[{**r, "zero": 0} for r in shown]))
        .mark_rect()
        .encode(
            x=alt.X(
                "left:Q",
                title="probability of the action",
                scale=alt.Scale(domain=[0, 1]),
                axis=alt.Axis(grid=False, tickCount=5),
            ),
            x2="right:Q",
            y=alt.Y(
                "zero:Q",
                title="decisions",
                scale=alt.Scale(domain=[-top, top]),
                axis=alt.Axis(tickCount=4, format="s", labelExpr="format(abs(datum.value), '~s')"),
            ),
            y2="count:Q",
            color=tone,
        )
    )
    names = [short(arm, longest=_LABEL) for arm in (action, baseline)]
    both = f"{names[0]} (up) and {names[1]} (down)"
    title = f"{_shared(rows, action)} of decisions lie where both {both} were taken"
    cells = [
        (f"{r['left']:.2f} to {r['right']:.2f}", names[0 if r["up"] else 1], fmt.count(abs(r["count"])))
        for r in shown
    ]
    return Chart(
        title=title,
        svg=draw(styled(alt.layer(bars), width=_SMALL, height=120), label=title, name=name),
        table=table(title, "probability|arm|#decisions", cells),
    )


def _shared(rows: pl.DataFrame, action: str) -> str:
    """Share of decisions in propensity bins that hold both arms."""
    wide = rows.group_by("bin_left").agg(
        up=pl.col("count").filter(pl.col("arm") == action).sum(),
        down=pl.col("count").filter(pl.col("arm") != action).sum(),
    )
    both = wide.filter((pl.col("up") > 0) & (pl.col("down") > 0))
    return fmt.share(float((both["up"] + both["down"]).sum()) / float(rows["count"].sum()))


def finding_overlap(est: Estimates, finding: Finding, *, name: str) -> Chart | None:
    """The overlap behind a finding."""
    return overlap(
        est,
        layer=finding.layer,
        decision_point=finding.decision_point,
        action=str(finding.action),
        baseline=str(finding.baseline),
        name=name,
    )
