"""One LiteLLM call to rows, whichever log it came from: router decision, cache decision, outcomes.

Token counts are taken as inclusive (cached tokens are part of prompt_tokens) unless a row proves otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, cast

import orjson

from ...schemas.config import Config
from ..actions import step_rules, step_values
from ..convert import as_count, as_real, input_tokens, missing, utc_from_epoch, utc_from_text
from ..seam import Ignored, Item, Row
from .litellm_routing import choice_columns
from .recipe import recipe_columns, with_recipe

_MODEL_CALL: Final = re.compile(
    r"a?(text_)?completion|a?responses|anthropic_messages|a?generate_content(_stream)?"
    r"|pass_through_endpoint|a?llm_passthrough_route"
)
_TOOL_CALL: Final = "call_mcp_tool"
_MAX_ORIGIN: Final = 60
_NO_CACHE: Final = "Cache OFF"
_TENANT_KEYS: Final = {
    "team": ("user_api_key_team_id", "team_id"),
    "organization": ("user_api_key_org_id", "organization_id"),
    "key": ("user_api_key_hash", "user_api_key"),
}
_RECIPES: Final = ("requester_metadata", "spend_logs_metadata")
RECIPE_KEY: Final = "shadowprice"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """The facts of one call that both logs hold; `first_token` only where it was observed."""

    decision_id: str
    request_id: str
    session_id: str | None
    tenant_id: str | None
    start: datetime
    end: datetime | None
    first_token: datetime | None
    cost: float | None
    usage: dict[str, Any]
    fields: dict[str, Any]
    metadata: dict[str, Any]

    @property
    def failed(self) -> bool:
        """Whether the call ended in an error."""
        return "failure" in (self.fields.get("status"), self.metadata.get("status"))

    @property
    def cache_hit(self) -> bool | None:
        """Whether LiteLLM's response cache answered; None when it was not asked.

        False alone is no sign of a cache: streams and failures say it without one. The key is.
        """
        told = str(self.fields.get("cache_hit")).lower()
        asked = missing(self.fields.get("cache_key")) not in (None, _NO_CACHE)
        return True if told == "true" else False if told == "false" and asked else None


Chances = Callable[[dict[str, Any], dict[str, Any], datetime], dict[str, Any]]
"""From a routing decision, the call's metadata and its start: the columns that tell the choice's odds."""


def call_items(line: int, call: Call, config: Config, chances: Chances) -> list[Item]:
    """The rows of one call, or why it is no decision.

    Raises: ValueError when a field has the wrong type or the recipe names no column.
    """
    aside = _aside(call)
    if aside is not None:
        return [Ignored(line, aside)]
    recipe = _recipe(call.metadata)
    chosen = _tool_columns(call, config) if _is_tool(call) else _model_columns(call, chances)
    values = with_recipe({**_base(call), **chosen}, recipe)
    rows: list[Item] = [Row("decisions", line, values)]
    if call.cache_hit is not None and not _is_tool(call):
        rows.append(Row("decisions", line, _reuse_columns(call, values)))
    ids = {"request_id": values["request_id"], "decision_id": values["decision_id"]}
    return [*rows, *(Row("outcomes", line, {**ids, **told}) for told in _outcomes(call))]


def tenant(config: Config, *holders: dict[str, Any]) -> str | None:
    """Who pays, as the config asks: the first holder that knows decides."""
    names = _TENANT_KEYS[config.tenant]
    return next((t for holder in holders for name in names if (t := text(holder, name))), None)


def text(holder: dict[str, Any], *names: str) -> str | None:
    """The first field of `names` that says something, as text.

    Raises: ValueError when it is no text.
    """
    for name in names:
        value = holder.get(name)
        if value is not None and (value := missing(value)) is not None:
            if not isinstance(value, str):
                raise ValueError(f"{name} is {value!r}, expected text")
            return value
    return None


def section(holder: dict[str, Any], name: str) -> dict[str, Any]:
    """The object in field `name`, decoded as often as it is JSON in text; empty when it is absent.

    Raises: ValueError when it is something else.
    """
    value = holder.get(name)
    if type(value) is not dict:  # nearly all are, or absent
        value = None if value is None else decoded(value, name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError(f"{name} is {type(value).__name__}, expected an object")
    return cast("dict[str, Any]", value)


def decoded(value: Any, name: str) -> Any:
    """`value`, or what the JSON text in it says: tables hold JSON in text, exports of tables hold it twice.

    Raises: ValueError when it is text but no JSON.
    """
    for _ in range(2):
        if not isinstance(value, str):
            break
        value = missing(value)
        if value is None:
            return None
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError as error:
            raise ValueError(f"{name} is text that is no JSON") from error
    return missing(value)


def time_of(holder: dict[str, Any], name: str) -> datetime | None:
    """The time in field `name`: epoch seconds when live, naive text (UTC) when stored.

    Raises: ValueError when it is neither.
    """
    value = missing(holder.get(name))
    if value is None:
        return None
    try:
        return utc_from_text(value) if isinstance(value, str) and "-" in value else utc_from_epoch(value, "s")
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def first_token(call_fields: dict[str, Any], end: datetime | None) -> datetime | None:
    """When the first token came; calls that do not stream log their end there."""
    first = time_of(call_fields, "completionStartTime")
    return first if first is not None and end is not None and first < end else None


def plain_model(name: str | None, provider: str | None) -> str | None:
    """`name` without its provider's prefix: 'openai/gpt-4o-mini' of provider openai is 'gpt-4o-mini'."""
    return name.removeprefix(f"{provider}/") if name and provider else name


