"""Common random numbers of the serving engine, keyed so that removing a request moves no one else's luck."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from .engine_records import Array, Arrivals, EngineSettings, Ints
from .world import stream

_TABLE: Final = 1 << 17
"""Noises in the table; a power of 2, so that an index wraps by a mask."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draws:
    """The luck of n requests in canonical order.

    The noise of a step belongs to its oldest running request and the number of steps since that request was
    first scheduled, never to the clock: whenever two paths are in the same state they go on alike.
    rounds: (n,) decode rounds until the last token. written: tokens that request i wrote after r rounds,
    beyond the first, at written[start[i] + r]; None where each round writes one token.
    """

    noise: Array
    slot: list[int]
    rounds: list[int]
    written: Ints | None
    start: Ints
    drafted: Ints
    accepted: Ints

    def noises(self, request: int, first: int, count: int) -> Array:
        """The noises of `count` steps that `request` leads, from its step number `first`."""
        return self.noise[(self.slot[request] + first + np.arange(count)) & (_TABLE - 1)]

    def noise_of(self, request: int, step: int) -> float:
        """The noise of one step that `request` leads."""
        return float(self.noise[(self.slot[request] + step) & (_TABLE - 1)])

    def extra(self, request: int, rounds: int) -> int:
        """Tokens that `request` wrote in its first `rounds` rounds, beyond the first token."""
        return rounds if self.written is None else int(self.written[self.start[request] + rounds])


def draw(arrivals: Arrivals, settings: EngineSettings, *, seed: int) -> Draws:
    """The luck of `arrivals`, which are in canonical order."""
    rng = stream(seed, "engine noise")
    noise = np.exp(settings.noise * rng.normal(size=_TABLE) - settings.noise**2 / 2)
    slot = rng.integers(0, _TABLE, arrivals.n).tolist()
    todo = arrivals.output_tok - 1
    if settings.draft == 0:
        none = np.zeros(arrivals.n, dtype=np.int64)
        return Draws(
            noise=noise,
            slot=slot,
            rounds=todo.tolist(),
            written=None,
            start=none,
            drafted=none,
            accepted=none,
        )
    return _speculate(arrivals, settings, noise, slot, stream(seed, "engine speculation"))


def _speculate(
    arrivals: Arrivals, settings: EngineSettings, noise: Array, slot: list[int], rng: np.random.Generator
) -> Draws:
    """Rounds of all requests at once: each drafts, keeps the tokens before the first miss, and adds one."""
    n, todo = arrivals.n, arrivals.output_tok - 1
    written, drafted, accepted = (np.zeros(n, dtype=np.int64) for _ in range(3))
    paths: list[tuple[Ints, Ints]] = []
    active = np.flatnonzero(todo > 0)
    while active.size:
        left = todo[active] - written[active]
        context = arrivals.prompt_tok[active] + written[active]
        chance = settings.accept * np.exp(-context / settings.accept_context_tok)
        tries = np.minimum(settings.draft, left - 1)
        # floor(log u / log p) counts the successes before the first failure
        hits = np.minimum(np.log(1 - rng.random(n)[active]) / np.log(chance), tries).astype(np.int64)
        drafted[active] += tries
        accepted[active] += hits
        written[active] += hits + 1
        paths.append((active, written[active]))
        active = active[written[active] < todo[active]]
    rounds = np.zeros(n, dtype=np.int64)
    for who, _ in paths:
        rounds[who] += 1
    start = np.concatenate(([0], np.cumsum(rounds + 1)[:-1])).astype(np.int64)
    flat = np.zeros(int((rounds + 1).sum()), dtype=np.int64)
    for number, (who, total) in enumerate(paths, start=1):
        flat[start[who] + number] = total
    return Draws(
        noise=noise,
        slot=slot,
        rounds=rounds.tolist(),
        written=flat,
        start=start,
        drafted=drafted,
        accepted=accepted,
    )
