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
from dataclasses import replace
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import polars as pl
import shadowprice as sp
from shadowprice.estimators.capital.stale_savings import stale_savings
from shadowprice.estimators.confidence import LEVEL
from shadowprice.estimators.congestion.congestion import congestion
from shadowprice.estimators.prices.fit import fit_prices
from shadowprice.estimators.prices.from_decisions import savings_from
from shadowprice.ingest.simulator import Knobs, SimulatedRun, simulate
from shadowprice.ingest.simulator.engine import Arrivals, EngineSettings, engine_steps, replica_name, serve
from shadowprice.ingest.simulator.knobs import MODES
from shadowprice.ingest.simulator.settings import LATENCY_USD_PER_S
from shadowprice.ingest.simulator.training import TrainSettings, train_path
from shadowprice.reports.diagnose import diagnose
from shadowprice.reports.headline import recoverable
from shadowprice.reports.multiplicity import FALSE_DISCOVERY_RATE, benjamini_hochberg, selected_level
from shadowprice.schemas.config import load_config
from shadowprice.schemas.records import Finding

REQUESTS = {
    "over_routing": 2400,
    "under_routing": 2000,
    "over_delegation": 4000,
    "under_verification": 3600,
    "serving_congestion": 2000,
    "stale_rollouts": 1800,
    "cache_misuse": 2400,
}
"""Requests at which a failure is worth about 2.8 standard errors; of congestion, the fingerprint's."""
NULL_REQUESTS = 2000
NOTHING_USD = 1e-6
"""True dollars up to which a failure is not there: what is left of a sum that is 0."""
_DOUBTED = "serving_congestion"
"""The check whose findings the fingerprint test has to support too."""
NORMAL = NormalDist()
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
    return [about | _of(f, known) for f in findings]


def _of(f: Finding, known: dict[tuple[str | None, ...], float]) -> Row:
    true = known.get((f.layer, f.decision_point, f.segment, f.action, f.baseline, f.direction))
    names = ("mode", "segment", "status", "usd", "usd_lower", "usd_upper", "p_value", "mde_usd", "reason")
    return {name: getattr(f, name) for name in names} | {"true": true}


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
    """The three tables."""
    frame = pl.DataFrame(rows, infer_schema_length=None)
    _report_null(frame.filter(world="null"))
    _report_power(frame.filter(pl.col("world") != "null"))
    _report_pooled(rows)


def pooled(rows: list[Row]) -> list[Row]:
    """What one Benjamini-Hochberg over all checks of a world would find, in place of one within each check.

    Standard errors are read off the intervals, with normal quantiles.
    """
    tested = [r for r in rows if r["p_value"] is not None]
    chosen = [q <= FALSE_DISCOVERY_RATE for q in benjamini_hochberg([r["p_value"] for r in tested])]
    fine = [r["mode"] != _DOUBTED or r["status"] == "found" for r in tested]
    chosen = [c and f for c, f in zip(chosen, fine, strict=True)]
    while True:
        reach = NORMAL.inv_cdf(0.5 + selected_level(sum(chosen), len(chosen), level=LEVEL) / 2)
        kept = [c and r["usd"] > reach * _se(r, tested) for c, r in zip(chosen, tested, strict=True)]
        if kept == chosen:
            return [r for r, c in zip(tested, chosen, strict=True) if c]
        chosen = kept


def _se(row: Row, tested: list[Row]) -> float:
    mine = [r for r in tested if r["mode"] == row["mode"]]
    found = sum(r["status"] == "found" for r in mine)
    level = selected_level(found, len(mine), level=LEVEL) if row["status"] == "found" else LEVEL
    return (row["usd_upper"] - row["usd_lower"]) / 2.0 / NORMAL.inv_cdf(0.5 + level / 2)


