"""A prefix cache of any size at once: against a cache that is really kept, and on a public trace."""

from __future__ import annotations

import json
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from paths import shared_data
from shadowprice.errors import SchemaError
from shadowprice.estimators.capital.prefix_replay import PrefixTrace, replay
from shadowprice.estimators.capital.prompt_prices import TokenPrices

Prompts = list[list[int]]


def trace(prompts: Prompts, times: list[float] | None = None) -> PrefixTrace:
    """The prompts, one request a second unless told otherwise."""
    return PrefixTrace(
        time_s=np.arange(len(prompts), dtype=float) if times is None else np.array(times),
        request=np.repeat(np.arange(len(prompts)), [len(p) for p in prompts]),
        block=np.array([b for p in prompts for b in p], dtype=np.int64),
    )


def kept(prompts: Prompts, size: int) -> int:
    """Hits of an LRU cache that looks a prompt up and then touches its blocks from the last to the first."""
    cache: OrderedDict[int, None] = OrderedDict()
    hits = 0
    for prompt in prompts:
        hits += sum(block in cache for block in prompt)
        for block in reversed(prompt):
            cache.pop(block, None)
            cache[block] = None
        while len(cache) > size:
            cache.popitem(last=False)
    return hits


def as_prefixes(words: list[list[int]]) -> Prompts:
    """Prompts of words as prompts of blocks: a block names everything up to it."""
    names: dict[tuple[int, ...], int] = {}
    return [[names.setdefault(tuple(w[: i + 1]), len(names)) for i in range(len(w))] for w in words]


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6), min_size=1, max_size=25))
def test_every_size_hits_what_a_cache_of_that_size_would(words: list[list[int]]) -> None:
    """Kills a distance off by one, one that counts a block twice, or the request's own blocks."""
    prompts = as_prefixes(words)
    found = replay(trace(prompts))
    sizes = np.arange(1, 30)
    naive = [kept(prompts, int(size)) for size in sizes]
    assert (found.hit_rate(sizes) * found.distance.size).round().astype(int).tolist() == naive


def test_what_is_hit_is_always_a_prefix() -> None:
    """Kills touches from the first block on, which would evict the root of a prompt before its leaves."""
    rng = np.random.default_rng(1)
    prompts = as_prefixes([rng.integers(0, 3, rng.integers(1, 8)).tolist() for _ in range(200)])
    found = replay(trace(prompts))
    ends = np.cumsum([len(p) for p in prompts])[:-1]
    for distance in np.split(found.distance, ends):
        held = np.where(distance == 0, 10**9, distance)
        assert (np.diff(held) >= 0).all()


def test_ages_run_from_the_first_writing_and_idle_times_from_the_last_touch() -> None:
    """Kills ages of the wrong touch: block 0 is written at 0 s, touched at 10 and 25 s."""
    found = replay(trace([[0], [0, 1], [0, 1]], [0.0, 10.0, 25.0]))
    assert found.age_s[[1, 3, 4]].tolist() == [10.0, 25.0, 15.0]
    assert found.idle_s[[1, 3, 4]].tolist() == [10.0, 15.0, 15.0]
    assert np.isnan(found.age_s[[0, 2]]).all()
    assert (found.distinct, found.infinite_rate) == (2, 0.6)


def test_the_worth_of_a_cache_is_its_hits_less_what_its_misses_cost_to_write() -> None:
    """Kills a value without the premium: 3 hits save 2.7 USD a token each, 2 misses cost .75 more, 10
    tokens."""
    found = replay(trace([[0], [0, 1], [0, 1]]))
    prices = TokenPrices(fresh=3.0, read=0.3, write=3.75)
    worth = found.worth_usd(np.array([0, 2]), prices=prices, block_tok=10)
    assert worth == pytest.approx([-10 * 5 * 0.75, 10 * (3 * 2.7 - 2 * 0.75)])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"time_s": np.array([1.0, 0.0])}, "request 1 before"),
        ({"block": np.array([5, 5, 6])}, "a block twice in request 0"),
        ({"request": np.array([1, 0, 1])}, "not in order"),
        ({"request": np.array([0, 0, 2])}, "without a time"),
        ({"time_s": np.array([0.0, np.nan])}, "not finite"),
    ],
)
def test_an_impossible_trace_is_one_clear_error(change: dict[str, Any], said: str) -> None:
    """Kills clocks out of order that give negative ages, and blocks that hit themselves."""
    fine: dict[str, Any] = {
        "time_s": np.array([0.0, 1.0]),
        "request": np.array([0, 0, 1]),
        "block": np.array([1, 2, 1]),
    }
    with pytest.raises(SchemaError, match=said):
        PrefixTrace(**(fine | change))


def test_the_mooncake_trace_hits_64_percent_in_an_infinite_cache() -> None:
    """Kills a curve that only fits small traces: the published 64.0 %, and real caches of four sizes."""
    lines = (shared_data("mooncake_fast25") / "synthetic_trace.jsonl").read_text(encoding="utf-8")
    rows = [json.loads(line) for line in lines.splitlines()]
    prompts = [row["hash_ids"] for row in rows]
    found = replay(trace(prompts, [row["timestamp"] / 1e3 for row in rows]))
    assert round(found.infinite_rate, 3) == 0.640
    sizes = np.array([100, 2000, 20_000])
    naive = [kept(prompts, int(size)) / found.distance.size for size in sizes]
    assert found.hit_rate(sizes) == pytest.approx(naive)
