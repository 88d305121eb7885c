"""What could overturn a finding, drawn: hidden causes, placebo effects, and predictions that must hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import altair as alt
import polars as pl

from ..estimators.scrutiny import Key, Scrutiny
from ..schemas.records import Finding
from . import numbers as fmt
from .charts import Chart
from .escape import short
from .svg import draw, ink, styled
from .tables import table
from .view import RunView

_NOT_ASKED: Final = (
    "Placebo effects, calibration and sensitivity to a hidden cause were not computed for this report: "
    "'shadowprice report RUN --scrutiny' adds them"
)
_WIDE: Final = 250
_MOST_FEATURES: Final = 12
_SHOWN: Final = 2.0
"""Odds ratio up to which the bounds are drawn; the table has all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scrutinised:
    """The charts that were made for a contrast, and in words what else was tested or why it was not."""

    charts: tuple[Chart, ...] = ()
    notes: tuple[str, ...] = (_NOT_ASKED,)


def scrutinised(view: RunView, shown: Sequence[Finding], number: int) -> Scrutinised:
    """What could overturn the contrast behind the finding `number` of `shown`, counted from 1.

    The tests are over all decisions of the contrast and not the slice alone, so the first finding that rests
    on it has the charts and the others name that finding.
    """
    finding = shown[number - 1]
    found = view.scrutinies.get(_contrast(finding))
    if found is None:
        return Scrutinised()
    first = next(i for i, f in enumerate(shown, start=1) if _contrast(f) == _contrast(finding))
    if first < number:
        return Scrutinised(notes=(f"Tested with finding {first}, which rests on the same contrast",))
    name = f"scrutiny{number}"
    if found.reason is not None:
        return Scrutinised(notes=(f"Placebo, calibration and sensitivity are not known: {found.reason}",))
    drawn = (
        _sensitivity(found, name=f"{name}-hidden"),
        _placebos(found, name=f"{name}-placebo"),
        _calibration(found, name=f"{name}-calibration"),
    )
    charts = tuple(c for c in drawn if isinstance(c, Chart))
    reasons = tuple(c for c in drawn if isinstance(c, str))
    return Scrutinised(charts=charts, notes=(*reasons, _anchor(found)))


def _contrast(finding: Finding) -> Key:
    return finding.layer, finding.decision_point, str(finding.action), str(finding.baseline)


def _sensitivity(found: Scrutiny, *, name: str) -> Chart | str:
    quantity = "net" if "net" in found.summary["quantity"] else "quality"
    mine = pl.col("quantity") == quantity
    summary = found.summary.filter(mine).to_dicts()
    bounds = found.bounds.filter(mine & pl.col("lower_ci").is_not_null())
    if not summary or bounds.is_empty():
        reason = summary[0]["reason"] if summary else None
        return f"Sensitivity to a hidden cause is not known: {reason or 'nothing is identified'}"
    row = summary[0]
    star = row["lambda_star"]
    holds = f"until its odds ratio is {star:.2f}" if star is not None else str(row["reason"])
    beside = (
        f"; the strongest logged feature, {short(row['strongest_feature'], longest=44)}, "
        f"has {row['strongest_lambda']:.2f}"
        if row["strongest_feature"]
        else ""
    )
    threat = "wrong log" if row["reading"] == "log integrity" else "hidden cause"
    title = f"Against a {threat} the sign holds {holds}{beside}"
    shown = bounds.filter(pl.col("strength") <= _SHOWN).to_dicts()
    base = alt.Chart(alt.InlineData(values=shown))
    x = alt.X("strength:Q", title="odds ratio of the hidden cause", scale=alt.Scale(zero=False))
    unit = "USD a decision" if quantity == "net" else "quality"
    layers = [
        base.mark_area(color=ink("pale"), opacity=0.6).encode(
            x=x, y=alt.Y("lower_ci:Q", title=f"effect, {unit}"), y2="upper_ci:Q"
        ),
        base.mark_area(color=ink("accent"), opacity=0.7).encode(x=x, y="lower:Q", y2="upper:Q"),
        alt.Chart(alt.InlineData(values=[{"v": 0}])).mark_rule(color=ink("ink")).encode(y="v:Q"),
    ]
    cells = [
        (
            f"{r['strength']:g}",
            fmt.bracket(*(fmt.quantity(quantity, r[e]) for e in ("lower", "upper"))),
            fmt.bracket(*(fmt.quantity(quantity, r[e]) for e in ("lower_ci", "upper_ci"))),
        )
        for r in bounds.iter_rows(named=True)
    ]
    return _chart(
        title, layers, name, table(title, "#odds ratio|#effects allowed|#with sampling error", cells)
    )


