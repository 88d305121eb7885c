"""True prices: equal to the linear programme written out, and to what more of a cap is worth."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy import sparse
from scipy.optimize import linprog
from shadowprice.ingest.simulator.draw import draw_world
from shadowprice.ingest.simulator.knobs import Knobs
from shadowprice.ingest.simulator.truth import contrast_truth, decision_truth
from shadowprice.ingest.simulator.truth_prices import duals, price_truth, regret_truth
from shadowprice.ingest.simulator.world import World


@pytest.fixture(scope="module")
def drawn() -> World:
    return draw_world(seed=3, knobs=Knobs(requests=1500, inject=("under_routing", "over_delegation")))


def stakes(decisions: pl.DataFrame, point: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """worth (n, K), load (n, K, 3) and propensity (n, K), from the truth file."""
    rows = decisions.filter(pl.col("decision_point") == point).sort("request_id", "action")
    k = rows["action"].n_unique()
    e = rows["propensity"].to_numpy().reshape(-1, k)
    worth = rows.select(pl.col("value_usd") * pl.col("quality") - pl.col("cost") - 5.0 * pl.col("risk"))
    load = rows.select("cost", "latency", "risk").to_numpy().reshape(-1, k, 3)
    return np.where(e > 0, worth.to_numpy().reshape(-1, k), -np.inf), load, e


def written_out(worth: np.ndarray, load: np.ndarray, caps: np.ndarray) -> float:
    """The mean optimum by the primal programme over all n K shares."""
    n, k = worth.shape
    found = linprog(
        -np.where(np.isfinite(worth), worth, 0.0).ravel() / n,
        A_ub=(load / n).reshape(n * k, -1).T,
        b_ub=caps,
        A_eq=sparse.kron(sparse.eye(n), np.ones((1, k))),
        b_eq=np.ones(n),
        bounds=[(0.0, 1.0 if np.isfinite(w) else 0.0) for w in worth.ravel()],
        method="highs",
    )
    return -found.fun


@pytest.mark.parametrize("point", ["model", "verify", "reuse", "delegate"])
def test_the_optimum_is_that_of_the_programme_written_out(drawn: World, point: str) -> None:
    """Kills: cutting planes that stop early, a wrong sign, a cap in another unit, a closed action used."""
    worth, load, e = stakes(decision_truth(drawn), point)
    caps = (e[:, :, None] * load).sum(axis=1).mean(axis=0)
    primal = written_out(worth, load, caps)
    logged = (e * np.where(e > 0, worth, 0.0)).sum(axis=1).mean()
    row = price_truth(drawn).filter(pl.col("decision_point") == point, pl.col("caps") == "logged")
    assert row["gain_usd"].item() == pytest.approx((primal - logged) * len(worth), abs=0.02)
    assert row["cap_cost"].item() == pytest.approx(caps[0])


def test_a_dual_is_the_slope_of_the_optimum_in_its_cap(drawn: World) -> None:
    """Kills: duals of scaled caps that are not scaled back."""
    worth, load, e = stakes(decision_truth(drawn), "model")
    caps = np.array([(e * load[:, :, 0]).sum(axis=1).mean(), np.inf, np.inf])
    mu, best = duals(worth, load, caps) or (np.zeros(3), 0.0)
    more = duals(worth, load, caps * 1.02)
    less = duals(worth, load, caps * 0.98)
    assert more is not None
    assert less is not None
    assert (more[1] - best) / (0.02 * caps[0]) <= mu[0] * 1.001
    assert (best - less[1]) / (0.02 * caps[0]) >= mu[0] * 0.999
    assert mu[0] > 0.5
    assert mu[1:].tolist() == [0.0, 0.0]


def test_two_actions_have_the_price_that_can_be_worked_out_by_hand() -> None:
    """Kills: a price that is not the worth per dollar of the marginal decision."""
    gain = np.arange(1.0, 11.0)  # ten decisions: the dear action adds 1, ..., 10 and costs 1
    worth = np.column_stack([np.zeros(10), gain])
    load = np.stack([np.zeros((10, 3)), np.ones((10, 3))], axis=1)
    mu, best = duals(worth, load, np.array([0.35, np.inf, np.inf])) or (np.zeros(3), 0.0)
    assert mu[0] == pytest.approx(7.0)
    assert best == pytest.approx((10 + 9 + 8 + 0.5 * 7) / 10)


def test_a_cap_that_does_not_bind_has_no_price_and_an_impossible_one_no_answer() -> None:
    """Kills: a positive price of a slack cap, and a number for caps that nothing keeps."""
    worth = np.array([[0.0, 1.0], [0.0, 2.0]])
    load = np.ones((2, 2, 3))
    found = duals(worth, load, np.array([2.0, np.inf, np.inf]))
    assert found is not None
    assert found[0].tolist() == [0.0, 0.0, 0.0]
    assert duals(worth, load, np.array([0.5, np.inf, np.inf])) is None


def test_prices_are_those_of_the_net_objective(drawn: World) -> None:
    """Kills: multipliers reported as prices, without the price of money."""
    for row in price_truth(drawn).iter_rows(named=True):
        assert row["latency_price"] == pytest.approx(row["mu_latency"] / (1 + row["mu_cost"]))
        assert row["risk_price"] == pytest.approx(row["mu_risk"] / (1 + row["mu_cost"]))


def test_regret_adds_up_over_classes_and_is_what_always_acting_best_would_gain(drawn: World) -> None:
    """Kills: regrets over closed actions, or against the action that happened to be taken."""
    rows = regret_truth(drawn)
    for point in drawn.points:
        own = rows.filter(pl.col("decision_point") == point.decision_point)
        classes = own.filter(pl.col("segment").str.starts_with("x_task_class"))["regret_usd"].sum()
        assert own.filter(pl.col("segment") == "all")["regret_usd"].item() == pytest.approx(classes)
    assert (rows["regret_usd"] > -1e-6).all()
    ruled = rows.filter(pl.col("decision_point") == "model", pl.col("segment") == "x_task_class=refunds")
    assert ruled["regret_usd"].item() == 0.0
    # Where one action is best for all decisions, regret is the dollars of moving the others to it.
    moved = contrast_truth(drawn).filter(
        pl.col("decision_point") == "delegate",
        pl.col("segment") == "x_task_class=coding",
        pl.col("action") == "act",
        pl.col("quantity") == "net",
    )
    found = rows.filter(pl.col("decision_point") == "delegate", pl.col("segment") == "x_task_class=coding")
    assert found["regret_usd"].item() == pytest.approx(moved["over_usd"].item())