def _report_pooled(rows: list[Row]) -> None:
    """Worlds with a false finding, and with the injected one, under one test over all checks."""
    worlds: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        worlds.setdefault((row["world"], row["seed"]), []).append(row)
    print("\none Benjamini-Hochberg over all tests of a world, without families")
    print(f"{'world':<20}{'tests':>8}{'a false finding':>22}{'the injected one':>22}")
    for name in ("null", *MODES):
        mine = [found for (world, _), found in worlds.items() if world == name]
        if not mine:
            continue
        hits = [pooled(found) for found in mine]
        real = [[(r["true"] or 0.0) > NOTHING_USD for r in hit] for hit in hits]
        false = sum(not all(r) for r in real)
        own = [[r["mode"] == name for r in hit] for hit in hits]
        made = sum(any(map(all, zip(*pair, strict=True))) for pair in zip(real, own, strict=True))
        tests = sum(r["p_value"] is not None for found in mine for r in found) / len(mine)
        told = "-" if name == "null" else _share(made, len(mine))
        print(f"{name:<20}{tests:>8.1f}{_share(false, len(mine)):>22}{told:>22}")


def _report_null(frame: pl.DataFrame) -> None:
    if frame.is_empty():
        return
    worlds = frame["seed"].n_unique()
    found = frame.filter(status="found")
    false = found["seed"].n_unique()
    print(f"\nnull worlds: {worlds}; with a (false) finding {false}, {_share(false, worlds)}")
    print(f"{'mode':<20}{'tested in':>12}{'per world':>11}{'alarm in':>10}{'share':>22}")
    for mode in MODES:
        mine = frame.filter(mode=mode)
        tested = mine.drop_nulls("p_value")
        count = tested["seed"].n_unique()
        alarms = mine.filter(status="found")["seed"].n_unique()
        per = tested.height / count if count else 0.0
        print(f"{mode:<20}{count:>12}{per:>11.1f}{alarms:>10}{_share(alarms, count):>22}")


def _report_power(frame: pl.DataFrame) -> None:
    if frame.is_empty():
        return
    heads = ("worlds", "effect/SE", "found", "inconclusive", "other false", "held (found)", "held (all)")
    print(f"\n{'injected':<20}" + "".join(f"{h:>22}" for h in heads))
    for mode in MODES:
        mine = frame.filter(world=mode)
        if mine.is_empty():
            continue
        worlds = mine["seed"].n_unique()
        real = mine.filter((pl.col("mode") == mode) & (pl.col("true") > NOTHING_USD))
        found = real.filter(status="found")
        per_world = real.filter(status="found")["seed"].n_unique()
        open_ = real.filter(status="inconclusive")["seed"].unique().is_in(found["seed"].implode())
        others = mine.filter(
            (pl.col("status") == "found")
            & (pl.col("mode") != mode)
            & ~(pl.col("true") > 1e-6).fill_null(False)
        )["seed"].n_unique()
        tested = mine.filter(mode=mode).drop_nulls(["usd", "true"])
        cells = (
            str(worlds),
            _effect(real),
            _share(per_world, worlds),
            str(int((~open_).sum())),
            _share(others, worlds),
            _held(found),
            _held(tested),
        )
        print(f"{mode:<20}" + "".join(f"{c:>22}" for c in cells))


def _effect(real: pl.DataFrame) -> str:
    """True dollars over the standard error that the mde implies, mean over worlds of the largest slice."""
    rows = real.drop_nulls(["usd", "mde_usd"]).sort("true", descending=True).unique("seed", keep="first")
    if rows.is_empty():
        return "-"
    half = (rows["usd_upper"] - rows["usd_lower"]) / 2.0 / 1.96
    return f"{float((rows['true'] / half).mean()):.1f}"  # type: ignore[arg-type]


def _held(frame: pl.DataFrame) -> str:
    rows = frame.drop_nulls(["usd", "true"])
    inside = (rows["usd_lower"] <= rows["true"]) & (rows["true"] <= rows["usd_upper"])
    return _share(int(inside.sum()), rows.height)


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
