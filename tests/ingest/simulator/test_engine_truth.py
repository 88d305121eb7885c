"""External delay by replay: exact against naive deletion, and right on average by queueing theory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from shadowprice.ingest.simulator.engine import Arrivals, EngineSettings, serve
from shadowprice.ingest.simulator.engine_truth import external_delay

QUEUE = EngineSettings(
    max_seqs=1,
    token_budget=1_000_000,
    kv_cap=1_000_000,
    base_s=0.0,
    prefill_s=1e-3,
    decode_s=0.0,
    kv_s=0.0,
    attention_s=0.0,
    noise=0.0,
)
"""One request at a time, whose service time is its prompt in milliseconds."""


def mixed(n: int, *, per_s: float, seed: int = 0) -> tuple[Arrivals, np.ndarray]:
    """Poisson arrivals, and which of them (a fifth) have a long prompt."""
    rng = np.random.default_rng(seed)
    long = rng.random(n) < 0.2
    return Arrivals(
        time_s=rng.exponential(1 / per_s, n).cumsum(),
        prompt_tok=np.where(long, rng.integers(8_000, 20_000, n), rng.integers(200, 2_000, n)),
        output_tok=rng.geometric(1 / 150, n),
    ), long


def subset(arrivals: Arrivals, keep: np.ndarray) -> Arrivals:
    return Arrivals(
        time_s=arrivals.time_s[keep],
        prompt_tok=arrivals.prompt_tok[keep],
        output_tok=arrivals.output_tok[keep],
        replica=None if arrivals.replica is None else arrivals.replica[keep],
    )


@pytest.mark.parametrize("cap", [120_000, 26_000])
def test_without_noise_the_replay_equals_serving_everything_again_without_the_request(cap: int) -> None:
    """Kills a replay that starts from a wrong state or stops before the paths meet."""
    arrivals, _ = mixed(250, per_s=1.6, seed=3)
    arrivals = replace(arrivals, replica=np.arange(250) % 2)
    settings = EngineSettings(replicas=2, noise=0.0, kv_cap=cap)
    sampled = np.array([0, 17, 249, 120, 121, 60])
    found = external_delay(arrivals, settings, sampled, seed=1)
    with_all = serve(arrivals, settings, seed=1).latency_s
    for i, delay in zip(sampled, found, strict=True):
        keep = np.arange(250) != i
        alone = serve(subset(arrivals, keep), settings, seed=1).latency_s
        assert delay == pytest.approx((with_all[keep] - alone).sum(), abs=1e-7)


def test_in_a_single_queue_the_replay_equals_the_recursion_on_waits_even_with_noise() -> None:
    """Kills luck that moves when a request is deleted: D falls to min(D, W_j) request by request."""
    rng = np.random.default_rng(2)
    n = 2000
    arrivals = Arrivals(
        time_s=rng.exponential(0.4, n).cumsum(),
        prompt_tok=rng.integers(1, 600, n),
        output_tok=rng.integers(1, 5, n),
    )
    settings = replace(QUEUE, noise=0.5, decode_s=0.02)
    served = serve(arrivals, settings, seed=7)
    wait, work = served.queue_s, served.latency_s - served.queue_s
    sampled = rng.choice(n, 60, replace=False)
    found = external_delay(arrivals, settings, sampled, seed=7)
    for i, delay in zip(sampled, found, strict=True):
        pushed, total = work[i], 0.0
        for j in range(i + 1, n):
            pushed = min(pushed, wait[j])
            if pushed <= 0:
                break
            total += pushed
        assert delay == pytest.approx(total, abs=1e-8)


@pytest.mark.slow
def test_mean_external_delay_in_an_mg1_queue_follows_the_formula_for_short_and_long() -> None:
    """Kills a delay that forgets those behind: rate (E S_c^2/(2(1-r)) + (rate E S^2/2) E S_c/(1-r)^2).

    Tolerance 3 %: with 120,000 requests at load .28, and the moments of this draw, the standard error of
    the means is about 1 % (seen over seeds).
    """
    rng = np.random.default_rng(4)
    n = 120_000
    time = rng.exponential(1 / 0.7, n).cumsum()
    long = rng.random(n) < 0.2
    size = np.where(long, rng.integers(500, 1_500, n), rng.integers(100, 400, n))
    arrivals = Arrivals(time_s=time, prompt_tok=size, output_tok=np.ones(n, dtype=np.int64))
    found = external_delay(arrivals, QUEUE, np.arange(n), seed=1)
    work, rate = size / 1e3, n / time[-1]
    r = rate * work.mean()
    for inside in (~long, long):
        direct = (work[inside] ** 2).mean() / (2 * (1 - r))
        backlog = rate * (work**2).mean() / 2 * work[inside].mean() / (1 - r) ** 2
        assert found[inside].mean() == pytest.approx(rate * (direct + backlog), rel=0.03)


def test_the_last_request_into_an_empty_engine_delays_no_one() -> None:
    """Kills a request's own latency counted as a delay of others."""
    arrivals, _ = mixed(100, per_s=1.0)
    late = Arrivals(
        time_s=np.append(arrivals.time_s, arrivals.time_s[-1] + 1e4),
        prompt_tok=np.append(arrivals.prompt_tok, 15_000),
        output_tok=np.append(arrivals.output_tok, 300),
    )
    assert external_delay(late, EngineSettings(), np.array([100]), seed=1)[0] == 0


def test_long_requests_delay_others_several_times_as_much_as_short_ones() -> None:
    """Kills an engine in which a flat price per request would be right."""
    arrivals, long = mixed(3_000, per_s=1.8)
    sampled = np.concatenate([np.flatnonzero(long)[::6], np.flatnonzero(~long)[::24]])
    found = external_delay(arrivals, EngineSettings(), sampled, seed=1)
    assert found[long[sampled]].mean() > 4 * found[~long[sampled]].mean() > 0


def test_dollars_weigh_each_delayed_request_by_its_own_price() -> None:
    """Kills a price of the delaying instead of the delayed request, or one in another order of rows."""
    arrivals, _ = mixed(300, per_s=1.8)
    mixed_rows = np.random.default_rng(3).permutation(300)
    arrivals = subset(arrivals, mixed_rows)
    price = np.random.default_rng(4).random(300)
    settings, sampled = EngineSettings(noise=0.0), np.arange(0, 300, 20)
    found = external_delay(arrivals, settings, sampled, seed=1, usd_per_s=price)
    with_all = serve(arrivals, settings, seed=1).latency_s
    for i, usd in zip(sampled, found, strict=True):
        keep = np.arange(300) != i
        alone = serve(subset(arrivals, keep), settings, seed=1).latency_s
        assert usd == pytest.approx((price[keep] * (with_all[keep] - alone)).sum(), abs=1e-7)


def test_the_mean_delay_does_not_depend_on_the_luck_of_one_seed() -> None:
    """Kills common random numbers that shift when a request is deleted, which drown the delay in noise."""
    arrivals, long = mixed(1_200, per_s=1.2)
    sampled = np.flatnonzero(long)[::4]
    noisy = EngineSettings(noise=0.05)
    means = [external_delay(arrivals, noisy, sampled, seed=seed).mean() for seed in (1, 2, 3)]
    exact = external_delay(arrivals, replace(noisy, noise=0.0), sampled, seed=1).mean()
    assert np.abs(np.array(means) / exact - 1).max() < 0.15
