"""The serving engine: nothing lost, nothing above the cap, and the known formulas in its simple cases."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from shadowprice.errors import ConfigError
from shadowprice.ingest.simulator import engine_loop
from shadowprice.ingest.simulator.engine import Arrivals, EngineSettings, Served, engine_steps, serve
from shadowprice.schemas.columns import ENGINE_STEPS

SINGLE = EngineSettings(
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


def load(n: int, *, per_s: float, seed: int = 0, cached: bool = False) -> Arrivals:
    """Poisson arrivals: a fifth with 8,000 to 20,000 prompt tokens, the others with 200 to 2,000."""
    rng = np.random.default_rng(seed)
    long = rng.random(n) < 0.2
    prompt = np.where(long, rng.integers(8_000, 20_000, n), rng.integers(200, 2_000, n))
    return Arrivals(
        time_s=rng.exponential(1 / per_s, n).cumsum(),
        prompt_tok=prompt,
        output_tok=rng.geometric(1 / 150, n),
        cached_tok=(0.5 * prompt).astype(np.int64) if cached else None,
    )


def short_only(n: int, *, per_s: float) -> Arrivals:
    rng = np.random.default_rng(5)
    time = rng.exponential(1 / per_s, n).cumsum()
    return Arrivals(time_s=time, prompt_tok=rng.integers(50, 400, n), output_tok=rng.geometric(1 / 60, n))


@pytest.mark.parametrize("noise", [0.0, 0.4])
@pytest.mark.parametrize("draft", [0, 3])
def test_a_batch_of_one_waits_by_the_lindley_recursion(noise: float, draft: int) -> None:
    """Kills an engine that idles with work, serves out of order, or lets luck depend on the clock."""
    rng = np.random.default_rng(1)
    n = 3000
    time = rng.exponential(0.5, n).cumsum()
    arrivals = Arrivals(time_s=time, prompt_tok=rng.integers(1, 600, n), output_tok=rng.integers(1, 4, n))
    settings = replace(SINGLE, noise=noise, draft=draft, base_s=0.02, kv_s=1e-5)
    served = serve(arrivals, settings, seed=3)
    work = served.latency_s - served.queue_s
    wait = np.zeros(n)
    for i in range(1, n):
        wait[i] = max(0.0, wait[i - 1] + work[i - 1] - (time[i] - time[i - 1]))
    assert np.abs(served.queue_s - wait).max() < 1e-9
    assert wait.mean() > 0.1


def test_a_request_alone_takes_the_sum_of_its_steps() -> None:
    """Kills a term of the step time that is missing, doubled, or taken at the wrong context."""
    s = EngineSettings(noise=0.0, token_budget=100)
    alone = Arrivals(
        time_s=np.zeros(1),
        prompt_tok=np.array([250]),
        output_tok=np.array([4]),
        cached_tok=np.array([30]),
    )
    served = serve(alone, replace(s, max_seqs=8), seed=0)
    held, first = 30, 0.0
    for chunk in (100, 100, 20):
        seen = chunk * (held + chunk / 2)
        held += chunk
        first += s.base_s + s.prefill_s * chunk + s.kv_s * held + s.attention_s * seen
    decode = sum(s.base_s + s.decode_s + s.kv_s * (250 + r) for r in (1, 2, 3))
    assert served.ttft_s[0] == pytest.approx(first, rel=1e-12)
    assert served.decode_s[0] == pytest.approx(decode, rel=1e-12)
    assert served.queue_s[0] == 0


def served_naively(arrivals: Arrivals, s: EngineSettings) -> tuple[np.ndarray, int]:
    """Latencies and preemptions, one step and one token at a time, without noise or speculation."""
    n, now, came = arrivals.n, 0.0, 0
    done, held, last = np.zeros(n, dtype=int), np.zeros(n, dtype=int), np.zeros(n)
    goal = np.zeros(n, dtype=int)  # tokens to hold before the next decode
    queue, running, preemptions = [], [], 0
    while came < n or queue or running:
        if not queue and not running:
            now = max(now, arrivals.time_s[came])
        while came < n and arrivals.time_s[came] <= now:
            queue.append(came)
            came += 1
        decoders = [i for i in running if held[i] == goal[i]]
        pushed = False
        while held.sum() + len(decoders) > s.kv_cap:
            i = running.pop()
            decoders = [j for j in decoders if j != i]
            held[i], pushed, preemptions = 0, True, preemptions + 1
            queue.insert(0, i)
        held[decoders] += 1
        budget, pairs, prefill = s.token_budget - len(decoders), 0.0, 0
        fillers = [i for i in running if i not in decoders]
        while True:
            for i in fillers:
                chunk = min(goal[i] - held[i], budget, s.kv_cap - held.sum())
                pairs += chunk * (held[i] + chunk / 2)
                held[i] += chunk
                budget -= chunk
                prefill += chunk
            if pushed or not queue or budget == 0 or len(running) == s.max_seqs:
                break
            head = queue[0]
            goal[head] = arrivals.prompt_tok[head] + done[head]
            promised = held.sum() + sum(goal[i] - held[i] for i in running if i not in decoders)
            if running and promised + goal[head] > 0.99 * s.kv_cap:
                break
            fillers = [queue.pop(0)]
            running += fillers
        now += s.base_s + s.prefill_s * prefill + s.attention_s * pairs + s.kv_s * held.sum()
        now += s.decode_s * len(decoders)
        done[decoders] += 1
        goal[decoders] += 1
        for i in [i for i in running if held[i] == goal[i] and done[i] == arrivals.output_tok[i] - 1]:
            running.remove(i)
            held[i], last[i] = 0, now
    return last - arrivals.time_s, preemptions


@pytest.mark.parametrize(("cap", "budget", "per_s"), [(100_000, 512, 3.0), (22_000, 512, 2.0), (700, 64, 25)])
def test_latencies_equal_those_of_an_engine_that_counts_token_by_token(
    cap: int, budget: int, per_s: float
) -> None:
    """Kills a shortcut over quiet steps that differs from taking them one by one."""
    arrivals = load(120, per_s=per_s) if cap > 20_000 else short_only(150, per_s=per_s)
    settings = EngineSettings(noise=0.0, kv_cap=cap, token_budget=budget, max_seqs=20)
    expected, preemptions = served_naively(arrivals, settings)
    served = serve(arrivals, settings, seed=1)
    assert np.abs(served.latency_s - expected).max() < 1e-8
    assert served.preemptions.sum() == preemptions
    assert preemptions > 20 or cap > 700


def test_the_length_of_a_quiet_stretch_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kills luck that is drawn per stretch, and drafted tokens counted once per stretch."""
    arrivals, settings = load(200, per_s=2.0), EngineSettings(noise=0.3, draft=2, kv_cap=30_000)
    long = serve(arrivals, settings, seed=3)
    monkeypatch.setattr(engine_loop, "_STRETCH", 1)
    short = serve(arrivals, settings, seed=3)
    assert np.abs(long.latency_s - short.latency_s).max() < 1e-8
    assert long.steps.height == short.steps.height


