"""Regret of the logged policy against known truth: false alarms, power, and how often the bounds hold.

Worlds without anything to gain show what plug-in regret would report beside ours. Money is in units of the
standard deviation of one decision's net value, per decision; scores are those of one split, for speed.
Run: python benchmarks/bench_regret.py [--worlds 300]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray
from shadowprice.estimators.confidence import interval, one_sided
from shadowprice.estimators.design import make_design
from shadowprice.estimators.jackknife import cluster_sums, weighted_mean
from shadowprice.estimators.learners import ridge
from shadowprice.estimators.problem import problems
from shadowprice.estimators.regret.choice import Choice, choice_of, in_dollars
from shadowprice.estimators.regret.groups import learned
from shadowprice.estimators.regret.regret import regret_frame
from shadowprice.estimators.scores import fitted, split_of
from shadowprice.schemas.config import parse_config
from threadpoolctl import threadpool_limits

Array = NDArray[np.float64]

VALUE = 2.0
"""USD per task: an outcome of 0 or 1 with even odds then has a standard deviation of 1 USD."""
START_US = 1_793_577_600_000_000
MINUTE_US = 60_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A family of worlds. gain: what the last arm adds everywhere; spread: what it adds or takes by x_b.

    lean: how strongly the policy's choice follows x_a, which also moves the outcome. tenants: clusters, with
    a shift of the outcome and, with `own`, of the last arm's effect; None: every decision its own.
    labelled: share of outcomes seen. kept: share of successes that the log kept, failures always.
    """

    n: int = 1500
    actions: int = 3
    gain: float = 0.0
    spread: float = 0.0
    lean: float = 0.7
    base: float = 0.5
    tenants: int | None = None
    own: float = 0.0
    logged: bool = True
    timed: bool = True
    labelled: float = 1.0
    kept: float = 1.0


NULLS = {
    "null, 3 actions, n 1000": Cell(n=1000),
    "null, 5 actions, n 1000": Cell(n=1000, actions=5),
    "null, 5 actions, n 1500": Cell(actions=5),
    "null, 40 tenants": Cell(tenants=40),
    "null, 40 tenants, own effects": Cell(tenants=40, own=0.1),
    "null, propensities estimated": Cell(logged=False),
    "null, weak overlap": Cell(lean=2.0),
}
GAINS = {
    "gain .25 everywhere": Cell(gain=0.25),
    "gain .1 everywhere": Cell(gain=0.1),
    "gain by context": Cell(spread=0.15),
    "gain by context, n 6000": Cell(n=6000, spread=0.15),
    "gain by context, 5 actions": Cell(actions=5, spread=0.15),
    "gain .1, 40 tenants": Cell(gain=0.1, tenants=40),
    "gain by context, propensities estimated": Cell(spread=0.15, logged=False),
    "gain by context, no timestamps": Cell(spread=0.15, timed=False),
    "gain by context, 30 % labelled": Cell(n=3000, spread=0.15, labelled=0.3),
    "gain by context, half the successes kept": Cell(n=3000, spread=0.15, kept=0.5),
    "rare outcome, gain .1": Cell(n=3000, gain=0.05, base=0.03),
    "gain by context, weak overlap": Cell(n=3000, spread=0.15, lean=2.0),
}


