"""The autonomy schedule: cheap risks run free, dear ones ask, and doubt goes to the stricter level."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from shadowprice.errors import ConfigError
from shadowprice.estimators.irreversible import Reviews
from shadowprice.estimators.prices.autonomy import SCHEDULE, autonomy_schedule
from shadowprice.schemas.config import Config, parse_config
from worlds import decisions

RATE = {"read": 0.002, "commit": 0.05, "deploy": 0.2}
LOSS = {"read": 1.0, "commit": 20.0, "deploy": 400.0}


def reviews(**changes: Any) -> Reviews:
    """Catches 90 % of bad actions and lets 95 % of good ones pass; asking costs 0.5 USD, a delay 0.1 USD."""
    made = {"bad": 400, "caught": 360, "good": 2000, "passed": 1900, "delay_usd": 0.1, "ask_usd": 0.5}
    return Reviews(**(made | changes))


def world(seed: int = 0, *, n: int = 6000, **columns: Any) -> pl.DataFrame:
    """A third of the decisions in each class, with the rates and losses above."""
    rng = np.random.default_rng(seed)
    kind = np.array(list(RATE))[np.arange(n) % 3]
    hurt = rng.random(n) < np.array([RATE[k] for k in kind])
    made: dict[str, Any] = {
        "action": np.where(rng.random(n) < 0.5, "act", "other"),
        "action_class": kind,
        "incident": hurt,
        "loss_usd": np.where(hurt, np.array([LOSS[k] for k in kind]), 0.0),
        "session_id": [f"s{i}" for i in range(n)],
    }
    return decisions(n, **(made | columns))


def schedule(
    frame: pl.DataFrame, config: Config | None = None, **arguments: Any
) -> dict[str, dict[str, Any]]:
    found = autonomy_schedule(frame, config=config or Config(), seed=0, **arguments)
    assert found.columns == list(SCHEDULE)
    return {r["action_class"]: r for r in found.iter_rows(named=True)}


def test_the_level_follows_what_asking_costs_and_leaves_of_the_risk() -> None:
    """Kills a sign, one reviewer's cost for two and a risk that asking does not reduce: deploy loses 80 USD a
    decision, 8.0 + 0.5 when one is asked and 0.8 + 1.0 when two are."""
    found = schedule(world(), reviews=reviews())
    assert {k: r["level"] for k, r in found.items()} == {
        "read": "free",
        "commit": "confirm",
        "deploy": "multi-party",
    }
    deploy = found["deploy"]
    assert deploy["usd_free"] == pytest.approx(80.0, rel=0.1)
    assert deploy["usd_confirm"] == pytest.approx(8.5, rel=0.15)
    assert deploy["usd_multi_party"] == pytest.approx(1.8, rel=0.2)
    assert deploy["p_multi_party"] > 0.99
    assert deploy["loss_lower"] < 80.0 < deploy["loss_upper"]


def test_the_probabilities_of_a_class_add_up_to_1() -> None:
    """Kills a level that is counted twice."""
    for row in schedule(world(1), reviews=reviews()).values():
        assert row["p_free"] + row["p_confirm"] + row["p_multi_party"] == pytest.approx(1.0)


def test_doubt_goes_to_the_stricter_level() -> None:
    """Kills the cheapest point estimate: commit loses 1 USD a decision, asking costs 0.88 of the 0.9 that
    it saves, so neither level is verifiably cheaper."""
    row = schedule(world(2, n=1500), reviews=reviews(ask_usd=0.88, delay_usd=0.0))["commit"]
    assert 0.02 < row["p_free"] < 0.98
    assert row["level"] in ("confirm", "multi-party")
    if row["cheapest"] == "free":
        assert "stricter level is taken" in row["reason"]


def test_a_class_without_incidents_is_not_free_of_risk() -> None:
    """Kills P(incident) = 0 from 60 quiet decisions: their bound of 5 % at 400 USD is worth a question."""
    frame = world(3, n=4000, action_class=["new" if i < 60 else "deploy" for i in range(4000)])
    quiet = pl.Series(np.arange(4000) >= 60)
    hurt = pl.Series(np.arange(4000) % 5 == 0) & quiet
    frame = frame.with_columns(incident=hurt, loss_usd=pl.when(hurt).then(400.0).otherwise(0.0))
    row = schedule(frame, reviews=reviews())["new"]
    assert row["events"] == 0
    assert row["level"] != "free"
    assert "its risk is a bound" in row["reason"]
    assert row["loss_upper"] > 400 * 0.03


def test_many_quiet_decisions_earn_freedom() -> None:
    """Kills a bound that data cannot lower."""
    frame = world(4, action_class=["new" if i % 2 else "deploy" for i in range(6000)])
    hurt = pl.Series(np.arange(6000) % 10 == 0)
    frame = frame.with_columns(incident=hurt, loss_usd=pl.when(hurt).then(20.0).otherwise(0.0))
    assert schedule(frame, reviews=reviews())["new"]["level"] == "free"


def test_the_users_risk_price_counts_per_dollar_or_per_event() -> None:
    """Kills a risk price that is set and ignored, and one in the wrong unit."""
    plain = schedule(world(5), reviews=reviews())["commit"]
    double = schedule(world(5), parse_config({"prices": {"risk": "2 USD/USD"}}), reviews=reviews())["commit"]
    event = schedule(world(5), parse_config({"prices": {"risk": "40 USD/event"}}), reviews=reviews())[
        "commit"
    ]
    assert double["loss_usd"] == pytest.approx(2 * plain["loss_usd"], rel=1e-9)
    assert event["loss_usd"] == pytest.approx(2 * plain["loss_usd"], rel=0.02)


def test_asking_is_read_off_the_log_where_it_was_logged() -> None:
    """Kills a cost of asking that is the whole cost of a decision, and a catch that is not measured: asking
    costs 0.4 USD more and leaves a tenth of the incidents."""
    rng = np.random.default_rng(6)
    n = 12_000
    asked = rng.random(n) < 0.5
    hurt = rng.random(n) < np.where(asked, 0.01, 0.1)
    frame = decisions(
        n,
        action=np.where(asked, "confirm", "act"),
        action_class=["commit"] * n,
        incident=hurt,
        loss_usd=np.where(hurt, 50.0, 0.0),
        cost_usd=np.where(asked, 0.6, 0.2) + rng.uniform(0, 0.1, size=n),
        session_id=[f"s{i}" for i in range(n)],
    )
    row = schedule(frame)["commit"]
    assert row["ask_usd"] == pytest.approx(0.4, abs=0.02)
    assert row["caught"] == pytest.approx(0.9, abs=0.05)
    assert row["usd_free"] == pytest.approx(5.0, rel=0.15)  # of those that did not ask, not of all
    assert row["n"] == int((~asked).sum())
    assert row["level"] in ("confirm", "multi-party")
    assert "by association" in row["method"]


def test_without_a_cost_of_asking_there_is_no_schedule() -> None:
    """Kills an assumed price of a person's time."""
    for row in schedule(world(7)).values():
        assert (row["level"], row["grade"], row["p_free"]) == (None, "N", None)
        assert "neither stated (reviews) nor logged" in row["reason"]