@pytest.mark.parametrize("draft", [0, 4])
def test_tokens_are_conserved_and_no_request_is_lost(draft: int) -> None:
    """Kills a prompt token processed twice, a decode round skipped, or a request forgotten in the queue."""
    arrivals = load(600, per_s=1.5, cached=True)
    served = serve(arrivals, EngineSettings(draft=draft, kv_cap=400_000), seed=2)
    assert served.preemptions.sum() == 0
    assert served.steps["prefill_tok"].sum() == (arrivals.prompt_tok - arrivals.cached).sum()
    emitted = served.steps["decode_seqs"].sum() + served.spec_accepted.sum()
    assert emitted == (arrivals.output_tok - 1).sum()
    for column in (served.queue_s, served.decode_s):
        assert column.min() >= 0
    assert (served.ttft_s > served.queue_s).all()
    last = served.steps.filter(pl.col("end_s") == pl.col("end_s").max())
    assert float(last["end_s"][0]) == pytest.approx((arrivals.time_s + served.latency_s).max())


def test_the_engine_never_idles_while_someone_waits() -> None:
    """Kills gaps between steps (work conservation), and steps that overlap."""
    arrivals = load(800, per_s=2.0)
    served = serve(arrivals, EngineSettings(), seed=2)
    end, took = served.steps["end_s"].to_numpy(), served.steps["step_s"].to_numpy()
    start = end - took
    gaps = start[1:] - end[:-1]
    assert gaps.min() > -1e-9
    opened = start[1:][gaps > 1e-9]
    assert np.isclose(opened[:, None], arrivals.time_s).any(axis=1).all()
    finish = arrivals.time_s + served.latency_s
    for left, right in zip(end[:-1][gaps > 1e-9], opened, strict=True):
        middle = (left + right) / 2
        assert not ((arrivals.time_s < middle) & (finish > middle)).any()


