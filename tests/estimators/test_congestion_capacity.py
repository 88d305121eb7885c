"""What more of a resource saves, where it can be worked out by hand, and where the log cannot say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from congested import decisions, limits_of, load, rate_of, requests_of
from shadowprice.estimators.congestion.capacity import CapacityGain, capacity_gains
from shadowprice.estimators.congestion.replay import Server, replay
from shadowprice.ingest.simulator.engine import Arrivals, EngineSettings, serve

SETTINGS = EngineSettings(noise=0.0)


def gains(given: Arrivals, server: Server) -> dict[str, CapacityGain]:
    requests = requests_of(decisions(given, serve(given, SETTINGS, seed=0)))
    return {g.resource: g for g in capacity_gains(requests, [replay(requests, server)])}


def test_in_an_idle_engine_a_resource_saves_its_own_time() -> None:
    """Kills: a sign turned round, a per cent for the whole, decoding credited to prompts.

    Requests never meet, so that 1 % more speed saves 1 % of the seconds that a request spends there.
    """
    n, rate = 60, rate_of(SETTINGS)
    given = Arrivals(
        time_s=100.0 * np.arange(1, n + 1), prompt_tok=np.full(n, 4_000), output_tok=np.full(n, 101)
    )
    found = gains(given, Server(replica="vllm-0", rate=rate, limits=limits_of(SETTINGS)))
    prompt = rate.prefill_s * 4_000 + rate.attention_s * 4_000**2 / 2
    rest = 102 * rate.base_s + 100 * rate.decode_s + rate.kv_s * (2_048 + 4_000 + 100 * 4_050.5)
    assert found["prefill"].value == pytest.approx(prompt, rel=1e-3)
    assert found["decode"].value == pytest.approx(rest, rel=1e-3)
    assert found["kv_cache"].value == pytest.approx(0.0, abs=1e-9)


def test_a_crowded_engine_gains_more_than_its_own_time_and_a_full_cache_too() -> None:
    """Kills: a gain that leaves out the queue, and an interval that leaves out its value."""
    server = Server(
        replica="vllm-0",
        rate=rate_of(SETTINGS),
        limits=replace(limits_of(SETTINGS), kv_cap=40_000, kv_admit=40_000),
    )
    given = load(600, per_s=1.5, seed=3)
    found = gains(given, server)
    alone = rate_of(SETTINGS).prefill_s * given.prompt_tok.mean()
    assert (found["prefill"].value or 0) > 2 * alone
    assert (found["kv_cache"].value or 0) > 0
    for gain in found.values():
        assert gain.label == "model-implied"
        assert gain.clusters == 40
        assert (gain.lower or 0) <= (gain.value or 0) <= (gain.upper or 0)


def test_a_cache_that_was_never_full_is_not_worth_0_but_unknown() -> None:
    """Kills: a cap that nothing ran into taken for one that binds nothing."""
    server = Server(
        replica="vllm-0",
        rate=rate_of(SETTINGS),
        limits=replace(limits_of(SETTINGS), kv_cap=None, kv_admit=None),
    )
    found = gains(load(100, per_s=1.0), server)["kv_cache"]
    assert found.value is None
    assert "never full" in (found.reason or "")
