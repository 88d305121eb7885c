"""The fingerprint of congestion in four worlds: there, absent, a common cause, and logs that cannot tell."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from congested import decisions, requests_of
from shadowprice.estimators.congestion.fingerprint import (
    Fingerprint,
    congestion_fingerprint,
    fingerprint,
    short_tenants,
)
from shadowprice.estimators.congestion.requests import Requests
from shadowprice.ingest.simulator.engine import Arrivals, EngineSettings, serve

HOURS = 16
SETTINGS = EngineSettings(replicas=2)


def traffic(*, seed: int = 0, per_s: float = 0.5, tenants: int = 24) -> tuple[Arrivals, np.ndarray]:
    """Steady arrivals on two replicas; half of the tenants send a third of their prompts long."""
    rng = np.random.default_rng(seed)
    n = int(HOURS * 3600 * per_s)
    tenant = rng.integers(tenants, size=n)
    long = (tenant >= tenants // 2) & (rng.random(n) < 0.35)
    return Arrivals(
        time_s=np.sort(rng.uniform(0, HOURS * 3600, n)).round(6),
        prompt_tok=np.where(long, rng.integers(8_000, 20_000, n), rng.integers(200, 2_000, n)),
        output_tok=rng.geometric(1 / 60, n),
        replica=rng.integers(2, size=n),
    ), tenant


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    given, tenant = traffic()
    found = decisions(given, serve(given, SETTINGS, seed=0))
    return found.with_columns(tenant_id=pl.Series([f"t{g:02d}" for g in tenant]))


@pytest.fixture(scope="module")
def requests(frame: pl.DataFrame) -> Requests:
    return requests_of(frame)


def with_waits(requests: Requests, wait: np.ndarray) -> Requests:
    """The same requests with waits that a test makes up; noise of 10 ms added."""
    noise = np.random.default_rng(5).normal(0.0, 0.01, requests.n)
    return replace(requests, ttft_s=np.maximum(wait + noise, 0.0))


def test_waiting_for_the_long_contexts_of_others_is_found(frame: pl.DataFrame) -> None:
    """Kills: a test that never finds anything, an effect per token told as an effect."""
    found = congestion_fingerprint(frame)
    assert found.verdict == "supported", str(found)
    assert found.lower_s is not None
    assert found.material_s is not None
    assert found.lower_s > 0
    assert 0 < (found.effect_s or 0) < 0.1
    assert (found.p_value or 1) < 0.001
    assert found.clusters >= 10
    assert "supported" in str(found)


def test_waits_that_do_not_depend_on_others_contradict_it(requests: Requests) -> None:
    """Kills: support for every log in which long prompts take long themselves."""
    found = fingerprint(with_waits(requests, 0.2 + 1e-5 * requests.prompt))
    assert found.verdict == "contradicted", str(found)
    assert found.upper_s is not None
    assert found.material_s is not None
    assert found.upper_s < found.material_s


def shared_volume(requests: Requests, *, shift_s: float) -> np.ndarray:
    """Long tokens on all replicas in the minute before each request, shift_s later."""
    total = np.concatenate(([0.0], np.cumsum(np.where(requests.prompt > 8_000, requests.prompt, 0))))
    at = requests.time_s + shift_s
    high = np.searchsorted(requests.time_s, at)
    return total[high] - total[np.searchsorted(requests.time_s, at - 60.0)]


def test_waits_that_follow_long_contexts_elsewhere_are_a_common_cause(requests: Requests) -> None:
    """Kills: a verdict without the placebo elsewhere; a slow gateway before all replicas looks the same."""
    found = fingerprint(with_waits(requests, 0.2 + 1e-6 * shared_volume(requests, shift_s=0.0)))
    assert found.verdict == "inconclusive", str(found)
    assert "on other replicas" in found.reason
    assert (found.placebo_elsewhere_p or 1) < 0.01


def test_waits_that_precede_the_long_contexts_are_a_common_cause(requests: Requests) -> None:
    """Kills: a verdict without the lead: what comes ten minutes later cannot be waited for."""
    both = shared_volume(requests, shift_s=0.0) + shared_volume(requests, shift_s=660.0)
    found = fingerprint(with_waits(requests, 0.2 + 1e-6 * both))
    assert found.verdict == "inconclusive", str(found)
    assert "sent later" in found.reason


def test_noise_that_hides_an_effect_is_inconclusive(requests: Requests) -> None:
    """Kills: contradiction out of ignorance."""
    noise = np.random.default_rng(1).lognormal(-3.0, 3.0, requests.n)
    found = fingerprint(replace(requests, ttft_s=noise))
    assert found.verdict == "inconclusive"
    assert "both no effect and one that matters" in found.reason


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: f.with_columns(replica=pl.lit("one")), "one replica"),
        (lambda f: f.with_columns(tenant_id=pl.lit("one")), "one tenant"),
        (lambda f: f.drop("ttft_s"), "ttft_s of short requests is not logged"),
        (lambda f: f.head(400), "effective hours; 10 are needed"),
        (
            lambda f: f.filter(pl.col("tenant_id").is_in(["t01", "t02", "t20", "t21"])),
            "effective tenants with",
        ),
        (lambda f: f.with_columns(layer=pl.lit("agent")), "no serving decisions"),
        (
            lambda f: f.with_columns(tok_input_uncached=pl.lit(300), tok_cache_read=pl.lit(0)),
            "never changes",
        ),
    ],
)
def test_logs_that_cannot_tell_are_not_identified_with_the_reason(
    frame: pl.DataFrame, change: object, said: str
) -> None:
    """Kills: a verdict from one replica, where no placebo can be had."""
    found: Fingerprint = congestion_fingerprint(change(frame))  # type: ignore[operator]
    assert found.verdict == "not_identified"
    assert said in found.reason
    assert found.effect_s is None
    assert "not_identified" in str(found)


def test_tenants_are_short_by_their_median_prompt(requests: Requests) -> None:
    """Kills: single short requests of long-context tenants among the short."""
    short = short_tenants(requests)
    per_tenant = [np.unique(short[requests.tenant == g]).size for g in range(len(requests.tenants))]
    assert set(per_tenant) == {1}
    assert 0.4 < short.mean() < 0.6
