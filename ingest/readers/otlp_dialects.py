"""What a span is and where it keeps its facts: GenAI (old and new), OpenInference, OpenLLMetry, vLLM, SGLang.

No dialect logs candidates, propensities or retries; cost and cached tokens only where the tables below say.
"""

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
_ENTITIES: Final[dict[str, Role]] = {"workflow": "chain", "agent": "agent", "tool": "tool"}
"""OpenLLMetry's traceloop.span.kind; a task is glue between the others."""
_UNSAID: Final = "unknown"
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

REQUEST_MODEL: Final = (
    *("gen_ai.request.model", "llm.request.model_name"),
    *("llm.request.model", "llm.model_name"),
)
RESPONSE_MODEL: Final = (
    *("gen_ai.response.model", "llm.response.model_name"),
    *("llm.response.model", "llm.model_name"),
)
PROVIDER: Final = ("gen_ai.provider.name", "gen_ai.system", "llm.provider", "llm.system", "llm.vendor")
SESSION: Final = ("gen_ai.conversation.id", "session.id", "traceloop.association.properties.session_id")
AGENT: Final = ("gen_ai.agent.name", "agent.name")
TOOL: Final = ("gen_ai.tool.name", "tool.name")
ENTITY: Final = "traceloop.entity.name"
_INPUT: Final = (
    *("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens"),
    *("llm.token_count.prompt", "llm.usage.prompt_tokens"),
)
_OUTPUT: Final = (
    *("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens"),
    *("llm.token_count.completion", "llm.usage.completion_tokens"),
)
_CACHE_READ: Final = (
    "gen_ai.usage.cache_read.input_tokens",
    "gen_ai.usage.cache_read_input_tokens",
    "gen_ai.usage.cached_tokens",
    "llm.token_count.prompt_details.cache_read",
    "llm.usage.cache_read_input_tokens",
)
_CACHE_WRITE: Final = (
    "gen_ai.usage.cache_creation.input_tokens",
    "gen_ai.usage.cache_creation_input_tokens",
    "llm.token_count.prompt_details.cache_write",
    "llm.usage.cache_creation_input_tokens",
)
_REASONING: Final = (
    "gen_ai.usage.reasoning.output_tokens",
    "gen_ai.usage.reasoning_tokens",
    "llm.token_count.completion_details.reasoning",
    "llm.usage.reasoning_tokens",
)
_TENANT: Final[dict[str, tuple[str, ...]]] = {
    "team": ("tenant.id", "team.id", "metadata.user_api_key_team_id"),
    "organization": ("organization.id", "tenant.id", "metadata.user_api_key_org_id"),
    "key": ("api_key.hash", "metadata.user_api_key_hash"),
}
_USER: Final = ("user.id", "enduser.id", "traceloop.association.properties.user_id")
_FIRST_CHUNKS: Final = frozenset(
    {"First Token Stream Event", "llm.content.completion.chunk", "gen_ai.content.completion.chunk"}
)
"""Events by which OpenInference marks the first token, and OpenLLMetry every chunk."""
_NS_PER_S: Final = 1_000_000_000


def role(span: Span) -> Role:
    """What the span is; 'other' is no decision."""
    told = span.attributes
    if span.name in ENGINE_PARTS:
        return "part"
    if span.name == "llm_request" or not _ENGINE_TIMES.isdisjoint(told):
        return "serving"
    operation = text(told, "gen_ai.operation.name", "llm.request.type")
    if operation is not None and operation != _UNSAID:
        return _OPERATIONS.get(operation, "other")
    kind = text(told, "openinference.span.kind")
    if kind is not None:
        return _KINDS.get(kind.upper(), "other")
    entity = text(told, "traceloop.span.kind")
    if entity is not None:
        return _ENTITIES.get(entity.lower(), "other")
    described = first(told, *REQUEST_MODEL) is not None and first(told, *_INPUT) is not None
    return "model" if described else "other"


def kind_name(span: Span) -> str:
    """How the span calls itself, for telling why it is no decision."""
    told = span.attributes
    named = text(
        told, "gen_ai.operation.name", "llm.request.type", "openinference.span.kind", "traceloop.span.kind"
    )
    return f"{named.lower()[:40]} span" if named else "unrelated span"


def first(told: Attributes, *names: str) -> Any:
    """The value of the first attribute of `names` that says something, else None."""
    for name in names:
        value = told.get(name)
        if value is not None and (value := missing(value)) is not None:
            return value
    return None


def text(told: Attributes, *names: str) -> str | None:
    """The first attribute of `names` that says something, if it is text, else None."""
    for name in names:  # as in `first`, which this is asked too often to call
        value = told.get(name)
        if value is not None and (value := missing(value)) is not None:
            return value if isinstance(value, str) else None
    return None


def tenant(span: Span, config: Config) -> str | None:
    """Who pays: the attribute that the config asks for, on the span or its resource, else the user."""
    names = _TENANT[config.tenant]
    told, resource = span.attributes, span.resource
    return text(told, *names) or text(resource, *names) or text(told, *_USER) or text(resource, *_USER)


def token_columns(told: Attributes) -> dict[str, int | None]:
    """The token columns; cached tokens count as part of the input unless the row itself proves otherwise.

    An input of 0 is how failures say that nothing is known.
    Raises: ValueError when a count is none.
    """
    total = as_count(first(told, *_INPUT)) or None
    output = as_count(first(told, *_OUTPUT))
    read, write = as_count(first(told, *_CACHE_READ)), as_count(first(told, *_CACHE_WRITE))
    # Older Anthropic instrumentation writes exclusive counts: parts that exceed the whole prove it.
    apart = total is not None and (read or 0) + (write or 0) > total
    return {
        **input_tokens(total, read, write, convention="exclusive" if apart else "inclusive"),
        "tok_output": output or None if total is None else output,
        "tok_reasoning": as_count(first(told, *_REASONING)),
    }


def cost_columns(told: Attributes) -> dict[str, Any]:
    """The logged cost; 0 is how instrumentation writes "unknown", so it is left to pricing."""
    cost = as_real(first(told, "llm.cost.total"), "llm.cost.total")
    if cost is None:
        parts = [as_real(first(told, name), name) for name in ("llm.cost.prompt", "llm.cost.completion")]
        cost = sum(part for part in parts if part) if None not in parts else None
    return {"cost_usd": cost, "cost_source": "logged"} if cost else {}


def first_token_s(span: Span) -> float | None:
    """Seconds from the span's start to its first token, from the attribute or from the first chunk's event.

    Raises: ValueError when the attribute is no number.
    """
    name = "gen_ai.response.time_to_first_chunk"
    told = as_real(first(span.attributes, name), name)
    if told is not None:
        return told
    times = [event.time_ns for event in span.events if event.time_ns and event.name in _FIRST_CHUNKS]
    return (min(times) - span.start_ns) / _NS_PER_S if times else None
