"""What the semantic router's sampler believed of each model: rebuilt from verdicts, tested on logged means.

Per decision, tier and model the router keeps a Beta posterior: a prior of weight 2 and one count per verdict
good_fit or underpowered. The log has its mean but not its weight, which says how much a draw can vary.
"""

from __future__ import annotations

import bisect
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, cast

from ..convert import as_count, as_real, section
from .semantic_router_fields import objects, text, time_of

MAX_VERDICTS: Final = 2_000_000
"""Verdicts of one file that are held; beyond them no propensity is rebuilt."""
_GOOD: Final = "good_fit"
_COUNTED: Final = (_GOOD, "underpowered")
_MEAN_SLACK: Final = 1e-4
"""Means are logged with four digits."""
_LEAST, _MOST = 0.25, 0.75
"""Where the mean lies before any verdict: seeds in [0, 1] of weight 2, and one count on either side."""
_PRIOR: Final = 4.0
"""alpha + beta before any verdict."""
_RACES: Final = 0.01
"""Share of means that may differ: a verdict can arrive between a decision and its record's time."""
_CONFIRMED: Final = 2
"""Different means that the verdicts must explain: earlier, unlogged verdicts fit one mean at most."""

Key = tuple[str, int, str]
"""Decision, tier and model."""


@dataclass(frozen=True, slots=True)
class Belief:
    """The Beta posterior of one candidate's quality."""

    alpha: float
    beta: float


class History:
    """The verdicts of a file by decision, tier and model; `complete` is False when there were too many."""

    def __init__(self) -> None:
        self._events: dict[Key, list[tuple[datetime, int, int]]] = defaultdict(list)
        self._sorted: dict[Key, tuple[list[datetime], list[int], list[int]]] = {}
        self._held = 0
        self.complete = True

    def note(self, record: dict[str, Any]) -> None:
        """Remember the verdicts on the model that `record` selected."""
        try:
            model = text(record, "selected_model")
            told = objects(record.get("outcomes"), "outcomes")
            decision, tier = _place(record)
            for outcome in told if model is not None else []:
                at = time_of(outcome, "timestamp")
                if outcome.get("target") != "model" or outcome.get("verdict") not in _COUNTED or at is None:
                    continue
                # the router counts a score above 1 as so many verdicts
                count = max(1, int(min(as_real(outcome.get("score")) or 1.0, 1e9)))
                good = count if outcome["verdict"] == _GOOD else 0
                for key in {(decision, tier, cast(str, model)), ("", tier, model), ("", 0, model)}:
                    self._events[cast(Key, key)].append((at, good, count))
                    self._held += 1
        except ValueError:
            return  # the record is rejected with its reason where the rows are made
        if self._held > MAX_VERDICTS:
            self._events.clear()
            self.complete = False

    @property
    def any(self) -> bool:
        """Whether there are verdicts, and all of them are held."""
        return self.complete and bool(self._events)

    def counts(self, key: Key, at: datetime) -> tuple[int, int]:
        """Good fits, and all verdicts, on `key` before `at`."""
        if key not in self._events:
            return 0, 0
        if key not in self._sorted:
            events = sorted(self._events[key])
            goods, totals = [0], [0]
            for _, good, count in events:
                goods.append(goods[-1] + good)
                totals.append(totals[-1] + count)
            self._sorted[key] = ([at for at, _, _ in events], goods, totals)
        times, goods, totals = self._sorted[key]
        place = bisect.bisect_left(times, at)
        return goods[place], totals[place]


class Beliefs:
    """Posteriors that the verdicts explain. First `test` every record, then ask for `of`."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._explained: dict[Key, set[float]] = defaultdict(set)
        self._tested: Counter[Key] = Counter()
        self._failed: Counter[Key] = Counter()

    @property
    def needed(self) -> bool:
        """Whether there is anything to test: without verdicts no posterior is known."""
        return self._history.any

    def test(self, record: dict[str, Any]) -> None:
        """Compare the logged means of `record` with those that the verdicts before it imply."""
        try:
            at, place, means = _snapshot(record)
        except ValueError:
            return
        if at is None:
            return
        for model, mean in means.items():
            key = (*place, model)
            counts = self._history.counts(key, at)
            if counts[1]:
                self._tested[key] += 1
                self._failed[key] += not _explains(counts, mean)
                if _explains(counts, mean) and len(self._explained[key]) < _CONFIRMED:
                    self._explained[key].add(mean)

    def of(self, record: dict[str, Any]) -> Mapping[str, Belief] | None:
        """The posterior of every candidate of `record`; None when one is not known for certain.

        Raises: ValueError when the record is malformed.
        """
        at, place, means = _snapshot(record)
        if at is None or not means or not self._history.any:
            return None
        found = {model: self._one((*place, model), mean, at) for model, mean in means.items()}
        known = {model: belief for model, belief in found.items() if belief is not None}
        return known if len(known) == len(found) else None

    def _one(self, key: Key, mean: float, at: datetime) -> Belief | None:
        known = len(self._explained.get(key, ())) >= _CONFIRMED
        if not known or self._failed[key] > _RACES * self._tested[key]:
            return None
        good, count = self._history.counts(key, at)
        if count:
            return Belief(2.0 + good, 2.0 + count - good) if _explains((good, count), mean) else None
        # without verdicts of its own a decision may borrow those of its tier, or of all: then there are two
        # explanations, unless the mean contradicts one
        borrowed = [self._history.counts((*rest, key[2]), at) for rest in (("", key[1]), ("", 0))]
        if any(counts[1] and _explains(counts, mean) for counts in borrowed):
            return None
        if not _LEAST - _MEAN_SLACK <= mean <= _MOST + _MEAN_SLACK:
            return None
        mean = min(max(mean, _LEAST), _MOST)
        return Belief(_PRIOR * mean, _PRIOR * (1 - mean))


def _explains(counts: tuple[int, int], mean: float) -> bool:
    """Whether a posterior after these verdicts, of which so many were good, has the logged mean."""
    good, count = counts
    return abs((2 + good) / (_PRIOR + count) - mean) <= _MEAN_SLACK


def _place(record: dict[str, Any]) -> tuple[str, int]:
    tier = as_count(record.get("decision_tier"), "decision_tier") or 0
    return text(record, "decision") or "", tier


def _snapshot(record: dict[str, Any]) -> tuple[datetime | None, tuple[str, int], dict[str, float]]:
    adaptation = section(section(record, "learning"), "adaptation")
    scores = section(adaptation, "scores")
    told = {
        model: as_real(section(scores, model).get("posterior_mean"), "posterior_mean") for model in scores
    }
    means = {model: mean for model, mean in told.items() if mean is not None}
    return time_of(record, "timestamp"), _place(record), means if len(means) == len(told) else {}
