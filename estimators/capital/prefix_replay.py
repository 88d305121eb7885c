"""A prefix cache replayed over a trace of block hashes: what a cache of any size would have hit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...errors import SchemaError
from .prompt_prices import TokenPrices

Array = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixTrace:
    """R requests in order of arrival and their n prompt blocks. time_s: (R,). request: (n,) rising indices
    into time_s. block: (n,) ids, in the order of the prompt, each naming the whole prefix up to it."""

    time_s: Array
    request: Ints
    block: Ints

    def __post_init__(self) -> None:
        late = np.flatnonzero(np.diff(self.time_s) < 0.0)
        twice = np.flatnonzero(_repeats(self.request, self.block))
        checks = (
            (
                self.request.shape == self.block.shape and bool((np.diff(self.request) >= 0).all()),
                "requests not in order",
            ),
            (
                not self.request.size or 0 <= self.request[0] <= self.request[-1] < self.time_s.size,
                "a request without a time",
            ),
            (not late.size, f"request {int(late[0]) + 1} before the one ahead of it" if late.size else ""),
            (bool(np.isfinite(self.time_s).all()), "a time that is not finite"),
            (not twice.size, f"a block twice in request {int(self.request[twice[0]])}" if twice.size else ""),
        )
        for fine, found in checks:
            if not fine:
                raise SchemaError(
                    found, where="prefix trace", expected="requests by time, each block once per request"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class PrefixReplay:
    """What became of n block lookups. distance: (n,) the smallest LRU cache, in blocks, that held the block;
    0 for a block never seen. idle_s: (n,) since it was last touched; age_s: (n,) since it was first written;
    NaN where it never was."""

    distance: Ints
    idle_s: Array
    age_s: Array

    @property
    def distinct(self) -> int:
        """Blocks that an infinite cache would hold."""
        return int((self.distance == 0).sum())

    @property
    def infinite_rate(self) -> float:
        """Share of the lookups that an infinite cache hits."""
        return float((self.distance > 0).mean())

    def hit_rate(self, blocks: Ints) -> Array:
        """Share of the lookups that LRU caches of the given sizes hit."""
        found = np.sort(self.distance[self.distance > 0])
        return np.searchsorted(found, blocks, side="right") / self.distance.size

    def worth_usd(self, blocks: Ints, *, prices: TokenPrices, block_tok: int) -> Array:
        """USD that LRU caches of the given sizes save over the trace, net: hits at the saving per token, less
        misses, which are written, at the premium. block_tok: tokens of a block, the last of a prompt
        included.
        """
        hits = self.hit_rate(blocks) * self.distance.size
        return block_tok * (hits * prices.saving - (self.distance.size - hits) * prices.premium)


def replay(trace: PrefixTrace) -> PrefixReplay:
    """Every lookup's exact LRU stack distance, for all cache sizes at once.

    A request looks up its blocks in the cache as it arrives and then touches them from last to first, as
    engines do: a block is never evicted before those that extend it, so what is hit is always a prefix. The
    distance is one more than the distinct blocks touched since the block's last touch and before the request:
    all touches between, less those of blocks that were touched again, whose touch before lies later.

    Source: Mattson, Gecsei, Slutz & Traiger 1970, IBM Systems Journal 9.
    """
    order = np.lexsort((-np.arange(trace.block.size), trace.request))
    request, block = trace.request[order], trace.block[order]
    before, first = _previous(block), _first(block)
    seen = before >= 0
    start = np.searchsorted(request, request, side="left")
    again = _earlier_and_larger(before, start)
    distance = np.where(seen, start - before - again, 0)
    now = trace.time_s[request]
    idle = np.where(seen, now - now[np.maximum(before, 0)], np.nan)
    age = np.where(seen, now - now[first], np.nan)
    back = np.argsort(order)
    return PrefixReplay(distance=distance.astype(np.int64)[back], idle_s=idle[back], age_s=age[back])


def _repeats(request: Ints, block: Ints) -> NDArray[np.bool_]:
    """(n - 1,) in some order, where a request names a block again; flags refer to sorted rows."""
    if request.shape != block.shape:
        return np.zeros(0, dtype=bool)
    order = np.lexsort((block, request))
    same = (np.diff(request[order]) == 0) & (np.diff(block[order]) == 0)
    flags = np.zeros(request.size, dtype=bool)
    flags[order[1:][same]] = True
    return flags


def _previous(block: Ints) -> Ints:
    """(n,) position of the touch before, of the same block; -1 for the first."""
    order = np.argsort(block, kind="stable")
    same = np.concatenate([[False], np.diff(block[order]) == 0])
    before = np.full(block.size, -1, dtype=np.int64)
    before[order[same]] = order[np.flatnonzero(same) - 1]
    return before


def _first(block: Ints) -> Ints:
    """(n,) position of the first touch of the same block."""
    _, position, codes = np.unique(block, return_index=True, return_inverse=True)
    return position[codes].astype(np.int64)


def _earlier_and_larger(before: Ints, start: Ints) -> Ints:
    """(n,) how many positions j < start_i have before_j > before_i, counted in a merge of halves.

    Points (j, before_j) and questions (start_i, before_i) are laid out in one sequence, each question ahead
    of the points from its start on; at every level of the merge, the points of a left half that are larger
    are counted for the questions of its right half.
    """
    n = before.size
    position = np.concatenate([np.arange(n), start])
    asks = np.repeat([False, True], n)
    order = np.lexsort((~asks, position))
    value, asking = np.concatenate([before, before])[order], asks[order]
    count, at = np.zeros(2 * n, dtype=np.int64), np.arange(2 * n)
    by_value = np.argsort(value, kind="stable")  # no two are equal but those never seen, who do not ask
    for level in range(int(2 * n - 1).bit_length()):
        pair, right = at >> (level + 1), (at >> level) & 1
        rows = by_value[np.argsort(pair[by_value], kind="stable")]
        point = (right[rows] == 0) & ~asking[rows]
        upto = np.cumsum(point)
        whole = np.bincount(pair, weights=(right == 0) & ~asking).astype(np.int64)
        ahead = np.concatenate([[0], np.cumsum(whole)])
        larger = ahead[pair[rows] + 1] - upto
        wanted = (right[rows] == 1) & asking[rows]
        count[rows[wanted]] += larger[wanted]
    found = np.empty(2 * n, dtype=np.int64)
    found[order] = count
    return found[n:]
