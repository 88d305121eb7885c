"""A trainer that keeps stale rollouts: its path beside the requests of a world, and what that costs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

import numpy as np
import polars as pl

from .knobs import Knobs
from .training import TrainPath, TrainSettings, train_path

_RUNS: Final = 2
_UPDATES: Final = 28
"""One update of a run in twelve hours."""
_ROLLOUT_EVERY: Final = 4
"""One request in so many becomes a rollout."""


def draw_training(seed: int, knobs: Knobs) -> TrainPath:
    """A path whose trainer keeps rollouts long after they have stopped to pay."""
    return train_path(settings(knobs), seed=seed)


def settings(knobs: Knobs) -> TrainSettings:
    """What the trainer of a world is like."""
    per_update = max(2, knobs.requests // (_ROLLOUT_EVERY * _RUNS * _UPDATES))
    return TrainSettings(runs=_RUNS, updates=_UPDATES, rollouts=per_update)


def rollout_ids(path: TrainPath) -> list[str]:
    """The ids of the rollouts, in the order of the path."""
    return [f"rollout-{j:06d}" for j in range(path.rollouts.height)]


def training_truth(path: TrainPath, knobs: Knobs) -> dict[str, pl.DataFrame]:
    """rollouts: per rollout what it teaches and is worth; updates: budgets and capability; training: one row
    with the parameters of the path and the lag beyond which a rollout costs more than it teaches."""
    given = settings(knobs)
    mean = path.mean_signal.to_numpy()
    rollouts = path.rollouts.select("run", "update", "version_lag", "kept", keep_chance="keep_prob")
    rollouts = rollouts.with_columns(
        decision_id=pl.Series(rollout_ids(path)),
        mean_signal=path.mean_signal,
        net_usd=pl.Series(given.signal_usd * mean - given.keep_usd),
    )
    facts = {name: list(v) if isinstance(v, tuple) else v for name, v in asdict(path.truth).items()}
    facts |= {"signal_usd": given.signal_usd, "keep_usd": given.keep_usd}
    return {"rollouts": rollouts, "updates": path.updates, "training": pl.DataFrame([facts])}


def stale_failure(path: TrainPath) -> dict[str, Any]:
    """The injected failure: rollouts kept beyond the lag at which they stop to pay."""
    last = int(np.floor(path.truth.stops_at_lag))
    chance = path.rollouts.filter(pl.col("version_lag") > last)["keep_prob"].sum()
    return {
        "mode": "stale_rollouts",
        "layer": "training",
        "decision_point": "keep",
        "segment": f"version_lag>{last}",
        "action": "keep",
        "baseline": "drop",
        "direction": "over",
        "usd": path.truth.stale_usd,
        "net_usd_per_decision": -path.truth.stale_usd / float(chance) if chance else None,
    }
