"""Open Bandit logs: which targets the logs support, and the published value of BTS from random logs.

Run: python benchmarks/bench_open_bandit.py --data DIR
"""

from __future__ import annotations

import argparse
from pathlib import Path

import polars as pl
import shadowprice as sp

CAMPAIGNS = ("men", "women", "all")


def load(folder: Path, policy: str, campaign: str) -> pl.DataFrame:
    """The log in the decisions layout: item shown, click, propensity; position and user as context."""
    raw = pl.read_csv(folder / policy / campaign / f"{campaign}.csv", infer_schema_length=None)
    return raw.select(
        decision_id=pl.format("{}-{}-{}", pl.lit(policy), pl.lit(campaign), pl.int_range(pl.len())),
        layer=pl.lit("router"),
        decision_point=pl.lit("item"),
        action=pl.col("item_id").cast(pl.String),
        propensity=pl.col("propensity_score").cast(pl.Float64),
        quality=pl.col("click").cast(pl.Float64),
        x_position=pl.col("position").cast(pl.String),
        **{f"x_user_{i}": pl.col(f"user_feature_{i}").cast(pl.String) for i in range(4)},
    )


def bts_target(folder: Path, campaign: str, log: pl.DataFrame) -> pl.DataFrame:
    """Probability that BTS shows each logged item at the logged position."""
    probabilities = pl.read_csv(folder / "bts" / campaign / "action_probabilities.csv").select(
        action=pl.col("item_id").cast(pl.String),
        x_position=pl.col("position").cast(pl.String),
        probability=pl.col("probability"),
    )
    return log.select("decision_id", "x_position").join(probabilities, on="x_position").drop("x_position")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/open_bandit"))
    folder = parser.parse_args().data
    if not folder.is_dir():
        print(f"skipped: no folder {folder}; give the Open Bandit logs with --data")
        return
    print("| log -> target | campaign | estimator | value | interval | ess | reason |")
    print("|---|---|---|---|---|---|---|")
    for campaign in CAMPAIGNS:
        bts = load(folder, "bts", campaign)
        show("bts -> uniform", campaign, sp.policy_value(bts, "uniform"))
        random = load(folder, "random", campaign)
        show("random -> bts", campaign, sp.policy_value(random, bts_target(folder, campaign, random)))


def show(name: str, campaign: str, values: pl.DataFrame) -> None:
    """One line per estimator."""
    for row in values.iter_rows(named=True):
        value = "-" if row["value"] is None else f"{row['value']:.6f}"
        ends = "-" if row["lower"] is None else f"[{row['lower']:.6f}, {row['upper']:.6f}]"
        cells = [name, campaign, row["estimator"], value, ends, f"{row['ess']:.0f}", row["reason"] or ""]
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
