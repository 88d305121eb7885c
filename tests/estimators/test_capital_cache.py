"""What caching is worth: prefix tokens net of writes, the negative control, hits by value, written
entries."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from shadowprice.errors import PriceError, SchemaError
from shadowprice.estimators.capital.cache import cache_prices
from shadowprice.estimators.capital.hit_rates import hit_rates
from shadowprice.estimators.capital.hit_value import MISMATCH, hit_prices, with_mismatch
from shadowprice.estimators.capital.leave_out import Span
from shadowprice.estimators.capital.prefix_value import prefix_prices
from shadowprice.estimators.capital.prompt_prices import TokenPrices
from shadowprice.estimators.capital.write_rule import write_span, write_value
from shadowprice.schemas.config import Config, parse_config

VALUES = parse_config({"prices": {"task_value_by_class": {"cheap": "1 USD/task", "dear": "10 USD/task"}}})
PRICES = TokenPrices(fresh=3e-6, read=3e-7, write=3.75e-6)


def calls(seed: int = 0, *, n: int = 2000, contaminated: float = 0.0, noise: float = 0.0) -> pl.DataFrame:
    """Calls in 50 sessions; half of them read most of their prompt. Long prompts hit more and fail more."""
    rng = np.random.default_rng(seed)
    long = rng.random(n) < 0.5
    prompt = np.where(long, rng.integers(20_000, 30_000, n), rng.integers(2000, 5000, n))
    hit = rng.random(n) < np.where(long, 0.7, 0.3)
    read = np.where(hit, (prompt * rng.uniform(0.5, 0.9, n)).astype(np.int64), 0)
    written = np.where(hit, 0, (prompt * rng.uniform(0.2, 0.6, n)).astype(np.int64))
    fresh, out = prompt - read - written, rng.integers(100, 900, n)
    cost = 3e-6 * fresh + 3e-7 * read + 3.75e-6 * written + 15e-6 * out
    return pl.DataFrame(
        {
            "decision_id": [f"d{i}" for i in range(n)],
            "session_id": [f"s{i % 50}" for i in range(n)],
            "layer": "router",
            "decision_point": "model",
            "action": "m1",
            "tok_input_uncached": fresh,
            "tok_cache_read": read,
            "tok_cache_write": written,
            "tok_output": out,
            "cost_usd": cost * np.exp(noise * rng.normal(size=n)),
            "quality": (rng.random(n) < np.where(long, 0.5, 0.8) - contaminated * hit).astype(float),
        }
    )


def lookups(seed: int = 0, *, n: int = 2400, loss: float = 0.0, mismatched: float = 0.0) -> pl.DataFrame:
    """Lookups of a semantic cache that reuses half of them at random; entries come from requests of either
    class. A reuse loses `loss` of quality, and `mismatched` more where a dear task gets a cheap one's
    answer."""
    rng = np.random.default_rng(seed)
    dear, source_dear, reuse = (rng.random(n) < 0.5 for _ in range(3))
    p = 0.7 - reuse * (loss + mismatched * (dear & ~source_dear))
    task = np.where(dear, "dear", "cheap")
    sources = pl.DataFrame(
        {
            "decision_id": ["w0", "w1"],
            "request_id": ["source-cheap", "source-dear"],
            "layer": "router",
            "decision_point": "model",
            "action": "m1",
            "x_task_class": ["cheap", "dear"],
        }
    )
    rows = pl.DataFrame(
        {
            "decision_id": [f"d{i}" for i in range(n)],
            "request_id": [f"r{i}" for i in range(n)],
            "session_id": [f"s{i % 80}" for i in range(n)],
            "layer": "serving",
            "decision_point": "reuse",
            "action": np.where(reuse, "reuse", "recompute"),
            "candidates": [["recompute", "reuse"]] * n,
            "propensity": 0.5,
            "propensities": [[0.5, 0.5]] * n,
            "propensity_source": "logged",
            "source_request_id": np.where(source_dear, "source-dear", "source-cheap"),
            "cache_hit_kind": "semantic",
            "cache_age_s": 3600.0 * rng.exponential(8.0, n),
            "quality": (rng.random(n) < p).astype(float),
            "cost_usd": np.where(reuse, 0.002, np.where(dear, 0.2, 0.1)),
            "x_task_class": task,
        }
    )
    return pl.concat([rows, sources], how="diagonal")


def test_a_read_token_is_worth_its_discount_less_the_premium_of_the_writes() -> None:
    """Kills a value that forgets the writes, or prices that are not found: by hand from the token counts."""
    frame = calls()
    read, written = frame["tok_cache_read"].sum(), frame["tok_cache_write"].sum()
    by_hand = ((3e-6 - 3e-7) * read - 0.75e-6 * written) / read
    (found,) = prefix_prices(frame, config=Config())
    (stated,) = prefix_prices(frame, config=Config(), prices={"m1": PRICES})
    assert found.value == pytest.approx(by_hand, rel=1e-6)
    assert stated.value == pytest.approx(by_hand, rel=1e-9)
    assert (found.grade, found.unit) == ("B", "USD/token")
    assert found.lower is not None
    assert found.upper is not None
    assert found.lower < by_hand < found.upper


def test_an_exact_prefix_changes_no_answer() -> None:
    """Kills a control that compares long with short prompts: hits are on long ones, which fail more
    anyway."""
    frame = calls(n=6000)
    by_hit = frame.group_by(pl.col("tok_cache_read") > 0).agg(pl.col("quality").mean()).sort("tok_cache_read")
    assert by_hit["quality"][1] < by_hit["quality"][0] - 0.05
    (price,) = prefix_prices(frame, config=Config())
    assert price.grade == "B"
    assert price.method is not None
    assert "negative control: quality" in price.method
    assert price.reason is None


def test_a_contaminated_cache_fails_the_control_and_loses_its_grade() -> None:
    """Kills a control that always passes: hits lose .1 of quality here."""
    (price,) = prefix_prices(calls(n=6000, contaminated=0.1), config=Config())
    assert price.grade == "C"
    assert price.reason is not None
    assert "stale or mixed-up cache contents" in price.reason


@pytest.mark.slow
def test_the_control_raises_a_false_alarm_in_one_of_twenty_clean_logs() -> None:
    """Kills errors of independent calls or weights that leave confounding: of 200 clean logs at most 19 fail
    (probability 0.4 % at a true 5 %)."""
    alarms = sum(
        prefix_prices(calls(s, n=800), config=Config(), prices={"m1": PRICES})[0].grade == "C"
        for s in range(200)
    )
    assert alarms <= 19


def test_writes_that_are_never_read_cost_more_than_they_save() -> None:
    """Kills a saving clipped at 0."""
    dear = TokenPrices(fresh=3e-6, read=3e-7, write=3e-5)
    (price,) = prefix_prices(calls(), config=Config(), prices={"m1": dear})
    assert price.upper is not None
    assert price.upper < 0.0
    assert price.reason == "the premium of the writes exceeds what the reads save"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tok_cache_read": 0}, "no token was read"),
        ({"tok_cache_read": None}, "no token was read"),
        ({"cost_usd": None}, "not stated"),
        ({"session_id": "one"}, "1 clusters read"),
    ],
)
def test_a_log_without_reads_or_prices_is_told_what_to_log(change: dict[str, Any], said: str) -> None:
    """Kills a price of 0 for what is unknown."""
    frame = calls().with_columns(pl.lit(v).alias(k) for k, v in change.items())
    (price,) = prefix_prices(frame, config=Config())
    assert price.value is None
    assert price.reason is not None
    assert said in price.reason


def test_reads_that_hang_on_one_tenant_have_no_interval() -> None:
    """Kills a t interval over fifty sessions of which one reads nearly everything."""
    frame = calls().with_columns(
        tok_cache_read=pl.when(pl.col("session_id") == "s0")
        .then(pl.col("tok_cache_read") * 10_000)
        .otherwise("tok_cache_read")
    )
    (price,) = prefix_prices(frame, config=Config(), prices={"m1": PRICES})
    assert price.value is None
    assert price.reason is not None
    assert "effective clusters carry" in price.reason


def test_costs_that_are_no_sum_of_token_prices_are_not_taken_for_one() -> None:
    """Kills a regression slope sold as a list price: costs scatter by a tenth."""
    (price,) = prefix_prices(calls(noise=0.1), config=Config())
    assert price.value is None


def test_negative_tokens_and_prices_are_clear_errors() -> None:
    """Kills counts and prices below 0."""
    with pytest.raises(SchemaError, match="tok_cache_read"):
        prefix_prices(calls().with_columns(tok_cache_read=pl.lit(-5)), config=Config())
    with pytest.raises(PriceError, match="read"):
        TokenPrices(fresh=1e-6, read=-1e-7, write=1e-6)


def test_reuse_is_priced_where_a_dear_task_gets_a_cheap_answer() -> None:
    """Kills a price that averages over the mismatch: reuse saves .1 to .2 USD, and loses 10 x .2 there."""
    prices = hit_prices(lookups(1, mismatched=0.2), config=VALUES, seed=0)
    said = {p.segment: p for p in prices}
    assert set(said) == {"all", f"{MISMATCH}=higher", f"{MISMATCH}=lower", f"{MISMATCH}=same"}
    higher, lower = said[f"{MISMATCH}=higher"], said[f"{MISMATCH}=lower"]
    assert higher.upper is not None
    assert lower.lower is not None
    assert lower.upper is not None
    assert higher.upper < 0.0
    assert higher.lower is not None
    assert higher.lower < 0.198 - 2.0 < higher.upper
    assert lower.lower < 0.098 < lower.upper
    assert higher.reason == "recomputing is worth more than reusing"
    assert higher.grade == "A"


def test_contrasts_that_were_made_before_are_not_made_again() -> None:
    """Kills a second estimate that differs from the ledger's: the row is taken as it is."""
    row = {
        "layer": "serving",
        "decision_point": "reuse",
        "segment": "all",
        "action": "reuse",
        "baseline": "recompute",
        "quantity": "net",
        "estimand": "ATO",
        "value": 0.5,
        "lower": 0.4,
        "upper": 0.6,
        "n": 7,
        "clusters": 3,
        "grade": "B",
        "method": "made before",
        "reason": None,
    }
    frame = lookups().drop("source_request_id")
    (price,) = hit_prices(frame, config=VALUES, seed=0, contrasts=pl.DataFrame([row]))
    assert (price.value, price.n, price.grade) == (0.5, 7, "B")
    refusal = row | {"estimand": "not_identified", "value": None, "grade": "N", "reason": "no V"}
    (price,) = hit_prices(frame, config=VALUES, seed=0, contrasts=pl.DataFrame([refusal]))
    assert price.value is None
    assert price.reason == "no V"


