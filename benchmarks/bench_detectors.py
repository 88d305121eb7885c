"""The seven detectors against known truth: false alarms where nothing is wrong, power where one thing is.

A null world is a simulated log without misallocation, beside an engine so idle that long contexts impose
less than a tenth of what they pay, and a trainer whose rollouts are worth exactly what they cost; whatever is
found there is false. A power world has one failure; `effect/SE` says how many standard errors of ours
its largest slice is worth, so that power can be read at that effect. A finding is false if its true dollars
are not positive. Worlds run from logs to findings, without the report and the prices that no detector reads.
Run: python benchmarks/bench_detectors.py [--null 200] [--worlds 50] [--jobs 2] [--keep FILE]
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import shadowprice as sp
from shadowprice.estimators.capital.stale_savings import stale_savings
from shadowprice.estimators.confidence import LEVEL, interval
from shadowprice.estimators.congestion.congestion import congestion
from shadowprice.estimators.prices.fit import fit_prices
from shadowprice.estimators.prices.from_decisions import savings_from
from shadowprice.ingest.simulator import Knobs, SimulatedRun, simulate
from shadowprice.ingest.simulator.engine import Arrivals, EngineSettings, engine_steps, replica_name, serve
from shadowprice.ingest.simulator.knobs import MODES
from shadowprice.ingest.simulator.settings import LATENCY_USD_PER_S
from shadowprice.ingest.simulator.training import TrainSettings, train_path
from shadowprice.reports.diagnose import candidates, diagnose, hypothesis
from shadowprice.reports.diagnostics.moves import Candidate
from shadowprice.reports.headline import recoverable
from shadowprice.reports.verdicts import Hypothesis, verdicts
from shadowprice.schemas.config import load_config

REQUESTS = {
    "over_routing": 3900,
    "under_routing": 1500,
    "over_delegation": 5000,
    "under_verification": 2100,
    "serving_congestion": 2000,
    "stale_rollouts": 2100,
    "cache_misuse": 1500,
}
"""Requests at which a failure is worth about 2.8 standard errors; of congestion, the fingerprint's."""
NULL_REQUESTS = 2000
NOTHING_USD = 1e-6
"""True dollars up to which a failure is not there: what is left of a sum that is 0."""
EPOCH_S = 1_780_000_000
BREAK_EVEN = TrainSettings(runs=2, updates=28, rollouts=32, decay=0.0, hard_signal=0.0, signal_usd=0.9)
"""Every rollout is worth exactly what it costs, whatever its lag."""

Row = dict[str, Any]


def world(mode: str | None, seed: int) -> list[Row]:
    """What was found in one world, each with its true dollars; mode None is a null world."""
    began = time.perf_counter()
    knobs = Knobs(requests=NULL_REQUESTS, null=True)
    if mode is not None:
        knobs = Knobs(requests=REQUESTS[mode], inject=(mode,))
    with tempfile.TemporaryDirectory() as folder:
        run = simulate(Path(folder) / "world", seed=seed, knobs=knobs)
        config, _ = load_config(run.config)
        mapping = sorted(run.logs.glob("*.mapping.toml"))
        store = sp.ingest(run.logs, out=Path(folder) / "run", config=config, mapping=mapping)
        est = sp.estimate(store, config=config, seed=seed)
        savings = savings_from(store, config, seed=seed)
        known = truth_of(run)
    if mode is None:
        savings = pl.concat([idle_engine(seed), break_even_training(seed)])
    prices = replace(fit_prices(est, config), savings=savings)
    findings = diagnose(est, prices, config)
    total = recoverable(est, prices, findings)
    counted = sum(f.usd or 0.0 for f in findings if f.status == "found" and f.counted)
    assert abs((total.usd if total else 0.0) - counted) < 0.005
    spent = time.perf_counter() - began
    about = {"world": mode or "null", "seed": seed, "seconds": round(spent, 1)}
    return [about | _asked(c, known) for mode in candidates(est, prices, config) for c in mode]


def _asked(c: Candidate, known: dict[tuple[str | None, ...], float]) -> Row:
    """A candidate without its verdict, so that what is kept can be judged again by another rule."""
    row: Row = {"mode": c.question.mode, "reason": c.reason, "true": None, "test": None}
    if c.move is not None:
        m, q = c.move, c.question
        place = (q.layer, q.decision_point, m.segment, m.action, m.baseline, m.direction)
        row |= {"segment": m.segment, "true": known.get(place)}
    return row | ({"test": asdict(hypothesis(c))} if c.gain is not None else {})


