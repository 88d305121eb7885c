"""SWE-agent `.traj` (one JSON object): one row for the run's totals, and one agent decision per action.

Cost and tokens (`tokens_sent` includes cached ones) are logged for the whole run only, so what a single step
cost is never known; `total_cost` sums over all runs of the process and is left out, `instance_cost` is read.
Filled: action, tool time, totals, exit status. Never: times of day, caches, candidates, tenant, success: the
submission is no proof of it, and the verdict stands in another file, keyed by instance. A model is named only
by `replay_config` of newer versions; without it the totals stand at the decision point `run`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any, Final

import orjson

from ...schemas.columns import REPEATED_CONTEXT
from ...schemas.config import Config
from ..actions import StepRules, step_rules, step_values
from ..convert import as_count, as_real, input_tokens, missing
from ..lines import json_records
from ..seam import Ignored, Item, LogFile, Rejected, Row
from .agent_logs import as_object, as_objects, as_text, keys_at, spender, why
from .peek import top_keys

NAME: Final = "swe_agent"
_STEP: Final = frozenset({"action", "observation"})
_INSTANCE: Final = re.compile(r"[A-Za-z0-9_.-]{1,100}__[A-Za-z0-9_.-]{1,100}-[0-9]{1,10}")
"""Ids of SWE-bench instances, which SWE-agent names its files by: the log itself may not hold it."""
_COMMAND: Final = re.compile(r"(?:cd\s+\S+\s*&&\s*)?([A-Za-z0-9_.:/+-]{1,200})")
"""The command of an action, after the change of folder that often stands in front of it."""
_MAX_COMMAND: Final = 1000
_MAX_CONFIG: Final = 1024 * 1024


def sniff(head: bytes) -> bool:
    """Whether it is one object with a trajectory of actions and observations, or a demonstration of such."""
    keys = next(iter(top_keys(head)), frozenset[str]())
    if "trajectory" in keys:
        return keys_at(head, "trajectory.item") >= _STEP
    return set(keys) == {"history"} and "message_type" in keys_at(head, "history.item")


def read(log: LogFile, config: Config) -> Iterator[Item]:
    """The run's context, totals, steps and exit status; a demonstration is Rejected with the reason."""
    rules = step_rules(config)
    for record in json_records(log):
        if isinstance(record, Rejected):
            yield record
            continue
        line, run = record
        try:
            yield from _run(line, run, rules=rules, log=log)
        except ValueError as error:
            yield Rejected(line, why(error))


def _run(line: int, run: dict[str, Any], *, rules: StepRules, log: LogFile) -> list[Item]:
    if "trajectory" not in run:
        raise ValueError(
            "a demonstration: it has a history but no trajectory and no totals, so no run to account for"
        )
    told = _replay(run)
    instance = _instance(told, log)
    request = f"{log.digest[:16]}:{line}"
    context = {"request_id": request, "session_id": instance or request, REPEATED_CONTEXT: instance}
    context = {name: value for name, value in context.items() if value is not None}
    info = as_object(run.get("info"), "info")
    items: list[Item] = [Row("contexts", line, context)]
    items.append(_totals(line, info, context, model=_model(told)))
    for step, told_step in enumerate(as_objects(run["trajectory"], "trajectory")):
        values = _step(told_step, rules)
        if values is None:
            items.append(Ignored(line, "step without an action"))
            continue
        ids = {**context, "decision_id": f"{request}:{step}", "parent_id": f"{request}:run", "step": step}
        items.append(Row("decisions", line, {**ids, **values}))
    status = as_text(info, "exit_status")
    if status is not None:
        outcome = {"request_id": request, "name": "exit_status", "label": status, "source": "code"}
        items.append(Row("outcomes", line, outcome))
    return items


def _totals(line: int, info: dict[str, Any], context: dict[str, Any], *, model: str | None) -> Item:
    """The row of the whole run; 0 is how a model without counts or prices is logged."""
    stats = as_object(info.get("model_stats"), "info.model_stats")
    sent = as_count(stats.get("tokens_sent"), "tokens_sent") or None
    received = as_count(stats.get("tokens_received"), "tokens_received")
    cost = as_real(stats.get("instance_cost"), "instance_cost") or None
    if sent is None and cost is None:
        return Ignored(line, "run without cost or tokens")
    values = {
        **context,
        **spender(model),
        "decision_id": f"{context['request_id']}:run",
        **input_tokens(sent, None, None, convention="inclusive"),
        "tok_output": received if sent is not None else received or None,
        **({"cost_usd": cost, "cost_source": "logged"} if cost is not None else {}),
    }
    return Row("decisions", line, values)


def _step(told: dict[str, Any], rules: StepRules) -> dict[str, Any] | None:
    command = told.get("action")
    if command is not None and not isinstance(command, str):
        raise ValueError(f"trajectory.action is {type(command).__name__}, expected text")
    found = _COMMAND.match((command or "")[:_MAX_COMMAND].lstrip())
    if found is None:
        return None
    spent = as_real(told.get("execution_time"), "execution_time")
    return {**step_values(found.group(1), rules), "tool_s": spent}


def _replay(run: dict[str, Any]) -> dict[str, Any]:
    """The settings that newer versions keep as JSON text; empty when absent or unreadable."""
    told = missing(run.get("replay_config"))
    if isinstance(told, str) and len(told) <= _MAX_CONFIG:
        try:
            told = orjson.loads(told)
        except orjson.JSONDecodeError:
            return {}
    return told if isinstance(told, dict) else {}


def _model(replay: dict[str, Any]) -> str | None:
    return _told(replay, "agent", "model", "name")


def _instance(replay: dict[str, Any], log: LogFile) -> str | None:
    stem = PurePosixPath(log.name).name.split(".traj")[0]
    return _told(replay, "problem_statement", "id") or (stem if _INSTANCE.fullmatch(stem) else None)


def _told(replay: dict[str, Any], *path: str) -> str | None:
    """The text at `path`; settings of another shape say nothing, and cost no run."""
    value: Any = replay
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, str) and value else None
