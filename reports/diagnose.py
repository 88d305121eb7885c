"""Candidates of every detector to findings: false-discovery control, statuses, intervals, ranking."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

from ..estimators.confidence import detectable_effect
from ..schemas.config import Config
from ..schemas.records import Estimates, Finding, Prices, Status
from .diagnostics import (
    cache_misuse,
    over_delegation,
    over_routing,
    serving_congestion,
    stale_rollouts,
    under_routing,
    under_verification,
)
from .diagnostics.moves import WHOLE, Candidate, Context
from .numbers import count, usd, window_days
from .verdicts import Hypothesis, Verdict, verdicts

DETECTORS: Final = (
    over_routing,
    under_routing,
    over_delegation,
    under_verification,
    serving_congestion,
    stale_rollouts,
    cache_misuse,
)
"""The seven failure modes of the paper's Table 2, in its order."""
_RANK: Final[dict[Status, int]] = {
    "found": 0,
    "inconclusive": 1,
    "none_found": 2,
    "not_identified": 3,
    "no_data": 4,
}
_FACTOR_CAP: Final = 100.0
"""A wait longer than this many windows is not advice any more."""

_YEAR_DAYS: Final = 365
_NOTHING: Final = "nothing to change"


def diagnose(est: Estimates, prices: Prices, config: Config | None = None) -> tuple[Finding, ...]:
    """What was found, what is open and what could not be looked at, ranked by the lower bound.

    Each gain is tested one-sided against a materiality of 1 % of what the moved decisions cost, and judged
    among all tests by `verdicts`, which keeps the modes apart as families. Where a detector doubts what the
    dollars mean, they stay inconclusive. Findings that would move the same decisions are all shown, and the
    one with the largest lower bound is counted.
    """
    config = config or Config()
    days = window_days(*est.window)
    modes = candidates(est, prices, config)
    asked = [[c for c in mode if c.gain is not None] for mode in modes]
    given = verdicts(
        [[hypothesis(c) for c in mode] for mode in asked], level=est.level, control=config.multiplicity
    )
    judged = [
        _judged(c, v, days)
        for mode, own in zip(asked, given, strict=True)
        for c, v in zip(mode, own, strict=True)
    ]
    untested = [_untested(c) for mode in modes for c in mode if c.gain is None]
    return tuple(sorted(_counted_once([*untested, *judged]), key=_rank))


def candidates(est: Estimates, prices: Prices, config: Config) -> list[tuple[Candidate, ...]]:
    """What each detector asks of the run, in the order of DETECTORS, before any test is judged."""
    keys = config.segments if config.segments is not None else (config.task_class,)
    context = Context(level=est.level, segment_keys=keys)
    return [detector.detect(est, prices, context) for detector in DETECTORS]


def hypothesis(c: Candidate) -> Hypothesis:
    """What is tested of a candidate that has a gain."""
    assert c.gain is not None
    return Hypothesis(
        usd=c.gain.usd,
        se=c.gain.se,
        df=c.gain.df,
        decisions=c.gain.decisions,
        materiality_usd=c.materiality_usd,
        doubted=c.doubt is not None,
    )


def _judged(c: Candidate, verdict: Verdict, days: float | None) -> Finding:
    assert c.gain is not None
    assert c.move is not None
    lower, upper = verdict.lower, verdict.upper
    open_ = c.gain.usd > c.materiality_usd
    status: Status = "found" if verdict.found else "inconclusive" if open_ else "none_found"
    return replace(
        _blank(c, status),
        moved=c.gain.decisions,
        usd=c.gain.usd,
        usd_lower=lower,
        usd_upper=upper,
        level=verdict.level,
        p_value=hypothesis(c).p_value,
        p_adjusted=verdict.p_adjusted,
        mde_usd=c.materiality_usd + detectable_effect(c.gain.se, c.gain.df),
        claim=_claim(c, status, lower, upper),
        recommendation=_recommendation(c, status, lower, days),
    )


def _untested(c: Candidate) -> Finding:
    status: Status = "no_data" if c.absent else "not_identified"
    return replace(_blank(c, status), claim=c.reason or "", recommendation=c.advice)


def _blank(c: Candidate, status: Status) -> Finding:
    price = c.break_even
    return Finding(
        mode=c.question.mode,
        status=status,
        layer=c.question.layer,
        decision_point=c.question.decision_point,
        segment=c.move.segment if c.move else WHOLE,
        grade=c.grade,
        action=c.move.action if c.move else None,
        baseline=c.move.baseline if c.move else None,
        direction=c.move.direction if c.move else None,
        break_even_usd=price.value if price is not None else None,
        n=c.n,
        clusters=c.clusters,
        reason=c.reason,
    )