def test_a_full_cache_preempts_at_high_load_and_never_at_low() -> None:
    """Kills a cap that is exceeded, a preemption that is never needed, and one that loses its tokens."""
    tight = EngineSettings(kv_cap=5_000, max_seqs=48)
    arrivals = short_only(1500, per_s=40.0)
    busy = serve(arrivals, tight, seed=1)
    assert busy.preemptions.sum() > 20
    assert busy.steps["kv_tok"].max() <= 5_000
    assert busy.steps["prefill_tok"].sum() > arrivals.prompt_tok.sum()
    assert busy.steps["decode_seqs"].sum() == (arrivals.output_tok - 1).sum()
    calm = serve(short_only(1500, per_s=2.0), tight, seed=1)
    assert calm.preemptions.sum() == 0
    assert calm.queue_s.mean() < 0.02


def test_every_step_respects_the_limits_of_tokens_sequences_and_memory() -> None:
    """Kills a budget that decoding ignores, and a batch above its limit."""
    settings = EngineSettings(max_seqs=6, token_budget=256, draft=2, kv_cap=40_000)
    steps = serve(load(400, per_s=2.0), settings, seed=4).steps
    used = steps["prefill_tok"] + 3 * steps["decode_seqs"]
    assert used.max() <= 256
    assert steps["running"].max() == 6
    assert steps["kv_tok"].max() <= 40_000
    assert steps["waiting"].min() == 0
    assert (steps["decode_seqs"] <= steps["running"]).all()


def test_the_logged_queue_counts_who_arrived_and_neither_runs_nor_is_done() -> None:
    """Kills a queue that still counts the finished, or forgets the preempted."""
    arrivals = short_only(400, per_s=40.0)
    served = serve(arrivals, EngineSettings(kv_cap=2_000), seed=4)
    finish = arrivals.time_s + served.latency_s
    for row in served.steps[::37].iter_rows(named=True):
        start = row["end_s"] - row["step_s"] + 1e-9
        arrived, done = (arrivals.time_s <= start).sum(), (finish <= start).sum()
        assert row["waiting"] == arrived - done - row["running"]
    assert served.preemptions.sum() > 0


def test_noise_multiplies_the_steps_and_leaves_their_mean() -> None:
    """Kills noise with another mean than 1."""
    arrivals = load(150, per_s=0.01)
    total = [serve(arrivals, EngineSettings(noise=s), seed=1).steps["step_s"].sum() for s in (0.0, 0.5)]
    assert total[1] / total[0] == pytest.approx(1, abs=0.02)


def test_a_longer_answer_of_one_request_leaves_the_luck_of_the_others() -> None:
    """Kills speculation that draws from one stream in order of need."""
    arrivals = load(50, per_s=1.0)
    longer = arrivals.output_tok.copy()
    longer[10] += 400
    one, other = (
        serve(replace(arrivals, output_tok=tok), EngineSettings(draft=3), seed=2)
        for tok in (arrivals.output_tok, longer)
    )
    assert list(np.flatnonzero(one.spec_accepted != other.spec_accepted)) == [10]


