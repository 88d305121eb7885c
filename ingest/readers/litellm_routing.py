"""What LiteLLM's `routing_decision` says of a choice: the action, its cause, how much of it was chance."""

from __future__ import annotations

import re
from typing import Any, Final, cast

from ..convert import as_real, missing

_RULES: Final = frozenset(
    {
        "hybrid_short_circuit",
        "keyword",
        "literal_keyword_match",
        "semantic_keyword_match",
        "quality_tier",
        "reasoning_override",
        "plan_mode",
        "housekeeping",
        "modality_escalation",
    }
)
"""Causes where a rule on the request chose. Pins, failovers and fallbacks are no preferences of the
router, and a classifier is a rule only where its cut-off is logged."""
_HEURISTIC: Final = "heuristic"
_BANDIT: Final = "bandit"
_TEXTS: Final = ("router_type", "tier", "request_type", "cause", "classifier_model")
_NUMBERS: Final = (
    "score",
    "reasoning_override_min_score",
    "classifier_confidence",
    "classifier_p_solve",
    "classifier_calibrated_p_solve",
    "classifier_efficient_p_solve",
    "classifier_capable_p_solve",
    "classifier_max_quality_gap",
    "classifier_threshold",
    "classifier_cost",
)
_FLAGS: Final = ("escalated", "context_escalated", "conversation_continuing")
_TABLES: Final = {"tier_boundaries": "x_boundary", "classifier_probabilities": "x_classifier_probability"}
_NOT_NAME: Final = re.compile(r"[^a-z0-9]+")


def choice_columns(routing: dict[str, Any]) -> dict[str, Any]:
    """The columns that the routing decision sets; empty without an auto-router.

    Raises: ValueError when a field has the wrong type.
    """
    if not routing:
        return {}
    told = {name: missing(value) for name, value in routing.items()}
    columns: dict[str, Any] = {
        "action": _text(told, "routed_model"),
        "policy_version": _text(told, "router_config_fingerprint"),
        **{f"x_{name}": _text(told, name) for name in _TEXTS},
        **{f"x_{name}": as_real(told.get(name)) for name in _NUMBERS},
        **{f"x_{name}": told[name] for name in _FLAGS if isinstance(told.get(name), bool)},
        **_chance(told),
    }
    for field, prefix in _TABLES.items():
        columns |= _spread(told.get(field), field, prefix)
    return {name: value for name, value in columns.items() if value is not None}


def _chance(told: dict[str, Any]) -> dict[str, Any]:
    """How the choice was drawn: a bandit explores with unlogged odds, a rule takes its choice for sure."""
    cause = told.get("cause")
    if cause == _BANDIT:
        return {"exploration": True, "propensity_source": "unknown"}
    cut_off = "classifier" in str(cause) and told.get("classifier_threshold") is not None
    if (
        cause in _RULES
        or str(cause).startswith(_HEURISTIC)
        or (cut_off and not str(cause).endswith("fallback"))
    ):
        return {"exploration": False, "propensity": 1.0, "propensity_source": "deterministic"}
    return {"propensity_source": "unknown"}


def _spread(table: Any, field: str, prefix: str) -> dict[str, float | None]:
    if table is None:
        return {}
    if not isinstance(table, dict):
        raise ValueError(f"{field} is {table!r}, expected an object")
    named = {
        _NOT_NAME.sub("_", str(k).lower()).strip("_"): v for k, v in cast("dict[Any, Any]", table).items()
    }
    return {f"{prefix}_{name}": as_real(value) for name, value in named.items() if name}


def _text(told: dict[str, Any], name: str) -> str | None:
    value = told.get(name)
    if value is not None and not isinstance(value, str):
        raise ValueError(f"routing_decision.{name} is {value!r}, expected text")
    return value
