"""What a span is and where it keeps its facts: GenAI (old and new names), OpenInference, vLLM, SGLang."""

from __future__ import annotations

from typing import Any, Final, Literal

from ...schemas.config import Config
from ..convert import as_count, as_real, input_tokens, missing
from .otlp_walk import Attributes, Span

Role = Literal["model", "tool", "agent", "chain", "plan", "verify", "retrieval", "serving", "part", "other"]

_OPERATIONS: Final[dict[str, Role]] = {
    "chat": "model",
    "generate_content": "model",
    "text_completion": "model",
    "completion": "model",  # llm.request.type of older instrumentation
    "execute_tool": "tool",
    "invoke_agent": "agent",
    "invoke_workflow": "chain",
    "plan": "plan",
    "retrieval": "retrieval",
}
_KINDS: Final[dict[str, Role]] = {
    "LLM": "model",
    "TOOL": "tool",
    "AGENT": "agent",
    "CHAIN": "chain",
    "RETRIEVER": "retrieval",
    "GUARDRAIL": "verify",
    "EVALUATOR": "verify",
}
ENGINE_PARTS: Final = ("prefill_waiting", "prefill_forward", "decode_forward")
"""Children of SGLang's request span that time its phases."""
_ENGINE_TIMES: Final = frozenset(
    f"gen_ai.latency.{name}"
    for name in (
        *("e2e", "time_in_queue", "time_to_first_token", "time_in_scheduler", "time_in_model_forward"),
        *("time_in_model_prefill", "time_in_model_decode", "time_in_model_inference"),
        *("time_in_model.prefill", "time_in_model.decode"),
    )
)

REQUEST_MODEL: Final = ("gen_ai.request.model", "llm.request.model_name", "llm.model_name")
RESPONSE_MODEL: Final = ("gen_ai.response.model", "llm.response.model_name", "llm.model_name")
PROVIDER: Final = ("gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system")
SESSION: Final = ("gen_ai.conversation.id", "session.id")
AGENT: Final = ("gen_ai.agent.name", "agent.name")
TOOL: Final = ("gen_ai.tool.name", "tool.name")
_INPUT: Final = ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens", "llm.token_count.prompt")
_OUTPUT: Final = (
    "gen_ai.usage.output_tokens",
    "gen_ai.usage.completion_tokens",
    "llm.token_count.completion",
)
_CACHE_READ: Final = (
    "gen_ai.usage.cache_read.input_tokens",
    "gen_ai.usage.cache_read_input_tokens",
    "gen_ai.usage.cached_tokens",
    "llm.token_count.prompt_details.cache_read",
)
_CACHE_WRITE: Final = (
    "gen_ai.usage.cache_creation.input_tokens",
    "gen_ai.usage.cache_creation_input_tokens",
    "llm.token_count.prompt_details.cache_write",
)
_REASONING: Final = (
    "gen_ai.usage.reasoning.output_tokens",
    "gen_ai.usage.reasoning_tokens",
    "llm.token_count.completion_details.reasoning",
)
_TENANT: Final[dict[str, tuple[str, ...]]] = {
    "team": ("tenant.id", "team.id", "metadata.user_api_key_team_id"),
    "organization": ("organization.id", "tenant.id", "metadata.user_api_key_org_id"),
    "key": ("api_key.hash", "metadata.user_api_key_hash"),
}
_USER: Final = ("user.id", "enduser.id")


def role(span: Span) -> Role:
    """What the span is; 'other' is no decision."""
    told = span.attributes
    if span.name in ENGINE_PARTS:
        return "part"
    if span.name == "llm_request" or not _ENGINE_TIMES.isdisjoint(told):
        return "serving"
    operation = _text(told, "gen_ai.operation.name", "llm.request.type")
    if operation is not None:
        return _OPERATIONS.get(operation, "other")
    kind = _text(told, "openinference.span.kind")
    if kind is not None:
        return _KINDS.get(kind.upper(), "other")
    described = first(told, *REQUEST_MODEL) is not None and first(told, *_INPUT) is not None
    return "model" if described else "other"


def kind_name(span: Span) -> str:
    """How the span calls itself, for telling why it is no decision."""
    told = span.attributes
    named = _text(told, "gen_ai.operation.name", "openinference.span.kind")
    return f"{named.lower()[:40]} span" if named else "unrelated span"


def first(told: Attributes, *names: str) -> Any:
    """The value of the first attribute of `names` that says something, else None."""
    for name in names:
        value = missing(told.get(name))
        if value is not None:
            return value
    return None


def text(told: Attributes, *names: str) -> str | None:
    """The first attribute of `names` that is text, else None."""
    return _text(told, *names)


def tenant(span: Span, config: Config) -> str | None:
    """Who pays: the attribute that the config asks for, on the span or its resource, else the user."""
    names = _TENANT[config.tenant]
    return (
        _text(span.attributes, *names)
        or _text(span.resource, *names)
        or _text(span.attributes, *_USER)
        or _text(span.resource, *_USER)
    )


def token_columns(told: Attributes) -> dict[str, int | None]:
    """The token columns; cached tokens count as part of the input unless the row itself proves otherwise.

    Raises: ValueError when a count is none.
    """
    total = as_count(first(told, *_INPUT))
    read, write = as_count(first(told, *_CACHE_READ)), as_count(first(told, *_CACHE_WRITE))
    # Older Anthropic instrumentation writes exclusive counts: parts that exceed the whole prove it.
    apart = total is not None and (read or 0) + (write or 0) > total
    return {
        **input_tokens(total, read, write, convention="exclusive" if apart else "inclusive"),
        "tok_output": as_count(first(told, *_OUTPUT)),
        "tok_reasoning": as_count(first(told, *_REASONING)),
    }


def cost_columns(told: Attributes) -> dict[str, Any]:
    """The logged cost; 0 is how instrumentation writes "unknown", so it is left to pricing."""
    cost = as_real(first(told, "llm.cost.total"), "llm.cost.total")
    return {"cost_usd": cost, "cost_source": "logged"} if cost else {}


def _text(told: Attributes, *names: str) -> str | None:
    value = first(told, *names)
    return value if isinstance(value, str) else None
