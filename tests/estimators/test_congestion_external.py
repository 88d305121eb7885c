"""What long contexts impose in dollars: the simulated engine's truth, a queue by hand, a panel, refusals."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from congested import decisions, load, logs, requests_of
from shadowprice.estimators.congestion.congestion import congestion
from shadowprice.estimators.congestion.external import (
    MIN_BLOCKS,
    external_savings,
    long_contexts,
    refused_savings,
)
from shadowprice.estimators.congestion.panel import PanelPrices
from shadowprice.estimators.congestion.requests import Requests, read_requests
from shadowprice.estimators.congestion.token_prices import Slopes
from shadowprice.estimators.gains import Total, total_gain
from shadowprice.ingest.simulator.engine import Arrivals, EngineSettings, serve
from shadowprice.ingest.simulator.engine_truth import external_delay
from shadowprice.schemas.records import SAVINGS

SETTINGS = EngineSettings()
PRICE = 0.004
LONG_TOK = 8_000


def banded(frame: pl.DataFrame) -> pl.DataFrame:
    """A band that the log has, which names what is long."""
    long = pl.col("tok_input_uncached") >= LONG_TOK
    return frame.with_columns(
        x_prompt_band=pl.when(long).then(pl.lit("long")).otherwise(pl.lit("short")),
        cost_usd=pl.lit(0.01),
    )


@pytest.fixture(scope="module")
def given() -> Arrivals:
    return load(700, per_s=1.6, seed=4)


@pytest.fixture(scope="module")
def savings(given: Arrivals) -> pl.DataFrame:
    frame, steps = logs(given, SETTINGS)
    return congestion(banded(frame), steps, latency_price=PRICE, seed=0, long_by="x_prompt_band").savings


def total(rows: pl.DataFrame) -> Total:
    found = total_gain(rows)
    assert found is not None
    return found


def test_dollars_are_those_that_the_engine_of_the_truth_gives(given: Arrivals, savings: pl.DataFrame) -> None:
    """Kills a mean of all requests for one of the long ones, seconds for dollars, a sample for the whole."""
    long = np.flatnonzero(given.prompt_tok >= LONG_TOK)
    true = PRICE * float(external_delay(given, SETTINGS, long, seed=0).sum())
    found = total(savings)
    assert savings["segment"].unique().to_list() == ["x_prompt_band=long"]
    assert found.lower < true < found.upper
    assert found.usd == pytest.approx(true, rel=0.2)
    assert found.decisions == pytest.approx(long.size)
    assert found.clusters == MIN_BLOCKS


def test_what_they_paid_is_their_own_cost_and_their_own_waiting(
    given: Arrivals, savings: pl.DataFrame
) -> None:
    """Kills a materiality of what all requests paid, or of money without the price of their own time."""
    long = given.prompt_tok >= LONG_TOK
    own = serve(given, SETTINGS, seed=0).latency_s[long].sum()
    assert savings["paid_usd"].sum() == pytest.approx(0.01 * long.sum() + PRICE * own)


def test_one_replica_cannot_carry_the_fingerprint_so_the_dollars_are_doubted(savings: pl.DataFrame) -> None:
    """Kills dollars that count as a finding although nobody could test for a common cause."""
    (doubt,) = savings["doubt"].unique().to_list()
    assert "not identified: one replica" in doubt
    assert savings["grade"].unique().to_list() == ["B"]


def test_without_a_price_of_waiting_there_are_no_dollars_and_nothing_is_asked_without_a_column(
    given: Arrivals,
) -> None:
    """Kills a default price of a second, and work that nobody asked for."""
    frame, steps = logs(given, SETTINGS)
    short = frame.head(200)
    (row,) = congestion(short, None, latency_price=None, seed=0, long_by="x_prompt_band").savings.to_dicts()
    assert (row["usd"], row["grade"]) == (None, "N")
    assert "set prices.latency" in row["reason"]
    assert congestion(short, None, latency_price=PRICE, seed=0).savings.is_empty()
    assert steps.height > 0


def sliced(frame: pl.DataFrame, by: str | None) -> Requests:
    found = read_requests(frame, by=by)
    assert isinstance(found, Requests)
    return found


def test_the_slice_is_the_value_with_the_longest_prompts_else_the_longest_tenth(given: Arrivals) -> None:
    """Kills a slice chosen by its name or its delays; one value of a column is no slice."""
    frame = banded(decisions(given, serve(given, SETTINGS, seed=0)))
    name, member = long_contexts(sliced(frame, "x_prompt_band"))
    assert name == "x_prompt_band=long"
    assert member.sum() == (given.prompt_tok >= LONG_TOK).sum()
    name, member = long_contexts(sliced(frame.with_columns(x_prompt_band=pl.lit("a")), "x_prompt_band"))
    edge = np.quantile(given.prompt_tok, 0.9)
    assert name == f"prompt_tok>{edge:.0f}"
    assert member.sum() == (given.prompt_tok > edge).sum()
    assert long_contexts(requests_of(frame))[0] == name


def slopes(reason: str | None = None) -> Slopes:
    value = None if reason else np.zeros(3)
    return Slopes(value=value, lower=value, upper=value, n=0, blocks=0, reason=reason)


def test_a_panel_gives_its_jackknife_error(given: Arrivals) -> None:
    """Kills pseudo-values whose total or standard error is not that of leaving days out."""
    requests = sliced(banded(decisions(given, serve(given, SETTINGS, seed=0))), "x_prompt_band")
    rng = np.random.default_rng(1)
    delay = rng.uniform(1.0, 2.0, requests.n)
    apart = rng.normal(0.0, 0.1, 12)
    without = delay[None, :] * (1.0 + apart - apart.mean())[:, None]
    panel = PanelPrices(slopes=slopes(), delay_s=delay, without=without)
    rows = external_savings(requests, panel, latency_price=PRICE, seed=0)
    long = long_contexts(requests)[1]
    left = PRICE * without[:, long].sum(axis=1)
    found = total(rows)
    assert found.usd == pytest.approx(PRICE * delay[long].sum())
    assert found.se == pytest.approx(np.sqrt(11 / 12 * ((left - left.mean()) ** 2).sum()))
    assert found.df == pytest.approx(11.0)
    assert rows["grade"].unique().to_list() == ["C"]


def test_a_refused_panel_and_few_long_contexts_say_why(given: Arrivals) -> None:
    """Kills a saving of 0 where no wait was seen."""
    requests = sliced(banded(decisions(given, serve(given, SETTINGS, seed=0))), "x_prompt_band")
    blind = PanelPrices(slopes=slopes("one tenant sent all requests"))
    assert external_savings(requests, blind, latency_price=PRICE, seed=0)["reason"].to_list() == [
        "one tenant sent all requests"
    ]
    few = requests.rows(np.arange(60))
    panel = PanelPrices(slopes=slopes(), delay_s=np.ones(60), without=np.ones((12, 60)))
    (why,) = external_savings(few, panel, latency_price=PRICE, seed=0)["reason"].to_list()
    assert "long contexts; 30 are needed" in why
    assert dict(refused_savings("x").schema) == SAVINGS


def test_a_queue_that_serves_one_at_a_time_needs_no_steps_and_no_model() -> None:
    """Kills delays of a sample, or of the requests themselves: every long request is deleted by hand."""
    rng = np.random.default_rng(3)
    n = 400
    time = rng.exponential(2.0, n).cumsum().round(6)
    long = rng.random(n) < 0.2
    service = np.where(long, 4.0, 0.5)

    def done(rows: np.ndarray) -> np.ndarray:
        end, out = 0.0, np.zeros(rows.size)
        for k, i in enumerate(rows):
            end = max(end, time[i]) + service[i]
            out[k] = end
        return out

    everyone = np.arange(n)
    ends = done(everyone)
    imposed = sum(
        float((np.delete(ends, i) - done(np.delete(everyone, i))).sum()) for i in np.flatnonzero(long)
    )
    frame = pl.DataFrame(
        {
            "decision_id": [f"d{i}" for i in range(n)],
            "layer": "serving",
            "decision_point": "admit",
            "action": "admit",
            "ts": pl.Series(((time + 1.78e9) * 1e6).round().astype(np.int64)).cast(pl.Datetime("us", "UTC")),
            "tenant_id": [f"t{i % 7}" for i in range(n)],
            "tok_input_uncached": np.where(long, 9_000, 500),
            "tok_output": 10,
            "queue_s": (ends - service - time).round(9).clip(0.0),
            "ttft_s": ends - time,
            "latency_s": ends - time,
        }
    )
    found = congestion(banded(frame), None, latency_price=PRICE, seed=0, long_by="x_prompt_band")
    assert found.method == "queue"
    assert total(found.savings).usd == pytest.approx(PRICE * imposed, rel=1e-3)


def test_a_stretch_of_a_long_log_stands_for_all_of_it(given: Arrivals) -> None:
    """Kills dollars of a stretch that read as those of the window."""
    requests = sliced(banded(decisions(given, serve(given, SETTINGS, seed=0))), "x_prompt_band")
    panel = PanelPrices(slopes=slopes(), delay_s=np.ones(requests.n), without=np.ones((12, requests.n)))
    once, twice = (
        external_savings(requests, panel, latency_price=PRICE, seed=0, scale=s) for s in (1.0, 2.0)
    )
    for name in ("usd", "decisions", "paid_usd"):
        assert twice[name].sum() == pytest.approx(2 * once[name].sum())
