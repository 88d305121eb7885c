"""The training pipeline's log (JSONL) and the outcomes (CSV), each with the mapping file that reads it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

import numpy as np
import orjson

from .context import Context
from .world import stream

_ROLLOUT_EVERY: Final = 8
"""One request in so many became a rollout."""
_ROLLOUT_DELAY_S: Final = 86_400.0
_OUTCOME_DELAY_S: Final = 7_200.0
"""Mean time until a person has labelled a request."""
_UPDATE_S: Final = 21_600.0
"""Time between two versions of the trained policy."""

ROLLOUT_MAPPING: Final = """\
format = "jsonl"
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

OUTCOME_MAPPING: Final = """\
format = "csv"

[[outcomes]]
name = "resolved"
from = "resolved"
source = "human"
ts = {from = "labelled_at", timezone = "UTC"}
key = "request_id"

[[outcomes]]
name = "incident"
from = "incident"
source = "human"
key = "request_id"

[[outcomes]]
name = "loss_usd"
from = "loss_usd"
source = "human"
key = "request_id"
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


def outcome_csv(ctx: Context, *, label_share: float) -> bytes:
    """The whole of outcomes.csv: one labelled request a line; a share of the requests is never labelled."""
    world, n = ctx.world, ctx.world.requests.n
    rng = stream(world.seed, "labels")
    labelled = rng.random(n) < label_share
    at = ctx.call_end + 60.0 + rng.exponential(_OUTCOME_DELAY_S, n)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["request_id", "resolved", "labelled_at", "incident", "loss_usd"])
    for i in np.flatnonzero(labelled).tolist():
        when = datetime.fromtimestamp(int(at[i]), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        row = [
            ctx.request_ids[i],
            int(world.resolved[i]),
            when,
            int(world.incident[i]),
            f"{world.loss_usd[i]:.2f}",
        ]
        writer.writerow(row)
    return text.getvalue().encode()