def test_the_mismatch_is_that_of_the_values_of_both_tasks() -> None:
    """Kills a sign, and a request whose source is unknown that counts as a match."""
    frame = lookups().with_columns(
        source_request_id=pl.when(pl.col("decision_id") == "d0").then(None).otherwise("source_request_id")
    )
    rows = frame.filter(pl.col("decision_point") == "reuse")
    marked = with_mismatch(frame, rows, VALUES)
    assert marked is not None
    higher = marked.filter(pl.col(MISMATCH) == "higher")
    assert higher["x_task_class"].unique().to_list() == ["dear"]
    assert higher["source_request_id"].unique().to_list() == ["source-cheap"]
    assert marked.filter(pl.col("decision_id") == "d0")[MISMATCH].to_list() == [None]
    assert with_mismatch(frame, rows, Config()) is None


def test_worth_is_hit_rate_times_saving_plus_their_covariance() -> None:
    """Kills a lost covariance: the long prompts, which save most, hit most; the identity holds exactly."""
    whole = next(r for r in hit_rates(calls(), config=Config()) if r.kind == "prefix" and r.value == "all")
    product = whole.hits.value * whole.saving.value
    assert whole.worth.value == pytest.approx(product + whole.covariance.value, rel=1e-9)
    frame = calls()
    assert whole.worth.value == pytest.approx(2.7e-6 * frame["tok_cache_read"].mean(), rel=1e-6)
    assert whole.covariance.lower > 0.0
    assert whole.worth.lower < whole.worth.value < whole.worth.upper


