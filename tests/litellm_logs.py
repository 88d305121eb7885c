"""LiteLLM calls as tests write them: a logging payload, and the same call in the spend log."""

from __future__ import annotations

import json
from typing import Any

START = 1_795_249_866.25
"""2026-11-21T08:31:06.25Z."""
TRACE = "8a13d38d-9493-4309-9579-b5358f358954"


def payload(*, metadata: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """A streamed call of 2 s with the first token after 0.5 s."""
    return {
        "id": "chatcmpl-1",
        "litellm_call_id": "call-1",
        "trace_id": TRACE,
        "session_id": "",
        "call_type": "acompletion",
        "cache_hit": None,
        "cache_key": None,
        "stream": True,
        "status": "success",
        "custom_llm_provider": "openai",
        "startTime": START,
        "endTime": START + 2,
        "completionStartTime": START + 0.5,
        "response_time": 0.5,
        "model": "openai/gpt-4o-mini",
        "model_group": "fast",
        "response_cost": 0.003,
        "prompt_tokens": 100,
        "completion_tokens": 20,
        "total_tokens": 120,
        "request_tags": [],
        "metadata": {"routing_decision": None, **(metadata or {})},
        "response": {},
        "error_information": None,
        **fields,
    }


def routing(**more: Any) -> dict[str, Any]:
    """The decision of a complexity router."""
    return {
        "router_type": "complexity",
        "router_config_fingerprint": "fp-9",
        "routed_model": "openai/gpt-4o-mini",
        "cause": "heuristic_scorer",
        "tier": "SIMPLE",
        "request_type": None,
        "score": 0.31,
        "tier_boundaries": {"simple_medium": 0.35, "medium_complex": 0.6},
        "classifier_probabilities": None,
        "escalated": False,
        **more,
    }


def spend(*, metadata: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    """The same call as a row of LiteLLM_SpendLogs: naive times, JSON in text, flags as text."""
    return {
        "request_id": "chatcmpl-1",
        "call_type": "acompletion",
        "api_key": "hash-1",
        "spend": 0.003,
        "total_tokens": 120,
        "prompt_tokens": 100,
        "completion_tokens": 20,
        "startTime": "2026-11-21 08:31:06.250000",
        "endTime": "2026-11-21 08:31:08.250000",
        "completionStartTime": "2026-11-21 08:31:06.750000",
        "model": "gpt-4o-mini",
        "model_group": "fast",
        "custom_llm_provider": "openai",
        "team_id": "",
        "organization_id": "",
        "end_user": "",
        "metadata": json.dumps({"routing_decision": None, **(metadata or {})}),
        "cache_hit": "None",
        "cache_key": "Cache OFF",
        "request_tags": "[]",
        "session_id": "sess-1",
        "status": "success",
        "mcp_namespaced_tool_name": None,
        **fields,
    }