def where(segment: str) -> str:
    """A segment as a place in a sentence."""
    return "all decisions" if segment == WHOLE else segment


def _claim(c: Candidate, status: Status, lower: float, upper: float) -> str:
    assert c.gain is not None
    assert c.move is not None
    claim = c.question.claim.format(
        where=where(c.move.segment),
        source=c.move.source,
        target=c.move.target,
        count=count(c.gain.decisions),
        verb=c.question.verbs[_RANK[status]],
    )
    dollars = f"{usd(c.gain.usd)} [{usd(lower)}, {usd(upper)}]"
    note = f" ({c.note})" if c.note else ""
    return f"{claim} {dollars}{note}{_unpriced_tail(c, status, lower)}"


def _unpriced_tail(c: Candidate, status: Status, lower: float) -> str:
    """A sentence where the verdict would be another at the worst case of the risk (METHODS H3), else empty.

    A gain that is not material becomes so, or the interval of one that is open comes to lie above 0.
    """
    if c.gain is None or c.worst_case is None or status == "found":
        return ""
    worst = c.gain.usd + c.worst_case.usd
    if worst <= c.materiality_usd or (status == "inconclusive" and lower + c.worst_case.usd <= 0.0):
        return ""
    return f". Unpriced tail: at the worst case of its risk, {c.worst_case.told}, it would gain {usd(worst)}"


def _recommendation(c: Candidate, status: Status, lower: float, days: float | None) -> str:
    assert c.gain is not None
    assert c.move is not None
    if status == "none_found":
        tail = _unpriced_tail(c, status, lower)
        return "nothing to change at the mean of the risk; cap what one act can lose" if tail else _NOTHING
    change = c.question.change.format(where=where(c.move.segment), source=c.move.source, target=c.move.target)
    if status == "found":
        return change
    if c.doubt is not None:
        return f"wait before you {change}: {c.doubt}"
    excess = c.gain.usd - c.materiality_usd
    factor = (detectable_effect(c.gain.se, c.gain.df) / excess) ** 2
    return f"wait before you {change}: {_wait(factor, days)}"


def _wait(factor: float, days: float | None) -> str:
    """How much more data settles an effect as large as the estimate, with 80 % power."""
    if factor > _FACTOR_CAP:
        return f"more than {_FACTOR_CAP:.0f} times the data would be needed"
    if factor <= 1.0:
        return "it does not hold up among this many checks; look again with new data"
    if days is None or days <= 0:
        return f"about {factor:.1f} times the data would settle it"
    more = math.ceil((factor - 1.0) * days)
    if more > _YEAR_DAYS:
        return "more than a year of days like these would be needed"
    return f"about {count(more)} more days like these would settle it"


def _counted_once(findings: list[Finding]) -> list[Finding]:
    """Findings that move the same decisions are alternatives: the best lower bound is counted, the rest
    are shown. A decision is in one slice of a column, and in a slice of every other column."""
    counted: list[Finding] = []
    out = [f for f in findings if f.status != "found"]
    for f in sorted((f for f in findings if f.status == "found"), key=_rank):
        rival = next((c for c in counted if _share_decisions(c, f)), None)
        if rival is None:
            counted.append(f)
        else:
            note = (
                f"moves decisions that '{rival.mode.replace('_', '-')}, {where(rival.segment)}, "
                f"to {_target(rival)}' moves already, so it is not added"
            )
            out.append(replace(f, counted=False, reason=note))
    return counted + out


def _share_decisions(a: Finding, b: Finding) -> bool:
    if (a.layer, a.decision_point, _source(a)) != (b.layer, b.decision_point, _source(b)):
        return False
    return a.segment == b.segment or a.segment.split("=", 1)[0] != b.segment.split("=", 1)[0]


def _source(f: Finding) -> str:
    return str(f.action if f.direction == "over" else f.baseline)


def _target(f: Finding) -> str:
    return str(f.baseline if f.direction == "over" else f.action)


def _rank(f: Finding) -> tuple[int, bool, float, str, str, str]:
    lower = f.usd_lower if f.usd_lower is not None else -math.inf
    return _RANK[f.status], not f.counted, -lower, f.mode, f.segment, f"{f.action} {f.baseline}"
