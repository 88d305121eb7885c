"""tau-bench results (JSON array): one request per trial of a task, one agent decision per tool call.

Trials of a task met the same situation (x_context_id). Neither times, tokens nor the agent's cost are
logged; `user_cost` is the simulated user's and is left out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, Final, cast

from ...schemas.columns import REPEATED_CONTEXT
from ...schemas.config import Config
from ..actions import StepRules, step_rules, step_values
from ..convert import as_count, as_real
from ..lines import json_records
from ..seam import Item, LogFile, Rejected, Row
from .peek import top_keys

NAME: Final = "tau_bench"


def sniff(head: bytes) -> bool:
    """Whether records have a task, a reward and a trajectory, as far as the head shows them."""
    # A first record may be longer than the head; the writer puts "info" in front of "traj" and "trial".
    return any({"task_id", "reward"} <= keys and keys & {"traj", "info"} for keys in top_keys(head))


def read(log: LogFile, config: Config) -> Iterator[Item]:
    """Per trajectory its context, its tool calls and its reward; a malformed trajectory is Rejected whole."""
    rules = step_rules(config)
    for record in json_records(log):
        if isinstance(record, Rejected):
            yield record
            continue
        line, result = record
        try:
            yield from _trajectory(line, result, rules=rules, digest=log.digest)
        except ValueError as error:
            yield Rejected(line, str(error))


def _trajectory(line: int, result: dict[str, Any], *, rules: StepRules, digest: str) -> list[Row]:
    task, trial = _index(result, "task_id"), _index(result, "trial")
    info = _object(result.get("info"), "info")
    told = _object(info.get("task"), "info.task")
    request = f"{digest[:12]}:task-{task}:trial-{trial}"
    situation = f"task-{task}:{_fingerprint(told) or digest[:8]}"
    context = {"request_id": request, "session_id": situation, REPEATED_CONTEXT: situation}
    gold = [action.get("name") for action in _objects(told.get("actions") or [], "info.task.actions")]
    rows = [Row("contexts", line, context)]
    for step, tool in enumerate(_tool_names(result.get("traj"))):
        values = step_values(tool, rules)
        if values["action"] == "act" and values["action_class"] is None and tool in gold:
            values["action_class"] = "commit"  # gold actions that are no look-up write to the database
        rows.append(
            Row("decisions", line, {**context, **values, "decision_id": f"{request}:{step}", "step": step})
        )
    reward = as_real(result.get("reward"), "reward")
    if reward is not None:
        outcome = {"request_id": request, "name": "reward", "value": reward, "source": "env"}
        rows.append(Row("outcomes", line, outcome))
    return rows


def _index(result: dict[str, Any], name: str) -> int:
    number = as_count(result.get(name))
    if number is None:
        raise ValueError(f"no field {name}")
    return number


def _fingerprint(task: dict[str, Any]) -> str:
    """Tells task 0 of one benchmark from task 0 of another, and is equal in the files of two agents."""
    instruction = task.get("instruction")
    return hashlib.sha256(instruction.encode()).hexdigest()[:8] if isinstance(instruction, str) else ""


def _tool_names(trajectory: Any) -> Iterator[str]:
    for message in _objects(trajectory, "traj"):
        for call in _objects(message.get("tool_calls") or [], "tool_calls"):
            name = _object(call.get("function"), "function").get("name")
            if not isinstance(name, str) or not name:
                raise ValueError(f"a tool call is named {name!r}, expected text")
            yield name


def _objects(value: Any, name: str) -> list[dict[str, Any]]:
    if not isinstance(value, list):
        raise ValueError(f"{name} is {type(value).__name__}, expected a list")
    return [_object(item, name) for item in cast("list[Any]", value)]


def _object(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{name} is {type(value).__name__}, expected an object")
    return cast("dict[str, Any]", value)
