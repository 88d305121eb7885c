"""The fingerprint of congestion: short requests wait when others send long contexts, here and not elsewhere.

Two placebos guard it: long contexts on other replicas, and those that come only later, must not matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...schemas.records import Verdict
from ..confidence import LEVEL, interval, upper_tail_p
from ..gates import MIN_CLUSTERS, effective_clusters
from .requests import Array, Ints, Requests, read_requests
from .windows import arrived, elsewhere
from .within import demean, two_stage

Mask = NDArray[np.bool_]

WINDOW_S: Final = 60.0
"""Long contexts of the last minute are what a newcomer can meet."""
LEADS_S: Final = (600.0, 60.0, 10.0)
"""How much later the long contexts of the placebo come; the next where most have none so late behind them."""
LONG: Final = 0.9
"""A context above this quantile of prompts is long (METHODS F2)."""
MATERIAL: Final = 0.01
"""Share of the mean wait below which an effect does not matter (METHODS H)."""
PLACEBO_P: Final = 0.1
"""A placebo with a smaller p-value speaks for a common cause (METHODS F2)."""
_HOUR_S: Final = 3600.0
_SEEN: Final = 0.5
"""Share of the requests behind which the log has to go on for as long as the lead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """What short-context tenants wait because of the long contexts of others.

    effect_s: seconds of time to the first token that the mean volume of long contexts adds, with the t
    interval of the larger of the errors by tenant, by hour and by both; p_value: one-sided, of no effect.
    placebo_elsewhere_p, placebo_lead_p: two-sided. material_s: the smallest effect that matters. n: requests
    of short-context tenants. clusters: of the tenants or hours, the fewer.
    """

    verdict: Verdict
    reason: str
    effect_s: float | None = None
    lower_s: float | None = None
    upper_s: float | None = None
    level: float = LEVEL
    p_value: float | None = None
    placebo_elsewhere_p: float | None = None
    placebo_lead_p: float | None = None
    material_s: float | None = None
    n: int = 0
    clusters: int = 0

    def __str__(self) -> str:
        if self.effect_s is None:
            return f"congestion fingerprint: {self.verdict}: {self.reason}"
        ends = f"[{self.lower_s:.3g}, {self.upper_s:.3g}]"
        return f"congestion fingerprint: {self.verdict}, {self.effect_s:.3g} s {ends}: {self.reason}"


def congestion_fingerprint(decisions: pl.DataFrame) -> Fingerprint:
    """The fingerprint test of the serving decisions in a frame of the decisions layout, see `fingerprint`.

    Raises: SchemaError for values that no log can hold.
    """
    requests = read_requests(decisions)
    if isinstance(requests, str):
        return Fingerprint(verdict="not_identified", reason=requests)
    return fingerprint(requests)


def fingerprint(requests: Requests) -> Fingerprint:
    """Whether short requests wait because other tenants send long contexts to their replica.

    ttft_s of tenants whose median prompt is below that of all tenants is regressed on the tokens of long
    contexts that other tenants sent to the same replica in the last WINDOW_S, with effects of tenant and
    hour; controls are the prompt, the tenant's own load, and what others sent of short contexts. What others
    sent is counted at arrival and without the tenant's own, so that it does not depend on the wait. Both
    placebos are in the same regression. Not identified: one replica, one tenant, no ttft_s, too few tenants
    or hours, or a volume that does not vary.

    Source: METHODS F2; Cameron, Gelbach & Miller 2011 (two-way clusters).
    """
    short = short_tenants(requests)
    fault = _fault(requests, short)
    if fault is not None:
        return Fingerprint(verdict="not_identified", reason=fault)
    lead = _lead(requests)
    if lead is None:
        reason = (
            f"the log does not go on for {LEADS_S[-1]:g} s behind its requests, so the lead placebo is empty"
        )
        return Fingerprint(verdict="not_identified", reason=reason)
    return _judged(requests, np.flatnonzero(short & np.isfinite(requests.ttft_s)), lead)


def short_tenants(requests: Requests) -> Mask:
    """(n,) requests of tenants whose median prompt is at most the median over tenants."""
    medians = np.array(
        [np.median(requests.prompt[requests.tenant == g]) for g in range(len(requests.tenants))]
    )
    return (medians <= np.median(medians))[requests.tenant]


def _fault(requests: Requests, short: Mask) -> str | None:
    if np.unique(requests.replica).size < 2:
        return "one replica: the placebo of long contexts on other replicas needs two"
    if np.unique(requests.tenant).size < 2:
        return "one tenant: nobody else sends long contexts"
    if not np.isfinite(requests.ttft_s[short]).any():
        return "ttft_s of short requests is not logged, so no wait is seen"
    rows = short & np.isfinite(requests.ttft_s)
    for code, name in ((requests.tenant, "tenants with short contexts"), (_hours(requests), "hours")):
        groups = effective_clusters(code, rows)
        if groups < MIN_CLUSTERS:
            return f"{groups:.1f} effective {name}; {MIN_CLUSTERS:.0f} are needed for an interval"
    return None


