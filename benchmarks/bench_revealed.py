"""Revealed prices with known truth (V 2, lambda 0.3, rho 4), and bounds where no incident happened.

Choices whose attributes are known exactly; the same read from logs, whose predictions are noisy; fixed rules;
gaps between layers; one-sided bounds of action classes without incidents; mean losses per incident.
Run: python benchmarks/bench_revealed.py [--draws 500] [--logs 100]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import polars as pl
from numpy.typing import NDArray
from shadowprice.estimators.confidence import critical_t
from shadowprice.estimators.prices.attributes import Offers, offers
from shadowprice.estimators.prices.behaviour import Behaviour, behaviour
from shadowprice.estimators.prices.break_even import fieller
from shadowprice.estimators.prices.clogit import Choices, fit_choices
from shadowprice.estimators.prices.gaps import revealed_gaps
from shadowprice.estimators.prices.revealed import prices_of, revealed_prices
from shadowprice.estimators.prices.risk_prices import risk_prices
from shadowprice.estimators.problem import problems
from shadowprice.estimators.scores import score
from shadowprice.schemas.config import Config
from threadpoolctl import threadpool_limits

Array = NDArray[np.float64]

TRUTH = {"V": (0, 2.0), "λ": (2, 0.3), "ρ": (3, 4.0)}
"""Price: position of its attribute, true value in units of the coefficient of cost."""
NAMES = {"revealed_latency_price": "λ", "revealed_risk_price": "ρ", "revealed_task_value": "V"}
SPREAD = np.array([0.5, 0.7, 2.0, 0.15])
CONSTANTS = np.array([0.0, 0.3, -0.2])
ARMS = np.array(["haiku", "sonnet", "opus"])
TAIL = 2.5

Found = tuple[float, float, float] | None


def choices(seed: int, *, n: int = 1500, copies: int = 1) -> Choices:
    """n choices among three actions with known attributes and one constant each; `copies` of every choice are
    in its cluster, so that only n / copies of them say anything of their own."""
    rng = np.random.default_rng(seed)
    own = n // copies
    x = rng.normal(size=(own, 3, 4)) * SPREAD
    utility = x @ np.array([2.0, 1.0, 0.3, 4.0]) + CONSTANTS + rng.gumbel(size=(own, 3))
    design = np.concatenate([x, np.broadcast_to(np.eye(3)[:, 1:], (own, 3, 2))], axis=2)
    return Choices(
        x=np.repeat(design, copies, axis=0),
        open=np.ones((n, 3), dtype=bool),
        chosen=np.repeat(utility.argmax(axis=1), copies),
        weight=np.ones(n),
        cluster=np.arange(n) // copies,
    )


def ratios(data: Choices) -> dict[str, Found]:
    """Price -> value and Fieller ends."""
    fit = fit_choices(data)
    if isinstance(fit, str):
        return dict.fromkeys(TRUTH)
    out: dict[str, Found] = {}
    for name, (j, _) in TRUTH.items():
        b, c = fit.beta, fit.cov
        r = fieller(b[j], b[1], c[j, j], c[j, 1], c[1, 1], critical_t(fit.df), level=0.95)
        out[name] = (
            None if r.value is None or r.lower is None or r.upper is None else (r.value, r.lower, r.upper)
        )
    return out


def attributes(x: Array) -> Array:
    """(n, 3, 4) true means: quality, minus USD, minus seconds, minus incident probability."""
    k = np.arange(3)
    quality = _sigmoid(-0.3 + 0.5 * k - 0.8 * x[:, [0]] + 0.9 * x[:, [1]] * (k - 1))
    cost = 0.2 * (1 + k) * np.exp(x[:, [2]] * (k - 0.3) / 3)
    latency = 1 + 0.6 * k + 1.2 * np.tanh(x[:, [3]]) * (1 - k)
    risk = _sigmoid(-2 + x[:, [1]] * (k == 0) + 1.2 * x[:, [0]] * (k == 2) - 0.3 * k)
    return np.stack([quality, -cost, -latency, -risk], axis=2)


def log(
    seed: int,
    *,
    n: int,
    sharp: float = 1.0,
    latency_price: float = 0.3,
    point: tuple[str, str] = ("router", "model"),
    sessions: int | None = None,
) -> pl.DataFrame:
    """A log of a policy that trades true means at V 2, rho 4 and `latency_price`; sharp: its weight on a USD,
    infinite for a rule. Outcomes are noisy, so that predictions from them are."""
    rng = np.random.default_rng([seed, n])
    session = np.arange(n) if sessions is None else np.arange(n) % sessions
    x = rng.normal(size=(n, 4))
    true = attributes(x)
    utility = true @ np.array([2.0, 1.0, latency_price, 4.0])
    ruled = np.isinf(sharp)
    odds = np.exp((0.0 if ruled else sharp) * (utility - utility.max(axis=1, keepdims=True)))
    e = odds / odds.sum(axis=1, keepdims=True)
    taken = (
        utility.argmax(axis=1) if ruled else (rng.random(n)[:, None] > e.cumsum(axis=1)[:, :-1]).sum(axis=1)
    )
    rows = np.arange(n)
    quality, cost, latency, risk = np.abs(true[rows, taken]).T
    columns = {
        "decision_id": [f"{point[1]}{i:06d}" for i in range(n)],
        "layer": point[0],
        "decision_point": point[1],
        "session_id": [f"s{g:05d}" for g in session],
        "action": ARMS[taken],
        "quality": (rng.random(n) < quality).astype(float),
        "cost_usd": cost * np.exp(0.2 * rng.normal(size=n) - 0.02),
        "latency_s": np.maximum(latency + 0.4 * rng.normal(size=n), 0.01),
        "incident": rng.random(n) < risk,
        **{f"x_{j}": x[:, j] for j in range(4)},
    }
    if ruled:
        columns["propensity_source"] = "deterministic"
    else:
        columns |= {
            "candidates": [ARMS.tolist()] * n,
            "propensities": e.tolist(),
            "propensity": e[rows, taken],
            "propensity_source": "logged",
        }
    return pl.DataFrame(columns)


def read(frame: pl.DataFrame, *, seed: int = 0) -> Behaviour | str:
    """What the choices of a log reveal."""
    return behaviour(score(next(problems(frame, Config())), seed=seed), config=Config(), seed=seed)


def offered(frame: pl.DataFrame) -> Offers:
    """The choices of a log with predicted attributes."""
    found = offers(score(next(problems(frame, Config())), seed=0), config=Config(), seed=0)
    if isinstance(found, str):
        raise TypeError(found)
    return found


def from_log(frame: pl.DataFrame) -> dict[str, Found]:
    """Price -> value and ends, None where it is refused."""
    found = read(frame)
    prices = () if isinstance(found, str) else prices_of(found)
    out: dict[str, Found] = dict.fromkeys(TRUTH)
    for p in prices:
        if p.value is not None and p.lower is not None and p.upper is not None:
            out[NAMES[p.name]] = (p.value, p.lower, p.upper)
    return out


def uncorrected(frame: pl.DataFrame, *, oracle: bool) -> dict[str, Found]:
    """The same without the correction for noisy predictions: from them, or from the true means."""
    data = offered(frame).choices
    x = attributes(frame.select(f"x_{j}" for j in range(4)).to_numpy()) if oracle else data.x
    order = np.argsort(ARMS)  # arms are sorted by name
    x = x[:, order] if oracle else x
    constants = np.broadcast_to(np.eye(3)[:, 1:], (data.n, 3, 2))
    return ratios(replace(data, x=np.concatenate([x, constants], axis=2)))


def class_log(seed: int, *, n: int, rate: float, icc: float, size: int) -> pl.DataFrame:
    """An action class 'read' with rare incidents beside a 'deploy' with many, both clustered by session:
    beta-binomial with the given intra-cluster correlation. Losses are Pareto(2.5) from 1 USD."""
    rng = np.random.default_rng([seed, n])
    session = np.arange(n) // size
    rare = rng.random(n) < 0.5
    p = np.where(rare, rate, 0.08)
    if icc > 0:
        scale = (1 - icc) / icc
        draws = [rng.beta(m * scale, (1 - m) * scale, size=session.max() + 1) for m in (rate, 0.08)]
        p = np.where(rare, draws[0][session], draws[1][session])
    hurt = rng.random(n) < p
    return pl.DataFrame(
        {
            "decision_id": [f"d{i:06d}" for i in range(n)],
            "layer": "agent",
            "decision_point": "act",
            "action": np.where(rare, "open", "push"),
            "action_class": np.where(rare, "read", "deploy"),
            "session_id": [f"s{g:05d}" for g in session],
            "incident": hurt,
            "loss_usd": np.where(hurt, (1 - rng.random(n)) ** (-1 / TAIL), 0.0),
        }
    )


def _sigmoid(x: Array) -> Array:
    return 0.5 * (1.0 + np.tanh(x / 2.0))


def table(title: str, draws: list[dict[str, Found]]) -> Iterator[str]:
    """One line per price: share refused, mean, median, coverage, median width."""
    for name, (_, truth) in TRUTH.items():
        kept = np.array([d[name] for d in draws if d[name] is not None]).reshape(-1, 3)
        covered = ((kept[:, 1] <= truth) & (truth <= kept[:, 2])).mean() if len(kept) else float("nan")
        mean, median = (f(kept[:, 0]) if len(kept) else float("nan") for f in (np.mean, np.median))
        width = np.median(kept[:, 2] - kept[:, 1]) if len(kept) else float("nan")
        yield (
            f"| {title} | {name} | {truth:g} | {mean:.3f} | {median:.3f} | {covered:.1%} of {len(kept)} | "
            f"{len(draws) - len(kept)} | {width:.3f} |"
        )


def rules(draws: int) -> Iterator[str]:
    """How often the range that a fixed rule reveals holds the truth, and its mean ends."""
    ends: dict[str, list[tuple[float, float]]] = {name: [] for name in TRUTH}
    for seed in range(draws):
        frame = log(seed, n=2000, sharp=float("inf"))
        scores = score(next(problems(frame, Config())), seed=0)
        for p in revealed_prices(scores, config=Config(), seed=0):
            ends[NAMES[p.name]].append((p.lower or 0.0, np.inf if p.upper is None else p.upper))
    for name, (_, truth) in TRUTH.items():
        low, high = np.array(ends[name]).T
        finite = high[np.isfinite(high)]
        held = ((low <= truth) & (truth <= high)).mean()
        yield f"| {name} | {truth:g} | {low.mean():.3f} | {finite.mean():.3f} | {held:.1%} of {draws} |"


def gaps(draws: int) -> Iterator[str]:
    """False alarms when two layers agree, and power and coverage when one prices a second at 4 times."""
    for times in (1.0, 4.0):
        p, inside, alone = [], [], 0
        for seed in range(draws):
            both = [
                read(log(seed, n=2400, sharp=1.5, latency_price=0.3, sessions=1200)),
                read(
                    log(
                        seed + 10**6,
                        n=2400,
                        sharp=1.5,
                        latency_price=0.3 * times,
                        point=("serving", "tier"),
                        sessions=1200,
                    )
                ),
            ]
            rows = revealed_gaps([b for b in both if not isinstance(b, str)])
            rows = rows.filter(pl.col("price") == "revealed_latency_price")
            if rows.is_empty():
                alone += 1
                continue
            row = rows.row(0, named=True)
            p.append(row["p_value"] <= 0.05)
            if row["ratio"] is not None:
                truth = times if row["layer"] == "serving" else 1 / times
                inside.append(row["ratio_lower"] <= truth <= row["ratio_upper"])
        yield (
            f"| {times:g} | {np.mean(p):.1%} of {len(p)} | {np.mean(inside):.1%} of {len(inside)} | {alone} |"
        )


def bounds(draws: int) -> Iterator[str]:
    """Upper ends of a rare class, over all worlds and over those without an incident in it."""
    for icc, size in ((0.0, 1), (0.05, 20), (0.2, 20), (0.5, 5)):
        rate, held, quiet = 0.002, [], []
        severity = []
        for seed in range(draws):
            prices = risk_prices(
                class_log(seed, n=2000, rate=rate, icc=icc, size=size), config=Config(), seed=0
            )
            own = {(p.segment, p.name): p for p in prices}
            p = own["action_class=read", "incident_rate"]
            if p.upper is not None:
                held.append(p.upper >= rate)
                quiet.append(p.value is None)
            s = own["action_class=deploy", "accounting_risk_price"]
            if s.lower is not None and s.upper is not None:
                severity.append(s.lower <= TAIL / (TAIL - 1) <= s.upper)
        yield (
            f"| {icc:g} | {size} | {np.mean(held):.1%} of {len(held)} | {sum(quiet)} | "
            f"{np.mean(severity):.1%} of {len(severity)} |"
        )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=500)
    parser.add_argument("--logs", type=int, default=100)
    arguments = parser.parse_args()
    draws, logs = arguments.draws, arguments.logs
    with threadpool_limits(limits=1):
        print("| choices | price | truth | mean | median | covered | refused | median width |")
        print("|---|---|---|---|---|---|---|---|")
        known = {
            "attributes known, n 1500": [ratios(choices(s)) for s in range(draws)],
            "the same, 300 clusters of 5 copies": [ratios(choices(s, copies=5)) for s in range(draws)],
        }
        for title, found in known.items():
            print("\n".join(table(title, found)))
        for n, sharp, count in ((1500, 1.0, draws), (1500, 3.0, draws), (6000, 1.0, logs)):
            frames = [log(s, n=n, sharp=sharp) for s in range(count)]
            for title, how in (
                ("true means", lambda f: uncorrected(f, oracle=True)),
                ("predictions as they are", lambda f: uncorrected(f, oracle=False)),
                ("predictions, noise corrected", from_log),
            ):
                print("\n".join(table(f"log of {n}, {sharp:g} / USD: {title}", [how(f) for f in frames])))
        print("\n| rule, price | truth | mean lower | mean upper | held |\n|---|---|---|---|---|")
        print("\n".join(rules(logs)))
        print("\n| true ratio of λ | told apart | ratio covered | not revealed |\n|---|---|---|---|")
        print("\n".join(gaps(logs)))
        print("\n| icc | cluster | rate 0.002 below the bound | without incident | mean loss covered |")
        print("|---|---|---|---|---|")
        print("\n".join(bounds(draws)))


if __name__ == "__main__":
    main()
