"""One prime-rl episode to rows: a `keep` decision per trace that could be trained on, and its scores."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, cast

from ...schemas.columns import REPEATED_CONTEXT
from ..convert import as_count, as_real, missing, section, utc_from_epoch
from ..seam import Ignored, Item, Row
from .rollouts import KEEP, score_rows

_DROP: Final = {**KEEP, "action": "drop", "kept": False}
_FAILED: Final = "failed episode without a trace"


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The update that a file is about; kept: ids of the traces that entered it, None when all here did."""

    step: int
    kept: frozenset[str] | None


def episode_rows(line: int, episode: dict[str, Any], window: Window) -> list[Item]:
    """The rows of one episode.

    Raises: ValueError when it is no episode of a training run.
    """
    run = section(episode, "run")
    work = section(run, "work")
    if work.get("type", "train") != "train":
        return [Ignored(line, "evaluation episode")]
    traces = list_of(episode.get("traces"), "traces")
    if not traces:
        return [Ignored(line, _FAILED)]
    shared = {**_shared(episode, run), **_versions(work, window.step)}
    items: list[Item] = []
    for trace in traces:
        if section(trace, "agent").get("trainable") is False:
            items.append(Ignored(line, "trace of an agent that is not trained"))
        else:
            items += _trace_items(line, trace, shared, window)
    return items


def list_of(value: Any, name: str) -> list[dict[str, Any]]:
    """The objects in the list `value`, none when it is absent.

    Raises: ValueError when it is something else.
    """
    if value is None:
        return []
    if not isinstance(value, list):
        raise ValueError(f"{name} is {type(value).__name__}, expected a list")
    items = cast("list[Any]", value)
    if not all(isinstance(item, dict) for item in items):
        raise ValueError(f"{name} holds something that is no object")
    return items


def text(holder: dict[str, Any], name: str) -> str | None:
    """The text in field `name`; None when it says nothing.

    Raises: ValueError when it is no text.
    """
    value = missing(holder.get(name))
    if value is not None and not isinstance(value, str):
        raise ValueError(f"{name} is {value!r}, expected text")
    return value


def _shared(episode: dict[str, Any], run: dict[str, Any]) -> dict[str, Any]:
    own, name = text(episode, "id"), text(run, "id") or "run"
    if own is None:
        raise ValueError("no field id")
    group, env = text(section(episode, "group"), "id"), section(episode, "env")
    return {
        "request_id": f"{name}:{own}",
        "session_id": None if group is None else f"{name}:{group}",
        REPEATED_CONTEXT: None if group is None else f"{name}:{group}",
        "x_env": text(env, "name") or text(env, "id"),
        "_run": name,
    }


def _versions(work: dict[str, Any], step: int) -> dict[str, Any]:
    """Update N trains version N - 1; work of a frozen policy has no version and is never stale."""
    policy, trained = section(work, "policy"), max(0, step - 1)
    start = as_count(policy.get("start"), "policy.start")
    told: dict[str, Any] = {"version_trained": str(trained)}
    if start is not None:
        told |= {"version_behaviour": str(start), "version_lag": max(0, trained - start)}
    return told


def _trace_items(line: int, trace: dict[str, Any], shared: dict[str, Any], window: Window) -> list[Item]:
    own = text(trace, "id")
    if own is None:
        raise ValueError("a trace without id")
    if window.kept is not None and own in window.kept:
        return [Ignored(line, "kept: read from effective/")]
    told = {name: value for name, value in shared.items() if name != "_run"}
    rewards = section(trace, "rewards")
    values: dict[str, Any] = {
        **(KEEP if window.kept is None else _DROP),
        **told,
        "update_id": f"{shared['_run']}:step-{window.step}",
        "ts": _ended(section(trace, "timing")),
        "reward": _reward(rewards),
        **_tokens(list_of(trace.get("calls"), "calls")),
    }
    if "num_output_tokens" in trace:
        values["tok_output"] = as_count(trace["num_output_tokens"], "num_output_tokens")
    ids = {"decision_id": f"{shared['_run']}:step-{window.step}:{own}"}
    parts = {f"reward:{name}": section(rewards, name).get("score") for name in rewards}
    scores = score_rows(line, ids, {**parts, **section(trace, "metrics")})
    return [Row("decisions", line, {**values, **ids}), *scores]


def _reward(rewards: dict[str, Any]) -> float | None:
    """The weighted sum that is trained on; None when scoring did not run."""
    parts: list[float] = []
    for name in rewards:
        one = section(rewards, name)
        points = as_real(one.get("score"), f"rewards.{name}.score")
        weight = as_real(one.get("weight", 1.0), f"rewards.{name}.weight")
        if points is not None and weight is not None:
            parts.append(points * weight)
    return sum(parts) if parts else None


def _tokens(calls: list[dict[str, Any]]) -> dict[str, int | None]:
    """Sums over the model calls; verifiers counts cache reads apart from prompt_tokens."""
    usages = [usage for call in calls if (usage := section(call, "usage"))]
    return {
        "tok_input_uncached": _sum(usages, "prompt_tokens"),
        "tok_cache_read": _sum(usages, "cached_input_tokens"),
        "tok_output": _sum(usages, "completion_tokens"),
        "tok_reasoning": _sum(usages, "reasoning_tokens"),
    }


def _sum(usages: Iterable[dict[str, Any]], name: str) -> int | None:
    counts = [count for usage in usages if (count := as_count(usage.get(name), name)) is not None]
    return sum(counts) if counts else None


def _ended(timing: dict[str, Any]) -> datetime | None:
    """When the rollout had ended, in epoch seconds at the source; 0 is a span that did not end."""
    end = as_real(section(timing, "agent").get("end"), "timing.agent.end")
    return utc_from_epoch(end, "s") if end else None
