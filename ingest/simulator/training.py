"""An asynchronous trainer with known truth: rollouts that go stale, and budgets that buy capability."""

from __future__ import annotations

import numpy as np
import polars as pl

from .training_records import BUDGETS, TrainPath, TrainSettings, TrainTruth
from .world import Array, Flags, Ints, stream

__all__ = ["BUDGETS", "TrainPath", "TrainSettings", "TrainTruth", "stale_usd", "stops_at_lag", "train_path"]


def train_path(settings: TrainSettings, *, seed: int) -> TrainPath:
    """What a trainer of `settings` logs in all its runs, and what is true of it.

    Hard prompts take longer, so they are staler, and they teach more: lag is confounded by difficulty, and
    the queue's jitter is the part of it that nothing else moves.
    """
    updates, capability = _capability(settings, stream(seed, "training budgets"))
    rollouts, signal = _rollouts(settings, capability, stream(seed, "training rollouts"))
    lag, chance = rollouts["version_lag"].to_numpy(), rollouts["keep_prob"].to_numpy()
    return TrainPath(
        rollouts=rollouts,
        mean_signal=pl.Series("mean_signal", signal),
        updates=updates,
        truth=TrainTruth(
            signal=settings.signal,
            decay=settings.decay,
            exponents=settings.exponents,
            forget=settings.forget,
            stops_at_lag=stops_at_lag(settings),
            stale_usd=stale_usd(settings, lag=lag, mean_signal=signal, kept=chance),
        ),
    )


def stops_at_lag(settings: TrainSettings) -> float:
    """The lag l* beyond which a rollout of average difficulty costs more than it teaches, in versions.

    signal_usd * signal * (1 - decay)^l* = keep_usd; below 0 when even a fresh rollout does not pay, infinite
    when signals do not decay and pay.
    """
    worth = float(np.log(settings.signal_usd * settings.signal / settings.keep_usd))
    if settings.decay == 0:
        return np.inf if worth >= 0 else -np.inf
    return worth / -float(np.log1p(-settings.decay))


def stale_usd(settings: TrainSettings, *, lag: Ints, mean_signal: Array, kept: Array | Flags) -> float:
    """USD that dropping every rollout staler than `stops_at_lag` would have saved.

    Sum over lag > l* of kept * (keep_usd - signal_usd * mean_signal). kept: (n,) whether each was kept, or
    with which probability for the mean over the trainer's choices.
    """
    stale = lag > stops_at_lag(settings)
    lost = settings.keep_usd - settings.signal_usd * mean_signal[stale]
    return float((kept[stale] * lost).sum())


def _capability(settings: TrainSettings, rng: np.random.Generator) -> tuple[pl.DataFrame, Array]:
    """The frame of updates, and (runs, updates + 1) the capability before each and after the last."""
    shape = (settings.runs, settings.updates)
    luck = settings.luck * rng.normal(size=shape)
    moved = settings.budget_spread * rng.normal(size=(*shape, len(BUDGETS)))
    budgets = np.array(settings.budgets) * np.exp(moved + settings.reaction * luck[..., None])
    gain = settings.scale * (budgets ** np.array(settings.exponents)).prod(axis=-1)
    gain *= np.exp(luck - settings.luck**2 / 2)
    level = np.zeros((settings.runs, settings.updates + 1))
    for t in range(settings.updates):
        level[:, t + 1] = level[:, t] + gain[:, t] - settings.forget * level[:, t]
    run, update = np.indices(shape)
    frame = pl.DataFrame(
        {
            "run": run.ravel(),
            "update": update.ravel(),
            "capability": level[:, :-1].ravel(),
            **{name: budgets[..., j].ravel() for j, name in enumerate(BUDGETS)},
            "gain": gain.ravel(),
            "capability_after": level[:, 1:].ravel(),
        }
    )
    return frame, level


def _rollouts(settings: TrainSettings, level: Array, rng: np.random.Generator) -> tuple[pl.DataFrame, Array]:
    """The frame of rollouts, and what each teaches on average."""
    n = settings.runs * settings.updates * settings.rollouts
    run, update = (at.ravel() for at in np.indices((settings.runs, settings.updates, settings.rollouts))[:2])
    difficulty = rng.normal(size=n)
    jitter = settings.jitter_updates * rng.exponential(size=n)
    work = settings.work_updates * np.exp(settings.hard_work * difficulty)
    # a start at a random moment between two versions makes the expected lag exactly work + jitter
    lag = np.floor(work + jitter + rng.random(n)).astype(np.int64)
    hard = np.exp(settings.hard_signal * difficulty - settings.hard_signal**2 / 2)
    signal = np.asarray(settings.signal * (1 - settings.decay) ** lag * hard, dtype=np.float64)
    chance = np.where(lag <= settings.keep_lag, 1 - settings.explore, settings.explore)
    kept = rng.random(n) < chance
    # versions before the first update are the starting policy
    behaved = level[run, np.maximum(update - lag, 0)]
    reward = (rng.random(n) < 1 / (1 + np.exp(difficulty - behaved))).astype(float)
    measured = signal + settings.signal_noise * rng.normal(size=n)
    frame = pl.DataFrame(
        {
            "run": run,
            "update": update,
            "version_behaviour": update - lag,
            "version_trained": update,
            "version_lag": lag,
            "difficulty": difficulty,
            "jitter_updates": jitter,
            "reward": reward,
            "advantage": reward - _mean_by_update(reward, settings),
            "keep_prob": chance,
            "kept": kept,
            "learning_signal": pl.Series(measured).set(pl.Series(~kept), None),
        }
    )
    return frame, signal


def _mean_by_update(reward: Array, settings: TrainSettings) -> Array:
    return np.repeat(reward.reshape(-1, settings.rollouts).mean(axis=1), settings.rollouts)
