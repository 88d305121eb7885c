"""An agent that works step by step: after each edit it may verify, and at the end it acts or defers.

A bug is the only thing that the log does not show. It is one bit, so that what verifying once and then
following the logged policy leads to is exact: by backward recursion over (bug, latest test).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from . import settings as s
from .draw_points import choose, rounded, verify_is_even, verify_policy
from .knobs import Knobs
from .world import LAST_TESTS, Array, Episodes, Flags, Ints, Point, Requests, stream

VERIFY_USD, VERIFY_S = 0.02, 2.0
REWORK_USD, REWORK_S = 0.03, 3.0
"""What an alarm costs, true or false."""
SENSITIVITY: Final = 0.8
SPECIFICITY: Final = 0.9
FIXED: Final = 0.9
"""Probability that the rework after a true alarm removes the bug."""
BUG: Final = 0.25
"""Probability that an edit of an average task brings a bug in; harder tasks have more."""
BUG_BY_DIFFICULTY: Final = 0.35
BUG_QUALITY: Final = -0.20
BUG_INCIDENT: Final = 0.10
"""What a bug adds to the probabilities when the agent acts on it, which cannot be undone."""
DEFER_QUALITY: Final = -0.10
DEFER_SHARE: Final = 0.3
"""After an alarm the agent leaves the act to a person with this probability; the bug then does no harm."""
CLEAN_QUALITY: Final = 0.12
"""Quality that classes with bugs have more without one than in worlds of a single verification."""
_LAST_TEST_LOGITS: Final = np.array([0.0, -0.5, 0.5])
"""By how much the latest test moves the log-odds of the next verification: none, pass, alarm."""
MORE_BY_DIFFICULTY: Final = 1.0
"""Log-odds by which difficulty favours verification more than where there is a single one."""
_NONE, _PASS, _ALARM = range(len(LAST_TESTS))
_QUALITY, _INCIDENT, _USD, _SECONDS = range(4)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rules:
    """Per request: (n,) probability that an edit brings a bug in; (n,) whether bugs and tests exist at all;
    (n, 3) probability of verifying by latest test; (n,) quality that a verification adds in itself."""

    bug: Array
    live: Flags
    verify: Array
    bonus: Array
    incident: float

    def alarm(self, bug: int) -> Array:
        """(n,) probability of an alarm when the agent verifies."""
        return np.where(self.live, SENSITIVITY if bug else 1 - SPECIFICITY, 0.0)


def edits(steps: int) -> int:
    """How many of an agent's `steps` are edits; the others are reading, planning and the act."""
    return steps - 1 - (steps >= 3) - (steps >= 4)


def draw_episodes(seed: int, met: Requests, knobs: Knobs) -> tuple[Requests, Point, Episodes]:
    """The requests with their quality in these episodes, the verify decisions, and what they led to.

    Decisions stand in the order of requests and rounds; point.cost_usd and latency_s are those of the
    verification itself, point.quality and incident those at the end of the episode.
    """
    rules = _rules(met, knobs)
    met = replace(met, quality=met.quality + CLEAN_QUALITY * rules.live)
    walk = _walk(seed, rules, edits(knobs.steps))
    ahead, start = _ahead(rules, walk)
    verified = np.cumsum(walk.taken, axis=1)
    before = np.column_stack([np.zeros(met.n), verified[:, :-1]]) * rules.bonus[:, None]
    point = _point(rules, walk, ahead, before)
    act_on_bug = walk.bug_end & ~walk.deferred & rules.live
    gained = BUG_QUALITY * act_on_bug + DEFER_QUALITY * walk.deferred + rules.bonus * verified[:, -1]
    own = _own(point.request.size)
    return (
        met,
        point,
        Episodes(
            round=np.tile(np.arange(walk.taken.shape[1]), met.n),
            last_test=walk.last.ravel(),
            bug=walk.bug.ravel(),
            alarm=walk.alarm.ravel(),
            later_usd=_flat(ahead[_USD]) - own[0],
            later_s=_flat(ahead[_SECONDS]) - own[1],
            deferred=walk.deferred,
            quality=gained,
            incident=np.where(act_on_bug, rules.incident, 0.0),
            mean_quality=start[_QUALITY],
            mean_incident=start[_INCIDENT],
        ),
    )


