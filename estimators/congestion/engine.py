"""A plain engine that serves requests by a step-time law: in order, in chunks, preempting when full.

It is deterministic: the same arrivals give the same times, so two paths differ by what was changed alone.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """Seconds of a step: base_s + prefill_s * prompt tokens + decode_s * decoding sequences + kv_s * tokens
    in the KV cache + attention_s * (sum over the prompt tokens of the tokens before them)."""

    base_s: float
    prefill_s: float
    decode_s: float
    kv_s: float
    attention_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What bounds a step; None for no bound. token_budget: prompt tokens and decoding sequences of one step.
    max_seqs: sequences that run at once. kv_cap: tokens that the KV cache holds. kv_admit: tokens up to which
    a further request is let in, where the engine keeps a reserve; None for all of kv_cap."""

    token_budget: int | None = None
    max_seqs: int | None = None
    kv_cap: int | None = None
    kv_admit: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Queue:
    """What one replica has to serve, in order of arrival, as plain lists for speed.

    time: seconds. prompt, cached: tokens. rounds: decode steps after the first token. growth: tokens that
    each of them adds to the KV cache, 1 without speculation.
    """

    time: list[float]
    prompt: list[int]
    cached: list[int]
    rounds: list[int]
    growth: list[float]

    @classmethod
    def of(
        cls, time_s: Array, prompt: Ints, cached: Ints, output: Ints, accepted: Ints | None = None
    ) -> Queue:
        """From arrays (n,), sorted by time. accepted: tokens that speculation wrote without a step."""
        rounds = output - 1 if accepted is None else output - 1 - accepted
        growth = np.divide(output - 1.0, rounds, out=np.ones(output.size), where=rounds > 0)
        return cls(
            time=time_s.tolist(),
            prompt=prompt.tolist(),
            cached=cached.tolist(),
            rounds=rounds.tolist(),
            growth=growth.tolist(),
        )


@dataclass(slots=True)
class State:
    """A replica between two steps. order: running requests, oldest first. left: prompt tokens to process.
    due: step after which a decoding request is done; ends: the same as a heap, with entries that a
    preemption outdated. ahead: decode steps left at a preemption. promised: prompt tokens still to come.
    growth: tokens that a step of all decoding requests adds."""

    now: float = -math.inf
    coming: int = 0
    step: int = 0
    kv: float = 0.0
    growth: float = 0.0
    promised: float = 0.0
    waiting: deque[int] = field(default_factory=lambda: deque[int]())
    order: list[int] = field(default_factory=lambda: list[int]())
    left: dict[int, float] = field(default_factory=lambda: dict[int, float]())
    due: dict[int, int] = field(default_factory=lambda: dict[int, int]())
    ends: list[tuple[int, int]] = field(default_factory=lambda: list[tuple[int, int]]())
    ahead: dict[int, int] = field(default_factory=lambda: dict[int, int]())

    def copy(self) -> State:
        """The same state, to go on from independently."""
        return State(
            self.now, self.coming, self.step, self.kv, self.growth, self.promised, self.waiting.copy(),
            self.order.copy(), self.left.copy(), self.due.copy(), self.ends.copy(), self.ahead.copy(),
        )  # fmt: skip


@dataclass(slots=True)
class Path:
    """Seconds at which requests were first scheduled, wrote their first token and were done; fresh: those who
    found the replica idle; before: the state just before a sampled request joined."""

    admitted: dict[int, float] = field(default_factory=lambda: dict[int, float]())
    first: dict[int, float] = field(default_factory=lambda: dict[int, float]())
    last: dict[int, float] = field(default_factory=lambda: dict[int, float]())
    fresh: set[int] = field(default_factory=lambda: set[int]())
    before: dict[int, State] = field(default_factory=lambda: dict[int, State]())


