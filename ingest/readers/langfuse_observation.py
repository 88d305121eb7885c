"""One Langfuse observation as a decision: model calls, tools, sub-agents, checks, look-ups.

Times are recomputed from start, first token and end; usage keys are disjoint unless their total denies it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Final

from ..actions import StepRules, step_values
from ..convert import as_count, as_real, input_tokens, missing, utc_from_text
from ..seam import Ignored, Item, Row
from .langfuse_agents import PLAIN, AgentBook, Waiting
from .langfuse_rows import request_columns, required
from .litellm_rows import RECIPE_KEY, decoded, section, text
from .recipe import PREFIX, recipe_columns, with_recipe

_MODEL: Final = ("provided_model_name", "model", "internal_model_id")
_COST: Final = ("total_cost", "calculated_total_cost")
_WRITTEN: Final = ("creation", "write")
_TOKENS: Final = "TOKENS"
_NO_CHOICE: Final = (*PLAIN, "CHAIN", "EMBEDDING")


def observation_items(
    line: int, fields: dict[str, Any], rules: StepRules, agents: AgentBook
) -> Iterator[Item]:
    """The decision of one observation with its error, or the request's context, or why it is neither.

    An agent below others waits in `agents` until the end of the file tells whether those are agents too.
    Raises: ValueError when an id or time is absent, or a field has the wrong type.
    """
    kind = required(fields, "type").upper()
    base = _base(fields)
    agents.note(fields)
    if kind in (*_BUILDERS, "AGENT") and _is_unfinished(fields):
        yield Ignored(line, "unfinished observation")
        return
    recipe = _recipe(section(fields, "metadata"))
    if kind == "AGENT":
        yield from _agent(line, fields, base, recipe, agents)
        return
    build = _BUILDERS.get(kind)
    if build is not None:
        values = with_recipe({**base, **build(fields, base, rules)}, recipe)
        yield Row("decisions", line, values)
    elif "decision_point" in recipe and "action" in recipe:
        yield Row("decisions", line, with_recipe(base, recipe))
    else:
        yield Ignored(
            line, f"{kind.lower()} observation" if kind in _NO_CHOICE else "observation of another type"
        )
        return
    yield from _error(line, fields, base["request_id"], base["decision_id"])


def _agent(
    line: int, fields: dict[str, Any], base: dict[str, Any], recipe: dict[str, Any], agents: AgentBook
) -> list[Item]:
    """The items of an agent at the top; of one below others nothing yet."""
    request, own, parent = base["request_id"], base["decision_id"], base["parent_id"]
    as_root = [Row("contexts", line, _context(base)), *_error(line, fields, request, None)]
    if parent is None:
        return [*as_root]
    called = with_recipe({**base, **_delegate(fields)}, recipe)
    as_called = [Row("decisions", line, called), *_error(line, fields, request, own)]
    return agents.wait(own, Waiting(parent, [*as_root], [*as_called]))


def _error(line: int, fields: dict[str, Any], request: str, decision: str | None) -> Iterator[Row]:
    if (text(fields, "level") or "").upper() == "ERROR":
        ids = {"request_id": request, "decision_id": decision}
        yield Row("outcomes", line, {**ids, "name": "error", "label": "error", "source": "code"})


def token_columns(usage: dict[str, Any]) -> dict[str, int | None]:
    """The token columns of `usage_details`, whose keys are disjoint: cached tokens come on top of input.

    A total that equals input + output although cached keys exist proves the other convention for its row.
    Raises: ValueError when a count is none.
    """
    counts = {name.lower(): as_count(missing(raw), name) or 0 for name, raw in usage.items()}
    total = counts.pop("total", None)
    if not any(counts.values()):
        return {}  # failures and calls without usage write 0
    cached = {name: n for name, n in counts.items() if "cache" in name}
    write = _sum(cached, lambda name: any(word in name for word in _WRITTEN))
    read = _sum(cached, lambda name: not any(word in name for word in _WRITTEN))
    rest = {name: n for name, n in counts.items() if name not in cached}
    made = _sum(rest, lambda name: any(word in name for word in ("output", "completion", "reasoning")))
    given = _sum(rest, lambda name: "input" in name or "prompt" in name)
    inside = bool(cached) and total is not None and total == (given or 0) + (made or 0) < sum(counts.values())
    return {
        **input_tokens(given, read, write, convention="inclusive" if inside else "exclusive"),
        "tok_output": made,
        "tok_reasoning": _sum(rest, lambda name: "reasoning" in name),
    }


def _is_unfinished(fields: dict[str, Any]) -> bool:
    """Whether it was exported while it ran: the next window's export has it whole, and both ends count."""
    told = missing(fields.get("end_time")), section(fields, "usage_details"), _cost(fields)
    return not any(told) and (text(fields, "level") or "").upper() != "ERROR"