def _rules(met: Requests, knobs: Knobs) -> _Rules:
    live = ~np.array([verify_is_even(c, knobs) for c in s.CLASSES])[met.task]
    more = MORE_BY_DIFFICULTY * met.x_difficulty[:, None] + _LAST_TEST_LOGITS
    logits = verify_policy(met, knobs.overlap)[:, None] + more / knobs.overlap
    load = VERIFY_USD + s.LATENCY_USD_PER_S * VERIFY_S
    return _Rules(
        bug=np.clip(BUG + BUG_BY_DIFFICULTY * met.x_difficulty, 0.05, 0.6),
        live=live,
        verify=(1 / (1 + np.exp(-logits))).round(6),
        bonus=np.where(live, 0.0, load / met.value_usd),
        incident=knobs.incident_scale * BUG_INCIDENT,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Walk:
    """What happened: (n, R) state before each decision, the choice and the alarm; (n,) the end."""

    bug: Flags
    last: Ints
    taken: Ints
    alarm: Flags
    bug_end: Flags
    deferred: Flags


def _walk(seed: int, rules: _Rules, rounds: int) -> _Walk:
    rng, chooser = stream(seed, "agent steps"), stream(seed, "verify")
    n = rules.bug.size
    bug, last = np.zeros(n, dtype=bool), np.full(n, _NONE)
    seen: list[tuple[Flags, Ints, Ints, Flags]] = []
    for _ in range(rounds):
        slip, hit, mend = rng.random((3, n))
        bug = bug | (slip < rules.bug)
        share = rules.verify[np.arange(n), last]
        taken = choose(rounded(np.column_stack([1 - share, share])), chooser)
        alarm = (taken == 1) & (hit < np.where(bug, rules.alarm(1), rules.alarm(0)))
        seen.append((bug, last, taken, alarm))
        bug = bug & ~(alarm & (mend < FIXED))
        last = np.where(alarm, _ALARM, np.where(taken == 1, _PASS, last))
    return _Walk(
        bug=np.column_stack([part[0] for part in seen]),
        last=np.column_stack([part[1] for part in seen]),
        taken=np.column_stack([part[2] for part in seen]),
        alarm=np.column_stack([part[3] for part in seen]),
        bug_end=bug,
        deferred=(last == _ALARM) & (rng.random(n) < DEFER_SHARE),
    )


def _ahead(rules: _Rules, walk: _Walk) -> tuple[Array, Array]:
    """What each action leads to from each decision on, and what an episode leads to from its start.

    (4, n, R, 2) and (4, n) in the order quality, incident, USD, seconds. value[:, i, bug, last] is the mean
    from after the latest verification on; Q_a = own load + E[value of the next state], V = sum_a pi_a Q_a.
    """
    n, rounds = walk.taken.shape
    value, ahead, rows = _ending(rules), np.empty((4, n, rounds, 2)), np.arange(n)
    for r in reversed(range(rounds)):
        skip, verify = value, _verified(rules, value)
        ahead[:, :, r, 0] = skip[:, rows, walk.bug[:, r].astype(int), walk.last[:, r]]
        ahead[:, :, r, 1] = verify[:, rows, walk.bug[:, r].astype(int), walk.last[:, r]]
        share = rules.verify[:, None, :]
        mixed = (1 - share) * skip + share * verify
        slip = rules.bug[:, None]
        value = np.stack([(1 - slip) * mixed[:, :, 0] + slip * mixed[:, :, 1], mixed[:, :, 1]], axis=2)
    return ahead, value[:, :, 0, _NONE]


def _ending(rules: _Rules) -> Array:
    """(4, n, 2, 3) the mean of acting or deferring, by bug and latest test."""
    value = np.zeros((4, rules.bug.size, 2, len(LAST_TESTS)))
    deferred = np.where(np.arange(len(LAST_TESTS)) == _ALARM, DEFER_SHARE, 0.0)
    live = rules.live[:, None]
    value[_QUALITY] += (deferred * DEFER_QUALITY)[None, None, :]
    value[_QUALITY, :, 1] += live * (1 - deferred) * BUG_QUALITY
    value[_INCIDENT, :, 1] += live * (1 - deferred) * rules.incident
    return value


def _verified(rules: _Rules, value: Array) -> Array:
    """(4, n, 2, 3) what verifying leads to; the latest test before it no longer matters."""
    out = np.empty_like(value)
    own = np.zeros((4, rules.bug.size))
    own[_QUALITY], own[_USD], own[_SECONDS] = rules.bonus, VERIFY_USD, VERIFY_S
    for bug in (0, 1):
        alarm = rules.alarm(bug)
        fixed = FIXED * value[:, :, 0, _ALARM] + (1 - FIXED) * value[:, :, 1, _ALARM]
        after = fixed if bug else value[:, :, 0, _ALARM].copy()
        after = after + np.array([0.0, 0.0, REWORK_USD, REWORK_S])[:, None]
        out[:, :, bug, :] = (own + alarm * after + (1 - alarm) * value[:, :, bug, _PASS])[:, :, None]
    return out


def _point(rules: _Rules, walk: _Walk, ahead: Array, before: Array) -> Point:
    n, rounds = walk.taken.shape
    share = rules.verify[np.arange(n)[:, None], walk.last]
    own = _own(n * rounds)
    return Point(
        layer="agent",
        decision_point="verify",
        actions=("skip", "verify"),
        request=np.repeat(np.arange(n), rounds),
        propensity=rounded(np.column_stack([1 - share.ravel(), share.ravel()])),
        taken=walk.taken.ravel(),
        quality=_flat(ahead[_QUALITY]) + before.reshape(-1, 1),
        incident=_flat(ahead[_INCIDENT]),
        cost_usd=own[0],
        latency_s=own[1],
    )


def _own(m: int) -> tuple[Array, Array]:
    """(m, 2) USD and seconds of skipping and of verifying, without what follows."""
    return np.tile([0.0, VERIFY_USD], (m, 1)), np.tile([0.0, VERIFY_S], (m, 1))


def _flat(per_round: Array) -> Array:
    """(n, R, 2) as (n R, 2)."""
    return per_round.reshape(-1, 2)
