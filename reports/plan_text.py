"""A plan of what to randomise as text for a terminal: what to draw, what it costs, what it will show."""

from __future__ import annotations

from collections import Counter
from typing import Final

from ..estimators.exploration_plan import ExplorationPlan, LeftOut, Randomise
from . import numbers as fmt
from .escape import short
from .layout import columns, wrapped

_SHOWN: Final = 20
"""Lines of a plan that a terminal shows; --json has them all."""
_REASONS: Final = 8


def plan_text(plan: ExplorationPlan) -> str:
    """The lines of the plan as a table, the one to start with in words, and what is left out."""
    when = f"{plan.days:.0f} days" if plan.days is not None else "as many decisions as the log has"
    choices = "choice" if len(plan.lines) == 1 else "choices"
    lines = wrapped(
        f"{len(plan.lines)} {choices} to randomise over {when}: expected "
        f"loss {fmt.usd(plan.cost_usd)} of a budget of {fmt.usd(plan.budget_usd)}"
    )
    if plan.lines:
        lines += ["", *_table(plan.lines), "", *wrapped(_how(plan.lines[0]))]
        lines += wrapped(
            f"Rule: {plan.rule}. ± is the promised half-width of the 95 % interval from the new log alone."
        )
    lines += _left_out(plan.left_out)
    return "\n".join(lines)


def _table(rows: tuple[Randomise, ...]) -> list[str]:
    head = ["randomise", "rate", "decisions", "swapped", "loss (worst)", "now", "then", "detects"]
    cells = [
        [
            f"{x.layer}.{x.decision_point}{'' if x.segment == 'all' else f' [{x.segment}]'} "
            f"{x.action} / {x.baseline}",
            f"{100 * x.rate:g} %",
            fmt.count(x.decisions),
            fmt.count(x.swapped),
            f"{fmt.usd(x.cost_usd)} ({'unknown' if x.worst_usd is None else fmt.usd(x.worst_usd)})",
            "unknown" if x.half_width_now is None else f"± {_size(x, x.half_width_now)}",
            f"± {_size(x, x.half_width)}",
            _size(x, x.detectable),
        ]
        for x in rows[:_SHOWN]
    ]
    more = [f"... and {len(rows) - _SHOWN} more with --json"] if len(rows) > _SHOWN else []
    return [*columns([head, *cells]), *more]


def _size(x: Randomise, value: float) -> str:
    return fmt.usd(value) if x.quantity == "net" else fmt.points(value, signed=False)


def _how(x: Randomise) -> str:
    where = "" if x.segment == "all" else f" in {x.segment}"
    arms = f"{short(x.action)} or {short(x.baseline)}"
    return (
        f"For example: where {x.layer}.{x.decision_point}{where} would take {arms}, let "
        f"a fair coin decide in {100 * x.rate:g} % of cases, and log candidates and the probability of each."
    )


def _left_out(left: tuple[LeftOut, ...]) -> list[str]:
    """The open contrasts that stay open, by reason."""
    if not left:
        return []
    reasons = Counter(x.reason for x in left)
    lines = ["", f"{len(left)} stay open:"]
    for reason, n in list(reasons.items())[:_REASONS]:
        first = next(x for x in left if x.reason == reason)
        arms = f" {first.action} / {first.baseline}" if first.action else ""
        segment = "" if first.segment == "all" else f" [{first.segment}]"
        more = f" and {n - 1} more" if n > 1 else ""
        place = f"{first.layer}.{first.decision_point}{segment}{arms}{more}"
        lines += wrapped(f"{place}: {reason}", indent="  ")
    rest = len(reasons) - _REASONS
    return [*lines, *([f"  ... and {rest} more reasons with --json"] if rest > 0 else [])]