def draw(cell: Cell, seed: int) -> tuple[pl.DataFrame, float]:
    """A log and its regret in USD per decision: the best action given context, above the logged policy."""
    rng = np.random.default_rng([seed, cell.n, cell.actions])
    n, k = cell.n, cell.actions
    x = rng.normal(size=(n, 3))
    tilt = cell.lean * np.outer(x[:, 0], np.linspace(-1, 1, k))
    e = np.exp(tilt - tilt.max(axis=1, keepdims=True))
    e /= e.sum(axis=1, keepdims=True)
    arm = (rng.random(n)[:, None] >= e.cumsum(axis=1)[:, :-1]).sum(axis=1)
    tenant = np.arange(n) if cell.tenants is None else rng.integers(cell.tenants, size=n)
    q = np.repeat((cell.base - 0.2 * min(cell.base, 0.5) * np.tanh(x[:, 0]))[:, None], k, axis=1)
    q[:, -1] += cell.gain + cell.spread * np.tanh(2 * x[:, 1])
    regret = VALUE * float((q.max(axis=1) - (e * q).sum(axis=1)).mean())
    if cell.tenants is not None:
        q += rng.uniform(-0.1, 0.1, cell.tenants)[tenant, None]
        q[:, -1] += rng.uniform(-cell.own, cell.own, cell.tenants)[tenant]
    outcome = (rng.random(n) < q[np.arange(n), arm]).astype(float)
    names = np.array([f"a{j}" for j in range(k)])
    frame = pl.DataFrame(
        {
            "decision_id": [f"d{i:06d}" for i in range(n)],
            "layer": "router",
            "decision_point": "model",
            "session_id": np.char.add("s", tenant.astype(str)),
            "action": names[arm],
            "quality": outcome,
            "cost_usd": np.full(n, 0.01) + 1e-4 * rng.random(n),
            **{f"x_{c}": x[:, j] for j, c in enumerate("abc")},
        }
    )
    if cell.timed:
        ts = pl.Series(START_US + MINUTE_US * np.arange(n)).cast(pl.Datetime("us", "UTC"))
        frame = frame.with_columns(ts=ts)
    if cell.logged:
        frame = frame.with_columns(
            candidates=pl.lit(pl.Series([names.tolist()])).first(),
            propensities=pl.Series(e).arr.to_list(),
            propensity=pl.Series(e[np.arange(n), arm]),
            propensity_source=pl.lit("logged"),
        )
    if cell.labelled < 1:
        seen = pl.Series(rng.random(n) < cell.labelled)
        frame = frame.with_columns(
            quality=pl.when(seen).then("quality"), quality_observed=seen, label_prob=pl.lit(cell.labelled)
        )
    if cell.kept < 1:
        keep = np.where(outcome > 0, cell.kept, 1.0)
        held = pl.Series(rng.random(n) < keep)
        frame = frame.with_columns(keep_prob=pl.Series(keep)).filter(held)
    return frame, regret


def choice(cell: Cell, seed: int) -> tuple[Choice | str, float]:
    """The choice of one world and its true regret."""
    config = parse_config({"prices": {"task_value": f"{VALUE} USD/task"}}, where="bench")
    frame, truth = draw(cell, seed)
    (problem,) = problems(frame, config)
    split = split_of(problem, make_design(problem.frame, problem.features), seed=seed, repeat=0)
    return choice_of(fitted(split), config, seed=seed), truth


def plug_in(c: Choice) -> float:
    """The mean over decisions of the largest fitted mean less that of what was done: no data are held out."""
    fits = [
        in_dollars(ridge(c.basis[t], c.done[t], c.basis, c.weight[t]), c.price)
        for t in (c.took[:, k] for k in range(len(c.actions)))
    ]
    table = np.where(c.offered, np.stack(fits, axis=1), -np.inf)
    return float(np.average(table.max(axis=1) - in_dollars(c.done, c.price), weights=c.weight))


def in_sample(c: Choice) -> tuple[float, float]:
    """A policy learned from all scores and judged on the same ones: gain and its naive lower limit."""
    gains = in_dollars(c.psi - c.done[:, None, :], c.price[:, None, :])
    fit = np.where(c.offered, ridge(c.basis, gains, c.basis, c.weight), -np.inf)
    best = fit.argmax(axis=1)
    rows = np.arange(c.n)
    return limits(c, np.where(fit[rows, best] > 0, gains[rows, best], 0.0))


def limits(c: Choice, gain: Array) -> tuple[float, float]:
    """Mean gain and its naive one-sided lower limit."""
    m = weighted_mean(cluster_sums(gain[:, None], c.weight, c.cluster, c.clusters))
    theta, se = float(m.theta[0]), float(np.sqrt(m.cov[0, 0]))
    return theta, interval(theta, se, m.df, level=one_sided(0.95))[0]


