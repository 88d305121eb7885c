"""Records of the simulated trainer: what a training path is like, what it logs, and what is true of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from ...errors import ConfigError

BUDGETS: Final = ("rollout_usd", "verifier_usd", "update_usd")
"""R, V and U: what an update spends on rollouts, on verifying them and on computing the gradient."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSettings:
    """How `runs` of `updates` each, with `rollouts` per update, learn.

    A rollout of lag l and difficulty x ~ N(0, 1) teaches, on average,
        m = signal * (1 - decay)^l * exp(hard_signal * x - hard_signal^2 / 2),
    and its measurement has sd signal_noise. It starts work_updates * exp(hard_work * x) updates before its
    end and then queues for an exponential time of mean jitter_updates; its lag counts the updates between.
    The trainer keeps it with probability 1 - explore up to lag keep_lag, and explore beyond.

    Capability: A' = A + g - forget * A, g = scale * R^a_R * V^a_V * U^a_U * luck, with `exponents` (a_R, a_V,
    a_U), luck lognormal of mean 1 and log-sd `luck`. Budgets in USD are lognormal around `budgets` with
    log-sd budget_spread; reaction: log budget added per unit of log luck, 0 when budgets are randomised.

    signal_usd: what a unit of learning signal is worth. keep_usd: what it costs to train on one rollout.
    """

    runs: int = 16
    updates: int = 40
    rollouts: int = 32
    signal: float = 1.0
    decay: float = 0.12
    hard_signal: float = 0.2
    signal_noise: float = 0.3
    work_updates: float = 1.5
    hard_work: float = 0.5
    jitter_updates: float = 3.0
    keep_lag: int = 16
    explore: float = 0.1
    forget: float = 0.05
    scale: float = 0.004
    exponents: tuple[float, float, float] = (0.3, 0.2, 0.25)
    budgets: tuple[float, float, float] = (100.0, 30.0, 60.0)
    budget_spread: float = 0.5
    reaction: float = 0.0
    luck: float = 0.2
    signal_usd: float = 2.0
    keep_usd: float = 0.9

    def __post_init__(self) -> None:
        free = ("hard_signal", "hard_work", "reaction")
        positive = ("signal", "work_updates", "scale", "signal_usd", "keep_usd")
        for name in (*positive, *free, "signal_noise", "jitter_updates", "budget_spread", "luck"):
            value = getattr(self, name)
            fine = np.isfinite(value) and (name in free or value > 0 or (value == 0 and name not in positive))
            _check(fine, f"{name} {value}", "a finite number, not negative" if name not in free else "finite")
        for name in ("runs", "updates", "rollouts"):
            _check(getattr(self, name) >= 1, f"{name} {getattr(self, name)}", "at least 1")
        for name in ("decay", "forget"):
            _check(0 <= getattr(self, name) < 1, f"{name} {getattr(self, name)}", "a share below 1")
        _check(0 < self.explore < 0.5, f"explore {self.explore}", "a probability between 0 and 0.5")
        _check(self.keep_lag >= 0, f"keep_lag {self.keep_lag}", "0 or more versions")
        _check(min(self.budgets) > 0, f"budgets {self.budgets}", "positive USD")
        _check(min(self.exponents) >= 0, f"exponents {self.exponents}", "not negative")


def _check(fine: bool, found: str, expected: str) -> None:
    if not fine:
        raise ConfigError(found, where="simulated training", expected=expected)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainTruth:
    """What is true of a path and in no log. stops_at_lag: the lag beyond which a rollout of average
    difficulty is not worth its cost; below 0 when even a fresh one is not, infinite when none decays.
    stale_usd: USD lost on average by keeping those beyond it, under the trainer's own probabilities."""

    signal: float
    decay: float
    exponents: tuple[float, float, float]
    forget: float
    stops_at_lag: float
    stale_usd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainPath:
    """A training path: what was logged, and the truth.

    rollouts: run, update, version_behaviour, version_trained, version_lag, difficulty, jitter_updates,
    reward, advantage, keep_prob (of the trainer), kept, learning_signal (null when dropped).
    mean_signal: one row per rollout, what it teaches on average; not logged.
    updates: run, update, capability, the BUDGETS, gain, capability_after.
    """

    rollouts: pl.DataFrame
    mean_signal: pl.Series
    updates: pl.DataFrame
    truth: TrainTruth
