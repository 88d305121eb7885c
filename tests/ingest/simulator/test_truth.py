"""The truth: equal to a naive replay of the world, consistent with itself, and large where injected."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from shadowprice.ingest.simulator import settings as s
from shadowprice.ingest.simulator.draw import draw_world
from shadowprice.ingest.simulator.injected import injected_truth
from shadowprice.ingest.simulator.knobs import Knobs
from shadowprice.ingest.simulator.truth import contrast_truth, decision_truth, quantities
from shadowprice.ingest.simulator.world import World


@pytest.fixture(scope="module")
def drawn() -> World:
    return draw_world(seed=3, knobs=Knobs(requests=3000))


@pytest.fixture(scope="module")
def decisions(drawn: World) -> pl.DataFrame:
    return decision_truth(drawn)


@pytest.fixture(scope="module")
def contrasts(drawn: World) -> pl.DataFrame:
    return contrast_truth(drawn)


def replay(drawn: World, forced: int, action: int, rng: np.random.Generator) -> np.ndarray:
    """Success of every request in one replay: one point forced, the others drawn one by one."""
    chance = drawn.requests.quality.copy()
    for index, point in enumerate(drawn.points):
        for row, request in enumerate(point.request):
            k = action if index == forced else rng.choice(len(point.actions), p=point.propensity[row])
            chance[request] += point.quality[row, k]
    return rng.random(chance.size) < chance


@pytest.mark.parametrize(("forced", "action"), [(0, 0), (0, 2), (1, 1), (2, 1)])
def test_forcing_an_action_in_a_replay_gives_the_potential_quality(
    drawn: World, forced: int, action: int
) -> None:
    """Kills a truth that forgets what the other layers' policies do."""
    point = drawn.points[forced]
    rng = np.random.default_rng(5)
    seen = np.mean([replay(drawn, forced, action, rng)[point.request] for _ in range(3)], axis=0)
    truth = quantities(drawn, point)["quality"][:, action]
    assert abs(seen.mean() - truth.mean()) < 4 * 0.5 / np.sqrt(3 * point.request.size)


def test_realised_success_and_incidents_average_to_the_truth_under_the_policy(drawn: World) -> None:
    """Kills outcomes drawn from other probabilities than the truth states."""
    for name, realised in (("quality", drawn.resolved), ("risk", drawn.incident)):
        expected = drawn.router.expected(quantities(drawn, drawn.router)[name])
        assert abs(realised.mean() - expected.mean()) < 4 * 0.5 / np.sqrt(drawn.requests.n)


def test_contrasts_equal_sums_over_the_decision_file(
    decisions: pl.DataFrame, contrasts: pl.DataFrame
) -> None:
    """Kills a wrong overlap weight, a swapped sign and dollars over the wrong rows."""
    rows = decisions.filter(pl.col("decision_point") == "reuse", pl.col("x_cache_band") == "stale")
    a, b = (rows.filter(pl.col("action") == name).sort("request_id") for name in ("reuse", "recompute"))
    weights, dollars, total = 0.0, 0.0, 0.0
    for e_a, e_b, x, y in zip(a["propensity"], b["propensity"], a["net"], b["net"], strict=True):
        h = e_a * e_b / (e_a + e_b)
        weights, total, dollars = weights + h, total + h * (x - y), dollars + e_a * (y - x)
    row = contrasts.row(
        by_predicate=(pl.col("segment") == "x_cache_band=stale")
        & (pl.col("action") == "reuse")
        & (pl.col("quantity") == "net"),
        named=True,
    )
    assert row["ato"] == pytest.approx(total / weights)
    assert row["over_usd"] == pytest.approx(dollars)
    assert row["n"] == row["n_overlap"] == a.height


def test_net_is_value_times_quality_less_priced_cost_latency_and_risk(decisions: pl.DataFrame) -> None:
    """Kills a term of Eq. 1 that is left out or counted twice."""
    net = (
        pl.col("value_usd") * pl.col("quality")
        - pl.col("cost")
        - s.LATENCY_USD_PER_S * pl.col("latency")
        - s.RISK_USD_PER_EVENT * pl.col("risk")
    )
    assert decisions.select((net - pl.col("net")).abs().max()).item() < 1e-9


def test_swapping_action_and_baseline_flips_signs_and_directions(contrasts: pl.DataFrame) -> None:
    """Kills 'over' and 'under' that do not mean the same move seen from both sides."""
    keys = ["layer", "decision_point", "segment", "quantity"]
    swapped = contrasts.rename({"action": "baseline", "baseline": "action"})
    both = contrasts.join(swapped, on=[*keys, "action", "baseline"], suffix="_swapped")
    assert both.height == contrasts.height
    assert (both["ato"] + both["ato_swapped"]).abs().max() < 1e-12  # type: ignore[operator]
    assert (both["over_usd"] - both["under_usd_swapped"]).abs().max() < 1e-9  # type: ignore[operator]


def test_injected_failures_cost_dollars_and_the_null_world_has_none(
    drawn: World, contrasts: pl.DataFrame
) -> None:
    """Kills an injected failure whose undoing would lose money."""
    injected = injected_truth(drawn, contrasts)["failures"]
    assert {f["mode"] for f in injected} == {
        "over_routing",
        "under_routing",
        "under_verification",
        "cache_misuse",
    }
    assert all(f["usd"] > 10 for f in injected)
    null = draw_world(seed=3, knobs=Knobs(requests=3000, null=True))
    truth = contrast_truth(null)
    assert injected_truth(null, truth)["failures"] == []
    assert truth.filter(pl.col("quantity") == "net")["over_usd_all"].abs().max() < 1e-6  # type: ignore[operator]


def test_the_rule_router_has_no_overlap_weighted_truth(contrasts: pl.DataFrame) -> None:
    """Kills an overlap estimand reported where a rule chose."""
    rows = contrasts.filter(pl.col("segment") == "x_task_class=refunds", pl.col("decision_point") == "model")
    assert rows["n_overlap"].sum() == 0
    assert rows["ato"].null_count() == rows.height
