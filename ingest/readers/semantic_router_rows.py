"""One replay record of the semantic router to rows: router decision, cache decision, outcomes."""

from __future__ import annotations

from typing import Any, Final

from ..convert import as_count, as_real, as_seconds, input_tokens, section
from ..seam import Row
from .semantic_router_draws import draw_shares
from .semantic_router_fields import flag, objects, text, time_of
from .semantic_router_history import Beliefs

_SOURCES: Final = {
    "user": "human",
    "operator": "human",
    "agent": "llm_judge",
    "eval": "code",
    "router": "code",
    "provider": "env",
}
_FITS: Final = {"good_fit": 1.0, "overprovisioned": 1.0, "underpowered": 0.0, "failed": 0.0}
"""Whether the model was up to the task; one that was more than enough was."""
_CACHE_KINDS: Final = {"exact": "response", "semantic": "semantic", "miss": "none"}
_SHARED: Final = ("request_id", "session_id", "policy_version", "ts", "latency_s")
_SPENT: Final = (
    "cost_usd",
    "cost_source",
    "tok_input_uncached",
    "tok_cache_read",
    "tok_output",
    "cache_hit_kind",
)
_FIRST_ERROR: Final = 400
_ENDED_BADLY: Final = ("aborted", "failed")


def record_rows(line: int, record: dict[str, Any], beliefs: Beliefs) -> list[Row]:
    """The rows of one record.

    Raises: ValueError when a field has the wrong type, or a decision has no id or no model.
    """
    own = text(record, "id")
    if own is None:
        raise ValueError("no field id")
    cached = flag(record, "from_cache")
    values = {
        "decision_id": own,
        "request_id": text(record, "request_id") or own,
        "session_id": text(record, "session_id") or text(record, "conversation_id"),
        "ts": time_of(record, "timestamp"),
        "policy_version": "/".join(filter(None, (text(record, "recipe"), text(record, "decision")))) or None,
        "layer": "router",
        "decision_point": "model",
        "action_executed": text(record, "selected_model"),
        "latency_s": as_seconds(record.get("duration_ms"), "ms") or None,
        **_choice(record, beliefs),
        **usage_columns(record, record.get("actual_cost"), cached=cached),
        **_features(record),
    }
    reuse = _reuse(record, cached)
    rows = [Row("decisions", line, {**values, "cache_hit_kind": reuse.get("cache_hit_kind")})]
    if reuse:
        kept = {name: values.get(name) for name in (*_SHARED, *_SPENT)}
        told = {**kept, "decision_id": f"{own}:reuse", "parent_id": own, **reuse}
        rows.append(Row("decisions", line, told))
    ids = {"decision_id": own, "request_id": values["request_id"]}
    return [*rows, *(Row("outcomes", line, {**ids, **told}) for told in _outcomes(record))]


def usage_columns(fields: dict[str, Any], cost: Any, *, cached: bool) -> dict[str, Any]:
    """Tokens and cost; a cached answer costs nothing, and its counts are the stored answer's."""
    usd = as_real(cost, "cost")
    if cached:
        free = {"cost_usd": 0.0, "cost_source": "logged"} if usd == 0 else {}
        return {"tok_input_uncached": 0, "tok_output": 0, **free}
    total = as_count(fields.get("prompt_tokens"), "prompt_tokens") or None
    read = as_count(fields.get("cached_prompt_tokens"), "cached_prompt_tokens")
    write = as_count(fields.get("cache_write_tokens"), "cache_write_tokens")
    apart = total is not None and (read or 0) + (write or 0) > total
    known = input_tokens(total, read, write, convention="exclusive" if apart else "inclusive")
    told = {**known, "tok_output": as_count(fields.get("completion_tokens"), "completion_tokens") or None}
    if total is None:
        told |= {"tok_cache_read": read or None, "tok_cache_write": write or None}
    if usd and fields.get("currency") == "USD":
        return {**told, "cost_usd": usd, "cost_source": "logged"}
    return told  # 0 is a model without a price; other currencies are not converted here


