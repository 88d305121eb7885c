"""How much of the log an estimate rests on: its effective sample size beside its number of decisions."""

from __future__ import annotations

from typing import Any, Final

import altair as alt
import polars as pl

from ..schemas.records import Estimates
from . import numbers as fmt
from .charts import WIDE, Chart
from .escape import short
from .svg import draw, ink, styled
from .tables import table

_MOST: Final = 15
_LABEL: Final = 44
_KEYS: Final = ("layer", "decision_point", "action", "baseline")


def sample_chart(est: Estimates) -> Chart | None:
    """Effective sample size of each contrast over all decisions beside its n; None where none is known."""
    whole = est.contrasts.filter(pl.col("segment") == "all", pl.col("ess").is_not_null(), pl.col("n") > 0)
    first = whole.unique(_KEYS, keep="first", maintain_order=True).head(_MOST)
    if first.is_empty():
        return None
    rows: list[dict[str, Any]] = [
        {
            "order": i,
            "what": short(f"{i}. {r['layer']} · {r['action']} vs {r['baseline']}", longest=_LABEL),
            "n": r["n"],
            "ess": r["ess"],
            "clusters": r["clusters"],
        }
        for i, r in enumerate(first.iter_rows(named=True), start=1)
    ]
    base = alt.Chart(alt.InlineData(values=rows))
    y = alt.Y(
        "what:N",
        sort=alt.EncodingSortField(field="order"),
        title=None,
        axis=alt.Axis(grid=False, ticks=False),
    )
    x = alt.X("n:Q", title="decisions; in colour their effective number", axis=alt.Axis(tickCount=5))
    layers = [
        base.mark_bar(size=14, color=ink("pale")).encode(x=x, y=y),
        base.mark_bar(size=14, color=ink("accent")).encode(x="ess:Q", y=y),
    ]
    shares = [r["ess"] / r["n"] for r in rows]
    low, high = fmt.share(min(shares)), fmt.share(max(shares))
    size = low if low == high else f"{low} to {high}"
    title = f"The estimates weigh as much as {size} of their decisions would, each with the same weight"
    cells = [
        (r["what"], fmt.count(r["n"]), fmt.count(r["clusters"]), fmt.count(r["ess"]), fmt.share(s))
        for r, s in zip(rows, shares, strict=True)
    ]
    figure = styled(alt.layer(*layers), width=WIDE - 240, height=26 * len(rows))
    return Chart(
        title=title,
        svg=draw(figure, label=title, name="samples"),
        table=table(title, "contrast|#n|#clusters|#ESS|#ESS / n", cells),
    )
