"""Logs of requests alone: how the tokens of other tenants lengthen the time to the first token.

In two stages, for what others have in service is itself long when the engine is slow; what they sent is not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from ..confidence import interval
from ..gates import MIN_CLUSTERS, effective_clusters
from .requests import Array, Ints, Requests
from .token_prices import TOKENS, Slopes, Token
from .windows import arrived, exposed, in_service, phases
from .within import Panel, demean, two_stage

LAG_S: Final = 10.0
"""Tokens of the last ten seconds are what a newcomer meets (METHODS F1 (c))."""
MIN_F: Final = 10.0
"""First-stage F below which instruments are weak (Staiger & Stock 1997)."""
_ASKED: Final[tuple[Token, ...]] = ("prefill", "kv")
"""Decode tokens move with the KV cache that they hold, too closely for a log of requests."""
_TOGETHER: Final = (
    "in a log of requests decode tokens move with the KV cache that they hold, whose price has both"
)
_MINUTE_S: Final = 60
_DAY_S: Final = 86_400
_FEW_PER_CELL: Final = 3.0
"""Requests per minute of the week below which hours of the week are compared within instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PanelPrices:
    """slopes: seconds of others' delay per token, by the panel. notes: how weak or strong it stands.

    delay_s: (n,) seconds that each request imposes by the slopes, and without: (G, n) by those that leave out
    each day of a replica; both None where the slopes are refused.
    """

    slopes: Slopes
    notes: tuple[str, ...] = ()
    delay_s: Array | None = None
    without: Array | None = None


def panel_slopes(requests: Requests) -> PanelPrices:
    """Seconds that others wait for their first token, per prefill token and KV token-second.

    Each request's ttft_s is regressed on what other tenants had in service on its replica in the LAG_S
    seconds before it came, with effects of replica and minute of the week, its own tokens and those that its
    own tenant had just sent; instruments are the tokens that other tenants sent. A slope times the
    requests of others that come within LAG_S is what a token costs them; the interval takes their number as
    known. Not identified: a single tenant, fewer than MIN_CLUSTERS days of replicas, weak instruments,
    volumes that move together.

    Source: METHODS F1 (c).
    """
    fault = _fault(requests)
    day = (requests.time_s // _DAY_S).astype(np.int64)
    cluster = day * len(requests.replicas) + requests.replica
    clusters = int(np.unique(cluster).size)
    if fault is None:
        groups = effective_clusters(cluster, np.ones(requests.n, dtype=bool))
        if groups < MIN_CLUSTERS:
            fault = (
                f"{groups:.1f} effective days of replicas ({len(requests.replicas)} replicas); "
                f"{MIN_CLUSTERS:.0f} are needed for an interval; log more days, or the steps of the engine"
            )
    if fault is not None:
        return PanelPrices(slopes=_none(requests, clusters, fault))
    found = _regression(requests, cluster)
    if isinstance(found, str):
        return PanelPrices(slopes=_none(requests, clusters, found))
    if found.strength < MIN_F:
        why = f"what others sent hardly moves what they have in service (first-stage F {found.strength:.1f})"
        return PanelPrices(slopes=_none(requests, clusters, f"{why}; at least {MIN_F:.0f} is needed"))
    met, tokens = _exposure(requests)
    return PanelPrices(
        slopes=_scaled(requests, found, met, clusters),
        notes=(f"panel: first-stage F {found.strength:.1f}",),
        delay_s=tokens @ (met * found.theta[: len(_ASKED)]),
        without=(found.without[:, : len(_ASKED)] * met) @ tokens.T,
    )


def time_cells(requests: Requests) -> tuple[Ints, Ints]:
    """Codes of replica and of minute of the week, or of its hour where minutes have too few requests."""
    since = requests.start_us / 1e6 + requests.time_s
    for width in (_MINUTE_S, 60 * _MINUTE_S):
        slot = np.unique((since % (7 * _DAY_S)) // width, return_inverse=True)[1]
        if requests.n / (slot.max() + 1) >= _FEW_PER_CELL:
            break
    return requests.replica, slot.astype(np.int64)


def _fault(requests: Requests) -> str | None:
    if len(np.unique(requests.tenant)) < 2:
        return "one tenant sent all requests, so there are no others whose tokens could delay it"
    for name in ("ttft_s", "latency_s"):
        missing = int(np.isnan(getattr(requests, name)).sum())
        if missing == requests.n:
            return f"{name} of requests is not logged, so no delay is seen"
        if missing:
            return f"{name} is missing for {missing} of {requests.n} requests, so their load is not known"
    return None


def _regression(requests: Requests, cluster: Ints) -> Panel | str:
    spans = phases(requests)
    todo, out = (requests.prompt - requests.cached).astype(float), requests.output.astype(float)
    volumes = [in_service(requests, spans[name], lag_s=LAG_S) for name in _ASKED]
    sent = [
        arrived(requests, tokens, since_s=since, until_s=until)
        for tokens in (todo, out, todo * out)
        for since, until in ((LAG_S, 0.0), (3 * LAG_S, LAG_S))
    ]
    mine = [arrived(requests, t, since_s=LAG_S, until_s=0.0, own=True) for t in (todo, out)]
    controls = [todo, todo**2, *(m for m in mine if np.ptp(m) > 0)]
    within = demean(np.column_stack([requests.ttft_s, *volumes, *sent, *controls]), time_cells(requests))
    k, q = 1 + len(volumes), 1 + len(volumes) + len(sent)
    x, z = np.column_stack([within[:, 1:k], within[:, q:]]), within[:, k:]
    return two_stage(within[:, 0], x, z, cluster, endogenous=len(volumes))


def _scaled(requests: Requests, found: Panel, exposure: Array, clusters: int) -> Slopes:
    """Coefficients times the requests of others that a token meets, weighted by tokens."""
    table = np.full((3, len(TOKENS)), np.nan)
    for j, (name, met) in enumerate(zip(_ASKED, exposure, strict=True)):
        value, se = float(found.theta[j] * met), float(np.sqrt(found.cov[j, j]) * met)
        table[:, TOKENS.index(name)] = value, *interval(value, se, clusters - 1.0)
    value, lower, upper = table
    return Slopes(value=value, lower=lower, upper=upper, n=requests.n, blocks=clusters, reason=_TOGETHER)


def _exposure(requests: Requests) -> tuple[Array, Array]:
    """Per kind of token in _ASKED the requests of other tenants that come within LAG_S of one, and (n, kinds)
    those tokens of each request."""
    spans, counts = phases(requests), np.zeros(len(_ASKED))
    table = np.zeros((requests.n, len(_ASKED)))
    for j, name in enumerate(_ASKED):
        part = spans[name]
        tokens = part.rate * (part.end_s - part.start_s)
        met = exposed(requests, (part.start_s + part.end_s) / 2.0, ahead_s=LAG_S)
        counts[j], table[:, j] = float(tokens @ met / tokens.sum()), tokens
    return counts, table


def _none(requests: Requests, clusters: int, reason: str) -> Slopes:
    return Slopes(value=None, lower=None, upper=None, n=requests.n, blocks=clusters, reason=reason)
