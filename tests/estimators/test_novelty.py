"""Which decisions are new to an action: distances recomputed naively, categories, few rows."""

from __future__ import annotations

import numpy as np
import polars as pl
from risks import prepared
from shadowprice.estimators.novelty import novel
from worlds import LARGE, SMALL, decisions


def flags(frame: pl.DataFrame) -> dict[str, np.ndarray]:
    """Per arm the decisions that are new to it."""
    problem, _ = prepared(frame)
    return dict(zip(problem.arms, novel(problem, seed=0).T, strict=True))


def plane(n: int = 400) -> tuple[pl.DataFrame, np.ndarray]:
    """Two arms, two features; `large` never met x_a above 1."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, 2)) * [1.0, 100.0]
    took = (rng.random(n) < 0.5) & (x[:, 0] < 1.0)
    return decisions(n, action=np.where(took, LARGE, SMALL), x_a=x[:, 0], x_b=x[:, 1]), x


def test_distances_are_those_of_a_naive_search() -> None:
    """Kills unstandardised features, a row that is its own neighbour, and a wrong percentile."""
    frame, x = plane()
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    own = np.flatnonzero((frame["action"] == LARGE).to_numpy())
    distance = np.sqrt(((z[:, None] - z[own][None]) ** 2).sum(axis=2))
    fifth = np.array([np.sort(np.delete(d, np.flatnonzero(own == i)))[4] for i, d in enumerate(distance)])
    np.testing.assert_array_equal(flags(frame)[LARGE], fifth > np.quantile(fifth[own], 0.99))


def test_contexts_that_an_action_never_met_are_new_to_it_alone() -> None:
    """Kills one support for all actions."""
    frame, x = plane(2000)
    found, beyond = flags(frame), x[:, 0] > 2.0
    assert found[LARGE][beyond].mean() > 0.9
    assert found[SMALL][beyond].mean() < 0.3
    assert found[LARGE][x[:, 0] < 0.5].mean() < 0.03


def test_an_action_with_few_rows_and_a_category_that_it_never_met_are_new() -> None:
    """Kills distances trusted on 29 rows, and categories treated as numbers."""
    n = 129
    frame = decisions(
        n,
        action=[LARGE] * 29 + [SMALL] * 100,
        x_kind=["chat"] * 79 + ["code"] * 50,
    ).with_columns(x_kind=pl.when(pl.int_range(n) < 20).then(pl.lit("mail")).otherwise("x_kind"))
    found = flags(frame)
    assert found[LARGE].all()
    assert found[SMALL][:20].all()
    assert not found[SMALL][20:].any()
