"""Prediction 1: verification that lowers risk, that does nothing, that harms, and logs that cannot tell."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import polars as pl
import pytest
import shadowprice as sp
from shadowprice.estimators.predictions.doses import dose_steps
from shadowprice.estimators.predictions.slopes import Slopes, slopes
from shadowprice.schemas.config import parse_config
from verdicts import VERIFIER, VERIFIER_PRICES, agents, inside, on_risk

Change = Callable[[pl.DataFrame], pl.DataFrame]


@pytest.fixture(scope="module")
def frame() -> pl.DataFrame:
    return agents()[0]


def only_done(frame: pl.DataFrame) -> pl.DataFrame:
    """The log of an agent that only tells what was done: one skip for a task without any verification."""
    done = (pl.col("action") != "skip").sum().over("request_id")
    first = pl.int_range(pl.len()).over("request_id") == 0
    kept = frame.filter((pl.col("action") != "skip") | ((done == 0) & first))
    return kept.drop("propensity", "propensities", "propensity_source", "candidates")


def with_incidents(frame: pl.DataFrame, chance: pl.Expr) -> pl.DataFrame:
    """`frame` with the incidents of its tasks drawn again; `chance` may use `done` and x_hazard."""
    tasks = frame.group_by("request_id", maintain_order=True).agg(
        done=(pl.col("action") != "skip").sum(), x_hazard=pl.col("x_hazard").first()
    )
    drawn = np.random.default_rng(3).random(tasks.height)
    tasks = tasks.with_columns(incident=pl.Series(drawn) < chance).select("request_id", "incident")
    return frame.drop("incident").join(tasks, on="request_id", maintain_order="left")


def test_verification_that_lowers_risk_supports_it_step_by_step() -> None:
    """Kills: support without a fall, an effect of the wrong sign, steps in the wrong order."""
    frame, truth = agents()
    found = on_risk(frame)
    assert found.verdict == "supported", str(found)
    assert found.upper is not None
    assert found.upper < 0
    assert found.grade == "A"
    assert found.stop in (1, 2)
    assert [r.label for r in found.curve[:2]] == ["0 to 1", "1 to 2"]
    assert all(inside(r, x) for r, x in zip(found.curve, truth.risk.tolist(), strict=False))


def test_verification_that_finds_nothing_contradicts_it() -> None:
    """Kills: support for every agent that verifies, and a comparison of verified with other tasks, which are
    safer here."""
    frame = agents(holds=False, seed=0, tasks=5_000)[0]
    tasks = frame.group_by("request_id").agg(
        done=(pl.col("action") != "skip").sum(), bad=pl.col("incident").first()
    )
    rate = dict(tasks.group_by("done").agg(pl.col("bad").mean()).iter_rows())
    assert rate[2] > rate[0] + 0.02
    found = on_risk(frame)
    assert found.verdict == "contradicted", str(found)
    assert "is excluded" in found.reason
    assert found.stop == 0
    assert "not even the first verification" in found.reason


def test_few_tasks_leave_it_open() -> None:
    """Kills: contradiction out of ignorance."""
    found = on_risk(agents(holds=False, seed=2, tasks=400)[0])
    assert found.verdict == "inconclusive", str(found)


def test_verification_that_raises_risk_contradicts_it(frame: pl.DataFrame) -> None:
    """Kills: harm told as a fall that is merely excluded."""
    harmful = with_incidents(frame, 0.05 + 0.15 * pl.col("done").clip(0, 2))
    found = on_risk(harmful)
    assert found.verdict == "contradicted", str(found)
    assert "risk rises with the verification from 0 to 1" in found.reason


def test_a_fall_where_little_is_at_risk_is_no_support(frame: pl.DataFrame) -> None:
    """Kills: a verdict without the second clause: verification has to gain most where the risk is high."""
    risky = pl.col("x_hazard") > 0
    left = pl.when(risky | (pl.col("done") == 0)).then(1.0).otherwise(0.0)
    found = on_risk(with_incidents(frame, pl.when(risky).then(0.5).otherwise(0.45) * left))
    assert found.verdict == "inconclusive", str(found)
    assert "gains less where the risk is high" in found.reason
    assert found.further[0].upper is not None
    assert found.further[0].upper < 0


def test_logs_without_propensities_are_weighed_by_estimated_ones(frame: pl.DataFrame) -> None:
    """Kills: a test that only logged propensities can pass, and grade A for guessed ones."""
    bare = frame.drop("propensity", "propensities", "propensity_source", "candidates")
    found = on_risk(bare)
    assert found.verdict == "supported", str(found)
    assert found.grade == "C"


def test_logs_of_what_was_done_compare_doses(frame: pl.DataFrame) -> None:
    """Kills: the first verification of a task standing for all of them, which has one step only."""
    found = on_risk(only_done(frame))
    assert found.verdict == "supported", str(found)
    assert found.grade == "C"
    assert [r.label for r in found.curve[:2]] == ["0 to 1", "1 to 2"]
    assert max(found.curve[0].value or 0.0, found.curve[1].value or 0.0) < -0.02


def test_the_cost_of_a_dose_is_that_of_all_its_verifications(frame: pl.DataFrame) -> None:
    """Kills: a dose that costs what its first verification costs, so that more of them look free."""
    steps = dose_steps(only_done(frame), VERIFIER, seed=0)
    assert not isinstance(steps, str)
    for step in steps[:2]:
        assert step.result.mean is not None
        assert step.result.mean.theta[1] == pytest.approx(0.6, abs=0.01)


def test_without_a_task_value_the_stop_is_unknown(frame: pl.DataFrame) -> None:
    """Kills: a stop of 0 where nothing is priced, which reads as 'verification never pays'."""
    found = on_risk(frame, sp.Config())
    assert found.stop is None
    assert "no net value is known" in found.reason
    assert found.verdict == "supported"


def test_losses_are_tested_in_dollars_where_they_are_priced_so(frame: pl.DataFrame) -> None:
    """Kills: incidents told as dollars."""
    lost = frame.with_columns(loss_usd=pl.col("incident").cast(pl.Float64) * 30.0)
    config = parse_config({"prices": {**VERIFIER_PRICES, "risk": "1 USD/USD"}})
    found, events = on_risk(lost, config), on_risk(frame)
    assert found.unit == "USD per verification"
    assert found.effect == pytest.approx(30.0 * (events.effect or 0.0), rel=0.2)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: f.filter(pl.col("layer") == "router"), "no decision whether to verify is logged"),
        (lambda f: f.filter(pl.col("action") == "skip"), "must both have been done 30 times (skip"),
        (lambda f: f.with_columns(action=pl.lit("verify")), "fewer than 30 tasks had no, or one"),
        (lambda f: f.drop("incident"), "has an incident or loss record"),
        (lambda f: f.with_columns(incident=pl.lit(False)), "0 events"),
        (lambda f: f.with_columns(session_id=pl.lit("one")), "effective clusters"),
        (lambda f: f.head(60), "30 are needed|must both have been done"),
        (
            lambda f: f.with_columns(propensity=pl.lit(1.0), propensity_source=pl.lit("deterministic")).drop(
                "propensities"
            ),
            "rule fixed every choice",
        ),
    ],
)
def test_logs_that_cannot_tell_are_not_identified_with_the_reason(
    frame: pl.DataFrame, change: Change, said: str
) -> None:
    """Kills: a verdict without overlap, without events or from one session."""
    found = on_risk(change(frame))
    assert found.verdict == "not_identified", str(found)
    assert found.effect is None
    assert any(part in found.reason for part in said.split("|")), found.reason


def test_slopes_are_those_of_leaving_each_cluster_out_in_turn() -> None:
    """The jackknife again, by lstsq. Kills: a cluster left in, errors of the wrong power, weights lost."""
    rng = np.random.default_rng(0)
    n, g = 400, 20
    x, cluster, weight = rng.normal(size=(n, 2)), rng.integers(g, size=n), rng.uniform(0.5, 2.0, n)
    y = np.column_stack([x @ [1.0, -0.5] + rng.normal(size=n), rng.normal(size=n)])

    def fit(rows: np.ndarray) -> np.ndarray:
        full = np.column_stack([np.ones(rows.sum()), x[rows]]) * np.sqrt(weight[rows])[:, None]
        return np.linalg.lstsq(full, y[rows] * np.sqrt(weight[rows])[:, None], rcond=None)[0][1:]

    whole = fit(np.ones(n, dtype=bool))
    moved = np.array([fit(cluster != k) - whole for k in range(g)])
    found = slopes(y, x, weight, cluster)
    assert isinstance(found, Slopes)
    np.testing.assert_allclose(found.theta, whole, atol=1e-10)
    np.testing.assert_allclose(found.se, np.sqrt((g - 1) / g * (moved**2).sum(axis=0)), rtol=1e-8)
    assert found.clusters == g
    assert 5 < found.df < g


def test_a_regressor_that_one_cluster_alone_varies_has_no_slope() -> None:
    """Kills: an infinite error, or an exception from the solver, in place of a reason."""
    cluster = np.repeat(np.arange(5), 10)
    x = np.where(cluster == 0, np.arange(50.0), 0.0)[:, None]
    assert "within one cluster only" in str(slopes(np.ones((50, 1)), x, np.ones(50), cluster))
