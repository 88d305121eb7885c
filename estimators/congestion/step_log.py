"""What a step log says beyond its columns: the engine's limits, and which prompt tokens a step processed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl

from ...errors import SchemaError
from .engine import Limits
from .requests import CLOCK_SLACK_S, Array, Ints, Requests, check_clock, check_values

_COUNTS: Final = ("prefill_tok", "decode_seqs", "kv_tok", "running", "waiting")
_IDLE_S: Final = 1e-3
"""A pause between two steps that means that the engine had nothing to do; shorter ones are its own work."""
_MATCHED: Final = 0.5
"""Share of the prompt tokens in busy periods whose tokens add up, from which attention can be fitted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepLog:
    """The steps of one replica in order of time; start_s and end_s on the clock of the requests."""

    replica: str
    steps: pl.DataFrame
    start_s: Array
    end_s: Array


def read_steps(steps: pl.DataFrame | None, start_us: int) -> dict[str, StepLog] | str:
    """Replica -> its step log, or in words why there is none.

    Refused: no steps, none with a time, or steps of one replica that overlap, which one clock cannot show.

    Raises: SchemaError for a missing replica column and for negative or infinite durations and counts.
    """
    if steps is None or steps.is_empty():
        return "no engine steps are logged"
    if "replica" not in steps.columns:
        raise SchemaError(
            "column 'replica' is missing", where="engine_steps", expected="the engine_steps layout"
        )
    if "ts" in steps.columns:
        check_clock(steps, where="engine_steps")
    for name in ("step_s", *_COUNTS):
        if name in steps.columns:
            check_values(steps, name, where="engine_steps")
    timed = {"ts", "step_s"} <= set(steps.columns)
    known = (
        steps.filter(pl.col("ts").is_not_null() & pl.col("step_s").is_not_null()) if timed else steps.clear()
    )
    if known.is_empty():
        return "no engine step has both its end (ts) and its duration (step_s)"
    found: dict[str, StepLog] = {}
    for (name,), part in sorted(known.group_by("replica"), key=lambda pair: str(pair[0][0])):
        log = _log(str(name), part.sort("ts"), start_us)
        if isinstance(log, str):
            return log
        found[str(name)] = log
    return found


def _log(name: str, part: pl.DataFrame, start_us: int) -> StepLog | str:
    end = (part["ts"].dt.epoch("us").to_numpy() - start_us) / 1e6
    start = end - part["step_s"].cast(pl.Float64).to_numpy()
    overlap = end[:-1] - start[1:]
    if overlap.size and overlap.max() > CLOCK_SLACK_S:
        wrong = int((overlap > CLOCK_SLACK_S).sum())
        return (
            f"clocks out of order: {wrong} of {end.size} steps of replica {name} begin before the one before "
            f"them ends, by up to {overlap.max():.3g} s; log ts at the end of a step, by one clock"
        )
    return StepLog(replica=name, steps=part, start_s=start, end_s=end)


def between(log: StepLog, first_s: float, last_s: float) -> StepLog:
    """The steps that ended between two times on the clock of the requests."""
    inside = (log.end_s >= first_s) & (log.end_s <= last_s)
    return StepLog(
        replica=log.replica,
        steps=log.steps.filter(inside),
        start_s=log.start_s[inside],
        end_s=log.end_s[inside],
    )


def _whole(log: StepLog, names: tuple[str, ...]) -> bool:
    return all(name in log.steps.columns and not log.steps[name].null_count() for name in names)


def find_limits(log: StepLog) -> Limits:
    """What bounded the engine, read off the steps at which requests waited although the step was not full.

    The budget is the largest sum of prompt tokens and decoding sequences of a step. Where requests waited
    below it, either the seats were taken (the largest number running) or the KV cache was full: then the cap
    is the largest number of tokens held, and the admission cap the largest one in a step with a prompt. A
    limit that nothing ran into stays None: the replay needs none.
    """
    if not _whole(log, _COUNTS[:2]):
        return Limits()
    prefill, decode = (log.steps[name].to_numpy().astype(np.int64) for name in _COUNTS[:2])
    budget = int((prefill + decode).max())
    if not _whole(log, _COUNTS[2:]):
        return Limits(token_budget=budget)
    kv, running, waiting = (log.steps[name].to_numpy().astype(np.int64) for name in _COUNTS[2:])
    seats = int(running.max())
    blocked = (waiting > 0) & (prefill + decode < budget)
    seated = blocked & (running == seats)
    full = blocked & (running < seats)
    crowded = int(seated.sum()) > int(full.sum())
    cap = int(kv.max()) if full.any() else None
    admits = kv[prefill > 0]
    return Limits(
        token_budget=budget,
        max_seqs=seats if crowded else None,
        kv_cap=cap,
        kv_admit=int(admits.max()) if cap is not None and admits.size else None,
    )


def attention_pairs(log: StepLog, requests: Requests) -> Array | None:
    """(n,) per step the tokens before each prompt token, summed; NaN where not known; None where too few are.

    Prompts are processed first come first served, so within a busy period the running total of prefill_tok
    says which tokens of which request a step held. A period whose total is not that of its arrivals (a
    preemption, an unlogged request) is not known. requests: of this replica.
    """
    if not _whole(log, ("prefill_tok",)):
        return None
    prefill = log.steps["prefill_tok"].to_numpy().astype(np.int64)
    opens = np.concatenate(([True], log.start_s[1:] - log.end_s[:-1] > _IDLE_S))
    period = np.cumsum(opens) - 1
    # a request that arrives in a pause belongs to the period that it opens
    ends = log.end_s[np.append(np.flatnonzero(opens)[1:] - 1, prefill.size - 1)]
    owner = np.minimum(np.searchsorted(ends, requests.time_s + 1e-5), ends.size - 1)
    todo = requests.prompt - requests.cached
    asked = np.bincount(owner, weights=todo, minlength=ends.size)
    done = np.bincount(period, weights=prefill, minlength=ends.size)
    whole = (asked == done)[period]
    if prefill[whole].sum() < _MATCHED * prefill.sum():
        return None
    pairs = np.full(prefill.size, np.nan)
    for p in np.flatnonzero(asked == done).tolist():
        mine = owner == p
        pairs[period == p] = _pairs_of(prefill[period == p], todo[mine], requests.cached[mine])
    return pairs


def _pairs_of(prefill: Ints, todo: Ints, cached: Ints) -> Array:
    """Pairs per step of one busy period: the integral of the tokens before, over the tokens in order."""
    edges = np.concatenate(([0], np.cumsum(todo))).astype(float)
    before = np.concatenate(([0.0], np.cumsum(todo * (cached + todo / 2.0))))
    at = np.concatenate(([0.0], np.cumsum(prefill))).astype(float)
    which = np.clip(np.searchsorted(edges, at, side="right") - 1, 0, max(todo.size - 1, 0))
    if todo.size == 0:
        return np.zeros(prefill.size)
    inside = at - edges[which]
    total = before[which] + inside * (cached[which] + inside / 2.0)
    return np.diff(total)
