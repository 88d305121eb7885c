"""The worlds of the three predictions are what they say: layout, known chances, and a truth that is one."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from shadowprice.estimators.problem import check_frame
from shadowprice.ingest.simulator import predicted_congestion, predicted_router, predicted_verifier


def test_verification_lowers_the_risk_of_like_tasks_as_the_truth_says() -> None:
    """The truth again by weighing outcomes with the known chances. Kills: later verifications left out of
    it, a truth of the wrong round."""
    frame, truth = predicted_verifier.verifier_world(60_000, seed=1)
    check_frame(frame.head(3_000))
    done = (pl.col("action") == "verify").cast(pl.Int64)
    rows = frame.with_columns(before=(done.cum_sum() - done).over("request_id"), verified=done)
    for k in (0, 1):
        at = rows.filter(pl.col("before") == k)
        y, a = at["incident"].to_numpy().astype(float), at["verified"].to_numpy()
        e = at["propensities"].list.get(1).to_numpy()
        found = (y * a * (1 - e)).sum() / (a * (1 - e)).sum() - (y * (1 - a) * e).sum() / ((1 - a) * e).sum()
        assert found == pytest.approx(truth.risk[k], abs=0.01)
    assert truth.stop == 2
    assert (truth.risk[2:] == 0.0).all()


def test_verification_that_finds_nothing_has_no_effect_in_the_truth() -> None:
    """Kills: a truth that is told whatever the world is."""
    _, truth = predicted_verifier.verifier_world(500, seed=1, holds=False)
    assert (truth.risk == 0.0).all()
    assert truth.stop == 0


@pytest.mark.parametrize("router", ["cheap", "optimal", "careless"])
def test_choices_are_drawn_with_the_chances_that_are_logged(router: predicted_router.Router) -> None:
    """Kills: a propensity of another action, explorations that are not even."""
    frame, _ = predicted_router.router_world(20_000, seed=2, router=router)
    check_frame(frame)
    surplus = (1.0 / frame["propensity"].to_numpy()).mean()
    assert surplus == pytest.approx(2.0, abs=0.1)
    drawn = frame.filter("exploration")
    assert drawn.height / frame.height == pytest.approx(predicted_router.EXPLORED, abs=0.01)
    assert (drawn["action"] == "cheap").mean() == pytest.approx(0.5, abs=0.03)


def test_only_the_cheap_router_loses_more_quality_at_a_high_value() -> None:
    """Kills: a truth in dollars for a router whose quality loss is the same at every value."""
    found = {r: predicted_router.router_world(20_000, seed=0, router=r)[1] for r in _ROUTERS}
    assert found["cheap"].usd > 0.5
    assert found["cheap"].quality > 0.04
    assert (found["optimal"].usd, found["optimal"].quality) == (pytest.approx(0.0), pytest.approx(0.0))
    assert found["careless"].usd > 0.3
    assert abs(found["careless"].quality) < 0.002


_ROUTERS: tuple[predicted_router.Router, ...] = ("cheap", "optimal", "careless")


def test_values_do_not_go_with_difficulty() -> None:
    """Kills: regret that rises with V because valuable tasks are hard."""
    frame, _ = predicted_router.router_world(20_000, seed=0)
    values = frame["x_task_class"].replace_strict(predicted_router.CLASS_VALUES, return_dtype=pl.Float64)
    assert abs(np.corrcoef(np.log(values.to_numpy()), frame["x_difficulty"].to_numpy())[0, 1]) < 0.03


def test_long_prompts_apart_leave_short_requests_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kills: a world 'apart' in which both meet; requests out of order; a truth where nobody waits."""
    monkeypatch.setattr(predicted_congestion, "HOURS", 1)
    shared, truth = predicted_congestion.congestion_world(seed=0)
    apart, none = predicted_congestion.congestion_world(seed=0, shared=False)
    check_frame(shared)
    same = ["decision_id", "ts", "tenant_id", "replica", "tok_input_uncached", "tok_output"]
    assert shared.select(same).equals(apart.select(same))
    short = pl.col("tok_input_uncached") < 5_000
    waits = [f.filter(short)["ttft_s"].mean() for f in (shared, apart)]
    assert none.wait_s == 0.0
    assert truth.wait_s == pytest.approx(float(waits[0]) - float(waits[1]), rel=1e-9)  # type: ignore[arg-type]
    assert truth.wait_s > 0.003
