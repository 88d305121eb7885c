"""Congestion end to end: from decisions and steps to prices by load and tenants, or to reasons."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from congested import decisions, limits_of, load, logs, rate_of, requests_of
from shadowprice.errors import PriceError, SchemaError
from shadowprice.estimators.congestion.by_queue import one_at_a_time
from shadowprice.estimators.congestion.congestion import congestion, congestion_prices
from shadowprice.estimators.congestion.deletions import delete_each
from shadowprice.estimators.congestion.records import CURVES, TENANTS, Congestion
from shadowprice.estimators.congestion.replay import Server, fit_fault, fit_quality, loads, replay, work
from shadowprice.ingest.simulator.engine import Arrivals, EngineSettings, engine_steps, serve
from shadowprice.ingest.simulator.engine_truth import external_delay
from shadowprice.schemas.records import Price

SETTINGS = EngineSettings()
NAMES = ["congestion_prefill_price", "congestion_decode_price", "congestion_kv_price"]


@pytest.fixture(scope="module")
def log() -> tuple[pl.DataFrame, pl.DataFrame]:
    return logs(load(1500, per_s=1.8, seed=2), SETTINGS)


@pytest.fixture(scope="module")
def found(log: tuple[pl.DataFrame, pl.DataFrame]) -> Congestion:
    return congestion(*log, latency_price=0.004, seed=0)


def one(prices: tuple[Price, ...], name: str, segment: str = "all") -> Price:
    (row,) = [p for p in prices if p.name == name and p.segment == segment]
    return row


def test_the_replay_meets_the_log_and_prices_every_load_or_says_why_not(found: Congestion) -> None:
    """Kills: a missing row, a price without interval or grade, a quantile that is not compared."""
    assert found.method == "replay"
    assert [(f.quantity, f.quantile) for f in found.fits] == [
        ("ttft_s", 0.5), ("ttft_s", 0.9), ("latency_s", 0.5), ("latency_s", 0.9),
    ]  # fmt: skip
    assert all(f.fine for f in found.fits)
    segments = ["all", "load=0-.4", "load=.4-.6", "load=.6-.8", "load=.8-1", "load=1+"]
    assert [(p.segment, p.name) for p in found.prices] == [(s, n) for s in segments for n in NAMES]
    for p in found.prices:
        assert (p.value is None) == (p.grade == "N")
        assert p.value is not None or p.reason
        assert p.run_id is None
    prefill = one(found.prices, NAMES[0])
    assert prefill.value is not None
    assert prefill.value > 0
    assert [g.resource for g in found.capacity] == ["prefill", "decode", "kv_cache"]
    assert (found.capacity[0].value or 0) > 0
    assert "of 1500 requests" in (prefill.method or "")


def test_prices_times_tokens_add_up_to_the_true_delay_of_all_requests(
    log: tuple[pl.DataFrame, pl.DataFrame], found: Congestion
) -> None:
    """Kills: a weight of the sample that is forgotten, a price per thousand, dollars at another lambda.

    The truth is paired deletion in the simulator, of 300 requests of its noisy engine: 10 % is asked of the
    sum over all requests, as in the benchmark, plus the standard error of those 300.
    """
    given = load(1500, per_s=1.8, seed=2)
    rows = np.random.default_rng(0).choice(1500, 300, replace=False)
    true = np.concatenate(
        [external_delay(given, SETTINGS, part, seed=k) for k, part in enumerate(np.split(rows, 6))]
    )
    total = 1500 * 0.004 * true.mean()
    error = 1500 * 0.004 * true.std() / np.sqrt(300)
    assert abs(found.tenants["imposed_usd"].sum() - total) < 0.1 * total + 2 * error
    assert found.tenants["imposed_s"].sum() == pytest.approx(found.tenants["suffered_s"].sum(), rel=1e-6)
    assert found.tenants["imposed_usd"].sum() == pytest.approx(0.004 * found.tenants["imposed_s"].sum())


def test_a_tenant_that_sends_long_prompts_imposes_more_than_it_suffers() -> None:
    """Kills: accounts that pay by requests, with payer and sufferer swapped."""
    given = load(1200, per_s=1.8, seed=4)
    heavy = given.prompt_tok > 5_000
    served = serve(given, SETTINGS, seed=0)
    frame = decisions(given, served).with_columns(tenant_id=pl.Series(np.where(heavy, "heavy", "light")))
    accounts = congestion(
        frame, engine_steps(served.steps, epoch_s=1_780_000_000), latency_price=None, seed=0
    ).tenants
    assert accounts.schema == pl.Schema(TENANTS)
    assert accounts["tenant_id"].to_list() == ["heavy", "light"]
    heavy_row, light_row = accounts.to_dicts()
    assert heavy_row["imposed_s"] > 2 * heavy_row["suffered_s"]
    assert light_row["imposed_s"] < 0.5 * light_row["suffered_s"]
    assert heavy_row["imposed_usd"] is None


def test_long_requests_delay_others_several_times_as_much_as_short_ones(
    log: tuple[pl.DataFrame, pl.DataFrame],
) -> None:
    """Kills: deletions that mix up requests, so that all look alike."""
    requests = requests_of(log[0])
    one_replay = replay(
        requests, Server(replica="vllm-0", rate=rate_of(SETTINGS), limits=limits_of(SETTINGS))
    )
    deleted = delete_each(requests, [one_replay], rng=np.random.default_rng(0))
    long = requests.prompt[deleted.rows] > 5_000
    assert deleted.delay_s[long].mean() > 5 * deleted.delay_s[~long].mean()
    assert deleted.weight.sum() == pytest.approx(requests.n)
    assert deleted.cut == 0
    total = deleted.weight @ deleted.delay_s
    assert deleted.suffered_s.sum() == pytest.approx(total)
    assert abs(deleted.weight @ deleted.own_s) < 0.3 * total


def test_the_load_of_a_saturated_engine_is_one() -> None:
    """Kills: work that does not add up to the time that the engine takes, a window of the wrong length."""
    given = load(600, per_s=1e9, seed=1)
    requests = requests_of(decisions(given, serve(given, SETTINGS, seed=0)))
    server = Server(replica="vllm-0", rate=rate_of(SETTINGS), limits=limits_of(SETTINGS))
    seconds = work(requests, server)
    makespan = replay(requests, server).latency_s.max()
    assert seconds.sum() == pytest.approx(makespan, rel=1e-3)
    time = np.arange(0, 300, 1.0)
    assert loads(time, np.full(300, 0.7))[-1] == pytest.approx(0.7)
    assert loads(time, np.full(300, 0.7), window_s=10.0)[5] == pytest.approx(0.35)


def test_without_a_price_of_waiting_delays_are_seconds(log: tuple[pl.DataFrame, pl.DataFrame]) -> None:
    """Kills: a default price of a second."""
    prices = congestion_prices(*log, latency_price=None, seed=0)
    assert {p.unit for p in prices} == {"s/token", "s/(token*s)"}
    assert one(prices, "congestion_prefill_delay").value is not None


def test_the_same_seed_repeats_and_the_order_of_rows_does_not_matter(
    log: tuple[pl.DataFrame, pl.DataFrame], found: Congestion
) -> None:
    """Kills: luck without a seed, and requests served in the order of the file."""
    shuffled = [frame.sample(fraction=1.0, shuffle=True, seed=9) for frame in log]
    again = congestion(*shuffled, latency_price=0.004, seed=0)
    assert again.prices == found.prices
    assert again.tenants.equals(found.tenants)


def test_curves_hold_the_prices_by_load_and_by_hour(found: Congestion) -> None:
    """Kills: an hour or a load that the curve lacks."""
    assert found.curves.schema == pl.Schema(CURVES)
    segments = found.curves["segment"].unique().to_list()
    assert {"all", "load=.6-.8"} <= set(segments)
    assert [s for s in segments if s.startswith("hour=")]


def slow_first_tokens(frame: pl.DataFrame) -> pl.DataFrame:
    """The same log as of an engine with something in front of it that the steps do not show."""
    return frame.with_columns(ttft_s=1.5 * pl.col("ttft_s") + 0.5, latency_s=pl.col("latency_s") + 5.0)


def test_a_replay_that_misses_the_log_is_not_used_and_the_note_says_by_how_much(
    log: tuple[pl.DataFrame, pl.DataFrame],
) -> None:
    """Kills: prices from a replay of another engine than the one that was logged."""
    other = congestion(slow_first_tokens(log[0]), log[1], latency_price=0.004, seed=0)
    assert other.method is None
    assert any("the replay misses the log by more than 10%" in note for note in other.notes)
    assert any(not f.fine for f in other.fits)
    assert one(other.prices, NAMES[0]).value is None


def test_a_replay_without_logged_times_cannot_be_checked_and_is_not_used(
    log: tuple[pl.DataFrame, pl.DataFrame],
) -> None:
    """Kills: prices of a log without any latency column."""
    blind = log[0].drop("queue_s", "ttft_s", "decode_s", "latency_s")
    other = congestion(blind, log[1], latency_price=0.004, seed=0)
    assert other.method is None
    assert any("neither ttft_s nor latency_s of requests is logged" in note for note in other.notes)
    assert "ttft_s of requests is not logged" in (one(other.prices, NAMES[0]).reason or "")


QUEUE = EngineSettings(
    max_seqs=1, token_budget=1_000_000, kv_cap=1_000_000, base_s=0.0, prefill_s=1e-3, decode_s=0.0,
    kv_s=0.0, attention_s=0.0, noise=0.0,
)  # fmt: skip
"""One request at a time, whose service time is its prompt in milliseconds."""


def single_queue(n: int = 2000) -> tuple[Arrivals, pl.DataFrame]:
    rng = np.random.default_rng(3)
    given = Arrivals(
        time_s=rng.exponential(1.0, n).cumsum().round(6),
        prompt_tok=rng.integers(100, 1_300, n),
        output_tok=np.ones(n, dtype=np.int64),
    )
    return given, decisions(given, serve(given, QUEUE, seed=0))


def test_a_queue_that_serves_one_at_a_time_needs_no_steps() -> None:
    """Kills: a panel where the logged waits say everything, and deletions that leave someone out."""
    given, frame = single_queue()
    found = congestion(frame, None, latency_price=None, seed=0)
    assert found.method == "queue"
    true = external_delay(given, QUEUE, np.arange(given.n), seed=0)
    assert found.tenants["imposed_s"].sum() == pytest.approx(true.sum(), rel=1e-3)
    assert found.tenants["suffered_s"].sum() == pytest.approx(true.sum(), rel=1e-3)
    assert one(found.prices, "congestion_prefill_delay").grade == "B"
    queue = one_at_a_time(requests_of(frame))
    assert not isinstance(queue, str)
    wait, work = frame["queue_s"].to_numpy(), (frame["latency_s"] - frame["queue_s"]).to_numpy()
    for i in (3, 400, 401, 1500):
        pushed = np.minimum(np.minimum.accumulate(wait[i + 1 :]), work[i])
        assert queue.deleted.delay_s[i] == pytest.approx(pushed.sum(), abs=1e-3)
        assert queue.deleted.own_s[i] == pytest.approx(pushed[19::20].sum(), abs=1e-3)
    assert queue.deleted.own_s.sum() > 0


def test_of_a_large_log_a_stretch_is_used_and_every_price_says_so(
    log: tuple[pl.DataFrame, pl.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kills: an unbounded replay, a stretch with steps of another time, and a sample that nobody mentions."""
    monkeypatch.setattr("shadowprice.estimators.congestion.congestion.MAX_REQUESTS", 600)
    part = congestion(*log, latency_price=None, seed=3)
    assert part.method == "replay"
    assert part.tenants["requests"].sum() == 600
    told = "in a stretch of 600 of 1500 requests, drawn by the seed"
    assert told in part.notes
    assert all((p.method or "").endswith(told) for p in part.prices)


