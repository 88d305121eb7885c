"""What counts as a request, and what a serving log has to have before its queue is followed."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from congested import decisions, load, requests_of
from shadowprice.errors import SchemaError
from shadowprice.estimators.congestion.requests import Requests, read_requests
from shadowprice.ingest.simulator.engine import EngineSettings, serve

GIVEN = load(80, per_s=1.0, cached=0.25)
FRAME = decisions(GIVEN, serve(GIVEN, EngineSettings(), seed=0))


def nulls(*names: str) -> pl.DataFrame:
    return FRAME.with_columns(pl.lit(None, dtype=FRAME[name].dtype).alias(name) for name in names)


def test_requests_are_read_in_order_of_arrival_with_what_the_cache_served() -> None:
    """Kills: cached tokens counted twice or as work, a row order that matters, times of another origin."""
    found = requests_of(FRAME.sample(fraction=1.0, shuffle=True, seed=4))
    assert found.n == 80
    assert np.abs(found.time_s - (GIVEN.time_s - GIVEN.time_s[0])).max() < 2e-6
    assert found.prompt.tolist() == GIVEN.prompt_tok.tolist()
    assert found.cached.tolist() == GIVEN.cached.tolist()
    assert found.output.tolist() == GIVEN.output_tok.tolist()
    assert found.tenants[int(found.tenant[0])] == "t00"


def test_a_prompt_that_only_a_feature_tells_is_taken_whole() -> None:
    """Kills: requests of engines that do not say what they cached read as requests without tokens."""
    engine = FRAME.with_columns(x_prompt_tokens=pl.col("tok_input_uncached") + pl.col("tok_cache_read")).drop(
        "tok_input_uncached"
    )
    found = requests_of(engine)
    assert found.prompt.tolist() == GIVEN.prompt_tok.tolist()
    assert found.cached.max() == 0


def test_other_layers_and_other_serving_decisions_are_no_requests() -> None:
    """Kills: a cache lookup or a router call served by the engine."""
    others = FRAME.with_columns(layer=pl.lit("router"))
    lookups = FRAME.with_columns(decision_point=pl.lit("reuse"))
    assert requests_of(pl.concat([FRAME, others, lookups])).n == 80
    assert read_requests(others) == "no serving decisions are logged"


def test_rows_without_tokens_are_left_out_and_counted() -> None:
    """Kills: a request of 0 tokens, or one that vanishes without a word."""
    some = FRAME.with_columns(
        tok_output=pl.when(pl.int_range(pl.len()) < 7).then(None).otherwise("tok_output")
    )
    found = requests_of(some)
    assert (found.n, found.dropped) == (73, 7)


def test_a_clock_that_only_counts_has_no_hour_of_day() -> None:
    """Kills: prices by hour of day of a trace that starts at second 0."""
    assert requests_of(FRAME.with_columns(x_clock=pl.lit("relative"))).hour.max() == -1
    assert requests_of(FRAME).hour.min() >= 0


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (FRAME.clear(), "no serving decisions are logged"),
        (nulls("ts"), "the arrival time (ts) of serving requests is not logged"),
        (FRAME.with_columns(ts=pl.lit(None)), "the arrival time (ts)"),
        (nulls("tok_output"), "prompt and output tokens of serving requests are not logged"),
        (nulls("tok_input_uncached"), "prompt and output tokens of serving requests are not logged"),
        (FRAME.head(20), "20 requests with arrival and tokens; 50 are needed"),
        (FRAME.with_columns(keep_prob=pl.lit(0.1)), "the log keeps only a sample of the requests"),
        (
            FRAME.with_columns(ttft_s=pl.col("latency_s") + 1),
            "clocks out of order: in 80 of 80 requests ttft_s",
        ),
        (
            FRAME.with_columns(queue_s=pl.col("latency_s") + 1),
            "clocks out of order: in 80 of 80 requests queue_s",
        ),
    ],
)
def test_a_log_that_holds_no_queue_says_why(frame: pl.DataFrame, said: str) -> None:
    """Kills: a queue followed through requests that are not there or were timed by two clocks."""
    found = read_requests(frame)
    assert isinstance(found, str)
    assert said in found


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        (FRAME.with_columns(latency_s=pl.lit(-3.0)), "latency_s is -3.0 in row 0"),
        (FRAME.with_columns(queue_s=pl.lit(float("nan"))), "queue_s is nan in row 0"),
        (FRAME.with_columns(tok_output=pl.lit(-1)), "tok_output is -1 in row 0"),
        (FRAME.with_columns(ttft_s=pl.lit("soon")), "ttft_s has type String"),
        (FRAME.with_columns(ts=pl.lit(3)), "ts has type"),
        (FRAME.drop("layer"), "column 'layer' is missing"),
    ],
)
def test_values_that_cannot_be_are_an_error_with_the_row(frame: pl.DataFrame, said: str) -> None:
    """Kills: a negative duration that makes others wait less."""
    with pytest.raises(SchemaError, match="decisions") as error:
        read_requests(frame)
    assert said in str(error.value)


def test_unset_columns_mean_not_logged() -> None:
    """Kills: a missing replica, tenant or duration column read as an error."""
    found = read_requests(FRAME.drop("replica", "tenant_id", "queue_s", "ttft_s", "decode_s", "latency_s"))
    assert isinstance(found, Requests)
    assert found.replicas == ("engine",)
    assert found.tenants == ("unknown",)
    assert np.isnan(found.latency_s).all()