def judged(asked: list[Row]) -> list[Row]:
    """The rows of one world with the verdict of each test: found, its dollars and their interval."""
    families = [[r for r in asked if r["mode"] == mode and r["test"] is not None] for mode in MODES]
    tests = [[Hypothesis(**r["test"]) for r in family] for family in families]
    given = verdicts(tests, level=LEVEL)
    out = [r | {"found": False} for r in asked if r["test"] is None]
    for family, own, verdict in zip(families, tests, given, strict=True):
        for row, t, v in zip(family, own, verdict, strict=True):
            lower, upper = interval(t.usd, t.se, t.df, level=v.level)
            told = {"found": v.found, "usd": t.usd, "se": t.se, "usd_lower": lower, "usd_upper": upper}
            out.append(row | told | {"open": t.usd > t.materiality_usd})
    return out


def truth_of(run: SimulatedRun) -> dict[tuple[str | None, ...], float]:
    """The true dollars of every move and slice of savings, by layer, point, segment, arms and direction."""
    assert run.truth is not None
    known: dict[tuple[str | None, ...], float] = {}
    net = pl.read_parquet(run.truth / "contrasts.parquet").filter(quantity="net")
    for row in net.iter_rows(named=True):
        key = tuple(row[k] for k in ("layer", "decision_point", "segment", "action", "baseline"))
        known |= {(*key, "over"): row["over_usd"], (*key, "under"): row["under_usd"]}
    if (run.truth / "rollouts.parquet").exists():
        kept = pl.read_parquet(run.truth / "rollouts.parquet").filter("kept")
        for low, high in ((0, 1), (2, 3), (4, 7), (8, 15), (16, None)):
            mine = kept.filter(pl.col("version_lag").is_between(low, high or 10**6))
            name = f"version_lag={low}-{high}" if high else f"version_lag={low}+"
            known["training", "keep", name, "keep", "drop", "over"] = -float(mine["net_usd"].sum())
    for failure in json.loads((run.truth / "injected.json").read_text())["failures"]:
        if failure["mode"] == "serving_congestion":
            known["serving", "admit", failure["segment"], "admit", "price", "over"] = failure["usd"]
    return known


def idle_engine(seed: int) -> pl.DataFrame:
    """The savings of an engine whose requests hardly ever meet: 8 % of them are long."""
    rng, n, days = np.random.default_rng((seed, 7)), 600, 12
    time_s = np.sort(86_400.0 * rng.integers(days, size=n) + rng.uniform(0.0, 3_600.0, n)).round(3)
    long = rng.random(n) < 0.08
    given = Arrivals(
        time_s=time_s,
        prompt_tok=np.where(long, 40_000, 1_500) + rng.integers(0, 500, n),
        output_tok=1 + rng.poisson(40, n),
    )
    settings = EngineSettings(replicas=2)
    served = serve(given, settings, seed=seed)
    us = ((time_s + EPOCH_S) * 1e6).round().astype(np.int64)
    frame = pl.DataFrame(
        {
            "decision_id": [f"e{i}" for i in range(n)],
            "layer": "serving",
            "decision_point": "admit",
            "action": "admit",
            "ts": pl.Series(us).cast(pl.Datetime("us", "UTC")),
            "tenant_id": [f"t{t:02d}" for t in rng.integers(20, size=n)],
            "replica": [replica_name(k) for k in served.replica.tolist()],
            "tok_input_uncached": given.prompt_tok,
            "tok_output": given.output_tok,
            "queue_s": served.queue_s,
            "ttft_s": served.ttft_s,
            "decode_s": served.decode_s,
            "latency_s": served.latency_s,
            "x_prompt_band": np.where(long, "long", "short").tolist(),
        }
    )
    steps = engine_steps(served.steps, epoch_s=EPOCH_S)
    return congestion(
        frame, steps, latency_price=LATENCY_USD_PER_S, seed=seed, long_by="x_prompt_band"
    ).savings


def break_even_training(seed: int) -> pl.DataFrame:
    """The savings of a trainer for whom no lag pays more or less than it costs."""
    rows = train_path(BREAK_EVEN, seed=seed).rollouts
    frame = rows.select(
        decision_id=pl.format("r{}", pl.int_range(pl.len())),
        layer=pl.lit("training"),
        decision_point=pl.lit("keep"),
        action=pl.when("kept").then(pl.lit("keep")).otherwise(pl.lit("drop")),
        version_lag="version_lag",
        update_id=pl.format("run-{}-{}", "run", "update"),
        kept="kept",
        x_learning_signal="learning_signal",
    )
    return stale_savings(frame, signal_usd=BREAK_EVEN.signal_usd, keep_usd=BREAK_EVEN.keep_usd)


