"""The choice model: statsmodels' numbers, a sandwich by hand, refusals where no finite weights exist."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from choosing import BENCH, TRUE
from shadowprice.estimators.prices.clogit import ChoiceFit, Choices, fit_choices
from statsmodels.discrete.conditional_models import ConditionalLogit


def fitted(data: Choices) -> ChoiceFit:
    found = fit_choices(data)
    assert not isinstance(found, str), found
    return found


def test_weights_and_likelihood_are_those_of_statsmodels() -> None:
    """Kills a sign, a softmax over the wrong axis and an early stop. statsmodels 0.15 stops at its own
    tolerance, so six digits agree; both maximise the same concave function."""
    data = BENCH.choices(3, n=400)
    took = np.zeros((data.n, 3))
    took[np.arange(data.n), data.chosen] = 1.0
    theirs = ConditionalLogit(took.ravel(), data.x.reshape(-1, 6), groups=np.repeat(np.arange(data.n), 3))
    result = theirs.fit(disp=0, method="newton", skip_hessian=False)
    ours = fitted(data)
    np.testing.assert_allclose(ours.beta, result.params, rtol=1e-5, atol=1e-6)
    assert ours.log_likelihood == pytest.approx(theirs.loglike(result.params), rel=1e-8)


def test_the_covariance_is_the_cluster_sandwich_by_hand() -> None:
    """Kills the model's own covariance, scores that are not summed within clusters and a lost correction."""
    data = BENCH.choices(4, n=300, copies=3)
    ours = fitted(data)
    hessian, scores = np.zeros((6, 6)), np.zeros((100, 6))
    for i in range(data.n):
        p = np.exp(data.x[i] @ ours.beta)
        p /= p.sum()
        away = data.x[i] - p @ data.x[i]
        hessian += (away.T * p) @ away
        scores[data.cluster[i]] += away[data.chosen[i]]
    bread = np.linalg.inv(hessian)
    np.testing.assert_allclose(ours.cov, bread @ (scores.T @ scores) @ bread * 100 / 99, rtol=1e-7)


def test_copies_of_a_choice_within_a_cluster_say_nothing_new() -> None:
    """Kills standard errors that shrink with rows instead of clusters."""
    once, five = fitted(BENCH.choices(5, n=300)), fitted(BENCH.choices(5, n=1500, copies=5))
    np.testing.assert_allclose(five.beta, once.beta, rtol=1e-6)
    np.testing.assert_allclose(five.cov, once.cov, rtol=1e-5)
    assert five.df == once.df == 299.0


def test_a_weight_of_two_is_a_choice_seen_twice() -> None:
    """Kills weights that are forgotten in the likelihood, the information or the scores."""
    data = BENCH.choices(6, n=300)
    twice = BENCH.choices(6, n=600, copies=2)
    weighted = fitted(replace(data, weight=np.full(300, 2.0)))
    np.testing.assert_allclose(weighted.beta, fitted(twice).beta, rtol=1e-6)
    np.testing.assert_allclose(weighted.cov, fitted(twice).cov, rtol=1e-6)


def test_what_a_closed_action_would_have_offered_does_not_matter() -> None:
    """Kills a mask that is applied to utilities but not to means or spreads."""
    data = BENCH.choices(7, n=500)
    open_ = data.open.copy()
    open_[:, 2] = data.chosen == 2
    open_[:250, 2] = True
    quiet, loud = data.x.copy(), data.x.copy()
    quiet[~open_], loud[~open_] = 0.0, 50.0
    a, b = (fitted(replace(data, x=x, open=open_)) for x in (quiet, loud))
    np.testing.assert_allclose(a.beta, b.beta, rtol=1e-6)
    np.testing.assert_allclose(a.cov, b.cov, rtol=1e-6)


def test_an_attribute_in_cents_has_a_hundredth_of_the_weight() -> None:
    """Kills a tolerance or a penalty that depends on units."""
    data = BENCH.choices(8, n=400)
    unit = np.array([1.0, 1e4, 1e-4, 1.0, 1.0, 1.0])
    a, b = fitted(data), fitted(replace(data, x=data.x * unit))
    np.testing.assert_allclose(b.beta * unit, a.beta, rtol=1e-6)
    np.testing.assert_allclose(b.cov * np.outer(unit, unit), a.cov, rtol=1e-5)


@pytest.mark.parametrize("share", [0.0, 0.02])
def test_choices_that_an_attribute_predicts_without_exception_are_refused(share: float) -> None:
    """Kills a weight that is only as large as the solver's patience; share: ties that leave it undecided."""
    data = BENCH.choices(9, n=400)
    best = data.x[:, :, 0].argmax(axis=1)
    x = data.x.copy()
    x[: int(share * 400), :, 0] = 0.0
    assert "without exception" in str(fit_choices(replace(data, x=x, chosen=best)))


def test_a_steep_but_contradicted_rule_is_fitted() -> None:
    """Kills a refusal of every strong preference: one exception makes the weight finite."""
    data = BENCH.choices(10, n=400)
    chosen = data.x[:, :, 0].argmax(axis=1)
    chosen[0] = data.x[0, :, 0].argmin()
    assert fitted(replace(data, x=data.x[:, :, :1], chosen=chosen)).beta[0] > 5


def test_attributes_that_move_together_are_refused() -> None:
    """Kills a pseudo-inverse that shares a weight out by chance."""
    data = BENCH.choices(11, n=400)
    x = data.x.copy()
    x[:, :, 2] = 3 * x[:, :, 1] + 0.7  # a shift that all actions share is no difference
    assert "move together" in str(fit_choices(replace(data, x=x)))


def test_an_attribute_that_never_differs_between_actions_is_refused() -> None:
    """Kills a division by a spread of 0."""
    data = BENCH.choices(12, n=400)
    x = data.x.copy()
    x[:, :, 3] = 0.5
    assert "same for every open action" in str(fit_choices(replace(data, x=x)))


def test_few_clusters_are_refused() -> None:
    """Kills intervals from a handful of tenants."""
    data = BENCH.choices(13, n=400)
    assert "clusters; 10 are needed" in str(fit_choices(replace(data, cluster=np.arange(400) % 9)))


def test_the_true_prices_are_recovered_and_covered_at_1500_choices() -> None:
    """Kills a bias of ratios and intervals of another width: 120 worlds, so 88 % to 100 % is four standard
    errors of a binomial around 95 %; the benchmark has 500 worlds."""
    draws = [BENCH.ratios(BENCH.choices(100 + s)) for s in range(120)]
    for name, truth in TRUE.items():
        found = np.array([d[name] for d in draws])
        assert found[:, 0].mean() == pytest.approx(truth, rel=0.05)
        covered = ((found[:, 1] <= truth) & (truth <= found[:, 2])).mean()
        assert 0.88 <= covered <= 0.995
