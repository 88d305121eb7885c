"""The outcomes: GenAI evaluation records of people, and on demand a judge, who saw the finished requests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from .context import Context
from .otlp import Entry, nanos, pairs, record_lines
from .world import stream

_DELAY_S: Final = 7_200.0
"""Mean time until a person has labelled a request."""
_LEAST_DELAY_S: Final = 60.0
_JUDGE_DELAY_S: Final = 30.0
_JUDGE_NOISE: Final = 0.12
_JUDGE_LOW, _JUDGE_SPAN = 0.25, 0.5
"""What the judge says on average of a failure, and how much more of a success."""


def outcome_lines(ctx: Context) -> Iterator[bytes]:
    """The lines of outcomes.jsonl; a share of the requests is never labelled.

    `resolved` leaves losses from incidents out, so that no harm counts twice.
    """
    resource = {"service.name": "review-desk"}
    return record_lines(_records(ctx), resource=resource, scope="review-desk")


def _records(ctx: Context) -> Iterator[list[Entry]]:
    world, n = ctx.world, ctx.world.requests.n
    rng = stream(world.seed, "labels")
    labelled = (rng.random(n) < world.knobs.label_share).tolist()
    at = (ctx.call_end + _LEAST_DELAY_S + rng.exponential(_DELAY_S, n)).tolist()
    scores = None if world.knobs.judge_bias is None else _judge_scores(ctx, world.knobs.judge_bias)
    for i, trace in enumerate(ctx.request_ids):
        if not ctx.kept[i]:
            continue
        judged = []
        if scores is not None:
            seen_at = float(ctx.call_end[i]) + _JUDGE_DELAY_S
            judged = [_record(trace, seen_at, "judge_score", scores[i], by="LLM")]
        if not labelled[i]:
            yield judged
            continue
        found = {"resolved": float(world.resolved[i]), "incident": float(world.incident[i])}
        if world.incident[i]:
            found["loss_usd"] = float(world.loss_usd[i])
        yield judged + [_record(trace, at[i], name, value, by="HUMAN") for name, value in found.items()]


def _judge_scores(ctx: Context, bias: float) -> list[float]:
    """What a cheap judge says of every request: it sees the success through noise, and favours a model."""
    world = ctx.world
    noise = _JUDGE_NOISE * stream(world.seed, "judge").normal(size=world.requests.n)
    favoured = world.router.taken == len(world.models) - 1
    raw = _JUDGE_LOW + _JUDGE_SPAN * world.resolved + bias * favoured + noise
    return np.clip(raw, 0.0, 1.0).round(4).tolist()


def _record(trace: str, at: float, name: str, value: float, *, by: str) -> Entry:
    told = {
        "gen_ai.evaluation.name": name,
        "gen_ai.evaluation.score.value": value,
        "annotator_kind": by,
    }
    return {
        "timeUnixNano": nanos(at),
        "eventName": "gen_ai.evaluation.result",
        "traceId": trace,
        "attributes": pairs(told),
    }
