"""Known truth on real data: RouteLLM's MMLU and GSM8K answers, one arm hidden by a confounded router.

Both models answered every question, so the true gain is known. Each seed draws as many questions as there
are, with replacement, since an interval speaks of the questions to come and not of these. It logs one model
for each, with propensity sigmoid(1.5 z) clipped to [.02, .98], z the standardised share of Mixtral's wrong
answers in the question's group: its MMLU subject, or its tenth of the GSM8K questions by length. In the
second table the router also knows what the log does not show.
Run: python benchmarks/bench_routellm.py --data DIR [--seeds 200]
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
import polars as pl
import shadowprice as sp
from shadowprice.estimators.pairs import Valuation, pair
from shadowprice.estimators.problem import problems
from shadowprice.estimators.scores import score
from shadowprice.estimators.sensitivity import CAP, HiddenContrast, critical_strength, sensitivity_bounds
from shadowprice.estimators.sensitivity_arm import arm_models
from shadowprice.ingest.simulator.regime_log import hidden_policy
from shadowprice.schemas.config import Config
from threadpoolctl import threadpool_limits

WEAK, STRONG = "mixtral-8x7b", "gpt-4"
SLOPE, FLOOR = 1.5, 0.02
TENTHS = 10
DATA = ("mmlu", "gsm8k")
RATIOS = (1.5, 2.0)


def load(folder: Path, data: str) -> pl.DataFrame:
    """One row per question: its group, its length, and whether each model was right."""
    rows: list[tuple[str, int, float, float]] = []
    for file in sorted((folder / "mmlu").glob("mmlu_*.csv") if data == "mmlu" else [gsm8k(folder)]):
        with file.open(newline="", encoding="utf-8") as handle:
            for row in csv.DictReader(handle):
                prompt, weak, strong = list(row.values())[:3]
                rows.append((file.stem.removeprefix("mmlu_"), len(prompt), weak == "True", strong == "True"))
    questions = pl.DataFrame(rows, schema=["group", "length", "weak", "strong"], orient="row").cast(
        {"weak": pl.Float64, "strong": pl.Float64, "length": pl.Float64}
    )
    if data == "mmlu":
        return questions
    tenth = (pl.col("length").rank("ordinal") - 1) * TENTHS // pl.len()
    return questions.with_columns(group=pl.format("tenth {}", tenth))


def gsm8k(folder: Path) -> Path:
    """The file of GSM8K answers."""
    return folder / "gsm8k_responses.csv"


def propensity(questions: pl.DataFrame) -> np.ndarray:
    """Probability that the router picks the strong model."""
    wrong = questions.select((1.0 - pl.col("weak")).mean().over("group")).to_series().to_numpy()
    z = (wrong - wrong.mean()) / wrong.std()
    return np.clip(1.0 / (1.0 + np.exp(-SLOPE * z)), FLOOR, 1.0 - FLOOR)


def log(questions: pl.DataFrame, drawn: np.ndarray, strong: np.ndarray) -> pl.DataFrame:
    """The log that a production router would have left; `strong`: where it picked the strong model.

    A question that was drawn twice is one session, so that its rows count as one.
    """
    questions = questions[drawn]
    return pl.DataFrame(
        {
            "decision_id": [f"d{i}" for i in range(strong.size)],
            "session_id": [f"q{i}" for i in drawn],
            "layer": "router",
            "decision_point": "model",
            "action": np.where(strong, STRONG, WEAK),
            "quality": np.where(strong, questions["strong"].to_numpy(), questions["weak"].to_numpy()),
            "x_group": questions["group"],
            "x_length": questions["length"],
        }
    )


def truths(questions: pl.DataFrame, e: np.ndarray) -> dict[str, float]:
    """The true gain of the strong model, where the choice was open and over all questions."""
    gain = (questions["strong"] - questions["weak"]).to_numpy()
    return {"ATO": float(np.average(gain, weights=e * (1 - e))), "ATE": float(gain.mean())}


def run(folder: Path, data: str, seeds: int) -> list[dict[str, object]]:
    """One row per (propensities logged or not) x estimand: mean error, coverage, mean width, naive error."""
    questions = load(folder, data)
    e = propensity(questions)
    truth = truths(questions, e)
    rows: list[dict[str, object]] = []
    for logged in (True, False):
        hits: dict[str, list[tuple[float, bool, float]]] = {"ATO": [], "ATE": []}
        naive: list[float] = []
        for seed in range(seeds):
            rng = np.random.default_rng(seed)
            drawn = rng.integers(e.size, size=e.size)
            strong = rng.random(e.size) < e[drawn]
            frame = log(questions, drawn, strong)
            if logged:
                chosen = np.where(strong, e[drawn], 1.0 - e[drawn])
                frame = frame.with_columns(propensity=pl.Series(chosen))
            means = dict(frame.group_by("action").agg(pl.col("quality").mean()).iter_rows())
            naive.append(means[STRONG] - means[WEAK] - truth["ATE"])
            est = sp.estimate(frame, baseline=WEAK, seed=seed)
            for estimand, found in hits.items():
                for c in est.where(quantity="quality", segment="all", estimand=estimand):
                    if c.value is None or c.lower is None or c.upper is None:
                        raise RuntimeError(f"seed {seed} was refused: {c.reason}")
                    t = truth[estimand]
                    found.append((c.value - t, c.lower <= t <= c.upper, c.upper - c.lower))
        for estimand, found in hits.items():
            rows.append(
                {
                    "data": data,
                    "propensities": "logged" if logged else "estimated",
                    "estimand": estimand,
                    "truth": truth[estimand],
                    "seeds": len(found),
                    "mean error": float(np.mean([f[0] for f in found])),
                    "covered": sum(f[1] for f in found),
                    "mean width": float(np.mean([f[2] for f in found])),
                    "naive error": float(np.mean(naive)),
                }
            )
    return rows


def hidden(folder: Path, data: str, seeds: int, ratio: float) -> dict[str, object]:
    """What an estimate finds when the router knows how hard each question is for the weak model.

    A question's rank is uniform within its group, and questions that the weak model gets wrong come first.
    The router's odds of the strong model are `ratio` times those of the group at low ranks and 1 / `ratio`
    times at high ones, in such shares that the group's own probability stays what it was: the marginal
    sensitivity model holds with equality. The log shows the group and the length.
    """
    questions = load(folder, data)
    e = propensity(questions)
    truth = truths(questions, e)["ATO"]
    wrong_share = questions.select((1.0 - pl.col("weak")).mean().over("group")).to_series().to_numpy()
    wrong = questions["weak"].to_numpy() == 0.0
    naive, held, errors, critical = 0, 0, list[float](), list[float]()
    for seed in range(seeds):
        rng = np.random.default_rng([seed, 1])
        drawn = rng.integers(e.size, size=e.size)
        p, u = wrong_share[drawn], rng.random(e.size)
        rank = np.where(wrong[drawn], u * p, p + u * (1 - p))
        chosen_by, _ = hidden_policy(np.column_stack([1 - e, e])[drawn], ratio, rank)
        strong = rng.random(e.size) < chosen_by[:, 1]
        contrast = contrast_of(log(questions, drawn, strong), seed)
        rows = np.ones(e.size, dtype=bool)
        for strength in (1.0, ratio):
            b = sensitivity_bounds(contrast, strength=strength, rows=rows)
            if b.lower is None or b.lower_ci is None or b.upper_ci is None:
                raise RuntimeError(f"seed {seed} was refused: {b.reason}")
            inside = b.lower_ci <= truth <= b.upper_ci
            if strength == 1.0:
                naive += inside
                errors.append(b.lower - truth)
            else:
                held += inside
        critical.append(critical_strength(contrast, rows=rows).value or CAP)
    return {
        "data": data,
        "ratio": ratio,
        "truth": truth,
        "seeds": seeds,
        "mean error": float(np.mean(errors)),
        "naive covered": naive,
        "bounds covered": held,
        "critical": float(np.median(critical)),
    }


def contrast_of(frame: pl.DataFrame, seed: int) -> HiddenContrast:
    """The quality of the strong model against the weak one, ready for its bounds."""
    (problem,) = problems(frame, Config())
    with threadpool_limits(limits=1):
        scores = score(problem, seed=seed)
        nothing = Valuation(task_value=np.zeros(problem.n), latency_price=0.0, risk_price=0.0)
        contrast = pair(scores, STRONG, WEAK, nothing)
        action, baseline = arm_models(scores, contrast, (0,), seed=seed)[0]
    return HiddenContrast(pair=contrast, column=0, action=action, baseline=baseline)


def main() -> None:
    """Print the two tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/routellm"))
    parser.add_argument("--seeds", type=int, default=200)
    arguments = parser.parse_args()
    if not arguments.data.is_dir():
        print(f"skipped: no folder {arguments.data}; give RouteLLM's evaluation answers with --data")
        return
    print("| data | propensities | estimand | truth | mean error | covered | mean width | naive error |")
    print("|---|---|---|---|---|---|---|---|")
    for data in DATA:
        for r in run(arguments.data, data, arguments.seeds):
            print(
                f"| {data} | {r['propensities']} | {r['estimand']} | {r['truth']:+.4f} "
                f"| {r['mean error']:+.4f} | {r['covered']}/{r['seeds']} | {r['mean width']:.4f} "
                f"| {r['naive error']:+.4f} |",
                flush=True,
            )
    print(
        "\n| data | hidden odds ratio | truth | mean error | naive covers | bounds cover | median Lambda* |"
    )
    print("|---|---|---|---|---|---|---|")
    for data in DATA:
        for ratio in RATIOS:
            h = hidden(arguments.data, data, arguments.seeds, ratio)
            print(
                f"| {data} | {ratio:g} | {h['truth']:+.4f} | {h['mean error']:+.4f} "
                f"| {h['naive covered']}/{h['seeds']} | {h['bounds covered']}/{h['seeds']} "
                f"| {h['critical']:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
