"""The tornado: what the counted changes would recover at half and at twice each price that was set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import altair as alt
import polars as pl

from ..estimators.gains import Total, total_gain
from ..schemas.records import Estimates, Finding, Prices
from . import numbers as fmt
from .charts import WIDE, Chart
from .headline import counted_gains, recoverable
from .svg import draw, ink, styled
from .tables import table

_TERM: Final = {
    "task_value": ("V", "quality_usd"),
    "latency_price": ("λ", "latency_usd"),
    "risk_price": ("ρ", "risk_usd"),
}
"""Price -> its symbol and the column of Estimates.gains that is proportional to it."""
_WAITED: Final = ("serving", "admit")
"""Where savings are seconds of others' waiting, so proportional to λ; others hold none of these prices."""
FACTORS: Final = (0.5, 2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Swing:
    """What the counted changes recover with one price times each of FACTORS, everything else as it is."""

    symbol: str
    price: str
    totals: tuple[Total | None, ...]

    @property
    def ends(self) -> tuple[float, ...]:
        """The dollars at each factor, those that are known."""
        return tuple(t.usd for t in self.totals if t is not None)


def swings(est: Estimates, prices: Prices, findings: Sequence[Finding]) -> tuple[Swing, ...]:
    """One swing per price that is set and enters a counted finding, the widest first.

    A gain is linear in the prices and its terms are kept apart per cluster, so the sum and its jackknife
    interval at another price are exact. The changes stay the same: at another price other changes may pay.
    Empty without counted findings, and for estimates of a release that did not keep the terms.
    """
    gains, saved = counted_gains(est, prices, findings)
    known = [name for name, (_, term) in _TERM.items() if term in gains.columns]
    made: list[Swing] = []
    for name in known:
        symbol, term = _TERM[name]
        column = gains[term]
        set_to = [p.value for p in prices.named(name) if p.value]
        if not set_to or not column.is_finite().all() or not (gains.height or saved):
            continue
        totals = tuple(
            total_gain(
                gains.with_columns(usd=pl.col("usd") + (k - 1) * column),
                *(_scaled(rows, k if name == "latency_price" else 1.0) for rows in saved),
                level=est.level,
            )
            for k in FACTORS
        )
        size = (
            fmt.bracket(f"{min(set_to):g}", f"{max(set_to):g}") if len(set(set_to)) > 1 else f"{set_to[0]:g}"
        )
        made.append(Swing(symbol=symbol, price=f"{symbol} = {size}", totals=totals))
    return tuple(sorted(made, key=lambda s: min(s.ends, default=0.0) - max(s.ends, default=0.0)))


def tornado(est: Estimates, prices: Prices, findings: Sequence[Finding]) -> Chart | None:
    """How far the recoverable dollars move when a price is halved or doubled; None without one to move."""
    found = [s for s in swings(est, prices, findings) if len(s.ends) == len(FACTORS)]
    today = recoverable(est, prices, findings)
    if not found or today is None:
        return None
    rows: list[dict[str, Any]] = [
        {"price": s.symbol, "today": today.usd, "end": end, "factor": f"×{k:g}", "less": k < 1}
        for s in found
        for k, end in zip(FACTORS, s.ends, strict=True)
    ]
    base = alt.Chart(alt.InlineData(values=rows))
    y = alt.Y("price:N", sort=[s.symbol for s in found], title=None, axis=alt.Axis(grid=False, ticks=False))
    tone = alt.condition("datum.less", alt.value(ink("pale")), alt.value(ink("accent")))
    text = alt.Text("factor:N")
    layers = [
        base.mark_bar(size=18).encode(
            x=alt.X("today:Q", title="USD over the window of the logs", axis=alt.Axis(tickCount=5)),
            x2="end:Q",
            y=y,
            color=tone,
        ),
        alt.Chart(alt.InlineData(values=[{"v": today.usd}]))
        .mark_rule(color=ink("ink"), strokeWidth=1.5)
        .encode(x="v:Q"),
        base.transform_filter("datum.end >= datum.today")
        .mark_text(align="left", dx=4, fontSize=11, color=ink("muted"))
        .encode(x="end:Q", y=y, text=text),
        base.transform_filter("datum.end < datum.today")
        .mark_text(align="right", dx=-4, fontSize=11, color=ink("muted"))
        .encode(x="end:Q", y=y, text=text),
    ]
    widest = found[0]
    half, twice = (fmt.usd(end) for end in widest.ends)
    title = f"The same changes recover {half} at half of {widest.symbol} and {twice} at twice it"
    cells = [
        (s.price, *(_told(t) for t in (s.totals[0], today, s.totals[1])), f"{100 * est.level:.0f} %")
        for s in found
    ]
    figure = styled(alt.layer(*layers), width=WIDE - 240, height=34 * len(found))
    return Chart(
        title=title,
        svg=draw(figure, label=title, name="tornado"),
        table=table(title, "price|#at half|#as set|#at twice|#level", cells),
    )


def _scaled(saved: pl.DataFrame, factor: float) -> pl.DataFrame:
    """The savings of one place with λ times `factor`."""
    place = (pl.col("layer") == _WAITED[0]) & (pl.col("decision_point") == _WAITED[1])
    return saved.with_columns(usd=pl.when(place).then(pl.col("usd") * factor).otherwise("usd"))


def _told(total: Total | None) -> str | None:
    if total is None:
        return None
    return f"{fmt.usd(total.usd)} {fmt.bracket(fmt.usd(total.lower), fmt.usd(total.upper))}"
