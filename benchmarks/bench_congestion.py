"""External delay with known truth: engine replay, single queues, and real arrivals on a measured engine.

The truth of the engines is paired deletion in the simulator, whose noise, cache and admission the replay does
not know. The last table is simulated: real arrivals on a step-time law fitted to published measurements.
Run: python benchmarks/bench_congestion.py [--worlds 5] [--requests 3000] [--compared 150]
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

import numpy as np
import polars as pl
from shadowprice.estimators.congestion.congestion import priced_replays
from shadowprice.estimators.congestion.deletions import delete_each
from shadowprice.estimators.congestion.engine import Limits
from shadowprice.estimators.congestion.lindley import deletion_delays, mg1_delay, waits
from shadowprice.estimators.congestion.replay import Server, fit_quality, replay
from shadowprice.estimators.congestion.requests import Requests, read_requests
from shadowprice.estimators.congestion.step_law import StepLaw, fit_step_law
from shadowprice.estimators.congestion.step_log import attention_pairs, find_limits, read_steps
from shadowprice.ingest.simulator.engine import Arrivals, EngineSettings, Served, engine_steps, serve
from shadowprice.ingest.simulator.engine_truth import external_delay
from threadpoolctl import threadpool_limits

LOADS = (0.3, 0.6, 0.8, 0.9)
EPOCH_S = 1_780_000_000
LONG_SHARE = 0.2
CHUNK_TOK = 2_048
LUCKS = 24
"""Draws of the simulator's noise to which the true deletions of a world are dealt."""
ENGINES = {
    "default": (EngineSettings(), 0.0),
    "small cache, half of a prompt cached": (
        EngineSettings(kv_cap=60_000, token_budget=1024, noise=0.15),
        0.5,
    ),
}
"""Simulated engines, and the share of each prompt that their prefix cache serves."""
DATA = Path(os.environ.get("SHADOWPRICE_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))

Array = np.ndarray


def arrivals(n: int, per_s: float, cached: float, seed: int) -> tuple[Arrivals, Array]:
    """Poisson arrivals with prompts of 200 to 2,000 tokens, a fifth with 8,000 to 20,000; which are long."""
    rng = np.random.default_rng(seed)
    long = rng.random(n) < LONG_SHARE
    prompt = np.where(long, rng.integers(8_000, 20_000, n), rng.integers(200, 2_000, n))
    time_s = np.zeros(n) if np.isinf(per_s) else rng.exponential(1 / per_s, n).cumsum().round(6)
    given = Arrivals(
        time_s=time_s,
        prompt_tok=prompt,
        output_tok=rng.geometric(1 / 150, n),
        cached_tok=(cached * prompt).astype(np.int64),
    )
    return given, long


def capacity(settings: EngineSettings, cached: float) -> float:
    """Requests per second of an engine that is never without work: 2,000 that come at once."""
    given, _ = arrivals(2_000, np.inf, cached, seed=99)
    return given.n / float(serve(given, settings, seed=0).latency_s.max())


def logged(given: Arrivals, served: Served) -> pl.DataFrame:
    """The serving decisions that such an engine logs."""
    us = ((given.time_s + EPOCH_S) * 1e6).round().astype(np.int64)
    return pl.DataFrame(
        {
            "layer": "serving",
            "decision_point": "admit",
            "ts": pl.Series(us).cast(pl.Datetime("us", "UTC")),
            "replica": [f"vllm-{k}" for k in served.replica.tolist()],
            "tenant_id": [f"t{i % 20}" for i in range(given.n)],
            "tok_input_uncached": given.prompt_tok - given.cached,
            "tok_cache_read": given.cached,
            "tok_output": given.output_tok,
            "queue_s": served.queue_s,
            "ttft_s": served.ttft_s,
            "latency_s": served.latency_s,
        }
    )


def world(
    settings: EngineSettings, cached: float, load: float, per_s: float, n: int, compared: int, seed: int
) -> dict[str, float]:
    """One world: mean external delay by the replay and by the truth, for all, long and short requests."""
    given, long = arrivals(n, load * per_s, cached, seed)
    served = serve(given, settings, seed=seed)
    requests = read_requests(logged(given, served))
    assert isinstance(requests, Requests)
    logs = read_steps(engine_steps(served.steps, epoch_s=EPOCH_S), requests.start_us)
    assert not isinstance(logs, str)
    began = time.perf_counter()
    log = logs["vllm-0"]
    law = fit_step_law(log.steps, replica="vllm-0", pairs=attention_pairs(log, requests))
    assert law.rate is not None, law.reason
    one = replay(requests, Server(replica="vllm-0", rate=law.rate, limits=find_limits(log)))
    fits = fit_quality(requests, [one], float(np.median(log.end_s - log.start_s)))
    rng = np.random.default_rng(seed)
    found = delete_each(requests, [one], rng=rng)
    spent = time.perf_counter() - began
    some = np.sort(rng.permutation(found.rows.size)[:compared])
    true = np.zeros(some.size)
    for k in range(LUCKS):  # the truth's own luck must not decide
        dealt = np.arange(some.size) % LUCKS == k
        true[dealt] = external_delay(given, settings, found.rows[some][dealt], seed=seed + 1000 * k)
    row = {"fine": float(all(f.fine for f in fits)), "seconds": spent, "deleted": float(found.rows.size)}
    for name, inside in (("long", long), ("short", ~long)):
        part = inside[found.rows[some]]
        weight = found.weight[some][part]
        row[f"true_{name}"] = float(weight @ true[part] / weight.sum())
        row[f"found_{name}"] = float(weight @ found.delay_s[some][part] / weight.sum())
    for kind in ("true", "found"):
        row[f"{kind}_all"] = LONG_SHARE * row[f"{kind}_long"] + (1 - LONG_SHARE) * row[f"{kind}_short"]
    return row


def engines(worlds: int, n: int, compared: int) -> None:
    """Replay against truth at each load."""
    print("\n## Engine replay against paired deletion in the simulator\n")
    print("Mean seconds that others wait because of a request; ± is the standard error over worlds.\n")
    print(
        "| engine | load | all: truth | replay | error | long: truth | replay | error "
        "| short: truth | replay | long / short: truth | replay | worlds within 10 % "
        "| replay meets the log | seconds |"
    )
    print("|" + "---|" * 15)
    for name, (settings, cached) in ENGINES.items():
        per_s = capacity(settings, cached)
        for load in LOADS:
            rows = [world(settings, cached, load, per_s, n, compared, seed) for seed in range(worlds)]
            mean = {key: float(np.mean([r[key] for r in rows])) for key in rows[0]}
            print(
                f"| {name} | {load} | {versus(mean, 'all')} ± {spread(rows, 'all'):.1%} | "
                f"{versus(mean, 'long')} ± {spread(rows, 'long'):.1%} | "
                f"{mean['true_short']:.2f} | {mean['found_short']:.2f} | "
                f"{mean['true_long'] / mean['true_short']:.1f} | "
                f"{mean['found_long'] / mean['found_short']:.1f} | "
                f"{int((np.abs(errors(rows, 'all')) <= 0.1).sum())} of {worlds} | {mean['fine']:.0%} | "
                f"{mean['seconds']:.1f} |",
                flush=True,
            )


def versus(mean: dict[str, float], name: str) -> str:
    """Cells with the truth, the replay and its relative error."""
    true, found = mean[f"true_{name}"], mean[f"found_{name}"]
    return f"{true:.2f} | {found:.2f} | {found / true - 1:+.1%}"


def errors(rows: list[dict[str, float]], name: str) -> Array:
    """(worlds,) relative errors."""
    return np.array([r[f"found_{name}"] / r[f"true_{name}"] - 1 for r in rows])


def spread(rows: list[dict[str, float]], name: str) -> float:
    """Standard error of the mean relative error over worlds."""
    values = errors(rows, name)
    return float(values.std(ddof=1) / np.sqrt(values.size)) if values.size > 1 else float("nan")


def queues() -> None:
    """Exact deletion from a single queue against the M/G/1 formula."""
    print("\n## A single queue: deletion from the logged waits against the M/G/1 formula\n")
    print("| load | requests | class | deletion, s | formula, s | difference |\n|---|---|---|---|---|---|")
    rng, n = np.random.default_rng(0), 2_000_000
    for load in LOADS:
        long = rng.random(n) < LONG_SHARE
        service = np.where(long, rng.uniform(1.5, 3.5, n), rng.uniform(0.2, 0.8, n))
        time_s = rng.exponential(service.mean() / load, n).cumsum()
        found = deletion_delays(waits(time_s, service), service)
        formula = mg1_delay(n / time_s[-1], service, float(service.mean()), float((service**2).mean()))
        assert not isinstance(formula, str)
        for name, part in (("short", ~long), ("long", long)):
            a, b = float(found[part].mean()), float(formula[part].mean())
            print(f"| {load} | {n:,} | {name} | {a:.3f} | {b:.3f} | {a / b - 1:+.1%} |", flush=True)


def splitwise_law(model: str, hardware: str, parallel: int) -> StepLaw:
    """The step-time law of measured batches: steps of whole prompts, and steps that decode.

    Left out are prompt steps of more tokens than engines that work in chunks process at once.
    """
    table = pl.read_csv(DATA / "splitwise_perf_model" / "perf_model.csv").filter(
        (pl.col("model") == model)
        & (pl.col("hardware") == hardware)
        & (pl.col("tensor_parallel") == parallel)
    )
    batch, prompt, output = (
        table[c].to_numpy().astype(float) for c in ("batch_size", "prompt_size", "token_size")
    )
    none = np.zeros(table.height)
    steps = pl.DataFrame(
        {
            "step_s": np.concatenate([table["prompt_time"].to_numpy(), table["token_time"].to_numpy()]) / 1e3,
            "prefill_tok": np.concatenate([batch * prompt, none]),
            "decode_seqs": np.concatenate([none, batch]),
            "kv_tok": np.concatenate([batch * prompt, batch * (prompt + output / 2)]),
        }
    )
    pairs = np.concatenate([batch * prompt**2 / 2, none])
    small = steps["prefill_tok"].to_numpy() <= CHUNK_TOK
    return fit_step_law(steps.filter(small), replica="engine", pairs=pairs[small])


def azure(name: str) -> Requests:
    """Arrivals of the production trace, at the clock that it logs."""
    path = DATA / "azure_llm_2023" / f"AzureLLMInferenceTrace_{name}.csv"
    table = pl.read_csv(path).with_columns(
        pl.col("TIMESTAMP").str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us")
    )
    frame = table.select(
        layer=pl.lit("serving"),
        decision_point=pl.lit("admit"),
        ts=pl.col("TIMESTAMP").dt.replace_time_zone("UTC"),
        x_prompt_tokens="ContextTokens",
        tok_output="GeneratedTokens",
    )
    found = read_requests(frame)
    assert isinstance(found, Requests)
    return found


def real_arrivals() -> None:
    """Prices by load of two Azure services on a measured engine; arrivals and engine are not of one log."""
    print("\n## Simulated: arrivals of azure_llm_2023 on the law fitted from splitwise_perf_model\n")
    if not (DATA / "azure_llm_2023").is_dir() or not (DATA / "splitwise_perf_model").is_dir():
        print("skipped: set SHADOWPRICE_DATA to the folder that holds both data sets")
        return
    law = splitwise_law("llama2-70b", "a100-80gb", 8)
    print(f"{law}\n")
    if law.rate is None:
        return
    limits = Limits(token_budget=CHUNK_TOK, max_seqs=256, kv_cap=1_000_000)
    server = Server(replica="engine", rate=law.rate, limits=limits)
    print(
        "| service | replicas | segment | deleted | prefill, ms/token | decode, ms/token | KV, us/(token*s) |"
    )
    print("|---|---|---|---|---|---|---|")
    for name, replicas in (("code", 2), ("conv", 3)):
        requests = azure(name)
        requests = requests.rows(np.arange(0, requests.n, replicas))
        one = replay(requests, server)
        rng = np.random.default_rng(0)
        found = priced_replays(requests, [one], latency_price=None, grade="D", rng=rng)
        for segment in dict.fromkeys(p.segment for p in found.prices):
            rows = [p for p in found.prices if p.segment == segment]
            cells = [
                " ".join(f"{1e3 * k * (end or 0.0):.3f}" for end in (p.value, p.lower, p.upper))
                if p.value is not None
                else "not known"
                for p, k in zip(rows, (1, 1, 1e3), strict=True)
            ]
            print(f"| {name} | {replicas} | {segment} | {rows[0].n} | {' | '.join(cells)} |", flush=True)
        print(f"| {name} | {replicas} | mean load {one.load.mean():.2f} | | | | |")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=3_000)
    parser.add_argument("--compared", type=int, default=150)
    arguments = parser.parse_args()
    with threadpool_limits(limits=1):
        queues()
        real_arrivals()
        engines(arguments.worlds, arguments.requests, arguments.compared)


if __name__ == "__main__":
    main()