def _sum(counts: dict[str, int], belongs: Callable[[str], bool]) -> int | None:
    found = [n for name, n in counts.items() if belongs(name)]
    return sum(found) if found else None


def _base(fields: dict[str, Any]) -> dict[str, Any]:
    start, end = _time(fields, "start_time"), _time(fields, "end_time")
    if start is None:
        raise ValueError("no field start_time")
    return {
        "decision_id": required(fields, "id"),
        "request_id": required(fields, "trace_id"),
        "parent_id": text(fields, "parent_observation_id"),
        "ts": start,
        "latency_s": None if end is None else (end - start).total_seconds(),
        "policy_version": text(fields, "release", "version") or _prompt(fields),
        **request_columns(fields),
        "x_trace_name": text(fields, "trace_name"),
    }


def _context(base: dict[str, Any]) -> dict[str, Any]:
    kept = ("request_id", "session_id", "tenant_id", "ts")
    return {name: value for name, value in base.items() if name in kept or name.startswith("x_")}


def _prompt(fields: dict[str, Any]) -> str | None:
    name, version = text(fields, "prompt_name"), missing(fields.get("prompt_version"))
    return None if name is None else name if version is None else f"{name}@{version}"


def _time(fields: dict[str, Any], name: str) -> datetime | None:
    value = missing(fields.get(name))
    try:
        return None if value is None else utc_from_text(value)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _recipe(metadata: dict[str, Any]) -> dict[str, Any]:
    """The recipe in `metadata`: an object, or one key per column; values may be JSON in text."""
    told = dict(section(metadata, RECIPE_KEY))
    told |= {
        name.removeprefix(PREFIX): decoded(raw, name) if str(raw)[:1] in ("[", "{") else raw
        for name, raw in metadata.items()
        if name.startswith(PREFIX)
    }
    return recipe_columns(told)


def _model(fields: dict[str, Any], base: dict[str, Any], rules: StepRules) -> dict[str, Any]:
    del rules
    name = text(fields, *_MODEL)
    if name is None:
        raise ValueError("a generation that names no model (provided_model_name)")
    first, end = _time(fields, "completion_start_time"), _time(fields, "end_time")
    return {
        "layer": "router",
        "decision_point": "model",
        "action": name,
        "action_executed": name,
        "ttft_s": None if first is None else (first - base["ts"]).total_seconds(),
        "decode_s": None if first is None or end is None else (end - first).total_seconds(),
        "x_prompt": _prompt(fields),
        **token_columns(_usage(fields)),
        **_cost(fields),
    }


def _usage(fields: dict[str, Any]) -> dict[str, Any]:
    details = section(fields, "usage_details")
    if details:
        return details
    older = section(fields, "usage")
    unit = missing(older.pop("unit", None)) if older else None
    counted = {name: n for name, n in older.items() if "cost" not in name.lower()}
    return counted if unit in (None, _TOKENS) else {}


def _cost(fields: dict[str, Any]) -> dict[str, Any]:
    details = section(fields, "cost_details")
    named = next((v for name in _COST if (v := missing(fields.get(name))) is not None), details.get("total"))
    cost = as_real(named, "total_cost")
    return {"cost_usd": cost, "cost_source": "logged"} if cost else {}  # 0 is a model without a price


def _tool(fields: dict[str, Any], base: dict[str, Any], rules: StepRules) -> dict[str, Any]:
    return {**step_values(required(fields, "name"), rules), "tool_s": base["latency_s"]}


def _retrieval(fields: dict[str, Any], base: dict[str, Any], rules: StepRules) -> dict[str, Any]:
    name = text(fields, "name") or "retrieval"
    return {**step_values("retrieval", rules), "action_executed": name, "tool_s": base["latency_s"]}


def _verify(fields: dict[str, Any], base: dict[str, Any], rules: StepRules) -> dict[str, Any]:
    del base
    return {**step_values("verify", rules), "action_executed": text(fields, "name") or "verify"}


def _delegate(fields: dict[str, Any]) -> dict[str, Any]:
    name = text(fields, "name")
    return {"layer": "agent", "decision_point": "delegate", "action": "delegate", "action_executed": name}


_Builder = Callable[[dict[str, Any], dict[str, Any], StepRules], dict[str, Any]]
_BUILDERS: Final[dict[str, _Builder]] = {
    "GENERATION": _model,
    "TOOL": _tool,
    "RETRIEVER": _retrieval,
    "EVALUATOR": _verify,
    "GUARDRAIL": _verify,
}