def test_hits_are_split_by_the_value_of_the_task() -> None:
    """Kills one rate for all: recomputing costs .2 USD for dear tasks and .1 for cheap ones."""
    found = {r.value: r for r in hit_rates(lookups(), config=VALUES) if r.kind == "semantic"}
    assert set(found) == {"all", "1 USD/task", "10 USD/task"}
    assert found["10 USD/task"].saving.value == pytest.approx(0.198)
    assert found["1 USD/task"].saving.value == pytest.approx(0.098)
    assert found["all"].hits.value == pytest.approx(0.5, abs=0.03)


def test_a_log_without_lookups_has_no_rates() -> None:
    """Kills rates of nothing."""
    frame = calls().select("decision_id", "layer", "decision_point", "action")
    assert hit_rates(frame, config=Config()) == ()


def test_an_entry_is_worth_the_sum_of_its_hits_while_it_lasts() -> None:
    """Kills a lost discount: the naive sum over 10,000 periods."""
    naive = sum((0.99 * 0.95) ** k * 0.4 * 0.03 for k in range(10_000))
    assert write_value(hits=0.4, saving_usd=0.03, decay=0.05, discount=0.99) == pytest.approx(naive)
    with pytest.raises(SchemaError, match="leave less than all"):
        write_value(hits=0.4, saving_usd=0.03, decay=0.0)


