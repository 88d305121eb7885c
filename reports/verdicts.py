"""Which of all tests of a run are findings, and at what level each interval is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..estimators.confidence import interval, upper_tail_p
from .multiplicity import FALSE_DISCOVERY_RATE, adjusted_in_families, selected_level


@dataclass(frozen=True, slots=True, kw_only=True)
class Tested:
    """A gain in USD that is tested one-sided against a materiality in USD. doubted: it is no finding however
    large, for what the dollars mean is in doubt."""

    usd: float
    se: float
    df: float
    materiality_usd: float = 0.0
    doubted: bool = False

    @property
    def p_value(self) -> float:
        """One-sided p-value against a gain of at most the materiality."""
        return upper_tail_p(self.usd, self.se, self.df, null=self.materiality_usd)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """p_adjusted: at most FALSE_DISCOVERY_RATE for a discovery. level: of the interval that is told."""

    p_adjusted: float
    level: float
    found: bool


def verdicts(families: Sequence[Sequence[Tested]], *, level: float) -> tuple[tuple[Verdict, ...], ...]:
    """The verdict of each test, family by family, in the order given; one family for each failure mode.

    The false discovery rate is held at 10 % over the families in which something is found, and where nothing
    is misallocated the chance of any finding is 10 %. A finding also needs an interval above 0 at its level,
    which is `level` or the false-coverage level, whichever is higher.
    """
    judged = adjusted_in_families([[t.p_value for t in family] for family in families])
    rate = FALSE_DISCOVERY_RATE * judged.share
    return tuple(
        _of_family(family, adjusted, level=level, rate=rate)
        for family, adjusted in zip(families, judged.adjusted, strict=True)
    )


def _of_family(
    family: Sequence[Tested], adjusted: Sequence[float], *, level: float, rate: float
) -> tuple[Verdict, ...]:
    """Fewer findings raise the level of the intervals, so it is settled from the top down."""
    chosen = [p <= FALSE_DISCOVERY_RATE and not t.doubted for p, t in zip(adjusted, family, strict=True)]
    while True:
        told = selected_level(sum(chosen), len(chosen), level=level, rate=rate)
        kept = [
            was and interval(t.usd, t.se, t.df, level=told)[0] > 0
            for was, t in zip(chosen, family, strict=True)
        ]
        if kept == chosen:
            break
        chosen = kept
    return tuple(
        Verdict(p_adjusted=p, level=told if found else level, found=found)
        for p, found in zip(adjusted, chosen, strict=True)
    )
