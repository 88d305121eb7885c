"""The section of a finding that no contrast measures: what its dollars are made of and rest on."""

from __future__ import annotations

from typing import Final

import polars as pl

from ..schemas.records import Finding
from . import numbers as fmt
from .diagnostics import serving_congestion, stale_rollouts
from .names import source
from .tables import Table, money, table
from .view import RunView

_ASSUMPTIONS: Final = {
    serving_congestion.QUESTION.mode: (
        "The waiting is summed over requests, each gone alone; when all of them go, less or more of it goes.",
        "What the requests are worth to those who sent them is not set against it.",
        "Scheduler and number of replicas stay as logged.",
    ),
    stale_rollouts.QUESTION.mode: (
        "A kept rollout without a measured signal taught what the measured ones of its lag did.",
        "The signal is what training on the rollout was worth; nothing is trained on in its place.",
    ),
}
_CHOSEN: Final = (
    "The slice was chosen before its dollars were seen; the false discovery rate over all checks is 10 %."
)


def saving_rows(view: RunView, f: Finding) -> pl.DataFrame:
    """The rows of Prices.savings behind a finding; empty for one that rests on a contrast."""
    return view.prices.savings.filter(
        layer=f.layer,
        decision_point=f.decision_point,
        segment=f.segment,
        action=str(f.action),
        baseline=str(f.baseline),
    ).drop_nulls("usd")


def saving_facts(f: Finding, rows: pl.DataFrame) -> list[tuple[str, str]]:
    """What was looked at, how, and how sure it is."""
    level = f"{100 * f.level:.4g} %" if f.level else fmt.ABSENT
    first = rows.row(0, named=True)
    facts = [
        ("Slice", f"{f.layer} · {f.decision_point} · {f.segment}"),
        ("Dollars over the window", f"{money(f)} at {level}"),
        ("Decisions", f"{fmt.count(f.moved)}, all that took {source(f)}"),
        ("p, adjusted", f"{fmt.probability(f.p_value)}, {fmt.probability(f.p_adjusted)}"),
        ("Detectable with 80 % power", fmt.usd(f.mde_usd)),
        ("measured, clusters", f"{fmt.count(f.n)} · {fmt.count(f.clusters)}"),
        ("Method", str(first["method"])),
    ]
    facts += [("Beside it", first["note"])] if first["note"] else []
    return facts + ([("Limits", first["doubt"])] if first["doubt"] else [])


def saving_terms(f: Finding, rows: pl.DataFrame) -> Table:
    """The dollars in all and per decision, beside what the decisions cost."""
    decisions, usd, paid = (float(rows[name].sum()) for name in ("decisions", "usd", "paid_usd"))
    cells = [
        (what, fmt.usd(value), fmt.usd(value / decisions) if decisions else None)
        for what, value in (("this finding", usd), ("what they cost", paid))
    ]
    return table(
        f"{fmt.count(decisions)} decisions that took {source(f)}", "USD|#in all|#per decision", cells
    )


def saving_assumptions(f: Finding) -> tuple[str, ...]:
    """What the dollars rest on."""
    return (*_ASSUMPTIONS.get(f.mode, ()), _CHOSEN)