def nulls(worlds: int) -> None:
    """What each way reports where nothing can be gained, and how often its lower limit is above 0."""
    print("| world | plug-in | in-sample DR | alarm | 5-fold | alarm | at least | alarm | at most |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, cell in NULLS.items():
        rows: list[tuple[float, ...]] = []
        for seed in range(worlds):
            c, _ = choice(cell, seed)
            if isinstance(c, str):
                continue
            row = bounds(c)
            if row is not None:
                lower, _, upper = row
                crossed = limits(c, learned(c).gain)
                rows.append((plug_in(c), *in_sample(c), *crossed, lower, upper))
        a = np.array(rows)
        alarm = [f"{100 * (a[:, j] > 1e-12).mean():.1f} %" for j in (2, 4, 5)]
        mean = [f"{a[:, j].mean():.3f}" for j in (0, 1, 3, 5, 6)]
        cells = (mean[0], mean[1], alarm[0], mean[2], alarm[1], mean[3], alarm[2], mean[4])
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def bounds(c: Choice) -> tuple[float, float, float] | None:
    """(lower, value, upper) in USD per decision."""
    row = regret_frame([c]).row(0, named=True)
    if row["value_usd"] is None:
        return None
    per = row["decisions"]
    return row["lower_usd"] / per, row["value_usd"] / per, row["upper_usd"] / per


def gains(worlds: int) -> None:
    """How often the bounds hold where there is something to gain, and how much of it they find."""
    print("| world | truth | at least | about | at most | truth >= lower | lower > 0 | truth <= upper |")
    print("|---|---|---|---|---|---|---|---|")
    for name, cell in GAINS.items():
        rows: list[tuple[float, ...]] = []
        for seed in range(worlds):
            c, truth = choice(cell, seed)
            row = None if isinstance(c, str) else bounds(c)
            if row is not None:
                rows.append((truth, *row))
        truth, lower, value, upper = np.array(rows).T
        means = " | ".join(f"{v.mean():.3f}" for v in (truth, lower, value, upper))
        shares = " | ".join(f"{100 * s.mean():.1f} %" for s in (truth >= lower, lower > 0, truth <= upper))
        print(f"| {name} | {means} | {shares} |", flush=True)


def joint(worlds: int) -> None:
    """Three points of one log whose requests share tenants: how often the bounds of the total hold."""
    kinds = (Cell(tenants=60, gain=0.1), Cell(tenants=60), Cell(tenants=60, spread=0.15))
    rows: list[tuple[float, ...]] = []
    for seed in range(worlds):
        found, truth = [], 0.0
        for place, cell in enumerate(kinds):
            c, regret = choice(cell, seed)  # one seed: the tenants' shifts are the same at every point
            if isinstance(c, Choice):
                found.append(replace(c, decision_point=f"p{place}"))
                truth += regret * float(c.weight.sum())
        row = regret_frame(found).filter(pl.col("layer") == "all").row(0, named=True)
        rows.append((truth, row["lower_usd"], row["upper_usd"]))
    truth, lower, upper = np.array(rows).T
    print(
        f"three points, shared tenants: truth {truth.mean():.0f} USD, at least {lower.mean():.0f}, at most "
        f"{upper.mean():.0f}; truth >= lower in {100 * (truth >= lower).mean():.1f} %, lower > 0 in "
        f"{100 * (lower > 0).mean():.1f} %, truth <= upper in {100 * (truth <= upper).mean():.1f} %"
    )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=300)
    parts: dict[str, Callable[[int], None]] = {"nulls": nulls, "gains": gains, "joint": joint}
    parser.add_argument("--only", choices=list(parts))
    asked = parser.parse_args()
    with threadpool_limits(limits=1):
        for name, part in parts.items():
            if asked.only in (None, name):
                part(asked.worlds)
                print()


if __name__ == "__main__":
    main()
