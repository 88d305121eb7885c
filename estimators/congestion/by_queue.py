"""Logs of servers that serve one at a time: external delays from the logged waits, without a model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .deletions import Deletions
from .lindley import deletion_delays, waits
from .replay import TOLERANCE, loads
from .requests import CLOCK_SLACK_S, Array, Requests


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLog:
    """Requests of servers that serve one at a time. deleted: every request. load: (n,) seconds of service
    that arrived in the minute before, per second. kv_token_s: (n,) tokens held times seconds of service."""

    deleted: Deletions
    load: Array
    kv_token_s: Array


def one_at_a_time(requests: Requests) -> QueueLog | str:
    """External delays by deletion from queues that serve first come first served, one at a time.

    Service is latency_s - queue_s. In words why the log is not of such queues: the times are not logged, or
    the recursion on them does not give the logged waits, on average within TOLERANCE, as with batches.

    Source: METHODS F1 (a).
    """
    if not (np.isfinite(requests.queue_s).all() and np.isfinite(requests.latency_s).all()):
        return "queue_s and latency_s are not logged for every request, so the queue cannot be followed"
    service = np.maximum(requests.latency_s - requests.queue_s, 0.0)
    wait, load = np.zeros(requests.n), np.zeros(requests.n)
    for k in range(len(requests.replicas)):
        mine = requests.replica == k
        wait[mine] = waits(requests.time_s[mine], service[mine])
        load[mine] = loads(requests.time_s[mine], service[mine])
    missed, logged = float(np.abs(wait - requests.queue_s).mean()), float(requests.queue_s.mean())
    if missed > max(TOLERANCE * logged, CLOCK_SLACK_S):
        return (
            f"one at a time, requests would have waited {wait.mean():.3g} s on average where {logged:.3g} s "
            "is logged, so the engine serves several at once"
        )
    held = (requests.prompt + requests.output / 2.0) * service
    return QueueLog(deleted=_deleted(requests, wait, service), load=load, kv_token_s=held)


def _deleted(requests: Requests, wait: Array, service: Array) -> Deletions:
    delay, own = np.zeros(requests.n), np.zeros(requests.n)
    suffered = np.zeros(len(requests.tenants))
    for k in range(len(requests.replicas)):
        rows = np.flatnonzero(requests.replica == k)
        w, s, tenant = wait[rows], service[rows], requests.tenant[rows]
        delay[rows] = deletion_delays(w, s)
        idle = np.append(np.flatnonzero(w <= 0.0), rows.size)
        ends = idle[np.searchsorted(idle, np.arange(rows.size), side="right")]
        for i, end in enumerate(ends.tolist()):
            waited = np.minimum(np.minimum.accumulate(w[i + 1 : end]), s[i])
            behind = tenant[i + 1 : end]
            own[rows[i]] = waited[behind == tenant[i]].sum()
            suffered += np.bincount(behind, weights=waited, minlength=suffered.size)
    everyone = np.arange(requests.n)
    return Deletions(
        rows=everyone, delay_s=delay, own_s=own, weight=np.ones(requests.n), suffered_s=suffered, cut=0
    )
