"""What was done beside what was best: the actions taken in each slice, and the one worth most there."""

from __future__ import annotations

from typing import Any, Final

import altair as alt
import polars as pl

from ..schemas.config import Config
from ..schemas.records import Estimates
from . import numbers as fmt
from .charts import WIDE, Chart
from .escape import short
from .svg import draw, ink, styled
from .tables import effect, table
from .view import ALLOCATION

_MOST_SLICES: Final = 12
_LABEL: Final = 44
_PLACE: Final = ("layer", "decision_point", "segment")
Pairs = dict[tuple[str, str], dict[str, Any]]


def realised(decisions: pl.LazyFrame, config: Config) -> pl.DataFrame:
    """How often each action was taken per decision point and slice, in the layout of ALLOCATION.

    Counts stand for the decisions that the log did not keep too (1 / keep_prob).
    """
    held = decisions.collect_schema().names()
    columns = config.segments if config.segments is not None else (config.task_class,)
    weight = (1.0 / pl.col("keep_prob").fill_null(1.0)) if "keep_prob" in held else pl.lit(1.0)
    parts = [
        decisions.filter(pl.col(c).is_not_null())
        .group_by(
            "layer", "decision_point", pl.format("{}={}", pl.lit(c), pl.col(c)).alias("segment"), "action"
        )
        .agg(decisions=weight.sum())
        for c in columns
        if c in held
    ]
    if not parts:
        return pl.DataFrame(schema=ALLOCATION)
    counted = pl.concat(parts).select(pl.col(k).cast(t) for k, t in ALLOCATION.items())
    return counted.sort(list(ALLOCATION)[:-1]).collect(engine="streaming")


def allocation_charts(est: Estimates, taken: pl.DataFrame) -> tuple[Chart, ...]:
    """One chart per decision point: the share of each slice that took the action with the highest net value.

    An action is best in a slice when the interval of its net value against each other action there excludes
    0. It is picked after the estimates were seen and is not corrected for that; findings are.
    """
    slices: dict[tuple[str, str], list[dict[str, Any]]] = {}
    net = est.contrasts.filter(
        (pl.col("quantity") == "net") & (pl.col("estimand") == "ATO") & (pl.col("segment") != "all")
    )
    for key, rows in net.group_by(_PLACE, maintain_order=True):
        layer, point, segment = (str(part) for part in key)
        pairs = {(r["action"], r["baseline"]): r for r in rows.iter_rows(named=True)}
        here = taken.filter(layer=layer, decision_point=point, segment=segment)
        counts = dict(here.select("action", "decisions").iter_rows())
        if counts:
            one = {"segment": segment, "pairs": pairs, "counts": counts, "best": best_action(pairs)}
            slices.setdefault((layer, point), []).append(one)
    return tuple(_chart(f"{k[0]} · {k[1]}", found, i) for i, (k, found) in enumerate(slices.items()))


def best_action(pairs: Pairs) -> str | None:
    """The action whose net value stands out against every other one; None where none does."""
    arms = list(dict.fromkeys(arm for pair in pairs for arm in pair))
    ahead = [a for a in arms if all(_beats(pairs, a, b) for b in arms if b != a)]
    return ahead[0] if ahead else None


def _beats(pairs: Pairs, a: str, b: str) -> bool:
    if (row := pairs.get((a, b))) is not None:
        return row["lower"] is not None and row["lower"] > 0
    if (row := pairs.get((b, a))) is not None:
        return row["upper"] is not None and row["upper"] < 0
    return False


def _chart(point: str, found: list[dict[str, Any]], number: int) -> Chart:
    shown = found[:_MOST_SLICES]
    rows: list[dict[str, Any]] = []
    for i, one in enumerate(shown, start=1):
        total = sum(one["counts"].values())
        share = one["counts"].get(one["best"], 0.0) / total if one["best"] else 0.0
        told = f"best: {one['best']}" if one["best"] else "no action stands out"
        rows.append(
            {
                "order": i,
                "slice": short(f"{i}. {one['segment']}", longest=_LABEL),
                "share": share,
                "whole": 1.0,
                "told": short(told, longest=_LABEL),
            }
        )
    decided = [one for one in found if one["best"]]
    whole = sum(sum(one["counts"].values()) for one in decided)
    right = sum(one["counts"].get(one["best"], 0.0) for one in decided)
    title = (
        f"{point}: {fmt.share(right / whole)} of decisions took the best action of their slice, "
        f"in the {len(decided)} of {len(found)} slices where one stands out"
        if whole
        else f"{point}: no action stands out in any of {len(found)} slices"
    )
    base = alt.Chart(alt.InlineData(values=rows))
    y = alt.Y(
        "slice:N",
        sort=alt.EncodingSortField(field="order"),
        title=None,
        axis=alt.Axis(grid=False, ticks=False),
    )
    x = alt.X("whole:Q", title="share of decisions that took it", axis=alt.Axis(format="%", tickCount=5))
    layers = [
        base.mark_bar(size=14, color=ink("line")).encode(x=x, y=y),
        base.mark_bar(size=14, color=ink("accent")).encode(x="share:Q", y=y),
        base.mark_text(align="left", dx=6, fontSize=11, color=ink("muted")).encode(
            x="whole:Q", y=y, text="told:N"
        ),
    ]
    name = f"taken{number}"
    return Chart(
        title=title,
        svg=draw(styled(alt.layer(*layers), width=WIDE - 380, height=28 * len(rows)), label=title, name=name),
        table=table(title, "slice|action|#decisions|#share|#net a decision|of all", _cells(shown)),
    )


def _cells(shown: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    rows: list[tuple[Any, ...]] = []
    for one in shown:
        total = sum(one["counts"].values())
        for action, count in sorted(one["counts"].items()):
            against = [(b, row) for (a, b), row in one["pairs"].items() if a == action]
            net = "; ".join(f"{effect(row)} against {b}" for b, row in against)
            mark = "best" if action == one["best"] else ""
            rows.append((one["segment"], action, fmt.count(count), fmt.share(count / total), net, mark))
    return rows
