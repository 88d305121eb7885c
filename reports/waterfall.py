"""The waterfall of what is recoverable: findings, then what no check explains, up to the total."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import altair as alt

from ..schemas.records import Estimates
from . import numbers as fmt
from .charts import WIDE, Chart, Values
from .decomposition import Decomposition, Part
from .escape import short
from .names import mode_name
from .svg import draw, ink, styled
from .tables import Table, table

_LABEL: Final = 44
"""Characters of a name that fit beside a chart."""
_MAX_STEPS: Final = 8
_COLUMNS: Final = "part|layer|#USD|#at least|#at most|why there is none"


def waterfall(est: Estimates, split: Decomposition | None) -> Chart | None:
    """Each part on top of the one before, up to their sum; None where nothing has a value.

    It starts at 0 and not at the spend: net value holds quality too, so it can exceed what was spent.
    """
    if split is None or split.total.usd is None:
        return None
    found = [p for p in split.parts if p.part == "finding"]
    rests = [p for p in split.parts if p.part == "rest" and p.usd]
    steps = [(f"{i}. {_label(p)}", _usd(p), "finding") for i, p in enumerate(found[:_MAX_STEPS], start=1)]
    if more := found[_MAX_STEPS:]:
        steps.append((f"{len(more)} more findings", sum(_usd(p) for p in more), "finding"))
    steps += [(_label(p), _usd(p), "rest") for p in rests]
    title = _title(est, split)
    return Chart(title=title, svg=_drawn(_rows(steps), title), table=_table(title, split))


def parts_table(split: Decomposition) -> Table:
    """Every part with its bounds, the total last."""
    return _table("What is recoverable, part by part", split)


def _usd(part: Part) -> float:
    return part.usd or 0.0


def _label(p: Part) -> str:
    if p.part == "rest":
        why = "no check explains it" if _usd(p) >= 0 else "findings beyond its value"
        return short(f"{p.layer} · {p.decision_point}: {why}", longest=_LABEL)
    return short(f"{mode_name(p.mode)} · {p.segment}", longest=_LABEL)


def _title(est: Estimates, split: Decomposition) -> str:
    found = sum(_usd(p) for p in split.parts if p.part == "finding")
    rest, whole = _usd(split.total) - found, fmt.usd(split.total.usd)
    if not found:
        head = f"No check explains the {whole} of net value that policies learned from the log would gain"
    elif rest < 0:
        head = f"The findings add up to {fmt.usd(found)}, {fmt.usd(-rest)} beyond what learned policies gain"
    else:
        head = f"The findings and what no check explains add up to {whole} of net value"
    spend = float(est.coverage["spend_usd"].sum())
    return f"{head}; the priced spend was {fmt.usd(spend)}" if spend > 0 else head


def _rows(steps: Sequence[tuple[str, float, str]]) -> Values:
    rows: Values = []
    level = 0.0
    for what, gain, kind in steps:
        rows.append({"what": what, "from": level, "to": level + gain, "kind": kind})
        level += gain
    return [*rows, {"what": "net value", "from": 0.0, "to": level, "kind": "whole"}]


def _drawn(rows: Values, title: str) -> str:
    base = alt.Chart(alt.InlineData(values=rows))
    strong = alt.FieldOneOfPredicate(field="kind", oneOf=["finding"])
    bars = base.mark_bar(size=16).encode(
        x=alt.X("from:Q", title="USD over the window of the logs", axis=alt.Axis(tickCount=5)),
        x2="to:Q",
        y=alt.Y("what:N", sort=[r["what"] for r in rows], title=None, axis=alt.Axis(grid=False, ticks=False)),
        color=alt.condition(strong, alt.value(ink("accent")), alt.value(ink("pale"))),
    )
    figure = styled(alt.layer(bars), width=WIDE - 240, height=26 * len(rows))
    return draw(figure, label=title, name="waterfall")


def _table(title: str, split: Decomposition) -> Table:
    return table(title, _COLUMNS, [_cells(p) for p in (*split.parts, split.total)])


def _cells(p: Part) -> tuple[Any, ...]:
    name = "total" if p.part == "total" else _label(p)
    layer = "all" if p.part == "total" else f"{p.layer} · {p.decision_point}"
    return (name, layer, fmt.usd(p.usd), fmt.usd(p.lower), fmt.usd(p.upper), p.reason)
