"""Weights of LiteLLM's adaptive router that choose as Eq. 1 does, where its one cost weight can say so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from .candidates import (
    Candidates,
    Pair,
    Refused,
    candidates,
    input_tokens,
    price_of,
    residual_warning,
    task_values,
)
from .made import Evidence, flat_stamp
from .offer import Row, Skipped
from .supply import Supply

ALIAS: Final = "shadowprice-adaptive"
"""A new name: the entries in use stay as they are."""
_DIGITS: Final = 6
_NO_TERM: Final = "nothing: export to vllm-sr, which has a latency term, or set no such price"


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """The router's weights. tokens: input-equivalent tokens per request; residual: share that they miss."""

    quality: float
    cost: float
    tokens: float
    residual: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Routers:
    """Entries of LiteLLM's model_list, the evidence behind them, and what could not be one."""

    entries: tuple[dict[str, Any], ...]
    evidence: tuple[Evidence, ...]
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...]


def adaptive_weights(
    value: float, prices: Mapping[str, float], extra_costs: Mapping[Pair, float]
) -> Weights | str:
    """The weights under which q Q + c (1 - (p - lo) / (hi - lo)) ranks as V Q - p T does, or why none do.

    value: V, USD per task. prices: model -> USD per input token, the only price that the router reads.
    extra_costs: (action, baseline) -> USD per task; T is the request size in input tokens that comes closest
    to them. q = V / (V + (hi - lo) T), c = 1 - q.

    Source: LiteLLM 1.110, router_strategy/adaptive_router/bandit.py, score().
    """
    found = input_tokens(prices, extra_costs)
    if isinstance(found, str):
        return found
    tokens, residual = found
    spread = max(prices.values()) - min(prices.values())
    quality = round(value / (value + spread * tokens), _DIGITS)
    return Weights(quality=quality, cost=round(1 - quality, _DIGITS), tokens=tokens, residual=residual)


def adaptive_routers(supply: Supply) -> Routers:
    """One router per task value. Refused with a latency or risk price, which the router has no term for."""
    entries: list[dict[str, Any]] = []
    evidence: list[Evidence] = []
    skipped: list[Skipped] = []
    notes: list[str] = []
    valued = task_values(supply)
    if not valued:
        skipped.append(_skipped("all", "no task value is set", "prices.task_value in the configuration"))
    for row in valued:
        made = _router(supply, row)
        if isinstance(made, Refused):
            skipped.append(_skipped(row.segment, made.reason, made.log_next))
            continue
        among, weights = made
        entries.append(_entry(supply, row, among, weights))
        evidence.append(_evidence(row, among, weights))
        notes += _warnings(supply, among, weights)
    return Routers(
        entries=tuple(entries), evidence=tuple(evidence), skipped=tuple(skipped), notes=tuple(notes)
    )


def _router(supply: Supply, value: Row) -> tuple[Candidates, Weights] | Refused:
    for name in ("latency_price", "risk_price"):
        if price_of(supply, name) > 0:
            reason = f"a {name.replace('_', ' ')} is set, and this router has no term for it"
            return Refused(reason=reason, log_next=_NO_TERM)
    among = candidates(supply, value.segment)
    if isinstance(among, Refused):
        return among
    weights = adaptive_weights(value.value, among.prices, among.means())
    if isinstance(weights, str):
        return Refused(reason=weights, log_next="nothing: this router cannot hold these prices")
    return among, weights


def _entry(supply: Supply, value: Row, among: Candidates, weights: Weights) -> dict[str, Any]:
    stamp = {
        **flat_stamp(supply.offer),
        "task_value_usd": value.value,
        "segment": value.segment,
        "candidate_set": among.names,
        "input_equivalent_tokens": weights.tokens,
        "residual_share": weights.residual,
        "grade": among.grade,
    }
    config = {
        "available_models": among.names,
        "weights": {"quality": weights.quality, "cost": weights.cost},
    }
    return {
        "model_name": _alias(value.segment),
        "litellm_params": {"model": "auto_router/adaptive_router", "adaptive_router_config": config},
        "model_info": {"shadowprice": stamp},
    }


def _evidence(value: Row, among: Candidates, weights: Weights) -> Evidence:
    """The weight with the interval that the ends of the extra costs give it."""
    ends = [
        weights.quality if isinstance(end, str) else end.quality
        for dearer in (True, False)
        for end in [adaptive_weights(value.value, among.prices, among.ends(dearer=dearer))]
    ]
    names = ",".join(among.names)
    return Evidence(
        key=f"adaptive_router/{_alias(value.segment)}/quality",
        against=f"adaptive_router/{names}/quality",
        value=weights.quality,
        lower=min(*ends, weights.quality),
        upper=max(*ends, weights.quality),
        grade=among.grade,
        why=f"V = {value.value:g} USD/task over {weights.tokens:.0f} input-equivalent tokens of {names}",
    )


def _warnings(supply: Supply, among: Candidates, weights: Weights) -> list[str]:
    where = _alias(among.segment)
    notes = [
        f"{where}: the weight carries over, the quality does not: the router draws its own from feedback",
        f"{where}: every candidate's own entry needs model_info.input_cost_per_token, else it is free; "
        "the weights hold for exactly these candidates",
        *residual_warning(where, weights.residual),
    ]
    if out := among.left_out(supply):
        notes.append(f"{where}: {', '.join(out)} is no candidate: its extra cost is not identified")
    return notes


def _alias(segment: str) -> str:
    return ALIAS if segment == "all" else f"{ALIAS}-{segment.partition('=')[2]}"


def _skipped(segment: str, reason: str, log_next: str) -> Skipped:
    return Skipped.of(
        name="adaptive_router_weights",
        segment=segment,
        about=_alias(segment),
        reason=reason,
        log_next=log_next,
    )
