"""The outcomes: GenAI evaluation records of people who looked at the finished requests."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from .context import Context
from .otlp import Entry, nanos, pairs, record_lines
from .world import stream

_DELAY_S: Final = 7_200.0
"""Mean time until a person has labelled a request."""
_LEAST_DELAY_S: Final = 60.0


def outcome_lines(ctx: Context, *, label_share: float) -> Iterator[bytes]:
    """The lines of outcomes.jsonl; a share of the requests is never labelled.

    `resolved` leaves losses from incidents out, so that no harm counts twice.
    """
    resource = {"service.name": "review-desk"}
    return record_lines(_records(ctx, label_share), resource=resource, scope="review-desk")


def _records(ctx: Context, label_share: float) -> Iterator[list[Entry]]:
    world, n = ctx.world, ctx.world.requests.n
    rng = stream(world.seed, "labels")
    labelled = (rng.random(n) < label_share).tolist()
    at = (ctx.call_end + _LEAST_DELAY_S + rng.exponential(_DELAY_S, n)).tolist()
    for i, trace in enumerate(ctx.request_ids):
        if not labelled[i]:
            continue
        found = {"resolved": float(world.resolved[i]), "incident": float(world.incident[i])}
        if world.incident[i]:
            found["loss_usd"] = float(world.loss_usd[i])
        yield [_record(trace, at[i], name, value) for name, value in found.items()]


def _record(trace: str, at: float, name: str, value: float) -> Entry:
    told = {
        "gen_ai.evaluation.name": name,
        "gen_ai.evaluation.score.value": value,
        "annotator_kind": "HUMAN",
    }
    return {
        "timeUnixNano": nanos(at),
        "eventName": "gen_ai.evaluation.result",
        "traceId": trace,
        "attributes": pairs(told),
    }