def test_the_interval_of_an_entry_adds_both_errors_and_needs_both_signs() -> None:
    """Kills an interval from the saving alone: with a certain decay the ends are those of the saving."""
    saving = Span(value=0.1, lower=0.05, upper=0.2, clusters=40)
    sure = Span(value=0.05, lower=0.05, upper=0.05, clusters=30)
    found = write_span(hits=1.0, saving=saving, decay=sure)
    assert isinstance(found, Span)
    assert (found.value, found.lower, found.upper) == pytest.approx((2.0, 1.0, 4.0))
    vague = write_span(hits=1.0, saving=saving, decay=Span(value=0.05, lower=0.025, upper=0.1, clusters=9))
    assert isinstance(vague, Span)
    assert vague.lower == pytest.approx(2.0 / 2 ** np.sqrt(2))
    assert vague.clusters == 9
    assert isinstance(
        write_span(hits=1.0, saving=Span(value=0.1, lower=-0.1, upper=0.3, clusters=9), decay=sure), str
    )


def test_one_call_gives_every_price_of_caching_or_its_reason() -> None:
    """Kills a price that is absent instead of refused."""
    frame = lookups(2, loss=0.05)
    prices = cache_prices(frame, config=VALUES, seed=0)
    assert {p.name for p in prices} == {
        "cache_decay",
        "cache_half_life",
        "reuse_value",
        "cache_write_value",
    }
    assert all(p.value is not None or p.reason for p in prices)
    assert cache_prices(frame.reverse(), config=VALUES, seed=0) == prices


def test_a_written_entry_is_priced_where_decay_and_savings_are_known() -> None:
    """Kills a write value that is never reached: entries of their own, good ones that save."""
    rng = np.random.default_rng(5)
    n, entries = 3000, 400
    entry = rng.integers(0, entries, n)
    life, age = rng.exponential(40.0, entries), rng.uniform(0.0, 30.0, n)
    reuse = rng.random(n) < 0.5
    good = (~reuse | (age < life[entry])) & (rng.random(n) < 0.98)
    frame = pl.DataFrame(
        {
            "decision_id": [f"d{i}" for i in range(n)],
            "request_id": [f"r{i}" for i in range(n)],
            "session_id": [f"s{i % 90}" for i in range(n)],
            "layer": "serving",
            "decision_point": "reuse",
            "action": np.where(reuse, "reuse", "recompute"),
            "propensity": 0.5,
            "propensity_source": "logged",
            "cache_hit_kind": "semantic",
            "source_request_id": [f"e{e}" for e in entry],
            "cache_age_s": age * 3600,
            "quality": good.astype(float),
            "cost_usd": np.where(reuse, 0.01, 0.9),
        }
    )
    config = parse_config({"prices": {"task_value": "1 USD/task"}})
    named = {p.name: p for p in cache_prices(frame, config=config, seed=0)}
    value, decay, hit = named["cache_write_value"], named["cache_decay"], named["reuse_value"]
    assert value.value is not None
    assert decay.value is not None
    assert decay.lower is not None
    assert decay.upper is not None
    assert decay.lower < 1 - np.exp(-1 / 40) < decay.upper
    assert value.lower is not None
    assert value.lower > 0.0
    assert hit.unit == "USD/hit"
