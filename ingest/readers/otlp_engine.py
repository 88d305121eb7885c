"""Serving rows from the request spans of vLLM and SGLang, with the phases that SGLang times in children."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Final

from ..convert import as_count, as_real, input_tokens
from . import otlp_dialects as d
from .otlp_walk import Attributes, Span

UNSTREAMED_SHARE: Final = 0.999
"""A first token this close to the end of the response was not streamed: its time is not observed."""
MAX_WAITING: Final = 100_000
"""Requests whose phases are held until their own span arrives; children are exported first."""
_NS_PER_S: Final = 1_000_000_000


@dataclass(slots=True)
class _Phases:
    waiting_ns: int = 0
    prefill_end_ns: int | None = None
    decode_ns: int | None = None


class PhaseBook:
    """Phases by request span, collected from child spans; the oldest are forgotten beyond MAX_WAITING."""

    def __init__(self) -> None:
        self._by_parent: OrderedDict[tuple[str, str], _Phases] = OrderedDict()

    def note(self, part: Span) -> None:
        """Remember the phase that `part` timed; unfinished parts and parts without parent say nothing."""
        if part.parent_id is None or part.end_ns is None:
            return
        phases = self._by_parent.setdefault((part.trace_id, part.parent_id), _Phases())
        spent = part.end_ns - part.start_ns
        if part.name == "prefill_waiting":
            phases.waiting_ns += spent
        elif part.name == "prefill_forward":
            phases.prefill_end_ns = max(part.end_ns, phases.prefill_end_ns or 0)
        else:
            phases.decode_ns = spent + (phases.decode_ns or 0)
        while len(self._by_parent) > MAX_WAITING:
            self._by_parent.popitem(last=False)

    def columns(self, span: Span) -> dict[str, Any]:
        """queue_s, ttft_s and decode_s of the request `span` as its children timed them."""
        phases = self._by_parent.pop((span.trace_id, span.span_id), None)
        if phases is None:
            return {}
        told: dict[str, Any] = {}
        if phases.waiting_ns:
            told["queue_s"] = phases.waiting_ns / _NS_PER_S
        if phases.prefill_end_ns is not None:
            told["ttft_s"] = (phases.prefill_end_ns - span.start_ns) / _NS_PER_S
        if phases.decode_ns is not None:
            told["decode_s"] = phases.decode_ns / _NS_PER_S
        return told


def serving_columns(span: Span) -> dict[str, Any]:
    """The `admit` decision of an engine's request span, all times in seconds as the engine logs them."""
    told = span.attributes
    values = {
        "layer": "serving",
        "decision_point": "admit",
        "action": "admit",
        "replica": d.text(span.resource, "service.instance.id"),
        "queue_s": as_real(d.first(told, "gen_ai.latency.time_in_queue"), "gen_ai.latency.time_in_queue"),
        **_prompt_columns(told),
        "tok_output": as_count(
            d.first(told, "gen_ai.usage.completion_tokens", "gen_ai.usage.output_tokens"),
            "gen_ai.usage.completion_tokens",
        ),
        **_latency_columns(told),
    }
    engine_id = d.text(told, "gen_ai.request.id")
    if engine_id and span.parent_id is None:
        # Without trace context the engine's id is the gateway's x-request-id: the only tie to other layers.
        values["request_id"] = engine_id
    return values


def _prompt_columns(told: Attributes) -> dict[str, Any]:
    """The prompt's tokens; vLLM does not say how many were cached, so there they stay a feature."""
    prompt = as_count(
        d.first(told, "gen_ai.usage.prompt_tokens", "gen_ai.usage.input_tokens"), "gen_ai.usage.prompt_tokens"
    )
    cached = as_count(
        d.first(told, "gen_ai.usage.cached_tokens", "gen_ai.usage.cache_read.input_tokens"),
        "gen_ai.usage.cached_tokens",
    )
    known = {} if cached is None else input_tokens(prompt, cached, None, convention="inclusive")
    return {**known, "x_prompt_tokens": prompt}


def _latency_columns(told: Attributes) -> dict[str, float]:
    total = as_real(d.first(told, "gen_ai.latency.e2e"), "gen_ai.latency.e2e")
    ttft = as_real(d.first(told, "gen_ai.latency.time_to_first_token"), "gen_ai.latency.time_to_first_token")
    decode = as_real(
        d.first(told, "gen_ai.latency.time_in_model_decode", "gen_ai.latency.time_in_model.decode"),
        "gen_ai.latency.time_in_model_decode",
    )
    if total is not None and ttft is not None and ttft >= UNSTREAMED_SHARE * total:
        ttft = decode = None
    found = {"latency_s": total, "ttft_s": ttft, "decode_s": decode}
    return {name: value for name, value in found.items() if value is not None}
