"""Consecutive periods: every decision in one, ties whole, no more than the log has decisions and days for."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from drifts import DAYS, drawn, timed, whole
from shadowprice.estimators.pairs import Pair
from shadowprice.estimators.periods import Period, periods


def cut(pair: Pair) -> tuple[Period, ...]:
    """The periods, which must be there."""
    found = periods(pair, whole(pair))
    assert not isinstance(found, str), found
    return found


def refused(pair: Pair) -> str:
    """Why there are none."""
    found = periods(pair, whole(pair))
    assert isinstance(found, str)
    return found


def on_days(pair: Pair, days: np.ndarray) -> Pair:
    """`pair` with other timestamps."""
    return replace(pair, problem=replace(pair.problem, frame=timed(pair.problem.frame, days)))


def test_the_periods_partition_the_decisions_in_order_of_time_into_equal_parts() -> None:
    """Kills: a decision in two periods or in none, periods out of order, and parts of equal days."""
    rng = np.random.default_rng(0)
    pair = on_days(drawn(0, n=3000, first=0.3, last=0.3), DAYS * rng.random(3000) ** 3)
    found = cut(pair)
    assert [p.number for p in found] == [1, 2, 3, 4, 5, 6]
    assert (np.sum([p.members for p in found], axis=0) == 1).all()
    assert {int(p.members.sum()) for p in found} == {500}
    times = pair.problem.frame["ts"]
    ends = [
        (times.filter(pl.Series(p.members)).min(), times.filter(pl.Series(p.members)).max()) for p in found
    ]
    assert [(p.first, p.last) for p in found] == [(a.isoformat(), b.isoformat()) for a, b in ends]  # type: ignore[union-attr]
    assert all(before[1] < after[0] for before, after in itertools.pairwise(ends))  # type: ignore[operator]


def test_decisions_of_one_timestamp_stay_together() -> None:
    """Kills: a cut through a tie, which row order would decide."""
    days = np.random.default_rng(1).integers(0, 9, size=2400).astype(float)
    for period in cut(on_days(drawn(1, first=0.3, last=0.3), days)):
        assert not set(days[period.members]) & set(days[~period.members])


def test_a_tie_at_a_cut_goes_where_it_unbalances_least() -> None:
    """Kills: ties that always go to the later period, which here would leave the first one nearly empty."""
    days = np.concatenate([np.full(1150, 1.0), np.full(1250, 4.0)])
    days[:20] = 0.0
    sizes = [int(p.members.sum()) for p in cut(on_days(drawn(2, first=0.12, last=0.12), days))]
    assert sizes == [1150, 1250]


def test_a_decision_without_a_time_in_common_is_in_no_period() -> None:
    """Kills: a null sorted in front of all others, and clocks that count from the start of their trace."""
    pair = drawn(3, first=0.3, last=0.3)
    rows = pl.int_range(pl.len())
    frame = pair.problem.frame.with_columns(
        ts=pl.when(rows >= 300).then("ts"),
        x_clock=pl.when(rows < 500).then(pl.lit("relative")).otherwise(pl.lit("wall")),
    )
    found = cut(replace(pair, problem=replace(pair.problem, frame=frame)))
    inside = np.sum([p.members for p in found], axis=0)
    assert inside.tolist() == [0] * 500 + [1] * 1900


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"ts": pl.lit(None, dtype=pl.Datetime("us", "UTC"))}, "no decision has a timestamp"),
        ({"ts": pl.lit(None)}, "no decision has a timestamp"),
        ({"x_clock": pl.lit("relative")}, "no decision has a timestamp in common time"),
    ],
)
def test_without_times_there_are_no_periods(change: dict[str, pl.Expr], reason: str) -> None:
    """Kills: periods by row order, and a crash on a column of nothing."""
    pair = drawn(4)
    frame = pair.problem.frame.with_columns(**change)
    assert reason in refused(replace(pair, problem=replace(pair.problem, frame=frame)))


def test_a_short_or_small_log_has_none_and_says_what_it_lacks() -> None:
    """Kills: hours of a day taken for periods, and periods that no gate could pass."""
    pair = drawn(5)
    assert "the log covers 1.5 days; 2 are needed" in refused(
        on_days(pair, np.linspace(0.0, 1.5, pair.problem.n))
    )
    assert "500 decisions; 600 are needed" in refused(drawn(5, n=500))
    few = np.flatnonzero(pair.took_a)[100:]
    took = pair.took_a.copy()
    took[few] = False
    assert "100 decisions took large; 120 are needed" in refused(replace(pair, took_a=took))


def test_a_weak_effect_has_fewer_periods_so_that_its_break_even_value_keeps_an_interval() -> None:
    """Kills: six periods in which the ratio is unbounded, and two where six would do."""
    none, some, much = (len(cut(drawn(6, first=gain, last=gain))) for gain in (0.0, 0.08, 0.4))
    assert none == 2 < some < much == 6


def test_few_events_leave_fewer_periods() -> None:
    """Kills: periods of which most miss the incidents that a priced risk needs."""
    pair = drawn(7, first=0.4, last=0.4)
    outcomes = pair.problem.outcomes.copy()
    outcomes[:, 3] = 0.0
    for took in (pair.took_a, pair.took_b):
        outcomes[np.flatnonzero(took)[:35], 3] = 1.0
    rare = replace(pair, problem=replace(pair.problem, outcomes=outcomes))
    assert len(cut(rare)) == 6
    assert len(cut(replace(rare, value=replace(rare.value, risk_price=1.0)))) == 3
