"""The replay's engine: the times of the simulator's, which was written apart from it, and exact deletions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from congested import Array, limits_of, load, queue_of, rate_of
from shadowprice.estimators.congestion.engine import Engine, Limits, Path, Queue, Rate
from shadowprice.ingest.simulator.engine import Arrivals, EngineSettings, serve
from shadowprice.ingest.simulator.engine_truth import external_delay

QUIET = EngineSettings(noise=0.0)
FAR = 10**9


def served(engine: Engine) -> tuple[Path, Array]:
    path = engine.serve()
    return path, np.array([path.last[i] for i in range(engine.n)])


@pytest.mark.parametrize(
    ("settings", "per_s", "cached"),
    [
        (QUIET, 2.5, 0.0),
        (QUIET, 5.0, 0.5),
        (replace(QUIET, token_budget=700, max_seqs=6), 1.5, 0.0),
        (replace(QUIET, kv_cap=24_000), 1.2, 0.0),
    ],
    ids=["plain", "cached prompts under overload", "few seats", "a cache that is full and preempts"],
)
def test_without_noise_the_times_are_those_of_the_simulator(
    settings: EngineSettings, per_s: float, cached: float
) -> None:
    """Kills: a term of the step time left out, chunks out of order, a preempted request without its tokens,
    a quiet stretch that runs past an arrival, a limit of seats or memory that does not bind."""
    given = load(700, per_s=per_s, seed=3, cached=cached)
    truth = serve(given, settings, seed=0)
    path, last = served(Engine(queue_of(given), rate_of(settings), limits_of(settings)))
    first = np.array([path.first[i] for i in range(given.n)])
    admitted = np.array([path.admitted[i] for i in range(given.n)])
    assert np.abs(admitted - given.time_s - truth.queue_s).max() < 1e-6
    assert np.abs(first - given.time_s - truth.ttft_s).max() < 1e-6
    assert np.abs(last - given.time_s - truth.latency_s).max() < 1e-6
    if settings.kv_cap < QUIET.kv_cap:
        assert truth.preemptions.sum() > 0


def test_accepted_drafts_save_steps_and_still_fill_the_cache() -> None:
    """Kills: a decode step for every token of a speculating engine, which serves at half the speed.

    The simulator writes in uneven rounds, the replay in even ones: the mean latency agrees within 1 %.
    """
    settings = replace(QUIET, draft=3, kv_cap=60_000)
    given = load(600, per_s=2.0, seed=2)
    truth = serve(given, settings, seed=0)
    assert truth.spec_accepted.sum() > 0.3 * given.output_tok.sum()
    rounds = replace(rate_of(settings), decode_s=settings.decode_s + settings.draft_s * settings.draft)
    queue = Queue.of(given.time_s, given.prompt_tok, given.cached, given.output_tok, truth.spec_accepted)
    _, last = served(Engine(queue, rounds, limits_of(settings)))
    assert (last - given.time_s).mean() == pytest.approx(truth.latency_s.mean(), rel=0.01)


def test_deleting_a_request_gives_the_delay_of_serving_the_others_alone() -> None:
    """Kills: a path that starts from a wrong state, counts the deleted request, or ends too early."""
    given = load(600, per_s=2.0, seed=5)
    sampled = [0, 17, 120, 121, 300, 599]
    engine = Engine(queue_of(given), rate_of(QUIET), limits_of(QUIET))
    base = engine.serve(set(sampled))
    truth = external_delay(given, QUIET, np.array(sampled), seed=0)
    for i, true in zip(sampled, truth, strict=True):
        alone = engine.without(i, base, behind=FAR)
        assert i not in alone.last
        assert sum(base.last[j] - end for j, end in alone.last.items()) == pytest.approx(true, abs=1e-6)
        keep = np.arange(given.n) != i
        rest = Arrivals(
            time_s=given.time_s[keep], prompt_tok=given.prompt_tok[keep], output_tok=given.output_tok[keep]
        )
        _, last = served(Engine(queue_of(rest), engine.rate, engine.limits))
        whole = np.array([base.last[j] for j in np.flatnonzero(keep)])
        assert (whole - last).sum() == pytest.approx(true, abs=1e-6)


def test_a_path_without_a_request_stops_where_both_are_idle_before_the_same_arrival() -> None:
    """Kills: a replay to the end of the log, which makes every deletion cost as much as a whole replay."""
    given = load(400, per_s=0.2, seed=1)
    engine = Engine(queue_of(given), rate_of(QUIET), limits_of(QUIET))
    base = engine.serve({10})
    assert len(engine.without(10, base, behind=FAR).last) < 20


def test_a_bound_on_those_behind_ends_a_path_early() -> None:
    """Kills: a bound that is not kept, so that an overloaded engine is replayed for minutes."""
    given = load(500, per_s=20.0, seed=1)
    engine = Engine(queue_of(given), rate_of(QUIET), limits_of(QUIET))
    base = engine.serve({3})
    assert len(engine.without(3, base, behind=40).last) <= 44
    assert len(engine.without(3, base, behind=FAR).last) > 400


def test_a_request_that_exceeds_the_cache_is_served_alone_instead_of_blocking_all() -> None:
    """Kills: an endless loop where a logged prompt is larger than the cap that was inferred."""
    sizes = (np.array([5_000, 100]), np.array([0, 0]), np.array([50, 5]))
    queue = Queue.of(np.array([0.0, 0.1]), *sizes)
    rate = Rate(base_s=0.01, prefill_s=1e-5, decode_s=1e-4, kv_s=0.0)
    path = Engine(queue, rate, Limits(token_budget=512, kv_cap=2_000)).serve()
    assert path.last[1] > path.last[0] > 0.5


def test_a_lone_request_takes_the_sum_of_its_steps() -> None:
    """Kills: a first token one step late, an answer one token too long, KV growth left out of a step."""
    rate = Rate(base_s=0.02, prefill_s=1e-4, decode_s=1e-3, kv_s=1e-6, attention_s=1e-8)
    queue = Queue.of(np.array([5.0]), np.array([1_000]), np.array([200]), np.array([4]))
    path = Engine(queue, rate, Limits(token_budget=500)).serve()
    pairs = 500 * (200 + 250) + 300 * (700 + 150)
    first = 2 * 0.02 + 1e-4 * 800 + 1e-6 * (700 + 1_000) + 1e-8 * pairs
    rest = 3 * (0.02 + 1e-3) + 1e-6 * (1_001 + 1_002 + 1_003)
    assert path.first[0] == pytest.approx(5.0 + first)
    assert path.last[0] == pytest.approx(5.0 + first + rest)