def _placebos(found: Scrutiny, *, name: str) -> Chart | str:
    known = found.placebos.filter(pl.col("value").is_not_null())
    if known.is_empty():
        reasons = found.placebos["reason"].drop_nulls()
        return f"No placebo effect: {reasons[0] if len(reasons) else 'no numeric feature is logged'}"
    rows: list[dict[str, Any]] = [
        {**row, "feature": short(row["feature"], longest=30)}
        for row in known.head(_MOST_FEATURES).iter_rows(named=True)
    ]
    off = sum(row["lower"] > 0 or row["upper"] < 0 for row in rows)
    title = (
        f"{off} of {len(rows)} features that were known before the choice show an 'effect'; each should be 0"
    )
    base = alt.Chart(alt.InlineData(values=rows))
    y = alt.Y("feature:N", title=None, axis=alt.Axis(grid=False, ticks=False))
    layers = [
        alt.Chart(alt.InlineData(values=[{"v": 0}])).mark_rule(color=ink("ink")).encode(x="v:Q"),
        base.mark_rule(strokeWidth=2, color=ink("accent")).encode(x="lower:Q", x2="upper:Q", y=y),
        base.mark_circle(size=55, opacity=1, color=ink("accent")).encode(
            x=alt.X("value:Q", title="standard deviations of the feature"), y=y
        ),
    ]
    cells = [(r["feature"], f"{r['value']:+.3f}", f"[{r['lower']:+.3f}, {r['upper']:+.3f}]") for r in rows]
    return _chart(
        title, layers, name, table(title, "feature|#effect|#interval", cells), height=max(60, 24 * len(rows))
    )


def _calibration(found: Scrutiny, *, name: str) -> Chart | str:
    rows = found.calibration.to_dicts()
    if not rows or rows[0]["gates_effect"] is None:
        why = rows[0]["reason"] if rows else "effects per decision were not predicted"
        slope = _slope(rows[0]) if rows and rows[0]["slope"] is not None else ""
        return f"No reliability plot: {why}{slope}"
    row = rows[0]
    ends = ("gates_predicted", "gates_effect", "gates_lower", "gates_upper")
    shown: list[dict[str, Any]] = [
        dict(zip(("predicted", "effect", "lower", "upper"), point, strict=True))
        for point in zip(*(row[e] for e in ends), strict=True)
    ]
    low = min(min(p["predicted"], p["lower"]) for p in shown)
    high = max(max(p["predicted"], p["upper"]) for p in shown)
    title = f"Predicted effects against those of decisions they were not learned from{_slope(row)}"
    unit = "USD a decision" if row["quantity"] == "net" else "quality"
    base = alt.Chart(alt.InlineData(values=shown))
    x = alt.X("predicted:Q", title=f"predicted, {unit}")
    line = alt.Chart(alt.InlineData(values=[{"predicted": v, "effect": v} for v in (low, high)]))
    layers = [
        line.mark_line(color=ink("ink"), strokeDash=[4, 3], strokeWidth=1.2).encode(x=x, y="effect:Q"),
        base.mark_rule(strokeWidth=2, color=ink("muted")).encode(x=x, y="lower:Q", y2="upper:Q"),
        base.mark_circle(size=55, opacity=1, color=ink("accent")).encode(
            x=x, y=alt.Y("effect:Q", title=f"found, {unit}")
        ),
    ]
    quantity = row["quantity"]
    cells = [
        (
            fmt.quantity(quantity, p["predicted"]),
            " ".join(
                (
                    fmt.quantity(quantity, p["effect"]),
                    fmt.quantity_interval(quantity, p["lower"], p["upper"]),
                )
            ),
        )
        for p in shown
    ]
    return _chart(title, layers, name, table(title, "#predicted|#found", cells))


def _slope(row: dict[str, Any]) -> str:
    return f"; slope {row['slope']:.2f} [{row['slope_lower']:.2f}, {row['slope_upper']:.2f}], 1 if they hold"


def _anchor(found: Scrutiny) -> str:
    anchor = found.anchor
    if anchor.get("agrees") is None:
        return f"Not compared with an exploration slice: {anchor.get('reason')}"
    verdict = "agree with" if anchor["agrees"] else "differ from"
    p = fmt.probability(float(str(anchor["p"])))
    return f"Unrandomised decisions {verdict} the exploration slice, p {p}"


def _chart(title: str, layers: list[Any], name: str, cells: Any, *, height: int = 150) -> Chart:
    figure = styled(alt.layer(*layers), width=_WIDE, height=height)
    return Chart(title=title, svg=draw(figure, label=title, name=name), table=cells)