def test_the_order_of_the_rows_does_not_matter() -> None:
    """Kills luck that belongs to a row number."""
    arrivals, settings = load(400, per_s=2.0, cached=True), EngineSettings(replicas=2, draft=2)
    mixed = np.random.default_rng(8).permutation(400)
    shuffled = Arrivals(
        time_s=arrivals.time_s[mixed],
        prompt_tok=arrivals.prompt_tok[mixed],
        output_tok=arrivals.output_tok[mixed],
        cached_tok=arrivals.cached[mixed],
    )
    one, other = serve(arrivals, settings, seed=5), serve(shuffled, settings, seed=5)
    for name in ("queue_s", "ttft_s", "decode_s", "preemptions", "spec_accepted", "replica"):
        assert np.array_equal(getattr(one, name)[mixed], getattr(other, name)), name
    assert one.steps.equals(other.steps)


def test_the_same_seed_repeats_and_another_does_not() -> None:
    """Kills luck from outside the seed."""
    arrivals = load(200, per_s=2.0)
    again = [serve(arrivals, EngineSettings(), seed=seed).latency_s for seed in (1, 1, 2)]
    assert np.array_equal(again[0], again[1])
    assert not np.array_equal(again[0], again[2])


def test_replicas_share_the_load_and_do_not_disturb_each_other() -> None:
    """Kills replicas that queue together: without the others' requests, nothing changes on replica 0."""
    arrivals = load(600, per_s=3.0)
    here = np.arange(600) % 3 == 0
    quiet = EngineSettings(replicas=3, noise=0.0)
    served = serve(replace(arrivals, replica=np.arange(600) % 3), quiet, seed=1)
    lone = Arrivals(
        time_s=arrivals.time_s[here],
        prompt_tok=arrivals.prompt_tok[here],
        output_tok=arrivals.output_tok[here],
    )
    assert np.array_equal(served.latency_s[here], serve(lone, replace(quiet, replicas=1), seed=9).latency_s)
    assert np.array_equal(served.latency_s, serve(arrivals, quiet, seed=1).latency_s)


def test_cached_prompts_start_answering_sooner() -> None:
    """Kills cached tokens that are processed all the same."""
    plain, cached = load(300, per_s=0.5), load(300, per_s=0.5, cached=True)
    slow, fast = serve(plain, EngineSettings(), seed=1), serve(cached, EngineSettings(), seed=1)
    assert fast.ttft_s.mean() < 0.7 * slow.ttft_s.mean()


def acceptance(served: Served, inside: np.ndarray, draft: int) -> float:
    """Chance that one drafted token is accepted, from the mean of min(first miss, draft) (naive search)."""
    per_round = served.spec_accepted[inside].sum() / (served.spec_drafted[inside].sum() / draft)
    grid = np.linspace(0.01, 0.99, 981)
    means = sum(grid**k for k in range(1, draft + 1))
    return float(grid[np.argmin(np.abs(means - per_round))])


def test_speculation_is_accepted_less_in_long_contexts_by_the_stated_formula() -> None:
    """Kills acceptance that ignores the context or counts tokens after the first miss."""
    n, draft = 400, 3
    prompt = np.where(np.arange(n) % 2 == 0, 1_000, 30_000)
    arrivals = Arrivals(
        time_s=20.0 * np.arange(n), prompt_tok=prompt, output_tok=np.full(n, 200, dtype=np.int64)
    )
    settings = EngineSettings(draft=draft, accept=0.8, accept_context_tok=60_000.0)
    served = serve(arrivals, settings, seed=6)
    for size in (1_000, 30_000):
        expected = 0.8 * np.exp(-(size + 100) / 60_000)
        assert acceptance(served, prompt == size, draft) == pytest.approx(expected, abs=0.012)
    assert (served.spec_accepted <= served.spec_drafted).all()