def _choice(record: dict[str, Any], beliefs: Beliefs) -> dict[str, Any]:
    """Action, candidates and propensities: learning proposes only where it may apply what it learnt."""
    adaptation = section(section(record, "learning"), "adaptation")
    selected, scores = text(record, "selected_model"), section(adaptation, "scores")
    base, proposal = text(adaptation, "base_model"), text(adaptation, "proposal_model")
    applies = text(adaptation, "mode") in (None, "apply") and bool(scores) and proposal is not None
    action = proposal if applies else base or selected
    if action is None:
        raise ValueError("no field selected_model")
    if not applies:
        return {"action": action}
    candidates = sorted(scores)
    told = {"action": action, "candidates": candidates}
    sampling = section(adaptation, "sampling")
    if not sampling or action not in scores:
        return told
    if not flag(sampling, "used"):
        shares = {model: float(model == action) for model in candidates}
        return {**told, **_propensities(shares, action, "deterministic"), "exploration": False}
    known = beliefs.of(record)
    drawn = None if known is None else draw_shares(adaptation, known)
    rebuilt = {} if drawn is None else _propensities(drawn, action, "reconstructed")
    return {**told, **rebuilt, "exploration": True}


def _propensities(shares: dict[str, float], action: str, source: str) -> dict[str, Any]:
    return {
        "propensity": shares[action],
        "propensities": [shares[model] for model in sorted(shares)],
        "propensity_source": source,
    }


def _features(record: dict[str, Any]) -> dict[str, Any]:
    """What was known before the choice; a flag only where its detector ran."""
    told: dict[str, Any] = {
        "x_category": text(record, "category"),
        "x_decision_tier": as_count(record.get("decision_tier"), "decision_tier"),
        "x_confidence": as_real(record.get("confidence_score"), "confidence_score"),
        "x_selection_method": text(record, "selection_method"),
        "x_original_model": text(record, "original_model"),
        "x_prompt_tokens": as_count(record.get("context_token_count"), "context_token_count") or None,
        "x_signals": "|".join(sorted(name for name, hits in section(record, "signals").items() if hits))
        or None,
    }
    for detector in ("jailbreak", "pii"):
        if flag(record, f"{detector}_enabled"):
            told[f"x_{detector}"] = flag(record, f"{detector}_detected")
    return told


def _reuse(record: dict[str, Any], cached: bool) -> dict[str, Any]:
    """The cache's decision, empty when the cache was not asked; its threshold is a rule."""
    kind = text(record, "cache_hit_kind")
    similarity = as_real(record.get("cache_similarity"), "cache_similarity") or None
    if not cached and kind is None and similarity is None:
        return {}
    return {
        "layer": "serving",
        "decision_point": "reuse",
        "action": "reuse" if cached else "recompute",
        "propensity": 1.0,
        "propensity_source": "deterministic",
        "cache_hit_kind": _CACHE_KINDS.get(kind or "") if cached else "none",
        "cache_similarity": similarity,
        "cache_age_s": as_real(record.get("cache_entry_age_seconds"), "cache_entry_age_seconds") or None,
    }


def _outcomes(record: dict[str, Any]) -> list[dict[str, Any]]:
    told = [_verdict(outcome) for outcome in objects(record.get("outcomes"), "outcomes")]
    ended = time_of(record, "ended_at")
    if flag(record, "hallucination_enabled"):
        value = float(flag(record, "hallucination_detected"))
        told.append({"name": "hallucination", "value": value, "source": "code", "ts": ended})
    status = as_count(record.get("response_status"), "response_status") or 0
    state = text(record, "lifecycle_state")
    if status >= _FIRST_ERROR or state in _ENDED_BADLY:
        label = str(status) if status >= _FIRST_ERROR else state
        told.append({"name": "error", "label": label, "source": "code", "ts": ended})
    return told


def _verdict(outcome: dict[str, Any]) -> dict[str, Any]:
    """A verdict; its `score` is the number of verdicts it counts as, not a quality."""
    target, verdict = text(outcome, "target") or "route", text(outcome, "verdict")
    return {
        "name": "model_fit" if target == "model" else f"{target}_verdict",
        "value": _FITS.get(verdict or "") if target == "model" else None,
        "label": verdict,
        "source": _SOURCES.get(text(outcome, "source") or ""),
        "ts": time_of(outcome, "timestamp"),
    }
