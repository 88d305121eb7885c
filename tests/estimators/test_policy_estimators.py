"""The formulas of off-policy estimators: recomputed row by row, their limits, and their laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shadowprice.estimators import policy_estimators as formulas
from shadowprice.estimators.policy_estimators import Contribution, Terms


def terms(seed: int, n: int = 60, scale: float = 1.0) -> Terms:
    """Random terms with weights up to about 20."""
    rng = np.random.default_rng(seed)
    y, own, direct = (scale * rng.random(n) for _ in range(3))
    return Terms(w=rng.exponential(size=n) ** 2, y=y, own=own, direct=direct, weight=1 + rng.random(n))


def value(part: Contribution) -> float:
    """The estimate."""
    return float((part.h * part.d).sum() / part.h.sum())


def test_every_formula_agrees_with_a_loop_over_rows() -> None:
    """Kills a term that is weighted twice or not at all."""
    t = terms(0)
    total = sum(t.weight)
    rows = list(zip(t.w, t.y, t.own, t.direct, t.weight, strict=True))
    sum_w = sum(h * w for w, _, _, _, h in rows)
    expected = {
        formulas.direct_method: sum(h * d for *_, d, h in rows) / total,
        formulas.ips: sum(h * w * y for w, y, _, _, h in rows) / total,
        formulas.snips: sum(h * w * y for w, y, _, _, h in rows) / sum_w,
        formulas.doubly_robust: sum(h * (d + w * (y - q)) for w, y, q, d, h in rows) / total,
        formulas.self_normalised_dr: sum(h * d for *_, d, h in rows) / total
        + sum(h * w * (y - q) for w, y, q, _, h in rows) / sum_w,
    }
    for formula, answer in expected.items():
        assert value(formula(t)) == pytest.approx(answer)
        assert np.average(formula(t).linear, weights=t.weight) == pytest.approx(answer)
    switched = sum(h * (d + (w if w <= 1.5 else 0) * (y - q)) for w, y, q, d, h in rows) / total
    shrunk = sum(h * (d + 2 * w / (w * w + 2) * (y - q)) for w, y, q, d, h in rows) / total
    clipped = sum(h * min(w, 1.5) * y for w, y, _, _, h in rows) / total
    assert value(formulas.switch_dr(t, 1.5)) == pytest.approx(switched)
    assert value(formulas.shrunk_dr(t, 2.0)) == pytest.approx(shrunk)
    assert value(formulas.clipped_ips(t, 1.5)) == pytest.approx(clipped)


@given(st.integers(0, 10_000))
def test_shrinkage_runs_from_the_direct_method_to_the_doubly_robust_one(seed: int) -> None:
    """Kills a threshold or a shrinkage that works the other way round."""
    t = terms(seed)
    model, full = value(formulas.direct_method(t)), value(formulas.doubly_robust(t))
    for formula in (formulas.switch_dr, formulas.shrunk_dr):
        assert value(formula(t, 0.0)) == pytest.approx(model)
        assert value(formula(t, np.inf)) == pytest.approx(full)
    assert value(formulas.clipped_ips(t, np.inf)) == pytest.approx(value(formulas.ips(t)))


@given(st.integers(0, 10_000))
def test_a_perfect_model_leaves_no_residual(seed: int) -> None:
    """Kills a residual of something else than the taken action."""
    t = terms(seed)
    perfect = Terms(w=t.w, y=t.own, own=t.own, direct=t.direct, weight=t.weight)
    for formula in (formulas.doubly_robust, formulas.self_normalised_dr):
        assert value(formula(perfect)) == pytest.approx(value(formulas.direct_method(perfect)))


@given(st.integers(0, 10_000), st.floats(0.01, 100.0))
def test_a_rescaled_outcome_rescales_every_value(seed: int, scale: float) -> None:
    """Kills a tuning that depends on the unit of the outcome."""
    one, other = terms(seed), terms(seed, scale=scale)
    assert value(formulas.snips(other)) == pytest.approx(scale * value(formulas.snips(one)))
    assert formulas.choose_tau(other) == pytest.approx(formulas.choose_tau(one))
    assert formulas.choose_lambda(other) == pytest.approx(formulas.choose_lambda(one))


@given(st.integers(0, 10_000))
def test_marginalised_weights_of_singleton_embeddings_are_the_ordinary_ones(seed: int) -> None:
    """Kills sums over the wrong actions; one embedding for all gives weight 1."""
    rng = np.random.default_rng(seed)
    pi, e = rng.dirichlet(np.ones(4), size=20), rng.dirichlet(np.ones(4), size=20)
    taken = rng.integers(0, 4, size=20)
    rows = np.arange(20)
    alone = formulas.marginalised_weights(pi, e, np.arange(4), taken)
    np.testing.assert_allclose(alone, pi[rows, taken] / e[rows, taken])
    np.testing.assert_allclose(formulas.marginalised_weights(pi, e, np.zeros(4, dtype=int), taken), 1.0)
