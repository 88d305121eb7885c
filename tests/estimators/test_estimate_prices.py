"""Rare events, prices that are set or not, and values per task class."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from asking import PRICED, ends, estimated, one, priced
from shadowprice.schemas.config import parse_config
from worlds import (
    LARGE,
    World,
    router_world,
)


def rare_incidents() -> pl.DataFrame:
    """Three incidents of `large`, none of `small`."""
    frame = router_world(n=600).frame
    took = (frame["action"] == LARGE).to_numpy()
    incident = np.zeros(600, dtype=bool)
    incident[np.flatnonzero(took)[[5, 50, 150]]] = True
    return frame.with_columns(incident=pl.Series(incident))


def test_rare_events_give_a_bound_and_never_an_interval_around_nothing() -> None:
    """Kills a Wald interval on three events: it would be far too narrow."""
    est = estimated(rare_incidents())
    (risk,) = est.where(quantity="risk", segment="all")
    assert (risk.estimand, risk.grade, risk.value) == ("bound", "D", None)
    lower, upper = ends(risk)
    assert lower < 0 < 3 / 300 < upper < 0.1
    assert -lower < 0.8 * upper  # `small` had no incident, `large` had three
    assert risk.reason == "large has 3 events and 597 non-events; 5 of each are needed".replace(
        "597", str(int((rare_incidents()["action"] == LARGE).sum()) - 3)
    )


def test_a_bound_on_a_priced_risk_leaves_the_net_value_unidentified() -> None:
    """Kills a net value that treats a bounded risk as 0."""
    net = one(estimated(rare_incidents(), PRICED), "net")
    assert net.grade == "N"
    assert "risk is not identified" in str(net.reason)
    unpriced = priced(risk=None)
    assert one(estimated(rare_incidents(), unpriced), "net").grade == "A"


def test_without_a_task_value_the_net_value_is_not_identified() -> None:
    """Kills a default for V."""
    est = estimated(router_world(n=300).frame, priced(task_value=None))
    net = one(est, "net")
    assert net.grade == "N"
    assert "no task value V is set" in str(net.reason)
    assert est.gains.is_empty()
    assert est.ledger["nmv"].null_count() == est.ledger.height


def test_a_priced_latency_that_is_absent_leaves_the_net_value_unidentified() -> None:
    """Kills waiting time that costs nothing because it was not logged."""
    frame = router_world(n=300).frame.drop("latency_s")
    net = one(estimated(frame, PRICED), "net")
    assert net.grade == "N"
    assert "latency is not identified" in str(net.reason)
    assert one(estimated(frame, priced(latency=None)), "net").grade == "A"


def classes(n: int = 600) -> World:
    """A world whose decisions fall into two task classes of equal size."""
    world = router_world(6, n=n, smooth=True)
    kinds = pl.Series(["triage", "legal"] * (n // 2))
    return replace(world, frame=world.frame.with_columns(x_task_class=kinds))


def test_each_task_class_is_valued_at_its_own_v() -> None:
    """Kills one V for all: the same gain is worth a hundred times more where V is."""
    config = parse_config(
        {"prices": {"task_value_by_class": {"triage": "0.1 USD/task", "legal": "10 USD/task"}}}
    )
    est = estimated(classes().frame, config)
    for kind, v in (("triage", 0.1), ("legal", 10.0)):
        segment = f"x_task_class={kind}"
        parts = one(est, "quality", segment).value, one(est, "cost", segment).value
        assert one(est, "net", segment).value == pytest.approx(
            v * float(parts[0] or 0) - float(parts[1] or 0)
        )
    assert (
        ends(one(est, "net", "x_task_class=triage"))[1] < 0.0 < ends(one(est, "net", "x_task_class=legal"))[0]
    )
    assert one(est, "net").value is not None


def test_a_class_without_a_value_is_silent_and_the_others_are_not() -> None:
    """Kills a V borrowed from another class."""
    config = parse_config({"prices": {"task_value_by_class": {"legal": "10 USD/task"}}})
    est = estimated(classes().frame, config)
    assert one(est, "net", "x_task_class=legal").grade == "A"
    for segment in ("x_task_class=triage", "all"):
        assert one(est, "net", segment).grade == "N"
    by_class = est.ledger.group_by("segment").agg(pl.col("nmv").null_count(), n=pl.len()).sort("segment")
    assert by_class["nmv"].to_list() == [0, by_class["n"][1]]


def test_segments_partition_the_decisions() -> None:
    """Kills a segment that overlaps another or loses rows."""
    est = estimated(classes().frame)
    sizes = [one(est, "cost", f"x_task_class={k}").n for k in ("triage", "legal")]
    assert sizes == [300, 300]
    assert one(est, "cost").n == 600
