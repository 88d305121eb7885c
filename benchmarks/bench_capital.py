"""Speculation, cache decay, stale rollouts and prefix reuse against known truth, by repetition.

Coverage is that of 95 % intervals; a world that was refused is counted beside them. The last cache row breaks
what the estimate assumes, to show by how much. Mooncake numbers need the public trace and are left out
without. Run: python benchmarks/bench_capital.py [--worlds 500]
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray
from shadowprice.estimators.capital.acceptance import censored_acceptance, threshold
from shadowprice.estimators.capital.cache_decay import decay_prices
from shadowprice.estimators.capital.cache_looks import read_looks
from shadowprice.estimators.capital.prefix_replay import PrefixTrace, replay
from shadowprice.estimators.capital.production import Production, production
from shadowprice.estimators.capital.prompt_prices import TokenPrices
from shadowprice.estimators.capital.spec_rows import Rounds
from shadowprice.estimators.capital.speculation import speculation_cells
from shadowprice.estimators.capital.staleness import staleness_prices
from shadowprice.ingest.simulator.training import BUDGETS, TrainSettings, train_path
from shadowprice.schemas.config import Config
from shadowprice.schemas.records import Price
from threadpoolctl import threadpool_limits

HAZARD = 0.03
PRICES = TokenPrices(fresh=3e-6, read=3e-7, write=3.75e-6)
BLOCK_TOK = 512
_RATES = np.random.default_rng(0).beta(60, 40, 1_000_000)
KEPT = float((_RATES + _RATES**2 + _RATES**3 + _RATES**4).mean())
"""Tokens accepted per round of four drafts where the rates of clusters are Beta(60, 40)."""
ACCEPTANCE = KEPT / (KEPT + float((1 - _RATES**4).mean()))
"""accepted / (accepted + rejected) over very many such clusters."""

Array = NDArray[np.float64]
Draw = Callable[[int], tuple[tuple[Price, float], ...]]


def entries(
    seed: int,
    *,
    n: int,
    evict: float = 0.03,
    idle: float = np.inf,
    look: float = 0.2,
    fault: float = 0.0,
    tenants: int = 0,
    purged: float = 0.0,
) -> pl.DataFrame:
    """Reuses of n cache entries whose lives are exponential (hourly hazard HAZARD).

    evict: hourly chance of eviction at random; idle: hours without a look after which an entry is evicted
    (LRU); purged: chance that an entry is evicted as it goes bad, before anybody looks. fault: share of
    answers that are bad at any age, also of 300 recomputed ones. tenants: groups whose hazards scatter by 30
    %.
    """
    rng = np.random.default_rng(seed)
    group = rng.integers(0, tenants, n) if tenants else np.arange(n)
    rate = HAZARD * (rng.gamma(10.0, 0.1, tenants)[group] if tenants else 1.0)
    life = rng.exponential(1.0, n) / rate
    until = np.minimum(rng.exponential(1 / evict, n), np.where(rng.random(n) < purged, life, np.inf))
    gaps = rng.exponential(1 / look, (n, 120))
    age = gaps.cumsum(axis=1)
    held = (age < until[:, None]) & (np.maximum.accumulate(gaps, axis=1) < idle)
    entry, at = np.nonzero(held)
    seen = age[entry, at]
    bad = (seen > life[entry]) | (rng.random(entry.size) < fault)
    again = rng.random(300 if fault else 0) < fault
    size = entry.size + again.size
    owners = np.concatenate([group[entry], -1 - np.arange(again.size)])
    return pl.DataFrame(
        {
            "decision_id": [f"d{i}" for i in range(size)],
            "session_id": [f"s{g}" for g in owners],
            "layer": "serving",
            "decision_point": "reuse",
            "cache_hit_kind": "semantic",
            "action": ["reuse"] * entry.size + ["recompute"] * again.size,
            "source_request_id": pl.Series([f"e{e}" for e in entry] + [None] * again.size, dtype=pl.String),
            "cache_age_s": pl.Series([*(3600 * seen), *[None] * again.size], dtype=pl.Float64),
            "quality": 1.0 - np.concatenate([bad, again]),
        }
    )


def scattered() -> float:
    """The mean hazard over entry-hours where tenants differ: those of short lives have fewer hours."""
    rate = HAZARD * np.random.default_rng(0).gamma(10.0, 0.1, 1_000_000)
    hours = 1 / (rate + 0.03)
    return float((rate * hours).sum() / hours.sum())


def cache_worlds() -> dict[str, Draw]:
    """Regime -> the prices of one world, each beside its truth."""
    regimes: dict[str, dict[str, float]] = {
        "150 entries, random eviction": {"n": 150},
        "600 entries, random eviction": {"n": 600},
        "60 entries": {"n": 60},
        "most evicted within hours": {"n": 600, "evict": 0.3},
        "LRU: 8 idle hours": {"n": 400, "idle": 8.0, "evict": 0.005},
        "looked at once a day": {"n": 400, "look": 0.04, "evict": 0.01},
        "5 % faults at any age": {"n": 300, "fault": 0.05},
        "40 tenants of different hazards": {"n": 600, "tenants": 40},
        "half evicted because bad (assumption broken)": {"n": 600, "purged": 0.5},
    }

    def of(settings: dict[str, float]) -> Draw:
        hazard = scattered() if "tenants" in settings else HAZARD

        def one(seed: int) -> tuple[tuple[Price, float], ...]:
            frame = entries(seed, **settings)  # type: ignore[arg-type]
            decay, half = decay_prices(read_looks(frame, Config(), seed=0))
            return (decay, -np.expm1(-hazard)), (half, np.log(2) / hazard)

        return one

    return {name: of(settings) for name, settings in regimes.items()}


def rollouts(settings: TrainSettings, seed: int) -> pl.DataFrame:
    """The rollouts of a simulated trainer in the decisions layout."""
    return train_path(settings, seed=seed).rollouts.select(
        decision_id=pl.format("r{}", pl.int_range(pl.len())),
        layer=pl.lit("training"),
        decision_point=pl.lit("keep"),
        action=pl.when("kept").then(pl.lit("keep")).otherwise(pl.lit("drop")),
        version_lag="version_lag",
        update_id=pl.format("run-{}-{}", "run", "update"),
        x_difficulty="difficulty",
        x_learning_signal="learning_signal",
    )


def trainer_worlds() -> dict[str, Draw]:
    """Regime -> delta and lag* of one world, each beside its truth."""
    usual = TrainSettings(runs=2, updates=28, rollouts=17)
    regimes = {
        "decay .12, 56 updates of 17": usual,
        "no decay": replace(usual, decay=0.0),
        "decay .02": replace(usual, decay=0.02),
        "decay .12, noise 1": replace(usual, signal_noise=1.0),
        "decay .12, 12 updates of 40": replace(usual, runs=1, updates=12, rollouts=40),
        "decay .12, difficulty moves lag and signal": replace(
            usual, hard_signal=0.5, hard_work=0.8, jitter_updates=1.5
        ),
        "decay .12, stale ones dropped": replace(usual, keep_lag=6),
    }

    def of(settings: TrainSettings) -> Draw:
        def one(seed: int) -> tuple[tuple[Price, float], ...]:
            decay, lag = staleness_prices(
                rollouts(settings, seed), seed=0, signal_usd=settings.signal_usd, keep_usd=settings.keep_usd
            )
            stops = np.log(settings.signal_usd / settings.keep_usd)
            truth = stops / -np.log1p(-settings.decay) if settings.decay else np.inf
            return (decay, settings.decay), (lag, float(truth))

        return one

    return {name: of(settings) for name, settings in regimes.items()}


def covered(worlds: dict[str, Draw], repeats: int) -> None:
    """Print a row per regime and price."""
    print("| world | price | truth | mean | covered | mean width | refused |")
    print("|---|---|---|---|---|---|---|")
    for name, draw in worlds.items():
        drawn = [draw(seed) for seed in range(repeats)]
        for j in range(len(drawn[0])):
            truth = drawn[0][j][1]
            kept = [d[j][0] for d in drawn if d[j][0].value is not None]
            if not kept or not np.isfinite(truth):
                print(f"| {name} | {drawn[0][j][0].name} | {truth:.4g} | - | - | - | {repeats - len(kept)} |")
                continue
            ends = np.array([(p.value, p.lower, p.upper) for p in kept], dtype=float)
            hit = ((ends[:, 1] <= truth) & (truth <= ends[:, 2])).mean()
            print(
                f"| {name} | {kept[0].name} | {truth:.4g} | {ends[:, 0].mean():.4g} | {hit:.1%} | "
                f"{(ends[:, 2] - ends[:, 1]).mean():.4g} | {repeats - len(kept)} |"
            )


def speculation(repeats: int) -> None:
    """Print the worked example, and how often intervals of the acceptance hold it."""
    example = threshold(4, step_s=1.0, verify_s=1.1, draft_s=0.1)
    print(f"alpha* with 4 drafts, draft .1 and verification 1.1 of a step: {example:.4f}\n")
    hits = 0
    for seed in range(repeats):
        rng = np.random.default_rng(seed)
        cluster = rng.integers(0, 40, 2000)
        of_cluster = rng.beta(60, 40, 40)
        accepted = np.minimum(rng.geometric(1 - of_cluster[cluster]) - 1, 4).astype(float)
        found = censored_acceptance(accepted, np.full(2000, 4.0), cluster)
        hits += found is not None and found.lower <= ACCEPTANCE <= found.upper
    print(f"acceptance, 2,000 rounds in 40 clusters that differ: covered {hits / repeats:.1%} of {repeats}\n")
    print("| E T1 / (Tv + g Td) | buy | undecided | do not buy |")
    print("|---|---|---|---|")
    for ratio in (0.9, 0.97, 1.0, 1.03, 1.1):
        said = [verdict(seed, ratio) for seed in range(repeats)]
        shares = (said.count(v) / repeats for v in ("buy", "undecided", "do not buy"))
        print(f"| {ratio} | " + " | ".join(f"{share:.1%}" for share in shares) + " |")
    print()


def verdict(seed: int, ratio: float) -> str:
    """What is said of 200 requests with drafts and 200 without, in 40 sessions whose speed and acceptance
    differ by a tenth, where drafting saves 1 - 1 / ratio of the decode time."""
    rng, n = np.random.default_rng(seed), 400
    session = rng.integers(0, 40, n)
    drafts = rng.random(n) < 0.5
    speed = np.exp(0.1 * rng.normal(size=40))[session]
    kept = rng.beta(60, 40, 40)[session]
    rounds = 50
    hits = np.minimum(rng.geometric(1 - kept, size=(rounds, n)) - 1, 4).sum(axis=0)
    seconds = np.where(drafts, rounds * 0.01 * (1 + KEPT) / ratio, 100 * 0.01) * speed
    found = speculation_cells(
        Rounds(
            cell=np.full(n, "one"),
            drafted=np.where(drafts, 4.0 * rounds, 0.0),
            accepted=np.where(drafts, hits, 0).astype(float),
            rounds=np.where(drafts, float(rounds), 100.0),
            seconds=seconds * np.exp(0.05 * rng.normal(size=n)),
            cluster=session,
            replica=np.full(n, ""),
        )
    )["one"]
    return found if isinstance(found, str) else found.verdict


def budgets(repeats: int) -> None:
    """Print coverage of the exponents and the size and power of the equimarginal test."""
    uneven = TrainSettings(runs=12, updates=20, rollouts=1)
    even = replace(uneven, budgets=(120.0, 80.0, 100.0))
    print("| budgets | exponents covered | last dollars called unequal (5 % test) |")
    print("|---|---|---|")
    for name, settings in (("last dollars add alike", even), ("verification adds twice as much", uneven)):
        hits, unequal = 0, 0
        for seed in range(repeats):
            found = production(train_path(settings, seed=seed).updates, budgets=BUDGETS, randomised=True)
            if not isinstance(found, Production):
                raise TypeError(found)
            spans = zip(found.exponents.values(), settings.exponents, strict=True)
            hits += sum(s.lower <= a <= s.upper for s, a in spans)
            unequal += (found.equal_p if found.equal_p is not None else 1.0) < 0.05
        print(f"| {name} | {hits / (3 * repeats):.1%} | {unequal / repeats:.1%} |")


def mooncake() -> None:
    """Print the hit-rate curve of the public trace, or say that it is absent."""
    root = Path(os.environ.get("SHADOWPRICE_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
    path = root / "mooncake_fast25" / "synthetic_trace.jsonl"
    if not path.is_file():
        print("The Mooncake trace is absent: set SHADOWPRICE_DATA to the folder that holds it.")
        return
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    found = replay(
        PrefixTrace(
            time_s=np.array([row["timestamp"] / 1e3 for row in rows]),
            request=np.repeat(np.arange(len(rows)), [len(row["hash_ids"]) for row in rows]),
            block=np.concatenate([row["hash_ids"] for row in rows]),
        )
    )
    sizes = np.array([100, 300, 1000, 3000, 10_000, 20_000, 30_000, found.distinct])
    worth = found.worth_usd(sizes, prices=PRICES, block_tok=BLOCK_TOK)
    print(
        f"{len(rows):,} requests, {found.distance.size:,} block lookups, {found.distinct:,} distinct; "
        f"infinite cache {found.infinite_rate:.1%}; age at a hit: "
        + ", ".join(f"{q:.0%} under {np.nanquantile(found.age_s, q):.0f} s" for q in (0.1, 0.5, 0.9))
    )
    print("\n| cache, blocks of 512 tokens | block hit rate | USD saved net of writes |")
    print("|---|---|---|")
    for size, rate, usd in zip(sizes, found.hit_rate(sizes), worth, strict=True):
        print(f"| {size:,} | {rate:.1%} | {usd:,.2f} |")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=500)
    repeats = parser.parse_args().worlds
    with threadpool_limits(limits=1):
        speculation(repeats)
        covered(cache_worlds(), repeats)
        print()
        covered(trainer_worlds(), repeats)
        print()
        budgets(repeats)
        print()
        mooncake()


if __name__ == "__main__":
    main()
