"""The router's log: LiteLLM StandardLoggingPayload, one JSON object a line, with the logging recipe.

The keys are those of litellm 1.109 (payloads without bodies); the recipe is the object `shadowprice` in
metadata.spend_logs_metadata.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import orjson

from . import settings as s
from .context import Context
from .draw_points import router_score
from .world import hex_ids

_FIRST_TOKEN_SHARE: Final = 0.25
"""Share of a streamed call that passes before the first token."""
_POLICY: Final = "softmax-7"
_RULE: Final = "rule-3"

_METADATA: Final[dict[str, Any]] = {
    "user_api_key_hash": None,
    "user_api_key_alias": None,
    "user_api_key_org_id": None,
    "user_api_key_user_id": None,
    "user_api_key_end_user_id": None,
    "requester_ip_address": None,
    "requester_metadata": None,
    "applied_guardrails": [],
    "mcp_tool_call_metadata": None,
    "vector_store_request_metadata": None,
}
_PAYLOAD: Final[dict[str, Any]] = {
    "call_type": "acompletion",
    "cache_hit": False,
    "stream": True,
    "status": "success",
    "status_fields": {"llm_api_status": "success", "guardrail_status": "not_run"},
    "saved_cache_cost": 0.0,
    "cache_key": None,
    "request_tags": [],
    "end_user": None,
    "api_base": "",
    "model_id": "",
    "requester_ip_address": None,
    "messages": None,
    "response": None,
    "model_parameters": {"stream": True},
    "model_map_information": None,
    "error_str": None,
    "error_information": None,
    "zero_cost_diagnostic": None,
    "guardrail_information": None,
    "standard_built_in_tools_params": None,
}


def router_lines(ctx: Context) -> Iterator[bytes]:
    """The lines of litellm.jsonl, in order of time."""
    world = ctx.world
    calls = hex_ids(world.seed, "call", world.requests.n, size=16)
    scores = router_score(world.requests).tolist()
    told = world.router.propensity if world.router.logged is None else world.router.logged
    propensities, versions = told.tolist(), _versions(ctx)
    prompts, outputs = world.requests.x_prompt_tokens.tolist(), world.tok_output.tolist()
    starts, ends = ctx.call_at.tolist(), ctx.call_end.tolist()
    for i, taken in enumerate(world.router.taken.tolist()):
        if not ctx.kept[i]:
            continue
        ruled = s.CLASSES[int(world.requests.task[i])].router is None
        recipe = _recipe(ctx, i, propensities[i], taken, version=None if ruled else versions[i])
        routing = _routing(scores[i], world.models[taken].name, dear=taken > 0) if ruled else None
        metadata = {
            **_METADATA,
            "user_api_key_team_id": ctx.tenants[i],
            "spend_logs_metadata": {"shadowprice": recipe},
            "routing_decision": routing,
            "usage_object": _usage(prompts[i], outputs[i]),
        }
        yield orjson.dumps(
            {
                "id": f"chatcmpl-{calls[i]}",
                "litellm_call_id": calls[i],
                "trace_id": ctx.request_ids[i],
                "session_id": ctx.sessions[i],
                **_PAYLOAD,
                **_times(starts[i], ends[i]),
                **_money(world.models[taken], prompts[i], outputs[i]),
                "metadata": metadata,
            }
        )


def _versions(ctx: Context) -> list[str]:
    """The policy version of each call; a policy that learns has a new one whenever its probabilities move."""
    world = ctx.world
    if not world.knobs.adaptive:
        return [_POLICY] * world.requests.n
    found = np.empty(world.requests.n, dtype=object)
    for task in range(len(s.CLASSES)):
        rows = np.flatnonzero(world.requests.task == task)
        moved = (np.diff(world.router.propensity[rows], axis=0) != 0).any(axis=1)
        batch = np.concatenate([np.zeros(min(1, rows.size), dtype=int), np.cumsum(moved)])
        found[rows] = [f"batch-{b}" for b in batch.tolist()]
    return found.tolist()


def _recipe(
    ctx: Context, i: int, propensity: list[float], taken: int, *, version: str | None
) -> dict[str, Any]:
    """The logging recipe of a call; without `version` the rule chose, among the two models that it knows."""
    met, models, ruled = ctx.world.requests, ctx.world.models, version is None
    open_ = [0, len(models) - 1] if ruled else list(range(len(models)))
    return {
        "propensity": propensity[taken],
        "propensity_source": "deterministic" if ruled else "logged",
        "candidates": [models[k].name for k in open_],
        "propensities": [propensity[k] for k in open_],
        "policy_version": version or _RULE,
        "x_difficulty": float(met.x_difficulty[i]),
        "x_task_class": ctx.tasks[i],
        "x_prompt_tokens": int(met.x_prompt_tokens[i]),
        **ctx.sampling(i),
    }


def _routing(score: float, model: str, *, dear: bool) -> dict[str, Any]:
    """LiteLLM's own account of its complexity router, which has two tiers here."""
    return {
        "router_type": "complexity",
        "router_config_fingerprint": _RULE,
        "routed_model": model,
        "cause": "heuristic",
        "tier": "COMPLEX" if dear else "SIMPLE",
        "request_type": "refunds",
        "score": score,
        "tier_boundaries": {"simple_medium": s.ROUTER_CUT, "medium_complex": s.ROUTER_CUT},
        "escalated": False,
    }


def _usage(prompt: int, output: int) -> dict[str, Any]:
    return {
        "completion_tokens": output,
        "prompt_tokens": prompt,
        "total_tokens": prompt + output,
        "completion_tokens_details": None,
        "prompt_tokens_details": {"cached_tokens": 0},
    }


def _times(start: float, end: float) -> dict[str, float]:
    first = round(start + _FIRST_TOKEN_SHARE * (end - start), 3)
    return {
        "startTime": start,
        "endTime": round(end, 3),
        "completionStartTime": first,
        "response_time": round(first - start, 3),
    }


def _money(model: s.Model, prompt: int, output: int) -> dict[str, Any]:
    spent_in, spent_out = prompt * model.usd_input / 1e6, output * model.usd_output / 1e6
    total = round(math.fsum((spent_in, spent_out)), 9)
    return {
        "model": f"{model.provider}/{model.name}",
        "model_group": model.name,
        "custom_llm_provider": model.provider,
        "response_cost": total,
        "cost_breakdown": {
            "input_cost": round(spent_in, 9),
            "output_cost": round(spent_out, 9),
            "total_cost": total,
        },
        "total_tokens": prompt + output,
        "prompt_tokens": prompt,
        "completion_tokens": output,
    }
