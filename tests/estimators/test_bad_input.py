"""Bad input at every door: one error that names it, or an answer with a reason, never a crash."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import polars as pl
import pytest
import shadowprice as sp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from shadowprice.errors import SchemaError, ShadowpriceError
from shadowprice.ingest.simulator.regime import Regime, draw

LOGS: Final = {kind: draw(Regime(n=400, identification=kind), seed=1).frame for kind in ("R", "O", "D")}
Change = Callable[[pl.DataFrame], pl.DataFrame]


def constant(name: str, value: object) -> Change:
    """Every row says the same."""
    return lambda frame: frame.with_columns(pl.lit(value).alias(name))


def partly(**columns: object) -> Change:
    """Half of the rows are labelled, with these columns beside."""
    half = pl.when(pl.col("x_length") > 0).then("quality").alias("quality")
    return lambda frame: frame.with_columns(half, *(pl.lit(v).alias(k) for k, v in columns.items()))


HARMLESS: Final[dict[str, Change]] = {
    "empty": lambda f: f.head(0),
    "one row": lambda f: f.head(1),
    "no quality column": lambda f: f.drop("quality"),
    "an all-null outcome": constant("quality", None),
    "a constant outcome": constant("quality", 1.0),
    "one action": constant("action", "a0"),
    "one cluster": constant("session_id", "s"),
    "an action hardly taken": lambda f: f.filter((pl.col("action") == "a0") | (pl.int_range(pl.len()) < 12)),
    "no context": lambda f: f.drop([c for c in f.columns if c.startswith("x_")]),
    "a hostile action": lambda f: f.with_columns(pl.col("action").replace("a1", "<script>\x1b[31m")),
    "no losses": lambda f: f.drop("loss_usd"),
    "no incidents": constant("incident", False),
}
IMPOSSIBLE: Final[dict[str, Change]] = {
    "a propensity above 1": constant("propensity", 1.5),
    "a negative propensity": constant("propensity", -0.1),
    "propensities that add up to 2": lambda f: f.with_columns(
        candidates=pl.lit(["a0", "a1"]), propensities=pl.lit([1.0, 1.0])
    ),
    "a keep_prob of 0": constant("keep_prob", 0.0),
    "a NaN cost": constant("cost_usd", float("nan")),
    "an infinite latency": constant("latency_s", float("inf")),
    "a negative loss": constant("loss_usd", -1.0),
    "an infinite feature": constant("x_length", float("inf")),
    "a label_prob of 0": partly(label_prob=0.0),
    "a label_prob of 3": partly(label_prob=3.0),
    "a NaN label_prob": partly(label_prob=float("nan")),
    "a NaN judge": partly(judge_score=float("nan")),
    "a judge above 1": partly(judge_score=7.0),
    "no action column": lambda f: f.drop("action"),
    "repeated ids": constant("decision_id", "d"),
}
DOORS: Final[dict[str, Callable[[pl.DataFrame, Path], Any]]] = {
    "estimate": lambda f, _: sp.estimate(f),
    "estimate by partition": lambda f, folder: sp.estimate(f, ledger=folder / "ledger.parquet"),
    "policy_value": lambda f, _: sp.policy_value(f, "uniform"),
    "policy_diagnostics": lambda f, _: sp.policy_diagnostics(f, "uniform"),
    "policy_surplus": lambda f, _: sp.policy_surplus(f, "uniform"),
    "policy_distribution": lambda f, _: sp.policy_distribution(f, "uniform"),
    "policy_cvar": lambda f, _: sp.policy_cvar(f, "uniform"),
    "scrutiny": lambda f, _: sp.scrutiny(f, "a1", "a0"),
    "risk": lambda f, _: sp.risk(f, "a0"),
    "decision_risk": lambda f, _: sp.decision_risk(f),
}
ANY = settings(max_examples=120, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@given(
    st.sampled_from(sorted(LOGS)),
    st.sampled_from(sorted(DOORS)),
    st.lists(st.sampled_from(sorted(HARMLESS)), min_size=1, max_size=3, unique=True),
)
@ANY
def test_thin_logs_are_answered_or_refused_with_an_error_of_ours(
    tmp_path_factory: pytest.TempPathFactory, log: str, door: str, changes: list[str]
) -> None:
    """Kills: a division by no clusters, an empty list, a missing column (warnings are errors)."""
    frame = LOGS[log]
    for name in changes:
        if name != "no quality column" or "quality" in frame.columns:
            frame = HARMLESS[name](frame)
    with contextlib.suppress(ShadowpriceError):
        DOORS[door](frame, tmp_path_factory.mktemp("door"))


@pytest.mark.parametrize("door", sorted(DOORS))
@pytest.mark.parametrize("change", sorted(IMPOSSIBLE))
def test_values_that_no_decision_can_have_are_one_error_at_every_door(
    tmp_path: Path, door: str, change: str
) -> None:
    """Kills: a door that forgets to check its frame, an unchecked column (label_prob, judge_score)."""
    with pytest.raises(SchemaError):
        DOORS[door](IMPOSSIBLE[change](LOGS["R"]), tmp_path)


@pytest.mark.parametrize("door", ["estimate", "estimate by partition"])
def test_hopeless_overlap_is_refused_in_memory_and_by_partition(tmp_path: Path, door: str) -> None:
    """Kills: a gate of one path that the other has not."""
    frame = draw(Regime(n=3000, overlap=0.1, actions=6), seed=3).frame
    est = DOORS[door](frame, tmp_path)
    found = est.where(quantity="quality", segment="all", action="a5", baseline="a0")[0]
    assert found.value is None
    assert "could have gone either way" in str(found.reason)