@pytest.mark.parametrize(
    ("frame", "arguments", "words"),
    [
        (world(8, action_class=[None] * 6000), {"reviews": reviews()}, "how far its action reaches"),
        (
            world(8, incident=[None] * 6000, loss_usd=[None] * 6000),
            {"reviews": reviews()},
            "neither incident",
        ),
        (
            world(8, session_id=[f"s{i % 6}" for i in range(6000)]),
            {"reviews": reviews()},
            "effective clusters",
        ),
        (world(8), {"reviews": reviews(bad=3, caught=3)}, "3 bad actions were reviewed"),
        (world(8, incident=[False] * 6000, loss_usd=[0.0] * 6000), {"reviews": reviews()}, "cap_usd"),
    ],
)
def test_what_cannot_be_decided_is_refused_with_the_reason(
    frame: pl.DataFrame, arguments: dict[str, Any], words: str
) -> None:
    """Kills a schedule from nothing."""
    found = autonomy_schedule(frame, config=Config(), seed=0, **arguments)
    assert found.height >= 1
    assert found["level"].null_count() == found.height
    assert all(words in r for r in found["reason"])


def test_the_same_seed_gives_the_same_schedule_and_one_party_is_no_party() -> None:
    """Kills an unseeded draw, and a 'multi-party' level with one person."""
    first, again = (autonomy_schedule(world(9), config=Config(), seed=1, reviews=reviews()) for _ in range(2))
    assert first.equals(again)
    with pytest.raises(ConfigError, match="at least 2"):
        autonomy_schedule(world(9), config=Config(), seed=1, reviews=reviews(), parties=1)
