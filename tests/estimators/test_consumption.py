"""What the logged policy consumes per decision, where a cap asks."""

from __future__ import annotations

import polars as pl
import pytest
from scipy import stats
from shadowprice.estimators.consumption import consumption
from shadowprice.schemas.config import Config, parse_config
from worlds import router_world

CAPPED = parse_config(
    {"caps": {"cost": "1 USD/decision", "latency": "2 s/decision", "risk": "0.1 event/decision"}}
)


def test_each_capped_quantity_has_its_mean_and_t_interval() -> None:
    """Kills a column mixed up with another, or an interval of another level (one decision per cluster)."""
    frame = router_world(n=200).frame
    rows = consumption(frame, CAPPED)
    assert rows["quantity"].to_list() == ["cost", "latency", "risk"]
    for row, column in zip(rows.iter_rows(named=True), ("cost_usd", "latency_s", "incident"), strict=True):
        x = frame[column].cast(pl.Float64).to_numpy()
        assert row["mean"] == pytest.approx(x.mean())
        assert (row["lower"], row["upper"]) == pytest.approx(
            stats.t.interval(0.95, 199, x.mean(), stats.sem(x))
        )
        assert row["n"] == 200


def test_sessions_are_the_clusters() -> None:
    """Kills decisions of one session taken for independent ones."""
    frame = router_world(n=200).frame
    whole = pl.concat([frame, frame.with_columns(decision_id=pl.format("{}b", "decision_id"))])
    once, twice = (consumption(f, CAPPED).row(0, named=True) for f in (frame, whole))
    assert twice["mean"] == pytest.approx(once["mean"])
    assert (twice["lower"], twice["upper"]) == pytest.approx((once["lower"], once["upper"]))


def test_log_sampling_is_undone() -> None:
    """Kills a mean over the kept rows: dear decisions were kept at 25 %."""
    frame = router_world(n=400).frame.with_columns(
        keep_prob=pl.when(pl.col("action") == "large").then(0.25).otherwise(1.0)
    )
    w = 1 / frame["keep_prob"].to_numpy()
    mean = float((w * frame["cost_usd"].to_numpy()).sum() / w.sum())
    assert consumption(frame, CAPPED)["mean"][0] == pytest.approx(mean)


def test_a_cap_on_losses_is_judged_by_losses() -> None:
    """Kills events held against a cap in dollars."""
    config = parse_config({"caps": {"risk": "0.1 USD/decision"}})
    frame = router_world(n=200).frame.with_columns(loss_usd=pl.col("incident") * 40.0)
    assert consumption(frame, config)["mean"][0] == pytest.approx(frame["loss_usd"].mean())


@pytest.mark.parametrize("config", [Config(), parse_config({"caps": {"risk": "0.1 USD/decision"}})])
def test_what_no_cap_asks_for_or_no_decision_has_is_absent(config: Config) -> None:
    """Kills a row of zeros."""
    assert consumption(router_world(n=60).frame, config).is_empty()


def test_one_session_has_no_interval() -> None:
    """Kills an interval from one cluster."""
    assert consumption(router_world(n=60).frame.with_columns(session_id=pl.lit("s")), CAPPED).is_empty()
