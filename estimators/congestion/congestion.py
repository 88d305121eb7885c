"""The congestion of a serving log: by engine replay where steps are logged, else by its queue or a panel."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Final

import numpy as np
import polars as pl

from ...errors import PriceError
from ...schemas.records import Grade, Price
from .by_load import load_label, prices_by_load, tenant_accounts, tokens_of
from .by_queue import one_at_a_time
from .capacity import capacity_gains
from .deletions import BEHIND, BINS, Deletions, delete_each
from .external import Source, external_savings, refused_savings
from .panel import PanelPrices, panel_slopes
from .records import Congestion, curves_of
from .replay import Replay, Server, fit_fault, fit_quality, replay
from .requests import CLOCK_SLACK_S, Array, Requests, read_requests
from .step_law import StepLaw, fit_step_law
from .step_log import StepLog, attention_pairs, between, find_limits, read_steps
from .token_prices import Slopes, token_prices

MAX_REQUESTS: Final = 100_000
"""Requests that are used; of a larger log one stretch of time."""


def congestion(
    decisions: pl.DataFrame,
    steps: pl.DataFrame | None,
    *,
    latency_price: float | None,
    seed: int,
    long_by: str | None = None,
) -> Congestion:
    """What others wait because of a request, per token and load, and who imposes and suffers it.

    decisions: the decisions layout; steps: engine_steps or None. latency_price: lambda, USD per second of any
    request; None gives seconds. long_by: the column that says which contexts are long; where it is not there,
    the prompt does; what they impose in all is then in `savings`. With steps: a step-time law per replica, a
    replay that has to meet the log, and a sample of requests deleted from it (grade B). Without, or where
    that is refused: deletion from the logged waits of servers that serve one at a time (grade B), else a
    panel of requests (grade C). Prices
    that nothing supports are there with a reason.

    Raises: SchemaError for values that no log can hold; PriceError for a latency price below 0 or not finite.
    Source: METHODS F1.
    """
    if latency_price is not None and not (math.isfinite(latency_price) and latency_price >= 0):
        raise PriceError(f"latency price {latency_price}", expected="a finite number of USD/s >= 0, or None")
    rng = np.random.default_rng(seed)
    requests = read_requests(decisions, by=long_by if long_by in decisions.columns else None)
    logs = read_steps(steps, 0 if isinstance(requests, str) else requests.start_us)
    if isinstance(requests, str):
        told = refused(requests, latency_price=latency_price)
        return told if long_by is None else replace(told, savings=refused_savings(requests))
    everyone = requests.n
    requests, sampled = _bounded(requests, rng)
    if not isinstance(logs, str):  # steps of other times would not add up to the requests
        logs = {name: between(log, requests.time_s[0], _done(requests)) for name, log in logs.items()}
    laws = () if isinstance(logs, str) else _laws(requests, logs)
    used, replays, why = _replays(requests, logs, laws)
    fits = fit_quality(used, replays, _typical_step(logs)) if replays else ()
    why = why or fit_fault(fits)
    if why is None:
        found = priced_replays(used, replays, latency_price=latency_price, grade="B", rng=rng)
        source: Source = replays
        notes = _left_out(requests, laws)
    else:
        used = requests
        found, source = _without_steps(requests, latency_price=latency_price, rng=rng)
        notes = (f"no replay: {why}",)
    if requests.dropped:
        notes = (f"{requests.dropped} serving rows without arrival or tokens are left out", *notes)
    found = replace(found, laws=laws, fits=fits, notes=(*notes, *found.notes))
    if long_by is not None:
        share = everyone / requests.n
        savings = external_savings(used, source, latency_price=latency_price, seed=seed, scale=share)
        found = replace(found, savings=savings)
    return _told(found, sampled) if sampled else found


def congestion_prices(
    decisions: pl.DataFrame, steps: pl.DataFrame | None, *, latency_price: float | None, seed: int
) -> tuple[Price, ...]:
    """The prices of `congestion`, for 'all' and for each load."""
    return congestion(decisions, steps, latency_price=latency_price, seed=seed).prices


def priced_replays(
    requests: Requests,
    replays: list[Replay],
    *,
    latency_price: float | None,
    grade: Grade,
    rng: np.random.Generator,
) -> Congestion:
    """Prices, curves and tenants from replays of `requests`, whose laws may be fitted or given."""
    rows = np.concatenate([r.rows for r in replays])
    held, load = np.zeros(requests.n), np.zeros(requests.n)
    held[rows], load[rows] = (
        np.concatenate([getattr(r, name) for r in replays]) for name in ("kv_token_s", "load")
    )
    deleted = delete_each(requests, replays, rng=rng)
    method = f"engine replay without each of {deleted.rows.size} of {rows.size} requests, block bootstrap"
    tokens = tokens_of(requests, held)
    found = _priced(
        requests, tokens, load, deleted, method, latency_price=latency_price, grade=grade, rng=rng
    )
    cut = f"{deleted.cut} paths ended {BEHIND} requests after the deleted one, before they met: a lower bound"
    gains = capacity_gains(requests, replays)
    return replace(found, method="replay", capacity=gains, notes=(cut,) if deleted.cut else ())


def _without_steps(
    requests: Requests, *, latency_price: float | None, rng: np.random.Generator
) -> tuple[Congestion, Source]:
    """From the logged waits of servers that serve one at a time, or else from a panel of requests."""
    queue = one_at_a_time(requests)
    if isinstance(queue, str):
        panel = panel_slopes(requests)
        found = _by_panel(panel, latency_price)
        return replace(found, notes=(f"no single queue: {queue}", *found.notes)), panel
    tokens = tokens_of(requests, queue.kv_token_s)
    method = f"deletion from the logged waits of {requests.n} requests served one at a time"
    priced = _priced(
        requests, tokens, queue.load, queue.deleted, method, latency_price=latency_price, grade="B", rng=rng
    )
    return replace(priced, method="queue"), queue


def _by_panel(panel: PanelPrices, latency_price: float | None) -> Congestion:
    method = "panel of times to the first token (slower decoding is not in it, so a lower bound)"
    rows = token_prices(panel.slopes, segment="all", latency_price=latency_price, grade="C", method=method)
    known = panel.slopes.value is not None
    told = "the panel has one price for all loads" if known else panel.slopes.reason
    rows = (*rows, *_unknown_loads(told or "", latency_price))
    return Congestion(
        prices=rows, method="panel" if known else None, curves=curves_of(rows), notes=panel.notes
    )


def refused(reason: str, *, latency_price: float | None) -> Congestion:
    """No congestion, with the reason in the row of every price."""
    none = Slopes(value=None, lower=None, upper=None, n=0, blocks=0, reason=reason)
    rows = token_prices(none, segment="all", latency_price=latency_price, grade="N", method="none")
    rows = (*rows, *_unknown_loads(reason, latency_price))
    return Congestion(prices=rows, method=None, curves=curves_of(rows), notes=(reason,))


def _unknown_loads(reason: str, latency_price: float | None) -> tuple[Price, ...]:
    none = Slopes(value=None, lower=None, upper=None, n=0, blocks=0, reason=reason)
    labels = [load_label(b) for b in range(len(BINS) - 1)]
    return tuple(
        p
        for label in labels
        for p in token_prices(none, segment=label, latency_price=latency_price, grade="N", method="none")
    )


def _priced(
    requests: Requests,
    tokens: Array,
    load: Array,
    deleted: Deletions,
    method: str,
    *,
    latency_price: float | None,
    grade: Grade,
    rng: np.random.Generator,
) -> Congestion:
    prices, hours = prices_by_load(
        requests, tokens, load, deleted, latency_price=latency_price, grade=grade, method=method, rng=rng
    )
    accounts = tenant_accounts(requests, tokens, load, deleted, latency_price=latency_price)
    return Congestion(prices=prices, method="queue", curves=curves_of((*prices, *hours)), tenants=accounts)


def _bounded(requests: Requests, rng: np.random.Generator) -> tuple[Requests, str | None]:
    """At most MAX_REQUESTS consecutive ones, and in words which, where that is not all."""
    if requests.n <= MAX_REQUESTS:
        return requests, None
    first = int(rng.integers(requests.n - MAX_REQUESTS + 1))
    used = requests.rows(np.arange(first, first + MAX_REQUESTS))
    return used, f"in a stretch of {MAX_REQUESTS} of {requests.n} requests, drawn by the seed"


def _told(found: Congestion, sampled: str) -> Congestion:
    """The same, with the stretch that it comes from in the method of every price."""
    prices = tuple(replace(p, method=f"{p.method}, {sampled}") for p in found.prices)
    return replace(found, prices=prices, notes=(sampled, *found.notes))


def _done(requests: Requests) -> float:
    """When the last request was done; unbounded where latencies are not logged."""
    ends = requests.time_s + requests.latency_s
    return float(np.nanmax(ends)) + CLOCK_SLACK_S if np.isfinite(ends).all() else math.inf


def _laws(requests: Requests, logs: dict[str, StepLog]) -> tuple[StepLaw, ...]:
    """The step-time law of every replica that served requests and logged steps."""
    found: list[StepLaw] = []
    for k, name in enumerate(requests.replicas):
        if name in logs and (requests.replica == k).any():
            pairs = attention_pairs(logs[name], requests.rows(requests.replica == k))
            found.append(fit_step_law(logs[name].steps, replica=name, pairs=pairs))
    return tuple(found)


def _replays(
    requests: Requests, logs: dict[str, StepLog] | str, laws: tuple[StepLaw, ...]
) -> tuple[Requests, list[Replay], str | None]:
    """The requests of replicas with a law and their replays, or in words why there are none."""
    if isinstance(logs, str):
        return requests, [], logs
    if not laws:
        return requests, [], "no replica that served requests has logged steps"
    servers = [
        Server(replica=law.replica, rate=law.rate, limits=find_limits(logs[law.replica]))
        for law in laws
        if law.rate is not None
    ]
    if not servers:
        return requests, [], str(laws[0])
    codes = [requests.replicas.index(server.replica) for server in servers]
    used = requests.rows(np.isin(requests.replica, codes))
    return used, [replay(used, server) for server in servers], None


def _left_out(requests: Requests, laws: tuple[StepLaw, ...]) -> tuple[str, ...]:
    """The replicas whose requests were not replayed."""
    silent = [r for k, r in enumerate(requests.replicas) if (requests.replica == k).any()]
    silent = [r for r in silent if r not in {law.replica for law in laws}]
    notes = [f"left out: {law}" for law in laws if law.rate is None]
    return (*notes, *(f"left out: {name}: no steps are logged" for name in silent))


def _typical_step(logs: dict[str, StepLog] | str) -> float:
    if isinstance(logs, str):
        return 0.0
    return float(np.median([float(np.median(log.end_s - log.start_s)) for log in logs.values()]))
