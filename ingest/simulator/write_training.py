"""The training log: which rollouts entered an update, in a layout of its own, and the mapping for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import orjson

from .context import Context
from .stale import rollout_ids
from .training import TrainPath
from .world import World, stream

_ROLLOUT_EVERY: Final = 8
"""One request in so many became a rollout."""
_ROLLOUT_DELAY_S: Final = 86_400.0
_UPDATE_S: Final = 21_600.0
"""Time between two versions of the trained policy."""

_MAPPING_HEAD: Final = """\
# How shadowprice reads rollouts.jsonl: ours = theirs.
format = "jsonl"
files = "rollouts.jsonl*"
layer = "training"
decision_point = "keep"
"""
_SIGNAL: Final = """\
outcomes = [{name = "learning_signal", from = "learning_signal", source = "code", key = "decision_id"}]
"""
_COLUMNS: Final = """\

[columns]
decision_id = "rollout_id"
request_id = "request_id"
ts = {from = "decided_at", unit = "s", timezone = "UTC"}
action = "decision"
candidates = {from = "options", split = "|"}
reward = "reward"
version_behaviour = "behaviour_version"
version_trained = "trained_version"
version_lag = "lag"
kept = "kept"
update_id = "update"
"""
_MORE_COLUMNS: Final = """\
advantage = "advantage"
propensity = {from = "probability", source = "logged"}
x_difficulty = "difficulty"
x_run = "run"
"""


def rollout_mapping(world: World) -> str:
    """The mapping file for rollouts.jsonl; a trainer with a path of its own logs more of it."""
    if world.training is None:
        return _MAPPING_HEAD + _COLUMNS
    return _MAPPING_HEAD + _SIGNAL + _COLUMNS + _MORE_COLUMNS


def rollout_lines(ctx: Context) -> Iterator[bytes]:
    """The lines of rollouts.jsonl: which traces the trainer kept; the reward follows the user's label."""
    world = ctx.world
    if world.training is not None:
        yield from _path_lines(ctx, world.training)
        return
    rng = stream(world.seed, "training")
    request = np.arange(0, world.requests.n, _ROLLOUT_EVERY)
    lag = rng.poisson(1.5, request.size)
    reward = (0.2 + 0.6 * world.resolved[request] + 0.1 * rng.normal(size=request.size)).clip(0, 1).round(3)
    kept = rng.random(request.size) < 1 / (1 + np.exp(0.6 * lag - 2.0 * reward - 0.5))
    decided = (ctx.call_end[request] + _ROLLOUT_DELAY_S).round(0)
    versions = ((decided - decided.min()) // _UPDATE_S).astype(int) + 100
    for j, i in enumerate(request.tolist()):
        yield orjson.dumps(
            {
                "rollout_id": f"rollout-{j:06d}",
                "request_id": ctx.request_ids[i],
                "decided_at": int(decided[j]),
                "decision": "keep" if kept[j] else "drop",
                "options": "keep|drop",
                "reward": float(reward[j]),
                "behaviour_version": f"v{versions[j] - lag[j]}",
                "trained_version": f"v{versions[j]}",
                "lag": int(lag[j]),
                "kept": bool(kept[j]),
                "update": f"update-{versions[j]}",
            }
        )


def _path_lines(ctx: Context, path: TrainPath) -> Iterator[bytes]:
    """The rollouts of a path, update by update, each of a request of that time."""
    ids = np.array(rollout_ids(path))
    order = np.argsort(path.rollouts["update"].to_numpy(), kind="stable")
    every = ctx.world.requests.n / order.size
    rows = path.rollouts[order].rows(named=True)
    for j, (name, row) in enumerate(zip(ids[order].tolist(), rows, strict=True)):
        i = int(j * every)
        signal = row["learning_signal"]
        yield orjson.dumps(
            {
                "rollout_id": name,
                "request_id": ctx.request_ids[i],
                "decided_at": int(ctx.call_end[i] + _ROLLOUT_DELAY_S),
                "decision": "keep" if row["kept"] else "drop",
                "options": "keep|drop",
                "probability": round(row["keep_prob"] if row["kept"] else 1 - row["keep_prob"], 6),
                "reward": row["reward"],
                "advantage": round(row["advantage"], 6),
                "difficulty": round(row["difficulty"], 4),
                "behaviour_version": f"v{100 + row['version_behaviour']}",
                "trained_version": f"v{100 + row['version_trained']}",
                "lag": row["version_lag"],
                "kept": row["kept"],
                "learning_signal": None if signal is None else round(signal, 4),
                "update": f"run-{row['run']}-update-{row['update']}",
                "run": f"run-{row['run']}",
            }
        )