class Engine:
    """One replica at work on `queue` by `rate` within `limits`."""

    def __init__(self, queue: Queue, rate: Rate, limits: Limits) -> None:
        self.queue, self.rate, self.limits = queue, rate, limits
        self.n = len(queue.time)
        self.budget = limits.token_budget or 1 << 60
        self.seats = limits.max_seqs or 1 << 60
        self.room = limits.kv_cap or 1 << 60
        self.admit = limits.kv_admit or self.room

    def serve(self, sampled: Collection[int] = ()) -> Path:
        """The path of all requests, with the states before each of `sampled`."""
        state, path = State(), Path()
        while self._arrive(state, path, sampled, fresh=None):
            self._advance(state, path)
        return path

    def without(self, i: int, base: Path, *, behind: int) -> Path:
        """The path from the arrival of `i` on as if it had not come, until it meets `base`.

        They meet where a request finds the replica idle on both. At most `behind` later requests join.
        """
        state, path = base.before[i].copy(), Path()
        state.coming = i + 1
        while state.coming <= i + behind and self._arrive(state, path, (), fresh=base.fresh):
            self._advance(state, path)
        return path

    def _arrive(self, state: State, path: Path, sampled: Collection[int], fresh: set[int] | None) -> bool:
        """Let in who has come by now, after waiting for the next one when idle; False when the path ends."""
        time = self.queue.time
        if not (state.order or state.waiting):
            if state.coming == self.n:
                return False
            if time[state.coming] > state.now:
                if fresh is not None and state.coming in fresh:
                    return False
                path.fresh.add(state.coming)
                state.now = time[state.coming]
        while state.coming < self.n and time[state.coming] <= state.now:
            if state.coming in sampled:
                path.before[state.coming] = state.copy()
            state.waiting.append(state.coming)
            state.coming += 1
        return True

    def _advance(self, state: State, path: Path) -> None:
        if state.left or (state.waiting and self._fits(state)):
            self._mixed_step(state, path)
        else:
            self._decode(state, path)

    def _context(self, state: State, i: int) -> float:
        """Tokens of request i that its prefill has to hold: the prompt, and what a preemption threw away."""
        written = self.queue.rounds[i] - state.ahead[i] if i in state.ahead else 0
        return self.queue.prompt[i] + written * self.queue.growth[i]

    def _fits(self, state: State) -> bool:
        if not state.order:
            return True
        needed = state.kv + state.promised + self._context(state, state.waiting[0])
        return len(state.order) < self.seats and needed <= self.admit

    def _decode(self, state: State, path: Path) -> None:
        """Decode steps in one go, until one is done, the cache is full, or a newcomer could start.

        k steps take k (base + decode b) + kv (k held + g k (k + 1) / 2) seconds; b sequences grow by g.
        """
        rate, b = self.rate, len(state.due)
        while state.due.get(state.ends[0][1]) != state.ends[0][0]:
            heapq.heappop(state.ends)
        steps = state.ends[0][0] - state.step
        if len(state.order) > 1:
            steps = min(steps, int((self.room - state.kv) // state.growth))
        if steps < 1:
            self._mixed_step(state, path)
            return
        square = rate.kv_s * state.growth / 2
        linear = rate.base_s + rate.decode_s * b + rate.kv_s * state.kv + square
        if not state.waiting and len(state.order) < self.seats and state.coming < self.n:
            gap = self.queue.time[state.coming] - state.now
            root = (math.sqrt(linear * linear + 4 * square * gap) + linear) / 2
            steps = min(steps, max(1, math.ceil(gap / root - 1e-9)))
        state.now += steps * (linear + square * steps)
        state.kv += steps * state.growth
        state.step += steps
        self._finish(state, path)

    def _mixed_step(self, state: State, path: Path) -> None:
        """One step that decodes all, then prompts in order of arrival as far as the budget goes."""
        rate = self.rate
        self._make_room(state)
        decoding = len(state.due)
        state.kv += state.growth
        budget, used, pairs = self.budget - decoding, 0.0, 0.0
        for i in list(state.left):
            used, pairs = self._work(state, i, budget, used, pairs)
        while state.waiting and used < budget and self._fits(state):
            i = state.waiting.popleft()
            state.order.append(i)
            state.left[i] = self._context(state, i) - self.queue.cached[i]
            state.promised += state.left[i]
            state.kv += self.queue.cached[i]
            path.admitted.setdefault(i, state.now)
            used, pairs = self._work(state, i, budget, used, pairs)
        seconds = rate.base_s + rate.prefill_s * used + rate.attention_s * pairs + rate.decode_s * decoding
        state.now += seconds + rate.kv_s * state.kv
        state.step += 1
        for i in [i for i, left in state.left.items() if left == 0]:
            del state.left[i]
            path.first.setdefault(i, state.now)
            state.due[i] = state.step + state.ahead.pop(i, self.queue.rounds[i])
            state.growth += self.queue.growth[i]
            heapq.heappush(state.ends, (state.due[i], i))
        self._finish(state, path)

    def _work(self, state: State, i: int, budget: int, used: float, pairs: float) -> tuple[float, float]:
        """Process what fits of the prompt of i; tokens used so far, and pairs that attention looked at."""
        chunk = min(state.left[i], budget - used)
        if len(state.order) > 1:
            chunk = min(chunk, self.room - state.kv)
        chunk = max(0.0, chunk)
        before = self._context(state, i) - state.left[i]
        state.left[i] -= chunk
        state.promised -= chunk
        state.kv += chunk
        return used + chunk, pairs + chunk * (before + chunk / 2)

    def _make_room(self, state: State) -> None:
        """Send the youngest back to the queue until one more token of each decoding request fits."""
        while len(state.order) > 1 and state.kv + state.growth > self.room:
            i = state.order.pop()
            if i in state.due:
                state.ahead[i] = state.due.pop(i) - state.step
                state.kv -= self._context(state, i)
                state.growth -= self.queue.growth[i]
            else:
                left = state.left.pop(i)
                state.kv -= self._context(state, i) - left
                state.promised -= left
            state.waiting.appendleft(i)

    def _finish(self, state: State, path: Path) -> None:
        while state.ends and state.ends[0][0] <= state.step:
            end, i = heapq.heappop(state.ends)
            if state.due.get(i) == end:
                del state.due[i]
                state.order.remove(i)
                state.kv -= self.queue.prompt[i] + self.queue.rounds[i] * self.queue.growth[i]
                state.growth -= self.queue.growth[i]
                path.last[i] = state.now
        if not state.order:  # what rounding left
            state.kv = state.growth = state.promised = 0.0
