"""How a regime's policy chose, and what of it the log shows: propensities, labels, judge, log sampling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

if TYPE_CHECKING:
    from .regime import Regime

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

EPOCH_US: Final = 1_793_577_600_000_000
"""2026-11-02 00:00 UTC, as in every simulated world."""
_MINUTE_US: Final = 60_000_000
_FLOOR: Final = 0.002
"""No arm of a randomised policy has a smaller probability."""
_STEEP: Final = 0.9
"""Log-odds by which one unit of difficulty favours the next dearer arm at temperature 1."""
_BATCHES: Final = 10
_EXPLORE: Final = 0.2
"""Share that an adaptive policy explores in its second batch; it falls with the square root of the batch."""
_JUDGE_NOISE: Final = 0.12
_COST_USD: Final = 0.01
_LATENCY_S: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Decisions:
    """n decisions with everything that a world knows of them; the fields are those of `KnownWorld`, and
    x: (n, 3) context; cluster: (n,) codes; hurt: (n,) incidents."""

    x: Array
    e: Array
    mean: Array
    potential: Array
    risk: Array
    taken: Ints
    cluster: Ints
    hurt: Mask
    loss: Array


def policy(regime: Regime, x: Array) -> Array:
    """(n, K) probability of each arm given the context."""
    k = regime.actions
    if regime.identification == "D":
        ruled = score(x) > regime.cut
        out = np.zeros((len(x), k))
        out[~ruled, 0], out[ruled, -1] = 1.0, 1.0
        return out
    rank = np.arange(k) - (k - 1) / 2
    logits = _STEEP * (x[:, :1] + 0.5 * x[:, 2:]) * rank / regime.overlap
    soft = np.exp(logits - logits.max(axis=1, keepdims=True))
    soft /= soft.sum(axis=1, keepdims=True)
    return _FLOOR + (1 - k * _FLOOR) * soft


def score(x: Array) -> Array:
    """(n,) the number on which a deterministic rule decides, in (0, 1) around 0.5 ... centred at 0."""
    return np.tanh(0.5 * (x[:, 0] + 0.5 * x[:, 2]))


def hidden_share(e: Array, ratio: float) -> Array:
    """P(u = 1 | x) at which the choice given x keeps probability `e`, the odds given u being e's times or
    divided by `ratio`: the marginal sensitivity model holds with equality (Tan 2006)."""
    high, low = _odds_scaled(e, ratio), _odds_scaled(e, 1 / ratio)
    return (e - low) / (high - low)


def hidden_policy(e: Array, ratio: float, u: Array) -> tuple[Array, Mask]:
    """(n, 2) probabilities given the hidden cause, and whether it is present."""
    present = u < hidden_share(e[:, -1], ratio)
    last = np.where(present, _odds_scaled(e[:, -1], ratio), _odds_scaled(e[:, -1], 1 / ratio))
    return np.column_stack([1 - last, last]), present


def _odds_scaled(e: Array, ratio: float) -> Array:
    return ratio * e / (ratio * e + 1 - e)


def choose(e: Array, u: Array) -> Ints:
    """One arm per row, drawn with the given probabilities from uniform `u`."""
    return (u[:, None] >= e.cumsum(axis=1)[:, :-1]).sum(axis=1)


def adaptive(potential: Array, u: Array) -> tuple[Array, Ints]:
    """Probabilities and choices of an epsilon-greedy policy that learns from its log batch by batch."""
    n, k = potential.shape
    e, taken = np.full((n, k), 1.0 / k), np.zeros(n, dtype=np.int64)
    total, count = np.zeros(k), np.zeros(k)
    for batch, rows in enumerate(np.array_split(np.arange(n), _BATCHES)):
        if batch:
            explore = _EXPLORE / np.sqrt(batch)
            e[rows] = explore / k
            e[rows, int(np.argmax(total / np.maximum(count, 1)))] += 1 - explore
        taken[rows] = choose(e[rows], u[rows])
        total += np.bincount(taken[rows], weights=potential[rows, taken[rows]], minlength=k)
        count += np.bincount(taken[rows], minlength=k)
    return e, taken


def frame(regime: Regime, rng: np.random.Generator, made: Decisions) -> tuple[pl.DataFrame, Mask]:
    """The decisions that the log kept, and which of all decisions they are."""
    x, e, taken, cluster = made.x, made.e, made.taken, made.cluster
    hurt, loss = made.hurt, made.loss
    quality = made.potential[np.arange(len(taken)), taken]
    n, k = e.shape
    names = np.array([f"a{i}" for i in range(k)])
    # Every draw is made whatever the knobs say: one knob then moves one thing.
    keep_draw, label_draw, corrupt_draw, cost_draw, latency_draw = rng.random((5, n))
    judge_noise = rng.normal(size=n)
    keep_prob = np.where(quality > 0.5, regime.keep_share, 1.0)
    kept = keep_draw < keep_prob
    columns: dict[str, object] = {
        "decision_id": [f"d{i:08d}" for i in range(n)],
        "layer": "router",
        "decision_point": "model",
        "ts": pl.Series(EPOCH_US + _MINUTE_US * np.arange(n)).cast(pl.Datetime("us", "UTC")),
        "session_id": np.char.add("s", cluster.astype(str)),
        "action": names[taken],
        "quality": quality,
        "cost_usd": _COST_USD * (1 + taken) * (0.5 + cost_draw),
        "latency_s": _LATENCY_S * (1 + taken) * (0.5 + latency_draw) + 0.1 * np.abs(x[:, 0]),
        "incident": hurt,
        "loss_usd": loss,
        "x_difficulty": x[:, 0],
        "x_length": x[:, 1],
        "x_budget": x[:, 2],
    }
    if regime.identification in ("R", "U"):
        logged = _corrupted(regime, e, corrupt_draw)
        columns |= {
            "candidates": [names.tolist()] * n,
            "propensity": logged[np.arange(n), taken],
            "propensities": logged.tolist(),
            "propensity_source": "logged" if regime.identification == "R" else "reconstructed",
        }
    if regime.identification == "D":
        columns["x_score"] = score(x)
    if regime.keep_share < 1:
        columns["keep_prob"] = keep_prob
    if regime.adaptive:
        columns["policy_version"] = np.char.add("batch-", (np.arange(n) * _BATCHES // n).astype(str))
    out = pl.DataFrame(columns)
    if regime.judge_bias is not None:
        raw = 0.1 + 0.8 * quality + regime.judge_bias * (taken == k - 1) + _JUDGE_NOISE * judge_noise
        out = out.with_columns(judge_score=pl.Series(np.clip(raw, 0, 1)))
    if regime.label_share < 1:
        odds = regime.label_share * np.ones(n)
        if (
            regime.label_by_judge and regime.judge_bias is not None
        ):  # doubtful answers are labelled more often
            doubt = 1.5 - out["judge_score"].to_numpy()
            odds = np.clip(regime.label_share * doubt / doubt.mean(), 0.02, 1.0)
        labelled = label_draw < odds
        out = out.with_columns(
            quality=pl.when(pl.Series(labelled)).then("quality"),
            quality_observed=pl.Series(labelled),
            label_prob=pl.Series(odds),
        )
    return out.filter(pl.Series(kept)), kept


def _corrupted(regime: Regime, e: Array, u: Array) -> Array:
    """The logged probabilities: for a share of rows they are those of the opposite policy."""
    return np.where((u < regime.corrupt)[:, None], e[:, ::-1], e)
