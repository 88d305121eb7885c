"""Expected losses and CVaR.99 with known truth: 20,000 decisions, 2 % incidents, Pareto(2.5) losses.

Ours stands beside the plain doubly robust mean with a t interval and, on fewer draws, DoubleML's CVaR. The
last line counts how often the upper end of a rare rate holds it.
Run: python benchmarks/bench_risk.py [--draws 300] [--doubleml 20]
"""

from __future__ import annotations

import argparse
import warnings
from collections import defaultdict
from dataclasses import replace

import numpy as np
from shadowprice.estimators.confidence import interval
from shadowprice.estimators.cvar import value_at_risk
from shadowprice.estimators.design import make_design
from shadowprice.estimators.folds import cluster_folds
from shadowprice.estimators.jackknife import cluster_sums, weighted_mean
from shadowprice.estimators.losses import ArmLosses, arm_losses, read_losses, score
from shadowprice.estimators.problem import Problem, problems
from shadowprice.estimators.propensity import Propensities, find_propensities
from shadowprice.estimators.risk import risk_estimates
from shadowprice.estimators.risk_records import RiskSettings
from shadowprice.ingest.simulator.regime import KnownWorld, Regime, draw
from shadowprice.schemas.config import Config
from threadpoolctl import threadpool_limits

ALPHA, BETA = 2.5, 0.99
WORLD = Regime(n=20_000, incident_rate=0.02, tail=ALPHA)
QUIET = Regime(n=2_000, incident_rate=0.006)

Found = tuple[float, float, float]


def prepared(world: KnownWorld) -> tuple[Problem, Propensities]:
    """The decision point of the world's log, with its propensities."""
    problem = next(problems(world.frame, Config()))
    folds = cluster_folds(problem.cluster_ids, seed=0, repeat=0)[problem.cluster]
    return problem, find_propensities(problem, make_design(problem.frame, problem.features), folds)


def truths() -> dict[tuple[str, str], float]:
    """Expected loss and CVaR by formula from each arm's incident probability, read off a large draw.

    E[L] = P alpha / (alpha - 1); VaR = (P / (1 - beta))^(1 / alpha); CVaR = VaR alpha / (alpha - 1).
    """
    large = draw(replace(WORLD, n=1_000_000), seed=0)
    rates = {"a0": large.risk[:, 0].mean(), "a1": large.risk[:, 1].mean(), "logged": 0.0}
    rates["logged"] = float((large.e * large.risk).sum(axis=1).mean())
    mean = ALPHA / (ALPHA - 1)
    out = {("expected", name): float(p) * mean for name, p in rates.items()}
    return out | {
        ("CVaR.99", name): (float(p) / (1 - BETA)) ** (1 / ALPHA) * mean for name, p in rates.items()
    }


def plain(arm: ArmLosses, measure: str) -> Found:
    """The doubly robust mean of the losses themselves, with a leave-one-cluster-out t interval."""
    eta, scale = (0.0, 1.0) if measure == "expected" else (value_at_risk(arm, beta=BETA), 1 / (1 - BETA))
    excess = np.maximum(np.where(arm.hits, arm.losses.loss, 0.0) - eta, 0.0)
    found = weighted_mean(cluster_sums(score(arm, excess)[:, None], arm.h, arm.cluster, arm.clusters))
    value, se = eta + scale * float(found.theta[0]), scale * float(np.sqrt(found.cov[0, 0]))
    return value, *interval(value, se, found.df)


def doubleml_cvar(problem: Problem, treatment: int) -> Found:
    """DoubleML's CVaR of the potential loss of one of two arms, with forests."""
    from doubleml import DoubleMLCVAR, DoubleMLData
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    frame = problem.frame.select(problem.features).to_pandas()
    frame["loss"], frame["arm"] = problem.frame["loss_usd"].to_numpy(), problem.arm
    settings = {"n_estimators": 100, "min_samples_leaf": 50, "random_state": 0}
    model = DoubleMLCVAR(
        DoubleMLData(frame, "loss", "arm"),
        ml_g=RandomForestRegressor(**settings),
        ml_m=RandomForestClassifier(**settings),
        treatment=treatment,
        quantile=BETA,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit()
    lower, upper = model.confint().to_numpy()[0]
    return float(model.coef[0]), float(lower), float(upper)


def replicate(draws: int, with_doubleml: int) -> dict[tuple[str, str, str], list[Found | None]]:
    """(measure, arm, estimator) -> one result per draw, None where it was refused."""
    out: dict[tuple[str, str, str], list[Found | None]] = defaultdict(list)
    for seed in range(draws):
        problem, propensities = prepared(draw(WORLD, seed=seed))
        losses = read_losses(problem.frame)
        if isinstance(losses, str):
            raise TypeError(losses)
        rows = risk_estimates(problem, propensities, settings=RiskSettings(beta=BETA), seed=0)
        for row in rows:
            name = {"expected": "expected", "cvar": "CVaR.99"}.get(row.measure)
            if name is not None:
                ends = (row.value, row.lower, row.upper)
                found = None if None in ends else ends
                out[name, row.action or "logged", "shadowprice"].append(found)  # type: ignore[arg-type]
        for arm in arm_losses(problem, propensities, losses, problem.arms, seed=0):
            for name in ("expected", "CVaR.99"):
                out[name, arm.arm or "logged", "plain DR, t"].append(plain(arm, name))
        if seed < with_doubleml:
            for k, name in enumerate(problem.arms):
                out["CVaR.99", name, "doubleml"].append(doubleml_cvar(problem, k))
    return out


def rare_bounds(draws: int) -> tuple[int, int, int]:
    """Arms whose rate is near 3 / ESS: all, those without an incident, and bounds that hold the true rate."""
    true = draw(replace(QUIET, n=1_000_000), seed=0).risk.mean(axis=0)
    seen = none = held = 0
    for seed in range(draws):
        problem, propensities = prepared(draw(QUIET, seed=seed))
        for row in risk_estimates(problem, propensities, settings=RiskSettings(), seed=0):
            if row.measure == "incident" and row.action is not None and row.upper is not None:
                seen, none = seen + 1, none + (row.events == 0)
                held += row.upper >= true[problem.arm_index(row.action)]
    return seen, none, held


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=300)
    parser.add_argument("--doubleml", type=int, default=20)
    arguments = parser.parse_args()
    with threadpool_limits(limits=1):
        truth, found = truths(), replicate(arguments.draws, arguments.doubleml)
        print("| measure | decisions | estimator | truth | bias | covered | refused | mean width |")
        print("|---|---|---|---|---|---|---|---|")
        for (measure, arm, estimator), results in sorted(found.items()):
            t = truth[measure, arm]
            kept = np.array([r for r in results if r is not None])
            covered = ((kept[:, 1] <= t) & (t <= kept[:, 2])).mean()
            print(
                f"| {measure} | {arm} | {estimator} | {t:.4f} | {kept[:, 0].mean() / t - 1:+.1%} | "
                f"{covered:.1%} of {len(kept)} | {len(results) - len(kept)} | "
                f"{(kept[:, 2] - kept[:, 1]).mean():.4f} |"
            )
        seen, none, held = rare_bounds(arguments.draws)
    print(
        f"\nUpper ends of rates near 3 / ESS: {held} of {seen} hold the truth ({none} without an incident)."
    )


if __name__ == "__main__":
    main()
