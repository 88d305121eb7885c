"""What was made wrong on purpose in a world, the exact dollars of undoing it, and what nobody can know."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import polars as pl

from .stale import stale_failure
from .traffic import congestion_failure
from .truth import CACHE_SEGMENT, STALE, TASK_SEGMENT
from .world import World

_OVER: Final = ("over_routing", "over_delegation", "cache_misuse")


@dataclass(frozen=True, slots=True)
class _Failure:
    mode: str
    decision_point: str
    segment: str
    action: str
    baseline: str


def injected_truth(world: World, contrasts: pl.DataFrame) -> dict[str, Any]:
    """The failures of a world, each with direction and dollars, and the decisions that are not identified."""
    by_key = {
        (r["decision_point"], r["segment"], r["action"], r["baseline"]): r
        for r in contrasts.filter(pl.col("quantity") == "net").iter_rows(named=True)
    }
    failures: list[dict[str, Any]] = []
    for f in _failures(world):
        row = by_key[f.decision_point, f.segment, f.action, f.baseline]
        over = f.mode in _OVER
        failures.append(
            {
                "mode": f.mode,
                "layer": row["layer"],
                "decision_point": f.decision_point,
                "segment": f.segment,
                "action": f.action,
                "baseline": f.baseline,
                "direction": "over" if over else "under",
                "usd": row["over_usd"] if over else row["under_usd"],
                "net_usd_per_decision": row["ato"],
            }
        )
    if world.traffic is not None:
        failures.append(congestion_failure(world.traffic))
    if world.training is not None:
        failures.append(stale_failure(world.training))
    hidden = {
        "layer": "router",
        "decision_point": "model",
        "segment": f"{TASK_SEGMENT}=refunds",
        "why": "a deterministic rule on a score chose; only at its cut-off did either model have a chance",
    }
    return {"seed": world.seed, "null": world.knobs.null, "failures": failures, "not_identified": [hidden]}


def _failures(world: World) -> list[_Failure]:
    """The contrasts in which the failures of this world lie."""
    names = [model.name for model in world.models]
    cheap, frontier = names[0], names[-1]
    triage, coding, refunds = (f"{TASK_SEGMENT}={task}" for task in ("triage", "coding", "refunds"))
    every = [
        *(_Failure("over_routing", "model", triage, name, cheap) for name in reversed(names[1:])),
        *(_Failure("under_routing", "model", coding, frontier, name) for name in names[:-1]),
        _Failure("over_delegation", "delegate", coding, "act", "confirm"),
        _Failure("under_verification", "verify", refunds, "verify", "skip"),
        _Failure("cache_misuse", "reuse", f"{CACHE_SEGMENT}={STALE}", "reuse", "recompute"),
    ]
    return [failure for failure in every if failure.mode in world.knobs.modes]