def test_replicas_without_a_law_are_left_out_and_named() -> None:
    """Kills: requests of a replica that logs no steps priced at load 0, or dropped without a word."""
    given = load(900, per_s=1.8, seed=6)
    frame, steps = logs(given, EngineSettings(replicas=3))
    told = steps.filter(pl.col("replica") != "vllm-1").with_columns(
        step_s=pl.when(pl.col("replica") == "vllm-2").then(0.01).otherwise("step_s")
    )
    found = congestion(frame, told, latency_price=None, seed=0)
    assert found.method == "replay"
    assert [law.rate is not None for law in found.laws] == [True, False]
    assert found.tenants["requests"].sum() == (frame["replica"] == "vllm-0").sum()
    assert any(note.startswith("left out: vllm-2: no step-time law") for note in found.notes)
    assert "left out: vllm-1: no steps are logged" in found.notes


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: f.with_columns(layer=pl.lit("router")), "no serving decisions are logged"),
        (lambda f: f.with_columns(ts=pl.lit(None)), "the arrival time (ts)"),
        (lambda f: f.with_columns(ttft_s=pl.col("latency_s") + 1), "clocks out of order"),
        (lambda f: f, "effective days of replicas"),
        (lambda f: f.with_columns(tenant_id=pl.lit("t")), "one tenant sent all requests"),
        (lambda f: f.drop("ttft_s"), "ttft_s of requests is not logged"),
    ],
)
def test_every_price_of_a_log_that_supports_none_has_the_reason(change: object, said: str) -> None:
    """Kills: 0, NaN or a missing row for what is not known; one replica of one day among them."""
    given = load(200, per_s=1.8)
    frame = change(decisions(given, serve(given, SETTINGS, seed=0)))  # type: ignore[operator]
    prices = congestion_prices(frame, None, latency_price=0.01, seed=0)
    assert len(prices) == 18
    for p in prices:
        assert (p.value, p.lower, p.upper, p.grade) == (None, None, None, "N")
        assert said in (p.reason or "")


