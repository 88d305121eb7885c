"""Accounting prices of risk: mean losses, loads, ratios; and classes where nothing happened, never at 0."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from choosing import BENCH
from shadowprice.errors import ConfigError
from shadowprice.estimators.irreversible import Reviews
from shadowprice.estimators.prices.exposure import trials_of
from shadowprice.estimators.prices.risk_prices import risk_prices
from shadowprice.estimators.prices.risk_ratios import risk_price_ratios
from shadowprice.estimators.risk_records import RiskSettings
from shadowprice.schemas.config import Config
from shadowprice.schemas.records import Price
from worlds import decisions

NAMES = {
    "incident_rate": "event/decision",
    "accounting_risk_price": "USD/event",
    "risk_charge": "USD/decision",
    "knightian_load": "USD/USD",
    "accounting_risk_price_knightian": "USD/event",
    "cvar_load": "USD/USD",
    "accounting_risk_price_cvar": "USD/event",
    "irreversible_risk_load": "USD/USD",
}
MEAN_LOSS = BENCH.TAIL / (BENCH.TAIL - 1)


def world(seed: int = 0, *, n: int = 3000, quiet: float = 0.0, **columns: Any) -> pl.DataFrame:
    """Half of the decisions are 'read' with incident probability `quiet`, half 'deploy' with 8 %, Pareto(2.5)
    losses from 1 USD."""
    rng = np.random.default_rng(seed)
    read = rng.random(n) < 0.5
    hurt = rng.random(n) < np.where(read, quiet, 0.08)
    made: dict[str, Any] = {
        "action": np.where(read, "open", "push"),
        "action_class": np.where(read, "read", "deploy"),
        "incident": hurt,
        "loss_usd": np.where(hurt, (1 - rng.random(n)) ** (-1 / BENCH.TAIL), 0.0),
        "session_id": [f"s{i}" for i in range(n)],
    }
    return decisions(n, **(made | columns))


def priced(frame: pl.DataFrame, settings: RiskSettings | None = None) -> dict[tuple[str, str], Price]:
    found = risk_prices(frame, config=Config(), seed=0, settings=settings)
    out = {(p.segment.removeprefix("action_class="), p.name): p for p in found}
    assert len(out) == len(found)
    return out


def test_every_class_has_every_price_with_its_unit() -> None:
    """Kills a missing row: what cannot be said is there with its reason."""
    found = priced(world())
    assert {s for s, _ in found} == {"all", "read", "deploy"}
    for segment in ("all", "read", "deploy"):
        for name, unit in NAMES.items():
            p = found[segment, name]
            assert p.unit == unit
            assert p.source == "fitted"
            assert p.grade in ("C", "D", "N")
            assert p.value is not None or p.reason


def test_an_incident_costs_its_mean_loss_and_a_decision_its_share() -> None:
    """Kills a mean over decisions in place of incidents, and a rate per class of another class."""
    found = priced(world(1, n=6000))
    for segment, rate in (("deploy", 0.08), ("all", 0.04)):
        for name, truth in (
            ("incident_rate", rate),
            ("accounting_risk_price", MEAN_LOSS),
            ("risk_charge", rate * MEAN_LOSS),
        ):
            p = found[segment, name]
            assert p.lower is not None
            assert p.upper is not None
            assert p.lower < truth < p.upper, (segment, name)
            assert p.value == pytest.approx(truth, rel=0.3)


@pytest.mark.parametrize(("icc", "size"), [(0.0, 1), (0.2, 20)])
def test_a_class_without_incidents_has_a_bound_that_holds_and_no_value(icc: float, size: int) -> None:
    """Kills rho = 0, and a bound from dependent decisions as if each were a trial: at least 95 % of worlds,
    three binomial errors allowed on 80 of them."""
    rate, held, quiet = 0.002, [], 0
    for seed in range(80):
        frame = BENCH.class_log(seed, n=1600, rate=rate, icc=icc, size=size)
        own = priced(frame)
        p, charge = own["read", "incident_rate"], own["read", "risk_charge"]
        assert p.upper is not None
        held.append(p.upper >= rate)
        if not frame.filter(pl.col("action_class") == "read")["incident"].any():
            quiet += 1
            assert p.value is None
            assert charge.value is None
            assert p.lower == 0.0 < p.upper
            assert "a bound, not 0" in (p.reason or "")
            assert charge.upper or "cap_usd" in (charge.reason or "")
    assert quiet > 5
    assert np.mean(held) >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / 80)


def test_the_bound_without_incidents_is_the_exact_one_of_independent_decisions() -> None:
    """Kills 3 / n for few decisions and a two-sided limit: 1 - 0.05^(1 / n)."""
    frame = world(2, n=400)
    p = priced(frame)["read", "incident_rate"]
    n = frame.filter(pl.col("action_class") == "read").height
    assert (p.n, p.ess) == (n, float(n))
    assert p.upper == pytest.approx(1 - 0.05 ** (1 / n), rel=1e-9)
    assert "one-sided 95%" in (p.method or "")


def test_a_cluster_counts_once_where_no_incident_shows_how_clustered_they_are() -> None:
    """Kills a thousand steps of twenty sessions taken for a thousand trials."""
    frame = world(3, n=1000, incident=[False] * 1000, loss_usd=[0.0] * 1000)
    tight = frame.with_columns(session_id=pl.Series([f"s{i % 40}" for i in range(1000)]))
    loose, few = (priced(f)["all", "incident_rate"] for f in (frame, tight))
    assert loose.upper == pytest.approx(1 - 0.05 ** (1 / 1000))
    assert few.upper == pytest.approx(1 - 0.05 ** (1 / 40))
    assert trials_of(np.ones(1000), np.arange(1000) % 40, 0.5) == pytest.approx(1000 / 13)


def test_without_any_loss_the_charge_needs_a_cap_and_takes_it() -> None:
    """Kills a charge of 0 dollars, and one from a loss that nobody stated."""
    frame = world(4, n=1000, incident=[False] * 1000, loss_usd=[0.0] * 1000)
    without, capped = priced(frame), priced(frame, RiskSettings(cap_usd=500.0))
    assert (without["read", "risk_charge"].upper, without["read", "risk_charge"].grade) == (None, "N")
    assert "cap_usd" in (without["read", "risk_charge"].reason or "")
    p = capped["read", "risk_charge"]
    assert p.upper == pytest.approx(500 * (capped["read", "incident_rate"].upper or 0))
    assert (capped["read", "accounting_risk_price"].value, p.value) == (None, None)


def test_loads_stand_beside_the_price_and_are_not_averaged_into_it() -> None:
    """Kills a load below 1, a worst case with a value and a price that is the mean of three."""
    found = priced(world(5, n=8000), RiskSettings(strength=1.5))
    plain = found["deploy", "accounting_risk_price"]
    k, worst = found["deploy", "knightian_load"], found["deploy", "accounting_risk_price_knightian"]
    assert (k.value, worst.value, k.grade) == (None, None, "D")
    assert k.upper is not None
    assert worst.upper is not None
    assert k.upper > 1.05
    assert worst.upper == pytest.approx(k.upper * (plain.value or 0))
    load, tail = found["deploy", "cvar_load"], found["deploy", "accounting_risk_price_cvar"]
    assert load.value is not None
    assert tail.value == pytest.approx(load.value * (plain.value or 0))
    assert load.value > 1.0


def test_the_cvar_price_of_all_decisions_is_the_tail_of_their_losses() -> None:
    """Kills a tail share over another rate: 4 % incidents, so of the worst 1 % each is one, and a price of
    E[(L - eta)+ | incident] / 0.01, for Pareto(2.5) with eta = 4^(1 / 2.5)."""
    p = priced(world(6, n=20_000))["all", "accounting_risk_price_cvar"]
    eta = 4 ** (1 / BENCH.TAIL)
    truth = eta ** (1 - BENCH.TAIL) / (BENCH.TAIL - 1) / 0.01
    assert p.lower is not None
    assert p.upper is not None
    assert p.lower < truth < p.upper
    assert p.value == pytest.approx(truth, rel=0.3)


def test_the_load_on_what_cannot_be_undone_needs_reviews() -> None:
    """Kills an option value made of nothing, and one that reviews do not reach."""
    frame = world(7, n=6000, reversible=[False] * 6000)
    assert "RiskSettings.reviews" in (priced(frame)["deploy", "irreversible_risk_load"].reason or "")
    reviews = Reviews(bad=60, caught=54, good=400, passed=390, delay_usd=0.01, ask_usd=0.02)
    p = priced(frame, RiskSettings(reviews=reviews))["deploy", "irreversible_risk_load"]
    assert p.value is not None
    assert 1.0 < p.value < 2.0


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"incident": [None] * 3000, "loss_usd": [None] * 3000}, "neither incident nor loss_usd"),
        ({"session_id": [f"s{i % 4}" for i in range(3000)]}, "effective clusters"),
    ],
)
def test_a_log_that_cannot_say_is_refused_with_the_reason(columns: dict[str, Any], words: str) -> None:
    """Kills a price from a log without incidents' column, or of four sessions."""
    found = priced(world(8, **columns))
    assert all(p.value is None and p.grade == "N" for p in found.values())
    assert words in (found["all", "accounting_risk_price"].reason or "")