def _aside(call: Call) -> str | None:
    """Why the call is overhead of another decision or no choice of a model; None when it is a decision."""
    origin = text(call.metadata, "internal_call_origin")
    if origin is not None:
        return f"overhead call: {origin[:_MAX_ORIGIN]}"
    if call.metadata.get("is_silent_experiment") is True:
        return "overhead call: silent experiment"
    kind = text(call.fields, "call_type") or "completion"
    if kind != _TOOL_CALL and not _MODEL_CALL.fullmatch(kind):
        return f"{kind[:_MAX_ORIGIN]} call"
    return None


def _is_tool(call: Call) -> bool:
    return call.fields.get("call_type") == _TOOL_CALL


def _recipe(metadata: dict[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for name in _RECIPES:
        told |= section(section(metadata, name), RECIPE_KEY)
    return recipe_columns(told)


def _base(call: Call) -> dict[str, Any]:
    latency = None if call.end is None else (call.end - call.start).total_seconds()
    return {
        "decision_id": call.decision_id,
        "request_id": call.request_id,
        "session_id": call.session_id,
        "tenant_id": call.tenant_id,
        "ts": call.start,
        "latency_s": latency,
        **_tags(call.fields),
    }


def _tool_columns(call: Call, config: Config) -> dict[str, Any]:
    name = text(call.fields, "mcp_namespaced_tool_name") or text(
        section(call.metadata, "mcp_tool_call_metadata"), "namespaced_tool_name", "name"
    )
    if name is None:
        raise ValueError("a tool call without mcp_namespaced_tool_name")
    spent = None if call.end is None else (call.end - call.start).total_seconds()
    return {**step_values(name, step_rules(config)), "tool_s": spent}


def _model_columns(call: Call, chances: Chances) -> dict[str, Any]:
    told, provider = call.fields, text(call.fields, "custom_llm_provider")
    ran = plain_model(text(told, "model"), provider)
    routing = section(call.metadata, "routing_decision")
    choice = choice_columns(routing)
    asked = text(call.metadata, "original_model_group") or text(told, "model_group")
    action = choice.pop("action", None) or asked or ran
    if action is None:
        raise ValueError("no model, model_group or routed_model")
    times: dict[str, Any] = {}
    if call.first_token is not None and call.end is not None:
        times["ttft_s"] = (call.first_token - call.start).total_seconds()
        times["decode_s"] = (call.end - call.first_token).total_seconds()
    return {
        "layer": "router",
        "decision_point": "model",
        "action": plain_model(action, provider),
        "action_executed": ran,
        "_provider": provider,
        **choice,
        **_plain_candidates(chances(routing, call.metadata, call.start), action, provider),
        **times,
        **_token_columns(call),
        **_cost_columns(call),
        **_cache_columns(call),
    }


def _plain_candidates(columns: dict[str, Any], chosen: str, provider: str | None) -> dict[str, Any]:
    """`columns` with the chosen model spelled among the candidates as it is in `action`."""
    listed = columns.get("candidates")
    if listed is None:
        return columns
    plain = [plain_model(name, provider) if name == chosen else name for name in listed]
    return {**columns, "candidates": plain}


def _token_columns(call: Call) -> dict[str, int | None]:
    if call.failed:
        return {}  # failures log 0 tokens: nothing is known
    if call.cache_hit:
        return {"tok_input_uncached": 0, "tok_output": 0}  # logged counts are those of the stored response
    usage = call.usage
    inputs, outputs = section(usage, "prompt_tokens_details"), section(usage, "completion_tokens_details")
    total = as_count(missing(call.fields.get("prompt_tokens")), "prompt_tokens") or None
    read = as_count(inputs.get("cached_tokens", usage.get("cache_read_input_tokens")), "cached_tokens")
    write = as_count(
        usage.get("cache_creation_input_tokens", inputs.get("cache_creation_tokens")),
        "cache_creation_input_tokens",
    )
    apart = total is not None and (read or 0) + (write or 0) > total
    output = as_count(missing(call.fields.get("completion_tokens")), "completion_tokens")
    return {
        **input_tokens(total, read, write, convention="exclusive" if apart else "inclusive"),
        "tok_output": output if total is not None else output or None,
        "tok_reasoning": as_count(outputs.get("reasoning_tokens"), "reasoning_tokens"),
    }


def _cost_columns(call: Call) -> dict[str, Any]:
    if call.cost or (call.cost == 0 and call.cache_hit):
        return {"cost_usd": call.cost, "cost_source": "logged"}
    return {}  # 0 without a cache hit is an unpriced model or a failure


def _cache_columns(call: Call) -> dict[str, Any]:
    if call.cache_hit is None:
        return {}
    return {"cache_hit_kind": "response" if call.cache_hit else "none"}


def _reuse_columns(call: Call, model: dict[str, Any]) -> dict[str, Any]:
    """The cache's decision beside the router's; the lookup is a rule, so neither arm was ever a choice."""
    kept = (*_base(call), "cost_usd", "cost_source", "tok_input_uncached", "tok_output", "cache_hit_kind")
    return {
        **{name: model[name] for name in kept if name in model},
        "decision_id": f"{call.decision_id}:reuse",
        "parent_id": model["decision_id"],
        "layer": "serving",
        "decision_point": "reuse",
        "action": "reuse" if call.cache_hit else "recompute",
        "propensity": 1.0,
        "propensity_source": "deterministic",
    }


def _tags(fields: dict[str, Any]) -> dict[str, str]:
    tags = decoded(fields.get("request_tags"), "request_tags") or []
    if not isinstance(tags, list):
        raise ValueError(f"request_tags is {tags!r}, expected a list")
    named = sorted(str(tag) for tag in cast("list[Any]", tags))
    return {"x_tags": "|".join(named)} if named else {}


def _outcomes(call: Call) -> list[dict[str, Any]]:
    told = [_evaluation(call, found) for found in _evaluations(call.metadata)]
    if call.failed:
        error = section(call.fields, "error_information") or section(call.metadata, "error_information")
        label = text(error, "error_class", "error_code") or "error"
        told.append({"name": "error", "label": label, "source": "code", "ts": call.end})
    return told


def _evaluations(metadata: dict[str, Any]) -> list[dict[str, Any]]:
    found = decoded(metadata.get("eval_information"), "eval_information")
    listed = cast("list[Any]", found) if isinstance(found, list) else [found] if found else []
    if not all(isinstance(item, dict) for item in listed):
        raise ValueError("eval_information holds something that is no object")
    return listed


def _evaluation(call: Call, told: dict[str, Any]) -> dict[str, Any]:
    passed = told.get("passed")
    label = {True: "passed", False: "failed"}.get(passed) if isinstance(passed, bool) else None
    return {
        "name": text(told, "eval_name") or "eval",
        "value": as_real(told.get("overall_score"), "overall_score"),
        "label": label,
        "source": "llm_judge",
        "ts": call.end,
    }
