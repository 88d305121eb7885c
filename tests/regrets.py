"""Choices whose truth is known, as arrays: what regret is read from, without a log and scores to fit."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from shadowprice.estimators.regret.choice import Choice

Array = NDArray[np.float64]

MINUTE_US = 60_000_000


def choice(
    seed: int = 0,
    *,
    n: int = 1000,
    actions: int = 3,
    gain: float = 0.0,
    spread: float = 0.0,
    clusters: int | None = None,
    timed: bool = True,
    point: str = "model",
    key: str = "session_id",
    context: bool = True,
) -> tuple[Choice, float]:
    """A choice whose net value has a standard deviation of 1 USD, and its regret in USD over its decisions.

    gain: what the last action adds everywhere; spread: what it adds or takes by the second context feature.
    The policy leans on the first, which moves the outcome too. clusters: of equal chance, with a shift.
    """
    rng = np.random.default_rng([seed, n, actions])
    x = rng.normal(size=(n, 3))
    tilt = 0.7 * np.outer(x[:, 0], np.linspace(-1, 1, actions))
    e = np.exp(tilt) / np.exp(tilt).sum(axis=1, keepdims=True)
    arm = (rng.random(n)[:, None] >= e.cumsum(axis=1)[:, :-1]).sum(axis=1)
    mean = np.repeat(-0.3 * np.tanh(x[:, :1]), actions, axis=1)
    mean[:, -1] += gain + spread * np.tanh(2 * x[:, 1])
    cluster = np.arange(n) if clusters is None else rng.integers(clusters, size=n)
    shift = 0.0 if clusters is None else rng.uniform(-0.3, 0.3, size=clusters)[cluster]
    outcome = mean[np.arange(n), arm] + shift + rng.normal(size=n)
    codes, cluster = np.unique(cluster, return_inverse=True)
    took = arm[:, None] == np.arange(actions)
    done, psi, price = np.zeros((n, 4)), np.zeros((n, actions, 4)), np.zeros((n, 4))
    done[:, 0], price[:, 0] = outcome, 1.0
    psi[:, :, 0] = mean + took / e * (outcome[:, None] - mean)
    made = Choice(
        layer="router",
        decision_point=point,
        actions=tuple(f"a{k}" for k in range(actions)),
        done=done,
        psi=psi,
        price=price,
        took=took,
        chosen=e[np.arange(n), arm],
        offered=np.ones((n, actions), dtype=bool),
        basis=x if context else np.empty((n, 0)),
        weight=np.ones(n),
        cluster=cluster.astype(np.int64),
        cluster_ids=tuple(f"c{c:05d}" for c in codes),
        cluster_key=key,
        clock_us=MINUTE_US * np.arange(n, dtype=np.int64) if timed else None,
        fold=rng.integers(5, size=n)[cluster],
        grade="A",
        source="logged",
        left_out=0.0,
    )
    return made, float((mean.max(axis=1) - (e * mean).sum(axis=1)).sum())
