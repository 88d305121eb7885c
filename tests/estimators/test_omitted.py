"""Omitted-variable bias: against doubleml on the same nuisances, a leave-out loop, and at the edges."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hidden import confounded, everyone, hidden_contrast
from shadowprice.errors import ConfigError
from shadowprice.estimators.omitted import omitted_bias, robustness_value
from shadowprice.estimators.sensitivity import HiddenContrast
from shadowprice.ingest.simulator.regime import Regime, draw


@pytest.fixture(scope="module")
def contrast() -> HiddenContrast:
    """A graded quality, so that neither variance is a closed form."""
    return hidden_contrast(confounded(1, n=800, graded=True, hidden=1.5).frame)


def by_doubleml(contrast: HiddenContrast, *, overlap_weighted: bool) -> Any:
    """doubleml's interactive model with our propensities and means as its predictions."""
    doubleml = pytest.importorskip("doubleml")
    linear_model = pytest.importorskip("sklearn.linear_model")
    pair, a, b = contrast.pair, contrast.action, contrast.baseline
    h = pair.h if overlap_weighted else np.ones(pair.h.size)
    data = doubleml.DoubleMLData.from_arrays(
        x=np.zeros((h.size, 1)), y=np.where(a.took, a.y, b.y), d=a.took.astype(float)
    )
    weights = {"weights": h / h.mean(), "weights_bar": (h / h.mean())[:, None]}
    model = doubleml.DoubleMLIRM(
        data,
        linear_model.LinearRegression(),
        linear_model.LogisticRegression(),
        n_folds=2,
        weights=weights if overlap_weighted else None,
        ps_processor_config=doubleml.utils.PSProcessorConfig(clipping_threshold=1e-6),
    )
    nuisances = {"ml_g0": b.mu[:, None], "ml_g1": a.mu[:, None], "ml_m": pair.e_a[:, None]}
    model.fit(external_predictions={"d": nuisances})
    return model


@pytest.mark.slow
@pytest.mark.parametrize("overlap_weighted", [False, True])
def test_bounds_and_robustness_values_are_those_of_doubleml(
    contrast: HiddenContrast, overlap_weighted: bool
) -> None:
    """Kills a wrong variance, Riesz representer, debiasing or confounding strength. The bounds agree to the
    noise of averaging over repeated splits; interval ends to 1 %: doubleml's are one-sided and normal at the
    level given, ours two-sided, leave-one-out and t, so it is asked for 97.5 %."""
    model = by_doubleml(contrast, overlap_weighted=overlap_weighted)
    model.sensitivity_analysis(cf_y=0.05, cf_d=0.04, rho=1.0, level=0.975)
    theirs = model.sensitivity_params
    rows = everyone(contrast)
    ours = omitted_bias(
        contrast, r2_outcome=0.05, r2_choice=0.04, rows=rows, overlap_weighted=overlap_weighted
    )
    assert ours.lower == pytest.approx(theirs["theta"]["lower"][0], abs=1e-3)
    assert ours.upper == pytest.approx(theirs["theta"]["upper"][0], abs=1e-3)
    assert ours.lower_ci == pytest.approx(theirs["ci"]["lower"][0], abs=2e-3)
    assert ours.upper_ci == pytest.approx(theirs["ci"]["upper"][0], abs=2e-3)
    values = robustness_value(contrast, rows=rows, overlap_weighted=overlap_weighted)
    assert values.value == pytest.approx(theirs["rv"][0], abs=2e-3)
    assert values.interval == pytest.approx(theirs["rva"][0], abs=4e-3)


def test_at_the_robustness_value_the_bound_is_the_null(contrast: HiddenContrast) -> None:
    """Kills another curve than r / sqrt(1 - r), and an interval value that is not at the interval's edge."""
    rows = everyone(contrast)
    for null in (0.0, 0.3):
        found = robustness_value(contrast, rows=rows, null=null)
        for r, ends in ((found.value, ("lower", "upper")), (found.interval, ("lower_ci", "upper_ci"))):
            assert r is not None
            bias = omitted_bias(contrast, r2_outcome=r, r2_choice=r, rows=rows)
            assert min(abs(getattr(bias, end) - null) for end in ends) < 1e-6
        assert found.interval is not None
        assert found.value is not None
        assert 0 < found.interval < found.value < 1


