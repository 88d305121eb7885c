"""Weights of vLLM Semantic Router's multi_factor selection under which it ranks as Eq. 1 does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from .candidates import (
    LOG_CHOICES,
    Candidates,
    Refused,
    candidates,
    input_tokens,
    price_of,
    residual_warning,
    task_values,
)
from .made import Evidence
from .offer import Row, Skipped
from .supply import Level, Supply
from .vllm_sr_evaluation import index_id, profile_ids

_DIGITS: Final = 6
_MILLION: Final = 1_000_000
_LOG_TIMES: Final = "decode_s and tok_output, or ttft_s, of every decision"
_NO_RISK: Final = "nothing: guard the risky decisions by a rule of the router"


@dataclass(frozen=True, slots=True, kw_only=True)
class Selections:
    """Algorithms by segment, the evidence behind their weights, and what could not be one."""

    selections: dict[str, dict[str, Any]]
    evidence: tuple[Evidence, ...]
    skipped: tuple[Skipped, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Delay:
    """The latency that the router sees. metric: tpot, ttft or None; usd: USD per second of it and request."""

    metric: str | None
    usd: float
    seconds: Mapping[str, float]


def factor_weights(
    value: float,
    success: Mapping[str, float],
    prompt_per_1m: Mapping[str, float],
    tokens: float,
    delay: Mapping[str, float],
    delay_usd: float,
) -> dict[str, float] | str:
    """Weights that rank as V Q - T C - lambda L does over exactly these candidates, or why none do.

    V range(Q) : T range(C) : lambda range(L) : 0 for load, scaled to 1: each signal is scaled to [0, 1] over
    the candidates before it is weighed. value: USD per task. prompt_per_1m: USD per million input tokens,
    tokens: input-equivalent per request. delay: seconds of the router's metric, delay_usd: USD per second.

    Source: vLLM Semantic Router, selection/multi_factor.go, scoreCandidate() and normalizeWeights().
    """
    parts = {
        "quality": value * _range(success),
        "cost": tokens / _MILLION * _range(prompt_per_1m),
        "latency": delay_usd * _range(delay) if delay else 0.0,
        "load": 0.0,
    }
    total = sum(parts.values())
    if total == 0:
        return "all candidates are alike in every signal"
    return {name: part / total for name, part in parts.items()}


def multi_factor(supply: Supply) -> Selections:
    """One selection per task value. Refused with a risk price, for which the router has no factor."""
    selections: dict[str, dict[str, Any]] = {}
    evidence: list[Evidence] = []
    skipped: list[Skipped] = []
    notes: list[str] = []
    valued = task_values(supply)
    if not valued:
        why = Refused(reason="no task value is set", log_next="prices.task_value in the configuration")
        skipped.append(_skipped("all", why))
    for row in valued:
        made = _selection(supply, row)
        if isinstance(made, Refused):
            skipped.append(_skipped(row.segment, made))
            continue
        selections[row.segment], held, warnings = made
        evidence += held
        notes += warnings
    return Selections(
        selections=selections,
        evidence=tuple(evidence),
        skipped=tuple(skipped),
        notes=tuple(dict.fromkeys(notes)),
    )


def _selection(supply: Supply, value: Row) -> tuple[dict[str, Any], list[Evidence], list[str]] | Refused:
    if price_of(supply, "risk_price") > 0:
        return Refused(reason="a risk price is set, and this router has no factor for it", log_next=_NO_RISK)
    among = candidates(supply, value.segment)
    if isinstance(among, Refused):
        return among
    found = input_tokens(among.prices, among.means())
    if isinstance(found, str):
        return Refused(reason=found, log_next="nothing: this router cannot hold these prices")
    levels = _levels(supply, among)
    delay = _delay(supply, among)
    if isinstance(levels, Refused) or isinstance(delay, Refused):
        return levels if isinstance(levels, Refused) else delay  # pyright: ignore[reportReturnType]
    tokens, residual = found
    per_1m = {name: price * _MILLION for name, price in among.prices.items()}
    weighed = [
        factor_weights(value.value, success, per_1m, tokens, delay.seconds, delay.usd)
        for success in ({n: v.value or 0.0 for n, v in levels.items()}, *_extremes(levels))
    ]
    weights, most, least = weighed
    if isinstance(weights, str) or isinstance(most, str) or isinstance(least, str):
        return Refused(reason="all candidates are alike in every signal", log_next=LOG_CHOICES)
    rounded = {name: round(weight, _DIGITS) for name, weight in weights.items()}
    algorithm = _algorithm(supply, value.segment, rounded, delay)
    why = f"V = {value.value:g} USD/task, {tokens:.0f} input-equivalent tokens"
    held = [_evidence(value.segment, name, rounded, (most, least), among.grade, why) for name in rounded]
    return algorithm, held, _notes(supply, among, levels, per_1m, delay, residual)


def _algorithm(supply: Supply, segment: str, weights: Mapping[str, float], delay: Delay) -> dict[str, Any]:
    """The selection, ranking quality by the success that was measured in the segment."""
    profiles = profile_ids(level.segment for level in supply.levels if level.value is not None)
    quality = {"index": index_id(profiles[segment]), "on_missing": "exclude"}
    metric = {} if delay.metric is None else {"latency_metric": delay.metric}
    return {"type": "multi_factor", "multi_factor": {"weights": weights, "quality": quality, **metric}}


def _levels(supply: Supply, among: Candidates) -> dict[str, Level] | Refused:
    found: dict[str, Level] = {}
    for name in among.names:
        level = supply.level(name, among.segment)
        if level is None or level.value is None:
            why = (level.reason if level else None) or "it was not asked for"
            return Refused(reason=f"the success of {name} is not known: {why}", log_next=LOG_CHOICES)
        found[name] = level
    return found


def _extremes(levels: Mapping[str, Level]) -> tuple[dict[str, float], dict[str, float]]:
    """Successes as far apart, and as close together, as their intervals allow."""
    lows = {n: v.lower if v.lower is not None else 0.0 for n, v in levels.items()}
    highs = {n: v.upper if v.upper is not None else 1.0 for n, v in levels.items()}
    far = {"low": min(lows.values()), "high": max(highs.values())}
    gap = max(lows.values()) - min(highs.values())
    return far, {"low": 0.0, "high": max(gap, 0.0)}


def _delay(supply: Supply, among: Candidates) -> Delay | Refused:
    """The latency price per second of the router's metric: a second per token counts once per token."""
    price = price_of(supply, "latency_price")
    if price == 0:
        return Delay(metric=None, usd=0.0, seconds={})
    models = [m for m in supply.models if m.name in among.prices]
    tokens = [m.tok_output for m in models if m.tok_output is not None]
    per_token = {m.name: m.tpot_s for m in models if m.tpot_s is not None}
    if len(per_token) == len(tokens) == len(models):
        return Delay(metric="tpot", usd=price * sum(tokens) / len(tokens), seconds=per_token)
    first = {m.name: m.ttft_s for m in models if m.ttft_s is not None}
    if len(first) == len(models):
        return Delay(metric="ttft", usd=price, seconds=first)
    reason = "a latency price is set, but the logs do not time every candidate"
    return Refused(reason=reason, log_next=_LOG_TIMES)