def test_steps_fit_the_layout_of_the_engine_table() -> None:
    """Kills a column that the store does not know, or a clock in the wrong unit."""
    steps = serve(load(50, per_s=1.0), EngineSettings(replicas=2), seed=1).steps
    table = engine_steps(steps, epoch_s=1_000_000.0)
    kinds = pa.schema([(c.name, c.dtype) for c in ENGINE_STEPS if not c.name.startswith("source_")])
    assert table.schema == pl.DataFrame(kinds.empty_table()).schema
    assert set(table["replica"]) == {"vllm-0", "vllm-1"}
    seconds = table["ts"].dt.timestamp("us").to_numpy() / 1e6 - 1_000_000.0
    assert np.abs(seconds - steps["end_s"].to_numpy()).max() < 1e-6


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"noise": -1.0}, "noise -1.0"),
        ({"kv_s": float("nan")}, "kv_s nan"),
        ({"token_budget": 64, "max_seqs": 64}, "token_budget 64"),
        ({"replicas": 0}, "replicas 0"),
        ({"accept": 1.0}, "accept 1.0"),
        ({"base_s": 0.0, "prefill_s": 0.0}, "takes time"),
    ],
)
def test_settings_that_cannot_work_are_refused_at_birth(wrong: dict[str, float], said: str) -> None:
    """Kills an engine that hangs or divides by zero."""
    with pytest.raises(ConfigError, match=said):
        EngineSettings(**wrong)


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("prompt_tok", [5, 0], "prompt_tok 0 in row 1"),
        ("output_tok", [0, 5], "output_tok 0 in row 0"),
        ("cached_tok", [0, 9], "cached_tok 9 in row 1"),
        ("time_s", [0.0, np.nan], "time_s nan in row 1"),
        ("replica", [0], r"replica of shape \(1,\)"),
    ],
)
def test_arrivals_that_cannot_be_are_refused_with_their_row(
    field: str, value: list[float], said: str
) -> None:
    """Kills a request of no tokens that never ends."""
    fine = {
        "time_s": np.array([0.0, 1.0]),
        "prompt_tok": np.array([5, 9]),
        "output_tok": np.array([1, 1]),
    }
    with pytest.raises(ConfigError, match=said):
        Arrivals(**{**fine, field: np.array(value)})


def test_a_request_larger_than_the_cache_or_on_an_unknown_replica_is_refused() -> None:
    """Kills an endless loop of preemptions."""
    one = Arrivals(time_s=np.zeros(1), prompt_tok=np.array([100]), output_tok=np.array([30]))
    with pytest.raises(ConfigError, match="a request of 129 tokens"):
        serve(one, EngineSettings(kv_cap=128), seed=0)
    assert serve(one, EngineSettings(kv_cap=129), seed=0).latency_s[0] > 0
    with pytest.raises(ConfigError, match="replica 1"):
        serve(replace(one, replica=np.array([1])), EngineSettings(), seed=0)


def test_no_arrivals_give_an_empty_answer() -> None:
    """Kills a crash on an empty hour."""
    none = np.zeros(0, dtype=np.int64)
    served = serve(Arrivals(time_s=np.zeros(0), prompt_tok=none, output_tok=none), EngineSettings(), seed=0)
    assert served.latency_s.shape == (0,)
    assert served.steps.height == 0


@pytest.mark.slow
def test_twenty_thousand_requests_are_served_with_stable_waits_below_saturation() -> None:
    """Kills an engine whose queue drifts at a load that it can carry, or a loop over single tokens."""
    served = serve(load(20_000, per_s=2.0), EngineSettings(), seed=1)
    halves = [served.queue_s[:10_000].mean(), served.queue_s[10_000:].mean()]
    assert max(halves) < 2 * min(halves)
    assert served.steps.height > 100_000