def run_all(tasks: list[tuple[str | None, int]], jobs: int) -> Iterator[list[Row]]:
    """The worlds, as they are done."""
    with ProcessPoolExecutor(max_workers=jobs) as pool:
        pending = [pool.submit(world, mode, seed) for mode, seed in tasks]
        for done, future in enumerate(as_completed(pending), start=1):
            rows = future.result()
            print(f"{done}/{len(tasks)} {rows[0]['world']} {rows[0]['seconds']} s", file=sys.stderr)
            yield rows


def report(rows: list[Row]) -> None:
    """The two tables."""
    worlds: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        worlds.setdefault((row["world"], row["seed"]), []).append(row)
    told = {world: judged(asked) for world, asked in worlds.items()}
    _report_null([found for (name, _), found in told.items() if name == "null"])
    _report_power({mode: [found for (name, _), found in told.items() if name == mode] for mode in MODES})


def _report_null(worlds: list[list[Row]]) -> None:
    if not worlds:
        return
    false = sum(any(r["found"] for r in rows) for rows in worlds)
    print(f"\nnull worlds: {len(worlds)}; with a (false) finding {_share(false, len(worlds))}")
    print(f"{'mode':<20}{'tested in':>12}{'per world':>11}{'alarm in':>22}")
    for mode in MODES:
        own = [[r for r in rows if r["mode"] == mode and r["test"] is not None] for rows in worlds]
        own = [rows for rows in own if rows]
        alarms = sum(any(r["found"] for r in rows) for rows in own)
        per = sum(map(len, own)) / max(len(own), 1)
        print(f"{mode:<20}{len(own):>12}{per:>11.1f}{_share(alarms, len(own)):>22}")


def _report_power(injected: dict[str, list[list[Row]]]) -> None:
    heads = ("effect/SE", "found", "another false", "held (found)", "held (all)")
    print(f"\n{'injected':<20}" + "".join(f"{h:>20}" for h in heads))
    for mode, worlds in injected.items():
        if not worlds:
            continue
        tested = [r for rows in worlds for r in rows if r["mode"] == mode and r["test"] is not None]
        hit = sum(any(r["found"] and r["mode"] == mode and _real(r) for r in rows) for rows in worlds)
        other = sum(any(r["found"] and r["mode"] != mode and not _real(r) for r in rows) for rows in worlds)
        cells = (
            _effect([[r for r in rows if r["mode"] == mode and _real(r)] for rows in worlds]),
            _share(hit, len(worlds)),
            _share(other, len(worlds)),
            _held([r for r in tested if r["found"]]),
            _held(tested),
        )
        print(f"{mode:<20}" + "".join(f"{c:>20}" for c in cells))


def _real(row: Row) -> bool:
    return (row["true"] or 0.0) > NOTHING_USD


def _effect(worlds: list[list[Row]]) -> str:
    """True dollars over our standard error, of the slice that is worth most; mean over worlds."""
    worth = [[r["true"] / r["se"] for r in rows if r["test"] is not None] for rows in worlds]
    largest = [max(own) for own in worth if own]
    return f"{np.mean(largest):.2f}" if largest else "-"


def _held(rows: list[Row]) -> str:
    known = [r for r in rows if r["true"] is not None]
    return _share(sum(r["usd_lower"] <= r["true"] <= r["usd_upper"] for r in known), len(known))


def _share(count: int, of: int) -> str:
    return f"{count}/{of} ({count / of:.1%})" if of else "-"


def tasks_of(null: int, worlds: int, modes: Iterable[str], first: int) -> list[tuple[str | None, int]]:
    """Null and power worlds in turn, so that a run that is stopped has some of each."""
    power = [(mode, first + k) for k in range(worlds) for mode in modes]
    nulls: list[tuple[str | None, int]] = [(None, first + k) for k in range(null)]
    longer = max(len(power), len(nulls))
    mixed = [task for k in range(longer) for task in (*nulls[k : k + 1], *power[k : k + 1])]
    return list(mixed)


def main() -> None:
    """Run the worlds and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--null", type=int, default=200, help="null worlds")
    parser.add_argument("--worlds", type=int, default=50, help="worlds per injected failure")
    parser.add_argument("--mode", action="append", choices=MODES, help="only this failure; repeatable")
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="add what was found to this file, and report all of it")
    args = parser.parse_args()
    keep: Path | None = args.keep
    rows: list[Row] = []
    if keep is not None and keep.exists():
        rows = [json.loads(line) for line in keep.read_text().splitlines()]
    done = {(None if r["world"] == "null" else r["world"], r["seed"]) for r in rows}
    tasks = [t for t in tasks_of(args.null, args.worlds, args.mode or MODES, args.first) if t not in done]
    for found in run_all(tasks, args.jobs):
        rows += found
        if keep is not None:
            with keep.open("a") as file:
                file.writelines(json.dumps(row) + "\n" for row in found)
    report(rows)


if __name__ == "__main__":
    main()