def _hours(requests: Requests) -> Ints:
    return (
        (requests.start_us / 1e6 + requests.time_s) // _HOUR_S - requests.start_us // 3_600_000_000
    ).astype(np.int64)


def _lead(requests: Requests) -> float | None:
    """The longest lead behind which requests still come, for most requests."""
    for lead in LEADS_S:
        later = np.searchsorted(requests.time_s, requests.time_s + lead + WINDOW_S)
        if (later > np.searchsorted(requests.time_s, requests.time_s + lead)).mean() >= _SEEN:
            return lead
    return None


def _judged(requests: Requests, rows: Ints, lead: float) -> Fingerprint:
    prompt = requests.prompt.astype(float)
    is_long = requests.prompt > np.quantile(requests.prompt, LONG)
    volumes = _volumes(requests, np.where(is_long, prompt, 0.0), lead)
    own = arrived(requests, prompt, since_s=WINDOW_S, until_s=0.0, own=True)
    controls = [*_volumes(requests, np.where(is_long, 0.0, prompt), lead), own, prompt]
    x = np.column_stack([c[rows] for c in (*volumes, *(c for c in controls if np.ptp(c[rows]) > 0))])
    y, tenant, hour = requests.ttft_s[rows], requests.tenant[rows], _hours(requests)[rows]
    tenant, hour = (np.unique(c, return_inverse=True)[1] for c in (tenant, hour))
    within = demean(np.column_stack([y, x]), (tenant, hour, requests.replica[rows]))
    fits = [_errors(within, code) for code in (tenant, hour, tenant * (hour.max() + 1) + hour)]
    if isinstance(fits[0], str):
        return Fingerprint(verdict="not_identified", reason=fits[0], n=rows.size)
    theta, (by_tenant, by_hour, by_both) = fits[0][0], [f[1] for f in fits if not isinstance(f, str)]
    variance = np.maximum(np.maximum(by_tenant, by_hour), by_tenant + by_hour - by_both)
    clusters = int(min(tenant.max(), hour.max())) + 1
    return _verdict(
        theta, np.sqrt(variance), float(volumes[0][rows].mean()), float(y.mean()), rows.size, clusters
    )


def _volumes(requests: Requests, tokens: Array, lead: float) -> tuple[Array, Array, Array]:
    """(n,) tokens of other tenants: just sent to the same replica, to others, and sent to it only later."""
    return (
        arrived(requests, tokens, since_s=WINDOW_S, until_s=0.0),
        elsewhere(requests, tokens, since_s=WINDOW_S),
        arrived(requests, tokens, since_s=-lead, until_s=-lead - WINDOW_S),
    )


def _errors(within: Array, cluster: Ints) -> tuple[Array, Array] | str:
    x = within[:, 1:]
    found = two_stage(within[:, 0], x, x, cluster, endogenous=0)
    return found if isinstance(found, str) else (found.theta, np.diag(found.cov))


def _verdict(theta: Array, se: Array, volume: float, wait: float, n: int, clusters: int) -> Fingerprint:
    """Supported: the interval is above 0 and no placebo moves. Contradicted: it ends below what matters."""
    df = clusters - 1.0
    effect, error = float(theta[0] * volume), float(se[0] * volume)
    lower, upper = interval(effect, error, df)
    material = MATERIAL * wait
    other, later = (2.0 * min(upper_tail_p(float(abs(theta[j])), float(se[j]), df), 0.5) for j in (1, 2))
    moved = [name for name, p in (("on other replicas", other), ("sent later", later)) if p <= PLACEBO_P]
    if upper < material:
        verdict, reason = "contradicted", f"an effect of {material:.3g} s or more is excluded"
    elif lower > 0 and not moved:
        verdict, reason = (
            "supported",
            "short requests wait for the long contexts of others, and no placebo moves",
        )
    elif lower > 0:
        verdict, reason = (
            "inconclusive",
            f"long contexts {' and '.join(moved)} move the wait too: a common cause",
        )
    else:
        verdict, reason = "inconclusive", "the interval holds both no effect and one that matters"
    return Fingerprint(
        verdict=verdict,
        reason=reason,
        effect_s=effect,
        lower_s=lower,
        upper_s=upper,
        p_value=upper_tail_p(effect, error, df),
        placebo_elsewhere_p=other,
        placebo_lead_p=later,
        material_s=material,
        n=n,
        clusters=clusters,
    )
