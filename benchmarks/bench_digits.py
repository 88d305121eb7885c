"""Digits as a bandit with known truth: relative error of the value of a policy, by estimator.

The experiment that Open Bandit Pipeline publishes (examples/multiclass): 70 % of the digits are the log; a
logistic regression, mixed with 60 % uniform choice, is the logging policy; a random forest, mixed with 10 %,
the target; both trained on the other 30 %. A choice is right (1) or wrong (0), so that the truth is known.
The publication does not state the size of its forest. Leaves of ten decisions bring its errors of IPW and
SNIPW; a forest grown to the end is right more often, which halves that of SNIPW and leaves IPW as it is.

Run: python benchmarks/bench_digits.py --runs 30
"""

from __future__ import annotations

import argparse
from typing import NamedTuple

import numpy as np
import polars as pl
import shadowprice as sp
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

Array = NDArray[np.float64]

PUBLISHED = {
    "DM": 0.4365,
    "IPS": 0.0303,
    "SNIPS": 0.0228,
    "DR": 0.0162,
    "SNDR": 0.0221,
    "SWITCH-DR": 0.0347,
    "DRos": 0.0159,
}
"""Mean relative errors over 30 runs, with gradient-boosted trees as the outcome model."""
_LOGGED, _TARGET = 0.4, 0.9
_DIGITS = 10
_LEAF = 10
"""Decisions in a leaf of the target's forest at least."""


class Digits(NamedTuple):
    """One run: the log in the decisions layout, the target, and the target's true value."""

    log: pl.DataFrame
    target: pl.DataFrame
    truth: float


def draw(seed: int) -> Digits:
    """The run of `seed`. Splits and draws follow numpy and scikit-learn of today, not those of the paper."""
    images, digit = load_digits(return_X_y=True)
    x_train, x, y_train, y = train_test_split(images, digit, test_size=0.7, random_state=seed)
    logger = LogisticRegression(max_iter=5000).fit(x_train / 16.0, y_train)
    forest = RandomForestClassifier(max_depth=10, min_samples_leaf=_LEAF, random_state=seed).fit(
        x_train, y_train
    )
    e = mixture(logger.predict(x / 16.0), _LOGGED)
    pi = mixture(forest.predict(x), _TARGET)
    u = np.random.default_rng(seed).random((y.size, 1))
    action = (e.cumsum(axis=1) > u).argmax(axis=1)
    rows = np.arange(y.size)
    log = pl.DataFrame(
        {
            "decision_id": [f"{i:05d}" for i in rows],
            "action": [str(a) for a in action],
            "propensity": e[rows, action],
            "candidates": [[str(k) for k in range(_DIGITS)]] * y.size,
            "propensities": e.tolist(),
            "quality": (action == y).astype(float),
            **{f"x_pixel_{j:02d}": x[:, j] for j in range(x.shape[1])},
        }
    ).with_columns(layer=pl.lit("router"), decision_point=pl.lit("digit"))
    target = pl.DataFrame(
        {
            "decision_id": np.repeat(log["decision_id"].to_numpy(), _DIGITS),
            "action": np.tile([str(k) for k in range(_DIGITS)], y.size),
            "probability": pi.ravel(),
        }
    )
    return Digits(log=log, target=target, truth=float(pi[rows, y].mean()))


def mixture(predicted: NDArray[np.int64], share: float) -> Array:
    """Probability (n, 10): `share` on the predicted digit, the rest uniform."""
    e = np.full((predicted.size, _DIGITS), (1.0 - share) / _DIGITS)
    e[np.arange(predicted.size), predicted] += share
    return e


def errors(runs: int) -> pl.DataFrame:
    """Per estimator: mean relative error, and how often the interval holds the truth, over `runs` runs."""
    parts: list[pl.DataFrame] = []
    for seed in range(runs):
        digits = draw(seed)
        values = sp.policy_value(digits.log, digits.target)
        truth = pl.lit(digits.truth)
        parts.append(
            values.select(
                "estimator",
                error=(pl.col("value") - truth).abs() / truth,
                covered=(pl.col("lower") <= truth) & (truth <= pl.col("upper")),
            )
        )
    return (
        pl.concat(parts)
        .group_by("estimator", maintain_order=True)
        .agg(
            pl.col("error").mean(),
            pl.col("covered").mean(),
            runs=pl.col("error").count(),
        )
    )


def main() -> None:
    """Print the table beside the published one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=30)
    print("| estimator | relative error | published | interval holds the truth | runs |")
    print("|---|---|---|---|---|")
    for row in errors(parser.parse_args().runs).iter_rows(named=True):
        name = row["estimator"]
        known = f"{PUBLISHED[name]:.4f}" if name in PUBLISHED else "-"
        covered = "-" if row["covered"] is None else f"{row['covered']:.2f}"
        print(f"| {name} | {row['error']:.4f} | {known} | {covered} | {row['runs']} |")


if __name__ == "__main__":
    main()
