"""The event loop of one replica: steps of chunked prefill and decoding, or many quiet steps at once."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from .engine_draws import Draws
from .engine_records import Array, Arrivals, EngineSettings

_STRETCH: Final = 512
"""Quiet steps computed at once, at most; bounds memory, not results."""
_WATERMARK: Final = 0.01
"""Share of the KV cache kept free at admission, so that a request is not preempted at once."""


@dataclass(slots=True)
class State:
    """Where a replica stands between two steps. running: oldest first. left: prompt tokens still to process.
    began: step count minus rounds done, of those that decode. paused: rounds done before a preemption.
    born: step count at which a running or preempted request was first scheduled."""

    now: float
    coming: int = 0
    steps: int = 0
    kv: int = 0
    waiting: deque[int] = field(default_factory=lambda: deque[int]())
    running: list[int] = field(default_factory=lambda: list[int]())
    left: dict[int, int] = field(default_factory=lambda: dict[int, int]())
    began: dict[int, int] = field(default_factory=lambda: dict[int, int]())
    paused: dict[int, int] = field(default_factory=lambda: dict[int, int]())
    born: dict[int, int] = field(default_factory=lambda: dict[int, int]())

    def copy(self) -> State:
        """The same state, to go on from independently."""
        return State(
            now=self.now,
            coming=self.coming,
            steps=self.steps,
            kv=self.kv,
            waiting=self.waiting.copy(),
            running=self.running.copy(),
            left=self.left.copy(),
            began=self.began.copy(),
            paused=self.paused.copy(),
            born=self.born.copy(),
        )


@dataclass(slots=True)
class Marks:
    """What a path leaves behind, by request. fresh: requests that found the replica idle. steps: rows of
    (start_s, step_s, prefill_tok, decode_seqs, kv_tok, running, finished before), each field an array."""

    admitted: dict[int, float] = field(default_factory=lambda: dict[int, float]())
    first: dict[int, float] = field(default_factory=lambda: dict[int, float]())
    last: dict[int, float] = field(default_factory=lambda: dict[int, float]())
    preempted: dict[int, int] = field(default_factory=lambda: dict[int, int]())
    fresh: set[int] = field(default_factory=lambda: set[int]())
    steps: list[tuple[Array, Array, int, int, Array, int, int]] = field(
        default_factory=lambda: list[tuple[Array, Array, int, int, Array, int, int]]()
    )


class Loop:
    """One replica at work on `mine`, positions in `arrivals` in order of arrival."""

    def __init__(self, arrivals: Arrivals, settings: EngineSettings, draws: Draws, mine: list[int]) -> None:
        self.settings, self.draws = settings, draws
        self.mine = mine
        self.time: list[float] = arrivals.time_s.tolist()
        self.prompt: list[int] = arrivals.prompt_tok.tolist()
        self.cached: list[int] = arrivals.cached.tolist()

    def base(self, sampled: set[int]) -> tuple[Marks, dict[int, State]]:
        """The path of all requests, and the state just before each of `sampled` joins the queue."""
        state, marks, before = State(now=-np.inf), Marks(), dict[int, State]()
        while self._more(state):
            due = self._due(state, None)
            for i in due:
                if i in sampled:
                    before[i] = state.copy()
            if self._rests(state, due):
                marks.fresh.add(due[0])
            self._join(state, due)
            self._advance(state, marks)
        return marks, before

    def without(self, removed: int, state: State, fresh: set[int]) -> Marks:
        """The path from `state` without request `removed`, until it meets the path with it.

        That is when the replica is idle and the next request (of `fresh`) found it idle with `removed` too.
        """
        marks = Marks()
        while self._more(state):
            due = self._due(state, removed)
            if self._rests(state, due) and (not due or (due[0] > removed and due[0] in fresh)):
                break
            self._join(state, due)
            self._advance(state, marks)
        return marks

    def _more(self, state: State) -> bool:
        return bool(state.running or state.waiting) or state.coming < len(self.mine)

    def _due(self, state: State, removed: int | None) -> list[int]:
        """Requests that arrived by now; when idle, the next one and those that arrive with it."""
        found: list[int] = []
        at, horizon = state.coming, state.now
        idle = not (state.running or state.waiting)
        while at < len(self.mine):
            i = self.mine[at]
            if i != removed:
                if idle and not found:
                    horizon = max(horizon, self.time[i])
                if self.time[i] > horizon:
                    break
                found.append(i)
            at += 1
        return found

    def _rests(self, state: State, due: list[int]) -> bool:
        """Whether nothing of the past is left when `due` arrive: no work, and no wait for the last step."""
        return not (state.running or state.waiting or (due and self.time[due[0]] < state.now))

    def _join(self, state: State, due: list[int]) -> None:
        if not due:
            return
        if not (state.running or state.waiting):
            state.now = max(state.now, self.time[due[0]])
        while state.coming < len(self.mine) and self.mine[state.coming] <= due[-1]:
            state.coming += 1
        state.waiting.extend(due)

    def _advance(self, state: State, marks: Marks) -> None:
        if state.left or self._fits(state) or not self._quiet_steps(state, marks):
            self._mixed_step(state, marks)

    def _context(self, state: State, i: int) -> int:
        return self.prompt[i] + self.draws.extra(i, state.paused.get(i, 0))

    def _fits(self, state: State) -> bool:
        """Whether the head of the queue can start: prompts that started are sure of their room."""
        if not state.waiting or len(state.running) >= self.settings.max_seqs:
            return False
        if not state.running:
            return True
        needed = state.kv + sum(state.left.values()) + self._context(state, state.waiting[0])
        return needed <= self.settings.kv_cap * (1 - _WATERMARK)

    def _growth(self, state: State, count: int) -> Array:
        """(count,) KV tokens that decoding adds in the next steps, cumulated."""
        ahead = np.arange(1, count + 1)
        if self.draws.written is None:
            return len(state.began) * ahead.astype(float)
        who = np.fromiter(state.began, dtype=np.int64, count=len(state.began))
        done = state.steps - np.fromiter(state.began.values(), dtype=np.int64, count=who.size)
        at = self.draws.start[who] + done
        return (
            (self.draws.written[at[:, None] + ahead] - self.draws.written[at][:, None]).sum(0).astype(float)
        )

    def _quiet_steps(self, state: State, marks: Marks) -> bool:
        """Decode until a sequence ends, the cache is full or a request arrives that could start.

        False, with nothing done, when the cache has no room for a single step.
        """
        s, b = self.settings, len(state.began)
        count = min(self.draws.rounds[i] - state.steps + began for i, began in state.began.items())
        kv = state.kv + self._growth(state, min(count, _STRETCH))
        kv = kv[: int(np.searchsorted(kv, s.kv_cap, side="right"))]
        if kv.size == 0:
            return False
        leader = state.running[0]
        fixed = s.base_s + (s.decode_s + s.draft_s * s.draft) * b
        took = (fixed + s.kv_s * kv) * self.draws.noises(leader, state.steps - state.born[leader], kv.size)
        ends = state.now + np.cumsum(took)
        if not state.waiting and b < s.max_seqs and state.coming < len(self.mine):
            count = int(np.searchsorted(ends, self.time[self.mine[state.coming]])) + 1
            took, ends, kv = took[:count], ends[:count], kv[:count]
        starts = np.concatenate(([state.now], ends[:-1]))
        marks.steps.append((starts, took, 0, b, kv, b, len(marks.last)))
        state.now, state.kv = float(ends[-1]), int(kv[-1])
        state.steps += kv.size
        self._finish(state, marks)
        return True

    def _mixed_step(self, state: State, marks: Marks) -> None:
        """One step: make room for decoding, then prompts in order of arrival as far as the budget goes."""
        s = self.settings
        self._make_room(state, marks)
        decoding = len(state.began)
        budget = s.token_budget - decoding * (s.draft + 1)
        prefill, attention = 0, 0.0
        for i in list(state.left):
            chunk = min(state.left[i], budget - prefill, s.kv_cap - state.kv)
            attention += self._work(state, i, chunk)
            prefill += chunk
        while prefill < budget and self._fits(state):
            i = self._admit(state, marks)
            chunk = min(state.left[i], budget - prefill)
            attention += self._work(state, i, chunk)
            prefill += chunk
        took = s.base_s + s.prefill_s * prefill + s.attention_s * attention + s.kv_s * state.kv
        took += (s.decode_s + s.draft_s * s.draft) * decoding
        leader = state.running[0]
        took *= self.draws.noise_of(leader, state.steps - state.born[leader])
        row = (np.array([state.now]), np.array([took]), prefill, decoding, np.array([float(state.kv)]))
        marks.steps.append((*row, len(state.running), len(marks.last)))
        state.now += took
        state.steps += 1
        self._start_decoding(state, marks)
        self._finish(state, marks)

    def _make_room(self, state: State, marks: Marks) -> None:
        """Hold the tokens that decoding adds, after preempting the youngest until they fit."""
        while True:
            grow = int(self._growth(state, 1)[0]) if state.began else 0
            if state.kv + grow <= self.settings.kv_cap:
                state.kv += grow
                return
            i = state.running.pop()
            rounds = state.steps - state.began.pop(i) if i in state.began else state.paused.get(i, 0)
            held = self.prompt[i] + self.draws.extra(i, rounds) - state.left.pop(i, 0)
            state.paused[i] = rounds
            state.kv -= held
            state.waiting.appendleft(i)
            marks.preempted[i] = marks.preempted.get(i, 0) + 1

    def _admit(self, state: State, marks: Marks) -> int:
        i = state.waiting.popleft()
        state.running.append(i)
        state.left[i] = self._context(state, i) - self.cached[i]
        state.kv += self.cached[i]
        if i not in state.born:
            state.born[i] = state.steps
            marks.admitted[i] = state.now
        return i

    def _work(self, state: State, i: int, chunk: int) -> float:
        """Process `chunk` prompt tokens of request i; the pairs of tokens that attention looked at."""
        before = self._context(state, i) - state.left[i]
        state.left[i] -= chunk
        state.kv += chunk
        return chunk * (before + chunk / 2)

    def _start_decoding(self, state: State, marks: Marks) -> None:
        for i in [i for i, left in state.left.items() if left == 0]:
            del state.left[i]
            state.began[i] = state.steps - state.paused.pop(i, 0)
            marks.first.setdefault(i, state.now)

    def _finish(self, state: State, marks: Marks) -> None:
        rounds = self.draws.rounds
        for i in [i for i, began in state.began.items() if state.steps - began >= rounds[i]]:
            state.kv -= self.prompt[i] + self.draws.extra(i, rounds[i])
            del state.began[i], state.born[i]
            state.running.remove(i)
            marks.last[i] = state.now
