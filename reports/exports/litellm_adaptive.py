"""Weights of LiteLLM's adaptive router that choose as Eq. 1 does, where its one cost weight can say so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from .made import Evidence, flat_stamp
from .offer import Row, Skipped
from .supply import Supply

ALIAS: Final = "shadowprice-adaptive"
"""A new name: the entries in use stay as they are."""
MAX_RESIDUAL: Final = 0.05
"""Share of the largest cost difference that one input-equivalent request size may miss before it is said."""
_DIGITS: Final = 6
_LOG_PRICES: Final = "the tokens of every kind beside the cost, or export with --prices FILE"
_LOG_CHOICES: Final = "a randomised share of the choices, with candidates and propensity"


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """quality + cost = 1. tokens: input-equivalent tokens per request; residual: share that they miss."""

    quality: float
    tokens: float
    residual: float


def adaptive_weights(
    value: float, prices: Mapping[str, float], extra_costs: Mapping[tuple[str, str], float]
) -> Weights | str:
    """The weights under which q Q + c (1 - (p - lo) / (hi - lo)) ranks as V Q - p T does, or why none do.

    value: V, USD per task. prices: model -> USD per input token, the only price that the router reads.
    extra_costs: (action, baseline) -> mean extra cost, USD per task. T is the request size, in input tokens,
    whose price differences come closest to the extra costs; then q = V / (V + (hi - lo) T), c = 1 - q.

    Source: LiteLLM 1.110, router_strategy/adaptive_router/bandit.py, score().
    """
    spread = max(prices.values()) - min(prices.values())
    if spread == 0:
        return "every candidate has the same input price, so the router sees no cost"
    gaps = {pair: prices[pair[0]] - prices[pair[1]] for pair in extra_costs}
    tokens = sum(gaps[pair] * cost for pair, cost in extra_costs.items()) / sum(g * g for g in gaps.values())
    if tokens <= 0:
        return "the candidate with the dearer input token costs less per task, which one weight cannot say"
    missed = max(abs(cost - gaps[pair] * tokens) for pair, cost in extra_costs.items())
    largest = max(map(abs, extra_costs.values()))
    return Weights(quality=value / (value + spread * tokens), tokens=tokens, residual=missed / largest)


@dataclass(frozen=True, slots=True, kw_only=True)
class Routers:
    """Entries of LiteLLM's model_list, the evidence behind them, and what could not be one."""

    entries: tuple[dict[str, Any], ...]
    evidence: tuple[Evidence, ...]
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...]


def adaptive_routers(supply: Supply) -> Routers:
    """One router per task value. Refused with a latency or risk price, which the router has no term for."""
    entries: list[dict[str, Any]] = []
    evidence: list[Evidence] = []
    skipped: list[Skipped] = []
    notes: list[str] = []
    valued = [row for row in supply.offer.rows if row.name == "task_value" and row.value > 0]
    if not valued:
        skipped.append(_skipped("all", "no task value is set", "prices.task_value in the configuration"))
    for row in valued:
        made = _router(supply, row)
        if isinstance(made, Skipped):
            skipped.append(made)
            continue
        entry, found, warnings = made
        entries.append(entry)
        evidence.append(found)
        notes += warnings
    return Routers(
        entries=tuple(entries), evidence=tuple(evidence), skipped=tuple(skipped), notes=tuple(notes)
    )


def _router(supply: Supply, value: Row) -> tuple[dict[str, Any], Evidence, list[str]] | Skipped:
    segment = value.segment
    priced = [r.name for r in supply.offer.rows if r.name in ("latency_price", "risk_price") and r.value > 0]
    if priced:
        names = " and ".join(name.replace("_", " ") for name in priced)
        return _skipped(
            segment, f"a {names} is set, and this router has no term for it", "nothing: use vllm-sr"
        )
    costs = {
        (row.action, row.baseline): row
        for row in supply.offer.rows
        if row.name == "delta_cost" and row.segment == segment and row.decision_point == "model"
    }
    pairs = {(a, b): row for (a, b), row in costs.items() if a is not None and b is not None}
    if not pairs:
        return _skipped(segment, "no extra cost between two models is identified here", _LOG_CHOICES)
    names = sorted({name for pair in pairs for name in pair})
    known = {m.name: m for m in supply.models}
    missing = [name for name in names if name not in known or known[name].prices is None]
    if missing:
        first = known.get(missing[0])
        why = (first.why_not if first else None) or "it did not run"
        reason = f"no list price for {', '.join(missing)} ({why}); the router takes a missing price for free"
        return _skipped(segment, reason, _LOG_PRICES)
    prices = {name: float(p.input) for name in names if (p := known[name].prices) is not None}
    found = adaptive_weights(value.value, prices, {pair: row.value for pair, row in pairs.items()})
    if isinstance(found, str):
        return _skipped(segment, found, "nothing: this router cannot hold these prices")
    return (
        _entry(supply, value, names, found),
        _evidence(value, prices, pairs, found),
        _warnings(supply, segment, names, found),
    )


def _entry(supply: Supply, value: Row, names: list[str], found: Weights) -> dict[str, Any]:
    quality = round(found.quality, _DIGITS)
    weights = {"quality": quality, "cost": round(1 - quality, _DIGITS)}
    stamp = {
        **flat_stamp(supply.offer),
        "task_value_usd": value.value,
        "segment": value.segment,
        "candidate_set": names,
        "input_equivalent_tokens": found.tokens,
        "residual_share": found.residual,
    }
    return {
        "model_name": _alias(value.segment),
        "litellm_params": {
            "model": "auto_router/adaptive_router",
            "adaptive_router_config": {"available_models": names, "weights": weights},
        },
        "model_info": {"shadowprice": stamp},
    }


def _evidence(
    value: Row, prices: dict[str, float], pairs: dict[tuple[str, str], Row], found: Weights
) -> Evidence:
    """The weight with the interval that the ends of the extra costs give it."""
    ends: list[float] = []
    for far in (True, False):
        costs = {
            pair: _end(row, upper=(prices[pair[0]] > prices[pair[1]]) == far) for pair, row in pairs.items()
        }
        end = adaptive_weights(value.value, prices, costs)
        ends.append(found.quality if isinstance(end, str) else end.quality)
    names = ",".join(sorted(prices))
    return Evidence(
        key=f"adaptive_router/{_alias(value.segment)}/quality",
        against=f"adaptive_router/{names}/quality",
        value=round(found.quality, _DIGITS),
        lower=min(ends),
        upper=max(ends),
        grade=max(row.grade or "C" for row in pairs.values()),
        why=f"V = {value.value:g} USD/task over {found.tokens:.0f} input-equivalent tokens of {names}",
    )


def _end(row: Row, *, upper: bool) -> float:
    end = row.upper if upper else row.lower
    return row.value if end is None else end


def _warnings(supply: Supply, segment: str, names: list[str], found: Weights) -> list[str]:
    where = _alias(segment)
    notes = [
        f"{where}: the weight carries over, the quality does not: the router draws its own from feedback",
        f"{where}: every candidate's own entry needs model_info.input_cost_per_token, else it is free; "
        "the weights hold for exactly these candidates",
    ]
    if found.residual > MAX_RESIDUAL:
        share = f"{100 * found.residual:.0f} % of the largest extra cost is missed"
        notes.append(f"{where}: one weight cannot represent these prices: {share}, at most 5 % is sound")
    if out := sorted({m.name for m in supply.models} - set(names)):
        notes.append(
            f"{where}: {', '.join(out)} took part in the logs, but not identifiably, and is no candidate"
        )
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
