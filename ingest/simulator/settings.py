"""What the simulated world is made of: models, task classes, prices, and where tokens are misallocated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

LATENCY_USD_PER_S: Final = 0.004
"""lambda: what a second of waiting costs."""
RISK_USD_PER_EVENT: Final = 5.0
"""rho: what an incident costs on average; the losses in the logs have this mean."""

PROMPT_SPREAD: Final = 0.3
"""Prompts are uniform within +- this share of their class's mean."""
DIFFICULTY_QUALITY: Final = 0.10
"""Probability of success lost from an average task (0) to the hardest (1)."""
TENANT_QUALITY: Final = 0.05
"""Hidden tenant effects on the probability of success are uniform within +- this."""
EXPLORATION: Final = 0.04
"""Each candidate of the randomised router keeps at least this probability."""
DIFFICULTY_TO_ROUTER: Final = 0.9
"""Log-odds by which one unit of difficulty favours the next larger model."""
DIFFICULTY_TO_VERIFY: Final = 1.0
"""Log-odds by which one unit of difficulty favours verification: harder tasks are verified more often."""
ROUTER_CUT: Final = 0.55
"""The refunds router takes the frontier model at this score and above."""

VERIFY_USD: Final = 0.05
VERIFY_S: Final = 6.0

CONFIRM_USD, CONFIRM_S = 0.20, 60.0
"""What asking a person before an act costs at the delegate point; acting at once costs nothing."""
HIDDEN_QUALITY: Final = 0.03
"""Probability of success that a hidden cause takes where it is present, and adds where it is not."""

LOOKUP_SHARE: Final = 0.6
"""Share of requests for which the semantic cache holds a candidate entry."""
RECOMPUTE_USD, REUSE_USD = 0.10, 0.002
RECOMPUTE_S, REUSE_S = 5.0, 0.3
STALE_AGE_H, STALE_SIMILARITY = 24.0, 0.80
"""An entry is stale when it is older, or less similar, than this."""
STALE_QUALITY: Final = -0.20
"""Probability of success lost by reusing a stale entry; a fresh one loses nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model as the gateway knows it; prices in USD per million tokens (dated November 2026).
    rank: how far it is on the way from the cheapest (0) to the frontier (1), for effects and policies."""

    rank: float
    name: str
    provider: str
    usd_input: float
    usd_output: float
    latency_s: float


_MINI: Final = Model(
    rank=0.0, name="gpt-5-mini", provider="openai", usd_input=0.25, usd_output=2.0, latency_s=4.0
)
_SONNET: Final = Model(
    rank=0.5, name="claude-sonnet-4-6", provider="anthropic", usd_input=3.0, usd_output=15.0, latency_s=8.0
)
_OPUS: Final = Model(
    rank=1.0, name="claude-opus-4-6", provider="anthropic", usd_input=5.0, usd_output=25.0, latency_s=12.0
)
_HAIKU: Final = Model(
    rank=0.2, name="claude-haiku-4-5", provider="anthropic", usd_input=1.0, usd_output=5.0, latency_s=5.0
)
_FIVE: Final = Model(
    rank=0.3, name="gpt-5", provider="openai", usd_input=1.25, usd_output=10.0, latency_s=6.0
)
_PRO: Final = Model(
    rank=0.4, name="gemini-3-pro", provider="vertex_ai", usd_input=2.0, usd_output=12.0, latency_s=7.0
)
_BY_COUNT: Final = (_MINI, _OPUS, _SONNET, _HAIKU, _FIVE, _PRO)
"""Models in the order in which a world of more actions takes them in."""


def models(count: int) -> tuple[Model, ...]:
    """The `count` models of a router, from the cheapest to the frontier."""
    return tuple(sorted(_BY_COUNT[:count], key=lambda model: model.rank))


MODELS: Final = models(3)
"""The models of a usual world."""
RANKS: Final = (0.0, 0.5, 1.0)
"""Ranks at which the classes state effects and log-odds; between them they are interpolated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskClass:
    """One kind of task. value_usd: V per solved task. quality and incident: probabilities for an average
    task with the cheap model, unverified. by_model: quality added by each model, None where it is worth
    exactly what it costs. router: log-odds of each model, None for the deterministic router. verify:
    log-odds of verification; verify_quality None where verification is worth exactly what it costs.
    router_failure: the mode that by_model makes; without it the models are worth what they cost. confirm: at
    the delegate point, quality and (less) incidents that asking first brings, None where the agent does not
    meet it, 0 quality where acting is worth exactly what it saves. tools: what the agent calls besides the
    tool that verifies; act_tool: what cannot be undone."""

    name: str
    share: float
    value_usd: float
    prompt_tokens: int
    output_tokens: int
    quality: float
    incident: float
    by_model: tuple[float, float, float] | None
    incident_by_model: tuple[float, float, float]
    router: tuple[float, float, float] | None
    router_failure: str | None
    verify: float
    verify_quality: float | None
    verify_incident: float
    verify_tool: str
    confirm: tuple[float, float] | None
    tools: tuple[str, ...]
    act_tool: str


CLASSES: Final = (
    TaskClass(
        name="triage",
        share=0.25,
        value_usd=2.0,
        prompt_tokens=60_000,
        output_tokens=4_000,
        quality=0.50,
        incident=0.05,
        by_model=(0.0, 0.0, 0.0),
        incident_by_model=(0.0, 0.0, 0.0),
        router=(0.0, -0.4, 0.6),
        router_failure="over_routing",
        verify=0.0,
        verify_quality=None,
        verify_incident=0.0,
        verify_tool="check_answer",
        confirm=None,
        tools=("search_kb",),
        act_tool="send_reply",
    ),
    TaskClass(
        name="coding",
        share=0.30,
        value_usd=10.0,
        prompt_tokens=110_000,
        output_tokens=8_000,
        quality=0.42,
        incident=0.05,
        by_model=(0.0, 0.15, 0.30),
        incident_by_model=(0.02, 0.01, 0.0),
        router=(0.8, 0.0, -0.4),
        router_failure="under_routing",
        verify=0.0,
        verify_quality=None,
        verify_incident=0.0,
        verify_tool="run_tests",
        confirm=(0.06, 0.15),
        tools=("read_file", "edit_file"),
        act_tool="deploy_change",
    ),
    TaskClass(
        name="refunds",
        share=0.25,
        value_usd=5.0,
        prompt_tokens=40_000,
        output_tokens=3_000,
        quality=0.50,
        incident=0.10,
        by_model=(0.0, 0.05, 0.10),
        incident_by_model=(0.0, 0.0, 0.0),
        router=None,
        router_failure=None,
        verify=-1.0,
        verify_quality=0.14,
        verify_incident=-0.06,
        verify_tool="verify_refund",
        confirm=None,
        tools=("get_order", "send_refund"),
        act_tool="send_refund",
    ),
    TaskClass(
        name="research",
        share=0.20,
        value_usd=6.0,
        prompt_tokens=50_000,
        output_tokens=4_000,
        quality=0.50,
        incident=0.05,
        by_model=None,
        incident_by_model=(0.0, 0.0, 0.0),
        router=(0.0, 0.4, 0.0),
        router_failure=None,
        verify=0.0,
        verify_quality=None,
        verify_incident=0.0,
        verify_tool="fact_check",
        confirm=(0.0, 0.02),
        tools=("search_web",),
        act_tool="publish_report",
    ),
)
