"""Logs larger than memory: partitions, states that add, and the same numbers as in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
import shadowprice as sp
from asking import priced
from shadowprice.estimators.choices import valuation
from shadowprice.estimators.gains import SUMMED
from shadowprice.estimators.pairs import Pair, pair
from shadowprice.estimators.problem import problems
from shadowprice.estimators.scores import score
from shadowprice.estimators.states import ContrastState, add, contrast_state, state_mean
from shadowprice.estimators.stream import estimate_partitions
from shadowprice.ingest.simulator.regime import Regime, draw, truth
from shadowprice.schemas.config import Config

KEYS = ["segment", "action", "baseline", "quantity", "estimand"]


def log(n: int = 3000, **knobs: object) -> pl.DataFrame:
    """A log of three actions with two task classes."""
    frame = draw(Regime(n=n, actions=3, **knobs), seed=5).frame  # type: ignore[arg-type]
    return frame.with_columns(
        x_task_class=pl.when(pl.col("x_length") > 0).then(pl.lit("long")).otherwise(pl.lit("short"))
    )


def contrast_of(frame: pl.DataFrame) -> Pair:
    """a2 against a0."""
    (problem,) = problems(frame, Config())
    return pair(score(problem, seed=0), "a2", "a0", valuation(problem, Config()))


def same(a: ContrastState, b: ContrastState) -> bool:
    """Whether two states agree to rounding."""
    return all(
        np.allclose(x, y, equal_nan=True)
        for x, y in (
            (a.ato.weighted, b.ato.weighted),
            (a.ate.weight, b.ate.weight),
            (a.taken, b.taken),
            (a.weights, b.weights),
            (a.largest, b.largest),
            (a.events, b.events),
            (a.spread, b.spread),
        )
    ) and (a.members, a.rows) == (b.members, b.rows)


def test_states_of_parts_add_up_to_the_state_of_the_whole_in_any_order() -> None:
    """Kills: a sum that depends on the partition, a lost maximum, a merge that is not associative."""
    contrast = contrast_of(log())
    part = np.arange(contrast.problem.n) % 3
    whole = contrast_state(contrast, np.ones(contrast.problem.n, dtype=bool))
    a, b, c = (contrast_state(contrast, part == k) for k in range(3))
    assert same(add(add(a, b), c), whole)
    assert same(add(a, add(c, b)), whole)


def test_a_state_gives_the_mean_that_the_rows_give() -> None:
    """Kills: a floor, a weight or a variance that differs between the two paths."""
    from shadowprice.estimators.contrasts import floored_mean

    contrast = contrast_of(log())
    every = np.ones(contrast.problem.n, dtype=bool)
    found = state_mean(contrast_state(contrast, every), overlap_weighted=True)
    expected = floored_mean(contrast, every, contrast.h)
    assert found.theta == pytest.approx(expected.theta, nan_ok=True)
    # Every decision is its own cluster here; a bucket holds a few, which moves the variance by noise only.
    ratio = np.sqrt(np.diag(found.cov) / np.diag(expected.cov))
    assert ratio[:4] == pytest.approx(np.ones(4), abs=0.1)


def test_one_partition_gives_the_numbers_of_memory(tmp_path: Path) -> None:
    """Kills: a contrast, a segment, a gate or a ledger row that the streaming path forgets."""
    frame, config = log(), priced(task_value="2 USD/task", risk=None)
    memory = sp.estimate(frame, config=config)
    streamed = sp.estimate(frame, config=config, ledger=tmp_path / "ledger.parquet")
    joined = memory.contrasts.join(streamed.contrasts, on=KEYS, how="full", suffix="_s")
    assert joined.height == memory.contrasts.height == streamed.contrasts.height
    assert joined["value"].to_numpy() == pytest.approx(joined["value_s"].to_numpy(), rel=1e-9, nan_ok=True)
    assert joined["ess"].to_numpy() == pytest.approx(joined["ess_s"].to_numpy(), rel=1e-9)
    assert (joined["grade"] == joined["grade_s"]).all()
    assert (joined["n"] == joined["n_s"]).all()
    half = (joined["upper"] - joined["lower"]) / (joined["upper_s"] - joined["lower_s"])
    assert half.drop_nulls().to_numpy() == pytest.approx(1.0, abs=0.15)
    ledger = pl.read_parquet(tmp_path / "ledger.parquet")
    assert ledger.sort("decision_id", "action", "baseline").equals(
        memory.ledger.sort("decision_id", "action", "baseline")
    )
    assert streamed.coverage.equals(memory.coverage)
    assert streamed.window == memory.window
    for usd in SUMMED:
        assert streamed.gains[usd].sum() == pytest.approx(memory.gains[usd].sum())


def test_partitions_keep_a_request_whole_and_lose_no_decision(tmp_path: Path) -> None:
    """Kills: decisions dropped or doubled at the seams."""
    frame = log(9000)
    found = estimate_partitions(frame.lazy(), ledger=tmp_path / "l.parquet", partition_rows=3000)
    ledger = pl.read_parquet(tmp_path / "l.parquet")
    assert ledger["decision_id"].n_unique() == 9000
    assert not ledger.select("decision_id", "action", "baseline").is_duplicated().any()
    assert int(found.coverage["decisions"].sum()) == 9000
    assert list(tmp_path.iterdir()) == [tmp_path / "l.parquet"]


def test_the_same_log_gives_the_same_bytes(tmp_path: Path) -> None:
    """Kills: an order or a hash that moves from run to run."""
    frame = log(6000)
    runs = [
        estimate_partitions(frame.lazy(), ledger=tmp_path / f"{k}.parquet", partition_rows=2500)
        for k in range(2)
    ]
    assert runs[0].contrasts.equals(runs[1].contrasts)
    assert runs[0].gains.equals(runs[1].gains)
    assert (tmp_path / "0.parquet").read_bytes() == (tmp_path / "1.parquet").read_bytes()


def test_a_rule_is_refused_for_the_whole_log(tmp_path: Path) -> None:
    """Kills: a blocked decision point that silently disappears from a large log."""
    frame = (
        draw(Regime(n=3000, identification="D"), seed=1)
        .frame.with_columns(propensity=1.0, propensity_source=pl.lit("deterministic"))
        .drop("x_score", "x_difficulty", "x_length", "x_budget")
    )
    found = sp.estimate(frame, ledger=tmp_path / "l.parquet")
    (quality,) = found.where(quantity="quality")
    assert quality.value is None
    assert quality.n == 3000
    assert "rule" in str(quality.reason)


@pytest.mark.slow
def test_intervals_of_partitioned_logs_hold_the_truth(tmp_path: Path) -> None:
    """Kills: clusters that span partitions counted as independent. 40 worlds with 60 clusters over 4
    partitions; fewer than 34 hits has probability 0.4 % at 95 % coverage."""
    regime = Regime(n=2000, clusters=60, icc=0.1)
    target, covered = truth(regime).ato, 0
    for seed in range(40):
        frame = draw(regime, seed=seed).frame
        found = estimate_partitions(
            frame.lazy(), ledger=tmp_path / "l.parquet", baseline="a0", partition_rows=500
        )
        quality = found.where(quantity="quality", segment="all", estimand="ATO")[0]
        covered += float(quality.lower or 0.0) <= target <= float(quality.upper or 0.0)
    assert covered >= 34