def test_negative_durations_are_an_error_and_so_is_a_negative_price(
    log: tuple[pl.DataFrame, pl.DataFrame],
) -> None:
    """Kills: a clock that runs backwards and pays for waiting."""
    with pytest.raises(SchemaError, match="latency_s is -1"):
        congestion(log[0].with_columns(latency_s=pl.lit(-1.0)), log[1], latency_price=None, seed=0)
    with pytest.raises(SchemaError, match="step_s is -1"):
        congestion(log[0], log[1].with_columns(step_s=pl.lit(-1.0)), latency_price=None, seed=0)
    for price in (-0.1, float("nan"), float("inf")):
        with pytest.raises(PriceError, match="latency price"):
            congestion(*log, latency_price=price, seed=0)


def test_a_fit_within_half_a_step_is_fine_however_short_the_time(
    log: tuple[pl.DataFrame, pl.DataFrame],
) -> None:
    """Kills: a time to the first token of two steps refused because an arrival falls within a step."""
    requests = requests_of(log[0])
    served = replay(requests, Server(replica="vllm-0", rate=rate_of(SETTINGS), limits=limits_of(SETTINGS)))
    late = replace(served, ttft_s=requests.ttft_s + 0.2 * np.median(requests.ttft_s))
    strict = fit_quality(requests, [late], 0.0)
    assert "ttft_s p50" in (fit_fault(strict) or "")
    assert fit_fault(fit_quality(requests, [late], 10.0)) is None
