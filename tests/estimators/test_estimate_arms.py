"""More than two actions: each contrast on its own overlap, from full or partial logs of probabilities."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from asking import covers, estimated
from shadowprice.errors import SchemaError

NAMES = ("basic", "fast", "deep")
COST = (0.01, 0.02, 0.05)
QUALITY = (0.50, 0.55, 0.65)


def log(seed: int = 0, n: int = 1500) -> tuple[pl.DataFrame, np.ndarray]:
    """Harder prompts go to dearer models; returns the log and the true probabilities."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    score = np.exp(np.column_stack([-0.8 * x, 0.0 * x, 0.8 * x]))
    p = score / score.sum(axis=1, keepdims=True)
    taken = (rng.random(n)[:, None] > p.cumsum(axis=1)).sum(axis=1).clip(0, 2)
    quality = np.array(QUALITY)[taken] - 0.2 * np.tanh(x) + rng.uniform(-0.1, 0.1, size=n)
    frame = pl.DataFrame(
        {
            "decision_id": [f"d{i:05d}" for i in range(n)],
            "layer": "router",
            "decision_point": "model",
            "action": [NAMES[k] for k in taken],
            "candidates": [list(NAMES)] * n,
            "propensities": p.tolist(),
            "propensity": p[np.arange(n), taken],
            "quality": quality,
            "cost_usd": np.array(COST)[taken] + rng.uniform(0, 0.002, size=n),
            "x_hardness": x,
        }
    )
    return frame, p


@pytest.mark.parametrize(
    ("lost", "grade"),
    [
        ((), "A"),
        (("candidates", "propensities"), "A"),
        (("candidates", "propensities", "propensity"), "C"),
    ],
)
def test_every_contrast_holds_its_own_truth(lost: tuple[str, ...], grade: str) -> None:
    """Kills overlap weights or propensities of another arm; gains are constant, so ATO and ATE agree."""
    est = estimated(log()[0].drop(lost), baseline="basic")
    true = dict(zip(NAMES, QUALITY, strict=True))
    found = est.where(quantity="quality", segment="all")
    assert {(e.action, e.baseline) for e in found} == {("fast", "basic"), ("deep", "basic")}
    for e in found:
        assert covers(e, true[e.action] - true[e.baseline]), e
        assert e.grade == grade


def test_without_a_baseline_each_action_is_also_compared_with_the_next_cheaper_one() -> None:
    """Kills comparing only with the cheapest: the step from fast to deep is the marginal one."""
    est = estimated(log()[0], baseline=None)
    found = {(e.action, e.baseline) for e in est.where(quantity="cost", segment="all")}
    assert found == {("fast", "basic"), ("deep", "basic"), ("deep", "fast")}


def test_the_difference_of_two_contrasts_is_the_third_where_all_have_the_same_weights() -> None:
    """Kills arms scored on different rows: ATEs add up along the chain."""
    est = estimated(log()[0], baseline=None)
    ate = {
        (e.action, e.baseline): float(e.value or 0)
        for e in est.where(quantity="quality", segment="all", estimand="ATE")
    }
    assert ate["fast", "basic"] + ate["deep", "fast"] == pytest.approx(ate["deep", "basic"])


def test_an_action_that_was_not_available_is_left_out_of_its_contrasts_only() -> None:
    """Kills dropping a decision from every contrast because one action was impossible there."""
    frame, p = log()
    closed = np.arange(1500) < 400
    open_only = p.copy()
    open_only[closed, 2] = 0.0
    open_only /= open_only.sum(axis=1, keepdims=True)
    rng = np.random.default_rng(5)
    taken = (rng.random(1500)[:, None] > open_only.cumsum(axis=1)).sum(axis=1).clip(0, 2)
    assert not (taken[closed] == 2).any()
    frame = frame.with_columns(
        action=pl.Series([NAMES[k] for k in taken]),
        propensities=pl.Series(open_only.tolist()),
        propensity=pl.Series(open_only[np.arange(1500), taken]),
    )
    rows = {e.action: e for e in estimated(frame, baseline="basic").where(quantity="cost", segment="all")}
    assert (rows["fast"].n, rows["deep"].n) == (1500, 1100)
    assert "26.7% of decisions left out" in str(rows["deep"].reason)


def test_a_mistyped_baseline_is_an_error_with_the_nearest_action() -> None:
    """Kills: an argument that vanishes, so that the numbers answer another question."""
    frame, _ = log(n=300)
    with pytest.raises(SchemaError, match=r"no decision took the baseline 'bsic'. Did you mean 'basic'\?"):
        estimated(frame, baseline="bsic")


def test_a_baseline_that_was_hardly_taken_is_refused_and_not_replaced() -> None:
    """Kills: contrasts against the cheapest action where the caller named another one."""
    frame, _ = log(n=600)
    rare = frame.filter(
        (pl.col("action") != "deep")
        | pl.col("decision_id").is_in(frame.filter(action="deep")["decision_id"].head(7).to_list())
    )
    est = estimated(rare, baseline="deep")
    quality = est.contrasts.filter(quantity="quality")
    assert set(quality["action"]) == {"basic", "fast"}
    assert set(quality["baseline"]) == {"deep"}
    assert set(quality["reason"]) == {"7 decisions took deep; 30 are needed"}
    assert est.joint.is_empty()
