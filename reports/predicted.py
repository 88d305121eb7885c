"""The paper's three predictions in the report: verdicts in a table, and the curves that they rest on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import altair as alt

from ..schemas.records import Prediction, Reading
from . import numbers as fmt
from .charts import WIDE, Chart
from .escape import short
from .svg import draw, ink, styled
from .tables import Table, table

TITLE: Final = "The paper's three predictions"
_QUANTITY: Final = {"USD": "net", "incidents": "risk", "s": "latency", "quality": "quality"}
"""Unit of a prediction -> the quantity whose number format it has."""
_SCALE: Final = {"incidents": 1000.0}
"""Units that are drawn per thousand."""
_AXES: Final = {
    ("verifier", "incidents"): "change in incidents per 1,000 tasks by one more verification",
    ("verifier", "USD"): "change in USD of loss a task by one more verification",
    ("router", "USD"): "USD of regret a request, by what it is worth",
}
_LABEL: Final = 28


def predictions_table(predictions: Sequence[Prediction]) -> Table:
    """Every verdict with its numbers and its reason; below each, what else was tested."""
    rows: list[tuple[str | None, ...]] = []
    for p in predictions:
        size = f"{fmt.count(p.n)}, {fmt.count(p.clusters)}" if p.clusters else fmt.count(p.n)
        verdict, why = p.verdict.replace("_", " "), _sentence(p.reason)
        tests = (fmt.probability(p.p_value), fmt.probability(p.placebo_p))
        rows.append((p.statement, verdict, _amount(p), *tests, size if p.n else None, p.grade, why))
        rows += [
            (
                f"also: {r.label}",
                None,
                _amount(r),
                fmt.probability(r.p_value),
                None,
                fmt.count(r.n),
                None,
                None,
            )
            for r in p.further
        ]
    return table(TITLE, "prediction|!verdict|#effect|#p|#placebo p|#n, clusters|@grade|why", rows)


def prediction_lines(predictions: Sequence[Prediction]) -> list[str]:
    """One line per verdict, for a terminal."""
    return [f"{p.statement} {p.verdict.replace('_', ' ')}: {p.reason}" for p in predictions]


def prediction_charts(predictions: Sequence[Prediction]) -> tuple[Chart, ...]:
    """The curve of every prediction that has one."""
    return tuple(c for p in predictions if (c := _chart(p)) is not None)


def _sentence(reason: str) -> str:
    return reason[:1].upper() + reason[1:]


def _amount(told: Prediction | Reading) -> str | None:
    """Value, interval and what it is per."""
    value = told.effect if isinstance(told, Prediction) else told.value
    if value is None or told.unit is None:
        return None
    unit, _, per = told.unit.partition(" per ")
    kind = _QUANTITY[unit]
    ends = fmt.quantity_interval(kind, told.lower, told.upper)
    return f"{fmt.quantity(kind, value)} {ends}" + (f" per {per}" if per else "")


def _chart(p: Prediction) -> Chart | None:
    drawn = [r for r in p.curve if r.value is not None]
    if not drawn:
        return None
    unit = drawn[0].unit
    scale = _SCALE.get(unit, 1.0)
    rows: list[dict[str, Any]] = [
        {
            "order": i,
            "what": short(r.label, longest=_LABEL),
            "value": scale * (r.value or 0.0),
            "lower": scale * ((r.value if r.lower is None else r.lower) or 0.0),
            "upper": scale * ((r.value if r.upper is None else r.upper) or 0.0),
        }
        for i, r in enumerate(drawn)
    ]
    y = alt.Y(
        "what:N",
        sort=alt.EncodingSortField(field="order"),
        title=None,
        axis=alt.Axis(grid=False, ticks=False),
    )
    base = alt.Chart(alt.InlineData(values=rows))
    layers = [
        alt.Chart(alt.InlineData(values=[{"v": 0}])).mark_rule(color=ink("muted")).encode(x="v:Q"),
        base.mark_rule(strokeWidth=2, color=ink("accent")).encode(x="lower:Q", x2="upper:Q", y=y),
        base.mark_circle(size=70, opacity=1, color=ink("accent")).encode(
            x=alt.X("value:Q", title=_AXES[p.name, unit], axis=alt.Axis(tickCount=5)), y=y
        ),
    ]
    title = _title(p, drawn)
    figure = styled(alt.layer(*layers), width=WIDE - 240, height=26 * len(rows))
    cells = [(r.label, _amount(r), fmt.count(r.n)) for r in p.curve]
    return Chart(
        title=title,
        svg=draw(figure, label=title, name=f"prediction-{p.name}"),
        table=table(title, "at|#value|#n", cells),
    )


def _title(p: Prediction, drawn: list[Reading]) -> str:
    """What the curve shows, in a sentence."""
    first, last = drawn[0], drawn[-1]
    if p.name == "router":
        ends = (fmt.usd(first.value), fmt.usd(last.value))
        return f"Regret is {ends[0]} a request worth {first.label}, and {ends[1]} at {last.label}"
    falls = sum(r.upper is not None and r.upper < 0 for r in drawn)
    return f"Risk falls, interval below 0, at {falls} of {len(drawn)} further verifications"