def test_the_interval_leaves_each_cluster_out_of_both_variances() -> None:
    """Kills rows taken as independent: the same ends from a loop that drops one session after another."""
    contrast = hidden_contrast(draw(Regime(n=400, clusters=25, icc=0.1), seed=2).frame)
    rows = everyone(contrast)
    cluster = contrast.pair.problem.cluster
    ends = [
        omitted_bias(contrast, r2_outcome=0.1, r2_choice=0.1, rows=rows & (cluster != g)).lower
        for g in range(25)
    ]
    whole = omitted_bias(contrast, r2_outcome=0.1, r2_choice=0.1, rows=rows)
    assert whole.lower is not None
    assert whole.lower_ci is not None
    se = np.sqrt(24 / 25 * np.sum((np.array(ends, dtype=float) - whole.lower) ** 2))
    assert 2.0 < (whole.lower - whole.lower_ci) / se < 2.12


def test_rows_that_stand_for_several_count_as_several(contrast: HiddenContrast) -> None:
    """Kills sums that forget keep_prob: doubling a cluster's weight is like logging its rows twice."""
    twice = contrast.pair.problem.cluster % 2 == 0
    problem = replace(contrast.pair.problem, weight=np.where(twice, 2.0, 1.0))
    h = contrast.pair.h * problem.weight
    weighted = replace(contrast, pair=replace(contrast.pair, problem=problem, h=h))
    found = omitted_bias(weighted, r2_outcome=0.1, r2_choice=0.1, rows=everyone(contrast))
    assert found.lower is not None
    assert found.upper is not None
    d, base = contrast.pair.d[:, 0], contrast.pair.h
    expected = np.average(d, weights=np.where(twice, 2.0, 1.0) * base)
    assert (found.lower + found.upper) / 2 == pytest.approx(expected)
    assert found.scale != pytest.approx(
        omitted_bias(contrast, r2_outcome=0.1, r2_choice=0.1, rows=everyone(contrast)).scale
    )


def test_an_interval_that_holds_the_null_has_robustness_value_zero() -> None:
    """Kills a positive value for a finding that is none."""
    contrast = hidden_contrast(confounded(7, n=300, effect=0.0, spread=0.0).frame)
    assert robustness_value(contrast, rows=everyone(contrast)).interval == 0.0


def test_nothing_to_bound_is_a_reason(contrast: HiddenContrast) -> None:
    """Kills a division by zero without rows, and NaN for an unknown quantity."""
    nobody = np.zeros(contrast.pair.problem.n, dtype=bool)
    assert robustness_value(contrast, rows=nobody).reason is not None
    lone = np.arange(nobody.size) < 1
    assert omitted_bias(contrast, r2_outcome=0.1, r2_choice=0.1, rows=lone).reason is not None
    unknown = hidden_contrast(confounded(1, n=300).frame.drop("cost_usd"), 1)
    found = robustness_value(unknown, rows=everyone(unknown))
    assert found.value is None
    assert found.reason == "the quantity is not known for both actions"


@pytest.mark.parametrize(
    ("r2_outcome", "r2_choice", "rho"), [(1.0, 0.1, 1.0), (0.1, -0.1, 1.0), (0.1, 0.1, 2.0)]
)
def test_impossible_shares_are_refused(
    contrast: HiddenContrast, r2_outcome: float, r2_choice: float, rho: float
) -> None:
    """Kills an infinite or imaginary bound."""
    with pytest.raises(ConfigError, match="Expected"):
        omitted_bias(contrast, r2_outcome=r2_outcome, r2_choice=r2_choice, rho=rho, rows=everyone(contrast))