def _evidence(
    segment: str,
    name: str,
    weights: Mapping[str, float],
    ends: tuple[Mapping[str, float], Mapping[str, float]],
    grade: str,
    why: str,
) -> Evidence:
    bounds = [end[name] for end in ends]
    return Evidence(
        key=f"multi_factor/{segment}/{name}",
        against=f"multi_factor/{name}",
        value=weights[name],
        lower=min(*bounds, weights[name]),
        upper=max(*bounds, weights[name]),
        grade=grade,
        why=why,
    )


def _notes(
    supply: Supply,
    among: Candidates,
    levels: Mapping[str, Level],
    per_1m: Mapping[str, float],
    delay: Delay,
    residual: float,
) -> list[str]:
    """What the weights rest on; the router scales by ranges that move with load, so the match is local."""
    successes = {name: level.value or 0.0 for name, level in levels.items()}
    spans = [f"success {_span(successes)}", f"prompt_per_1m {_span(per_1m)} USD"]
    spans += [f"{delay.metric} {_span(delay.seconds)} s"] if delay.metric else []
    where = f"multi_factor {among.segment}"
    notes = [
        f"{where}: for exactly {', '.join(among.names)}; ranges {', '.join(spans)}",
        f"{where}: the match is local: other ranges, candidates or quality indices need other weights",
        *residual_warning(where, residual),
    ]
    if out := among.left_out(supply):
        notes.append(f"{where}: {', '.join(out)} is no candidate: its extra cost is not identified")
    return notes


def _span(values: Mapping[str, float]) -> str:
    return f"{min(values.values()):.4g} to {max(values.values()):.4g}"


def _range(values: Mapping[str, float]) -> float:
    return max(values.values()) - min(values.values())


def _skipped(segment: str, why: Refused) -> Skipped:
    return Skipped.of(
        name="multi_factor_weights",
        segment=segment,
        about="router.model",
        reason=why.reason,
        log_next=why.log_next,
    )
