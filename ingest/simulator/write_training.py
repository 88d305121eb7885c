"""The training log: which rollouts entered an update, in a layout of its own, and the mapping for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
import orjson

from .context import Context
from .world import stream

_ROLLOUT_EVERY: Final = 8
"""One request in so many became a rollout."""
_ROLLOUT_DELAY_S: Final = 86_400.0
_UPDATE_S: Final = 21_600.0
"""Time between two versions of the trained policy."""

ROLLOUT_MAPPING: Final = """\
# How shadowprice reads rollouts.jsonl: ours = theirs.
format = "jsonl"
files = "rollouts.jsonl*"
layer = "training"
decision_point = "keep"

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


def rollout_lines(ctx: Context) -> Iterator[bytes]:
    """The lines of rollouts.jsonl: which traces the trainer kept; the reward follows the user's label."""
    world = ctx.world
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
