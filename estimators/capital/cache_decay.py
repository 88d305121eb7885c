"""delta_S and the half-life of cache entries: for how long a kept answer stays worth giving."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

import numpy as np
from scipy import stats

from ...schemas.records import Price
from ..confidence import LEVEL
from .cache_looks import BAD_BELOW, EntryLooks
from .hazard import fit_hazard
from .leave_out import Span
from .records import CACHE_DECAY, HALF_LIFE, fitted, refused

MIN_BAD: Final = 10
"""Entries seen to go bad from which a hazard has a t interval of its log."""
MIN_CLUSTERS: Final = 10
_NO_HITS: Final = (
    "no semantic, response or memory hit is logged: log cache_hit_kind, source_request_id and cache_age_s "
    "per lookup (a prefix is exact and does not decay)"
)


def decay_prices(found: Mapping[str, EntryLooks | str]) -> tuple[Price, ...]:
    """delta_S (per hour) and the half-life (h) of entries, per kind of cache, from what `read_looks` found.

    delta_S = 1 - exp(-h), h the hourly hazard that an entry turns bad; the half-life is log 2 / h. Both are
    averages over the entry-hours that were looked at. Not identified without source_request_id, ages and
    outcomes, with fewer than MIN_BAD bad entries (then with an exact one-sided upper bound of grade D) or
    where entries are evicted because they have gone bad.

    Source: METHODS G2; Prentice & Gloeckler 1978.
    """
    if not found:
        return (refused(CACHE_DECAY, _NO_HITS), refused(HALF_LIFE, _NO_HITS))
    return tuple(price for kind, looks in found.items() for price in _of_kind(kind, looks))


def log_hazard(looks: EntryLooks) -> Span | str:
    """The log of the hourly hazard of one kind of entry, or why it is not known."""
    if looks.bad < MIN_BAD:
        bound = 1.0 - np.exp(-_upper_hazard(looks))
        return (
            f"{looks.bad} of {looks.entries} entries were seen to go bad in {looks.hours:,.1f} entry-hours; "
            f"{MIN_BAD} are needed. The decay is at most {bound:.3g} per hour (one-sided, exact)"
        )
    if looks.looks.clusters < MIN_CLUSTERS:
        return f"{looks.looks.clusters} clusters; {MIN_CLUSTERS} are needed"
    if looks.looks.bad.mean() <= looks.looks.background:
        return (
            f"reused answers are bad no more often ({looks.looks.bad.mean():.1%}) than recomputed ones "
            f"({looks.looks.background:.1%}), so no decay can be told from ordinary mistakes"
        )
    fit = fit_hazard(looks.looks)
    return fit if isinstance(fit, str) else fit.fault or fit.span()


def _of_kind(kind: str, looks: EntryLooks | str) -> tuple[Price, Price]:
    segment = f"cache_hit_kind={kind}"
    span = looks if isinstance(looks, str) else log_hazard(looks)
    if isinstance(looks, str) or isinstance(span, str):
        reason = span if isinstance(span, str) else ""
        decay = refused(CACHE_DECAY, reason, segment=segment)
        if not isinstance(looks, str) and looks.bad < MIN_BAD:
            bound = float(-np.expm1(-_upper_hazard(looks)))
            decay = replace(decay, upper=bound, level=LEVEL, grade="D", n=looks.looks.bad.size)
        return decay, refused(HALF_LIFE, reason, segment=segment)
    method = (
        "discrete-time hazard (complementary log-log), gaps between looks, censored at the last look; "
        f"{looks.bad} of {looks.entries} entries went bad in {looks.hours:,.0f} entry-hours; "
        f"{_background_said(looks)}{looks.note}"
    )
    n, trend = looks.looks.bad.size, _trend(looks)
    half = span.mapped(lambda x: float(np.exp(x)))
    return (
        fitted(
            CACHE_DECAY,
            span.mapped(lambda x: float(-np.expm1(-np.exp(x)))),
            n=n,
            grade="C",
            method=method,
            segment=segment,
            reason=trend,
        ),
        fitted(
            HALF_LIFE,
            Span(
                value=float(np.log(2.0)) / half.value,
                lower=float(np.log(2.0)) / half.upper,
                upper=float(np.log(2.0)) / half.lower,
                clusters=half.clusters,
            ),
            n=n,
            grade="C",
            method=method,
            segment=segment,
            reason=trend,
        ),
    )


def _upper_hazard(looks: EntryLooks) -> float:
    """The exact one-sided bound on a Poisson rate of `bad` events in `hours`. Source: Garwood 1936."""
    return float(stats.gamma.ppf(LEVEL, looks.bad + 1)) / looks.hours


def _background_said(looks: EntryLooks) -> str:
    if looks.checked == 0:
        return f"every reuse with an incident or a quality below {BAD_BELOW} is taken as an entry gone bad"
    return f"{looks.faults} of {looks.checked:,} recomputed answers were bad too, which is allowed for"


def _trend(looks: EntryLooks) -> str | None:
    """What the average hides where the hazard moves with age (a slope of log age whose interval leaves 0)."""
    middle = np.log(np.maximum(looks.age_h - looks.looks.gap / 2.0, looks.looks.gap / 2.0))
    centred = middle - middle.mean()
    if centred.std() == 0.0:
        return None
    fit = fit_hazard(replace(looks.looks, design=np.column_stack([np.ones(middle.size), centred])))
    if isinstance(fit, str) or fit.fault:
        return None
    slope = fit.span(1)
    if slope.lower <= 0.0 <= slope.upper:
        return None
    moves = "rises" if slope.value > 0.0 else "falls"
    return f"the hazard {moves} with age (as age to the power {slope.value:.2g}): this is its average"
