"""How fast cache entries go bad: another library, known worlds under eviction, refusals."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
import statsmodels.api as sm
from scipy import stats
from shadowprice.errors import SchemaError
from shadowprice.estimators.capital.cache_decay import decay_prices
from shadowprice.estimators.capital.cache_looks import EntryLooks, read_looks
from shadowprice.estimators.capital.hazard import Looks, fit_hazard
from shadowprice.schemas.config import Config
from shadowprice.schemas.records import Price

HAZARD = 0.03


def decay_of(frame: pl.DataFrame) -> tuple[Price, ...]:
    """The prices of a frame of reuses."""
    return decay_prices(read_looks(frame, Config(), seed=0))


def entries(
    seed: int,
    *,
    n: int = 250,
    hazard: float = HAZARD,
    evict: float = 0.03,
    look: float = 0.2,
    fault: float = 0.0,
    shape: float = 1.0,
    recomputed: int = 0,
) -> pl.DataFrame:
    """Entries with a Weibull life (hourly hazard at shape 1), evicted at random, looked at now and then.

    fault: share of answers that are bad though nothing has aged, of `recomputed` ones too.
    """
    rng = np.random.default_rng(seed)
    life = rng.weibull(shape, n) / hazard
    until = np.minimum(rng.exponential(1 / evict, n), 600.0)
    count = rng.poisson(look * until)
    entry = np.repeat(np.arange(n), count)
    age = rng.random(entry.size) * until[entry]
    bad = (age > life[entry]) | (rng.random(entry.size) < fault)
    reused = pl.DataFrame(
        {
            "source_request_id": [f"e{e}" for e in entry],
            "cache_age_s": age * 3600.0,
            "quality": 1.0 - bad,
            "action": "reuse",
        }
    )
    again = pl.DataFrame(
        {
            "source_request_id": pl.Series([None] * recomputed, dtype=pl.String),
            "cache_age_s": pl.Series([None] * recomputed, dtype=pl.Float64),
            "quality": 1.0 - (rng.random(recomputed) < fault),
            "action": pl.Series(["recompute"] * recomputed, dtype=pl.String),
        }
    )
    return pl.concat([reused, again]).with_columns(
        decision_id=pl.format("d{}", pl.int_range(pl.len())),
        layer=pl.lit("serving"),
        decision_point=pl.lit("reuse"),
        cache_hit_kind=pl.lit("semantic"),
        session_id=pl.coalesce("source_request_id", pl.format("s{}", pl.int_range(pl.len()))),
    )


def semantic(frame: pl.DataFrame) -> EntryLooks:
    """The looks at semantic entries, which must be readable."""
    found = read_looks(frame, Config(), seed=0)["semantic"]
    assert isinstance(found, EntryLooks)
    return found


def test_the_hazard_and_its_error_are_those_of_statsmodels() -> None:
    """Kills a wrong link, offset or score: GLM(Binomial, CLogLog), clustered, with and without a slope."""
    looks = semantic(entries(1)).looks
    for design in (looks.design, np.column_stack([looks.design, np.log(looks.gap)])):
        ours = fit_hazard(replace(looks, design=design))
        assert not isinstance(ours, str)
        family = sm.families.Binomial(sm.families.links.CLogLog())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs = sm.GLM(looks.bad, design, family=family, offset=np.log(looks.gap)).fit(
                cov_type="cluster", cov_kwds={"groups": looks.cluster}
            )
        assert ours.theta == pytest.approx(theirs.params, abs=1e-6)
        # CR3 is a little wider than the CR1 of statsmodels
        assert np.sqrt(np.diag(ours.cov)) == pytest.approx(theirs.bse, rel=0.05)


def test_a_background_of_faults_is_not_taken_for_decay() -> None:
    """Kills a hazard that counts every bad answer: 5 % are bad at any age, recomputed ones too."""
    frame = entries(2, n=400, fault=0.05, recomputed=600)
    decay, half = decay_of(frame)
    naive, _ = decay_of(frame.filter(pl.col("action") == "reuse"))
    truth = 1 - np.exp(-HAZARD)
    assert decay.value is not None
    assert naive.lower is not None
    assert decay.lower is not None
    assert decay.upper is not None
    assert decay.lower < truth < decay.upper
    assert naive.lower > truth
    assert half.value == pytest.approx(np.log(2) / -np.log1p(-decay.value))


def test_looks_stop_at_the_first_bad_one_and_gaps_add_up_to_the_age() -> None:
    """Kills looks after the end, gaps from zero each time, and an order of the log that matters."""
    frame = pl.DataFrame(
        {
            "decision_id": [f"d{i}" for i in range(5)],
            "layer": "serving",
            "decision_point": "reuse",
            "action": "reuse",
            "cache_hit_kind": "semantic",
            "source_request_id": ["a", "a", "a", "b", "a"],
            "cache_age_s": [3600.0 * h for h in (5, 1, 9, 2, 7)],
            "quality": [1.0, 1.0, 0.0, 1.0, 0.0],
        }
    )
    found = semantic(frame)
    assert sorted(zip(found.looks.gap.tolist(), found.looks.bad.tolist(), strict=True)) == [
        (1.0, 0.0),
        (2.0, 0.0),
        (2.0, 1.0),
        (4.0, 0.0),
    ]
    assert (found.entries, found.hours, found.bad) == (2, 9.0, 1)


def test_entries_that_last_give_a_bound_and_no_decay_of_zero() -> None:
    """Kills delta = 0 from no event: the exact one-sided bound -log(.05) / hours, grade D, no value."""
    frame = entries(3, hazard=1e-9)
    decay, half = decay_of(frame)
    hours = semantic(frame).hours
    assert decay.value is None
    assert half.value is None
    assert decay.grade == "D"
    assert decay.upper == pytest.approx(1 - np.exp(np.log(0.05) / hours))


def test_a_hazard_that_moves_with_age_is_said_to_be_an_average() -> None:
    """Kills a constant hazard that hides wear; a constant one is not accused."""
    worn, _ = decay_of(entries(4, n=600, shape=2.5))
    even, _ = decay_of(entries(4, n=600))
    assert worn.reason is not None
    assert "rises with age" in worn.reason
    assert even.reason is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"source_request_id": None}, "log the request that wrote the entry"),
        ({"cache_age_s": None}, "log the age"),
        ({"quality": None}, "link outcomes"),
        ({"cache_hit_kind": "prefix"}, "no semantic, response or memory hit"),
        ({"quality": 1.0, "action": "reuse"}, "10 are needed"),
    ],
)
def test_a_log_that_lacks_something_is_told_what_to_log(change: dict[str, Any], said: str) -> None:
    """Kills a crash, a zero or a silent absence."""
    frame = entries(5).with_columns(pl.lit(v).alias(k) for k, v in change.items())
    for price in decay_of(frame):
        assert price.value is None
        assert price.reason is not None
        assert said in price.reason


def test_bad_answers_that_are_no_rarer_when_recomputed_show_no_decay() -> None:
    """Kills a hazard from noise: reused and recomputed answers fail alike."""
    frame = entries(6, hazard=1e-9, fault=0.2, recomputed=4000)
    (decay, _) = decay_of(frame)
    assert decay.value is None or decay.value < 0.01


def test_ages_below_zero_are_one_clear_error() -> None:
    """Kills clocks out of order that turn into negative gaps."""
    with pytest.raises(SchemaError, match="cache_age_s"):
        decay_of(entries(7).with_columns(cache_age_s=pl.lit(-1.0)))


def test_a_hazard_without_information_is_refused_in_words() -> None:
    """Kills an endless search and a hazard of e^-38: nothing ever failed."""
    looks = Looks(
        bad=np.zeros(20),
        gap=np.ones(20),
        design=np.ones((20, 1)),
        cluster=np.arange(20),
        clusters=20,
    )
    assert isinstance(fit_hazard(looks), str)


@pytest.mark.slow
def test_decay_is_covered_under_eviction_and_faults() -> None:
    """Kills complete-case lives and errors that forget the background: 150 worlds, half of them with faults.
    At a true 95 % fewer than 133 hits have probability 0.2 %."""
    hits = 0
    for seed in range(150):
        faulty = seed % 2 == 1
        frame = entries(seed, n=150, fault=0.05 * faulty, recomputed=300 * faulty)
        decay, _ = decay_of(frame)
        assert decay.lower is not None
        assert decay.upper is not None
        hits += decay.lower <= 1 - np.exp(-HAZARD) <= decay.upper
    assert hits >= stats.binom(150, 0.95).ppf(0.002)