def test_a_loss_above_the_stated_cap_is_one_clear_error() -> None:
    """Kills a cap that the log itself disproves."""
    with pytest.raises(ConfigError, match="exceeds the cap"):
        priced(world(9), RiskSettings(cap_usd=1.0))


def revealed(value: float | None, lower: float | None, upper: float | None, unit: str = "USD/event") -> Price:
    return Price(
        name="revealed_risk_price",
        symbol="ρ_rev",
        unit=unit,
        source="revealed",
        value=value,
        lower=lower,
        upper=upper,
        layer="router",
        decision_point="model",
        grade="C",
        reason=None if value is not None else "the choices show no sensitivity to cost",
    )


def books(value: float = 10.0, lower: float = 8.0, upper: float = 12.5) -> Price:
    return Price(
        name="accounting_risk_price",
        symbol="ρ_acct",
        unit="USD/event",
        source="fitted",
        value=value,
        lower=lower,
        upper=upper,
        layer="router",
        decision_point="model",
        grade="C",
    )


def test_behaviour_that_prices_risk_below_its_cost_is_called_under_pricing() -> None:
    """Kills a ratio upside down: 2 against 10 USD, log distances log 2 and log 1.25 in squares, by hand."""
    (p,) = risk_price_ratios((revealed(2.0, 1.0, 4.0), books()))
    reach = np.exp(np.hypot(np.log(2), np.log(1.25)))
    assert (p.value, p.lower, p.upper) == (
        pytest.approx(0.2),
        pytest.approx(0.2 / reach),
        pytest.approx(0.2 * reach),
    )
    assert "under-priced" in (p.reason or "")
    (over,) = risk_price_ratios((revealed(40.0, 20.0, 80.0), books()))
    assert "above what incidents cost" in (over.reason or "")


def test_a_revealed_price_that_may_be_0_keeps_an_interval_over_0() -> None:
    """Kills a logarithm of a negative price."""
    (p,) = risk_price_ratios((revealed(2.0, -1.0, 30.0), books()))
    assert (p.value, p.lower, p.upper) == (0.2, pytest.approx(-1 / 8), pytest.approx(30 / 8))
    assert "no difference seen" in (p.reason or "")


def test_a_price_per_dollar_of_loss_is_its_own_ratio_and_a_missing_one_has_none() -> None:
    """Kills dividing USD per USD by USD per event, and a ratio to nothing."""
    (own,) = risk_price_ratios((revealed(0.5, 0.4, 0.6, "USD/USD"),))
    assert (own.value, own.lower, own.upper) == (0.5, pytest.approx(0.4), pytest.approx(0.6))
    (none,) = risk_price_ratios((revealed(None, None, None), books()))
    assert (none.value, none.reason) == (None, "the choices show no sensitivity to cost")
    (alone,) = risk_price_ratios((revealed(2.0, 1.0, 4.0),))
    assert alone.reason == "no accounting price at this point"
