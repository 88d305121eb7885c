"""Measured success as vLLM Semantic Router's evaluation: a benchmark, with profile and index per segment."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final

from .offer import Offer
from .supply import Level

BENCHMARK: Final = "shadowprice/success@1"
METRIC: Final = "p_success"
_INTERVAL: Final = ("p_success_lo", "p_success_hi")
_NOT_ID: Final = re.compile(r"[^a-z0-9]+")


def literal(text: str) -> str:
    """`text` as the router means it: it takes $NAME in any text for a variable of its environment."""
    return text.replace("$", "$$")


def profile_ids(segments: Iterable[str]) -> dict[str, str]:
    """Segment -> an id of lower-case letters, digits and dashes, numbered where two would be the same."""
    found: dict[str, str] = {}
    for segment in sorted(set(segments)):
        own = _NOT_ID.sub("-", segment.lower()).strip("-") or "segment"
        while own in found.values():
            own = f"{own}-{len(found)}"
        found[segment] = own
    return found


def index_id(profile: str) -> str:
    """The index whose value is the success measured in one segment."""
    return f"shadowprice/success-{profile}@1"


def evaluation(offer: Offer, levels: Sequence[Level]) -> dict[str, Any]:
    """The evaluation block for levels with a value: records, and what they are records of.

    The index of a segment is p_success itself, so that a selection can rank by it.

    Source: vllm-sr 0.4.0, cli/models.py, Evaluation.
    """
    profiles = profile_ids(level.segment for level in levels)
    metrics = [
        {"id": name, "unit": "proportion", "direction": "higher_is_better", "range": [0.0, 1.0]}
        for name in (METRIC, *_INTERVAL)
    ]
    benchmark = {
        "id": BENCHMARK,
        "display_name": "Success in your own logs",
        "domain": "own_traffic",
        "source": f"shadowprice run {offer.run_id}",
        "default_profile": next(iter(profiles.values())),
        "profiles": [_profile(segment, own) for segment, own in profiles.items()],
        "metrics": metrics,
    }
    return {
        "benchmarks": [benchmark],
        "indices": [_index(segment, own) for segment, own in profiles.items()],
        "records": [_record(offer, level, profiles[level.segment]) for level in levels],
    }


def _profile(segment: str, own: str) -> dict[str, str]:
    text = "Mean success had the model always been taken there, doubly robust"
    return {"id": own, "display_name": literal(segment), "description": text}


def _index(segment: str, own: str) -> dict[str, Any]:
    component = {"benchmark": BENCHMARK, "metric": METRIC, "benchmark_profile": own, "weight": 1.0}
    return {
        "id": index_id(own),
        "display_name": f"Success in {literal(segment)}",
        "aggregation": "weighted_mean",
        "scale": [0.0, 1.0],
        "missing": {"policy": "require_all"},
        "components": [component],
    }


def _record(offer: Offer, level: Level, own: str) -> dict[str, Any]:
    ends = dict(zip(_INTERVAL, (level.lower, level.upper), strict=True))
    measured = {"measured_at": offer.window[1][:10]} if offer.window[1] else {}
    return {
        "model": literal(level.action),
        "benchmark": BENCHMARK,
        "benchmark_profile": own,
        **measured,
        "source": f"shadowprice run {offer.run_id} grade A",
        "metrics": {METRIC: level.value, **ends},
        "metadata": {
            "stratum": literal(level.segment),
            "decisions": level.n,
            "valid_until": offer.valid_until or "",
        },
    }
