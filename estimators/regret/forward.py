"""A lower bound on regret by forward chaining: policies of earlier clusters, valued on later ones."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from ..learners import ridge
from .choice import Choice, in_dollars

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

BLOCKS: Final = 10
"""Blocks of clusters in order of time (METHODS H)."""
MIN_BLOCKS: Final = 5
_MIN_TAKEN: Final = 20
"""Earlier decisions that took an action before a policy may choose it."""
_CALM: Final = 0.25
"""A block's spread counts as at least this share of the largest so far: one cautious policy is no anchor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Forward:
    """gain: (n,) dollars of the policy of the decision's block above what was done, 0 in the first block.
    stake: (n,) weight of each decision in the mean: 1 / sigma of its block, 0 in the first block."""

    gain: Array
    stake: Array


def ranks(choices: Sequence[Choice]) -> dict[str, tuple[dict[str, int], bool]]:
    """Per kind of cluster the rank of every id, the same at all points, and whether it is one of time.

    Clusters stand in order of their first decision at any point; where a decision has no timestamp, in the
    order of a hash of their id.
    """
    out: dict[str, tuple[dict[str, int], bool]] = {}
    for kind in sorted({c.cluster_key for c in choices}):
        mine = [c for c in choices if c.cluster_key == kind]
        first: dict[str, int] = {}
        for c in mine:
            clock = np.zeros(c.n, dtype=np.int64) if c.clock_us is None else c.clock_us
            earliest = np.full(c.clusters, np.iinfo(np.int64).max)
            np.minimum.at(earliest, c.cluster, clock)
            for name, at in zip(c.cluster_ids, earliest.tolist(), strict=True):
                first[name] = min(at, first.get(name, at))
        timed = all(c.clock_us is not None for c in mine)
        key = first if timed else {name: _hash(name) for name in first}
        out[kind] = (
            {name: r for r, name in enumerate(sorted(first, key=lambda i: (key[i], _hash(i))))},
            timed,
        )
    return out


def _hash(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big")


def blocks_of(choice: Choice, rank: Ints, count: int = BLOCKS) -> Ints:
    """(n,) the block of each decision: whole clusters, in order of rank, blocks of about equal size."""
    size = np.bincount(choice.cluster, minlength=choice.clusters)
    order = np.argsort(rank)
    middle = np.cumsum(size[order]) - size[order] / 2
    block = np.empty(choice.clusters, dtype=np.int64)
    block[order] = np.minimum((middle / size.sum() * count).astype(np.int64), count - 1)
    return np.unique(block[choice.cluster], return_inverse=True)[1].astype(np.int64)


def forward_chain(choice: Choice, block: Ints) -> Forward:
    """The gain of each block under the policy that all earlier blocks teach.

    Outcome means, effects and the policy of block j come from clusters in earlier blocks; its decisions are
    scored by psi = mu + 1{A = a} / e (Y - mu) with those means, so given the past a score is unbiased for
    what its decision would gain. Blocks are weighted by 1 / sigma_j, the spread of the policy's gains in the
    past, which is known before the block is seen; a policy that moves nothing has no weight.

    Blocks are of whole clusters, so no cluster teaches the policy that it is judged on, and given the past
    the sum over later clusters is a martingale: its variance is that of independent clusters. This takes
    clusters for draws from one population; where effects drift, the bound is for the blocks as they are
    weighed. Logged propensities are used as they are, estimated ones as cross-fitted for the estimate:
    refitted on the first blocks alone they would be too rough to divide by.

    Source: Luedtke & van der Laan 2016, Annals of Statistics 44 (one-step online estimator).
    """
    gain, stake = np.zeros(choice.n), np.zeros(choice.n)
    largest = 0.0
    for j in range(1, int(block.max()) + 1):
        past, now = block < j, block == j
        rows = np.flatnonzero(past | now)
        scores = _gains(choice, past, rows)
        learned = past[rows]
        chosen = _policy(choice, scores, rows, learned)
        value = np.where(chosen >= 0, scores[np.arange(rows.size), np.maximum(chosen, 0)], 0.0)
        gain[now] = value[now[rows]]
        sigma = _spread(value[learned], choice.weight[rows][learned], choice.cluster[rows][learned])
        largest = max(largest, sigma)
        stake[now] = 1.0 / max(sigma, _CALM * largest) if sigma > 0 else 0.0
    return Forward(gain=gain, stake=stake)


def _gains(choice: Choice, past: Mask, rows: Ints) -> Array:
    """(m, K) scores of each action above what was done, in dollars, with means from the past alone."""
    out = np.empty((rows.size, len(choice.actions)))
    price, done = choice.price[rows], in_dollars(choice.done[rows], choice.price[rows])
    for k in range(out.shape[1]):
        train = past & choice.took[:, k]
        if train.sum() < 2:
            mean = np.zeros(rows.size)
        else:
            mean = in_dollars(
                ridge(choice.basis[train], choice.done[train], choice.basis[rows], choice.weight[train]),
                price,
            )
        took = choice.took[rows, k] / choice.chosen[rows]
        out[:, k] = mean + took * (done - mean) - done
    return out


def _policy(choice: Choice, scores: Array, rows: Ints, learned: Mask) -> Ints:
    """(m,) the action with the largest predicted gain, -1 (as logged) where none is predicted to gain."""
    basis, weight, offered = choice.basis[rows], choice.weight[rows], choice.offered[rows]
    predicted = np.full(scores.shape, -np.inf)
    for k in range(scores.shape[1]):
        train = learned & offered[:, k]
        if (train & choice.took[rows, k]).sum() >= _MIN_TAKEN:
            fit = ridge(basis[train], scores[train, k, None], basis, weight[train])[:, 0]
            predicted[:, k] = np.where(offered[:, k], fit, -np.inf)
    best = predicted.argmax(axis=1)
    return np.where(predicted[np.arange(rows.size), best] > 0, best, -1)


def _spread(value: Array, weight: Array, cluster: Ints) -> float:
    """Spread of gains, clusters taken as the units: root mean square of their centred sums per decision."""
    mean = np.average(value, weights=weight)
    sums = np.bincount(cluster, weights=weight * (value - mean))
    return float(np.sqrt((sums**2).sum() / weight.sum()))
