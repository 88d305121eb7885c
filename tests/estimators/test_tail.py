"""The fitted tail: another optimiser, another library, laws, refusals and coverage."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import optimize, stats
from shadowprice.estimators.confidence import critical_t
from shadowprice.estimators.tail import MAX_EXCEEDANCES, MIN_EXCEEDANCES, mean_excess, tail_threshold


def fitted(y: np.ndarray, w: np.ndarray | None = None, cluster: np.ndarray | None = None):
    """The mean excess of `y` over a threshold of 1 USD."""
    return mean_excess(
        y,
        np.ones(y.size) if w is None else w,
        np.arange(y.size) if cluster is None else cluster,
        threshold=1.0,
    )


def objective(mean: float, shape: float, y: np.ndarray, w: np.ndarray) -> float:
    """The penalised log-likelihood with scipy's density, weights adding up to their effective number."""
    ess = w.sum() ** 2 / (w**2).sum()
    penalty = 0.5 * (1 / (1 - shape) - 1) if shape > 0 else 0.0
    density = stats.genpareto.logpdf(y, shape, scale=mean * (1 - shape))
    return float(ess * (w @ density) / w.sum() - penalty)


def test_the_estimate_maximises_the_penalised_likelihood_that_scipy_computes() -> None:
    """Kills a wrong sign, a lost Jacobian or a grid that is too coarse: the optimum is found to 0.5 %."""
    rng = np.random.default_rng(1)
    y, w = stats.genpareto.rvs(0.4, size=120, random_state=rng), rng.uniform(0.5, 3.0, 120)
    best = optimize.minimize(
        lambda p: -objective(np.exp(p[0]), p[1], y, w), [np.log(y.mean()), 0.3], method="Nelder-Mead"
    )
    found = fitted(y, w)
    assert found.value == pytest.approx(np.exp(best.x[0]), rel=5e-3)
    assert found.shape == pytest.approx(best.x[1], abs=0.011)


def test_a_light_tail_is_the_fit_of_scipy() -> None:
    """Kills a penalty on light tails: there the estimate is scipy's own maximum likelihood."""
    y = stats.genpareto.rvs(-0.2, size=400, random_state=2)
    shape, _, scale = stats.genpareto.fit(y, floc=0)
    assert fitted(y).value == pytest.approx(scale / (1 - shape), rel=2e-3)


def test_the_ends_of_the_interval_are_where_the_deviance_is_critical() -> None:
    """Kills an interval from the curvature at the maximum: each end profiles out the shape."""
    y = stats.genpareto.rvs(0.3, size=80, random_state=3)
    w, found = np.ones(80), fitted(y)

    def profile(mean: float) -> float:
        grid = np.arange(-0.45, 0.94, 0.02)
        return max(objective(mean, s, y, w) for s in grid)

    limit = critical_t(78.0) ** 2
    for end in (found.lower, found.upper):
        assert 2 * (profile(found.value) - profile(end)) == pytest.approx(limit, rel=0.03)
    assert found.upper - found.value > found.value - found.lower


def test_dollars_rescale_and_integer_weights_are_repetitions() -> None:
    """Kills a threshold or a penalty with a unit, and weights that do not multiply."""
    y = stats.genpareto.rvs(0.3, size=60, random_state=4)
    one, cents = fitted(y), fitted(100 * y)
    assert cents.value == pytest.approx(100 * one.value, rel=1e-3)
    assert cents.upper == pytest.approx(100 * one.upper, rel=1e-3)
    assert fitted(y, np.full(60, 7.0)) == one
    w = np.ones(60)
    w[:20] = 2.0
    repeated = fitted(np.concatenate([y, y[:20]]))
    # The two differ in the effective number, and so in the weight of the penalty.
    assert fitted(y, w).value == pytest.approx(repeated.value, rel=0.02)
    assert fitted(y, w).ess == pytest.approx(80**2 / 120)


def test_losses_that_come_in_clusters_count_as_fewer() -> None:
    """Kills independence of rows: four copies of each loss are worth the losses, not four times as many."""
    y = stats.genpareto.rvs(0.3, size=60, random_state=5)
    copies, alone = np.repeat(y, 4), fitted(y)
    together = fitted(copies, cluster=np.repeat(np.arange(60), 4))
    assert together.ess == pytest.approx(60.0)
    assert together.upper == pytest.approx(alone.upper, rel=0.01)
    assert fitted(copies).upper < 0.8 * alone.upper


def test_a_threshold_needs_thirty_losses_and_leaves_at_most_a_thousand() -> None:
    """Kills a tail fitted to a handful, and one that reaches into the body of a large log."""
    rng = np.random.default_rng(6)
    few, many = rng.exponential(size=MIN_EXCEEDANCES - 1), rng.exponential(size=20_000)
    assert tail_threshold(few, np.ones(few.size), above=0.0, share=1.0) is None
    exact = rng.exponential(size=MIN_EXCEEDANCES)
    assert tail_threshold(exact, np.ones(exact.size), above=0.0, share=0.2) == 0.0
    u = tail_threshold(many, np.ones(many.size), above=0.5, share=1.0)
    assert u is not None
    assert (many > u).sum() == MAX_EXCEEDANCES
    fifth = tail_threshold(many[:1000], np.ones(1000), above=0.0, share=0.2)
    assert (many[:1000] > fifth).sum() == 200


def test_a_loss_that_carries_all_weight_is_left_below_the_threshold() -> None:
    """Kills a count of rows where weights leave one loss; where it is among the largest there is no tail."""
    y, w = np.arange(1.0, 101.0), np.ones(100)
    w[50] = 1e6
    assert tail_threshold(y, w, above=0.0, share=1.0) == y[50]
    w[80] = 1e6
    assert tail_threshold(y, w, above=0.0, share=1.0) is None


@pytest.mark.slow
def test_the_interval_covers_where_a_t_interval_of_the_mean_does_not() -> None:
    """Kills the Wald interval: Pareto(2.5), 60 losses, 200 samples. At a true 95 % fewer than 181 of 200 hits
    have probability 0.3 %; the t interval of the mean reaches about 170."""
    ours = naive = 0
    truth = 1 / 1.5
    for seed in range(200):
        y = np.random.default_rng(seed).random(60) ** (-1 / 2.5) - 1
        found = fitted(y)
        ours += found.lower <= truth <= found.upper
        half = critical_t(59.0) * y.std(ddof=1) / np.sqrt(60)
        naive += abs(y.mean() - truth) <= half
    assert ours >= 181
    assert naive < 181
