"""Known truth on real data: RouteLLM's MMLU answers, one arm hidden by a confounded router, 50 seeds.

Both models answered all 14,042 questions, so the true gain is known. Each seed logs one model per question
with propensity sigmoid(1.5 z) clipped to [.02, .98], z the standardised share of Mixtral's wrong answers
in the question's subject. Run: python benchmarks/bench_routellm.py --data DIR [--seeds 50]
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
import polars as pl
import shadowprice as sp

WEAK, STRONG = "mixtral-8x7b", "gpt-4"
SLOPE, FLOOR = 1.5, 0.02


def load(folder: Path) -> pl.DataFrame:
    """One row per question: subject, prompt length, and whether each model was right."""
    rows: list[tuple[str, int, float, float]] = []
    for file in sorted((folder / "mmlu").glob("mmlu_*.csv")):
        with file.open(newline="", encoding="utf-8") as handle:
            for row in csv.DictReader(handle):
                prompt, weak, strong = row.values()
                rows.append((file.stem.removeprefix("mmlu_"), len(prompt), weak == "True", strong == "True"))
    return pl.DataFrame(rows, schema=["subject", "length", "weak", "strong"], orient="row").cast(
        {"weak": pl.Float64, "strong": pl.Float64, "length": pl.Float64}
    )


def propensity(questions: pl.DataFrame) -> np.ndarray:
    """Probability that the router picks the strong model."""
    wrong = questions.select((1.0 - pl.col("weak")).mean().over("subject")).to_series().to_numpy()
    z = (wrong - wrong.mean()) / wrong.std()
    return np.clip(1.0 / (1.0 + np.exp(-SLOPE * z)), FLOOR, 1.0 - FLOOR)


def log(questions: pl.DataFrame, e: np.ndarray, seed: int, *, with_propensity: bool) -> pl.DataFrame:
    """The log that a production router would have left."""
    strong = np.random.default_rng(seed).random(e.size) < e
    quality = np.where(strong, questions["strong"].to_numpy(), questions["weak"].to_numpy())
    frame = pl.DataFrame(
        {
            "decision_id": [f"q{i}" for i in range(e.size)],
            "layer": "router",
            "decision_point": "model",
            "action": np.where(strong, STRONG, WEAK),
            "quality": quality,
            "x_subject": questions["subject"],
            "x_length": questions["length"],
        }
    )
    return (
        frame.with_columns(propensity=pl.Series(np.where(strong, e, 1.0 - e))) if with_propensity else frame
    )


def run(folder: Path, seeds: int) -> list[dict[str, object]]:
    """One row per (propensities logged or not) x estimand: mean error, coverage, mean width, naive error."""
    questions = load(folder)
    e = propensity(questions)
    gain = (questions["strong"] - questions["weak"]).to_numpy()
    truth = {"ATO": float((e * (1 - e) * gain).sum() / (e * (1 - e)).sum()), "ATE": float(gain.mean())}
    rows: list[dict[str, object]] = []
    for with_propensity in (True, False):
        hits: dict[str, list[tuple[float, bool, float]]] = {"ATO": [], "ATE": []}
        naive: list[float] = []
        for seed in range(seeds):
            frame = log(questions, e, seed, with_propensity=with_propensity)
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
                    "propensities": "logged" if with_propensity else "estimated",
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


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/routellm"))
    parser.add_argument("--seeds", type=int, default=50)
    arguments = parser.parse_args()
    if not arguments.data.is_dir():
        print(f"skipped: no folder {arguments.data}; give RouteLLM's evaluation answers with --data")
        return
    print("| propensities | estimand | truth | mean error | covered | mean width | naive error |")
    print("|---|---|---|---|---|---|---|")
    for r in run(arguments.data, arguments.seeds):
        print(
            f"| {r['propensities']} | {r['estimand']} | {r['truth']:+.4f} | {r['mean error']:+.4f} "
            f"| {r['covered']}/{r['seeds']} | {r['mean width']:.4f} | {r['naive error']:+.4f} |"
        )


if __name__ == "__main__":
    main()
