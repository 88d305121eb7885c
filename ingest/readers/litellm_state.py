"""What is known of LiteLLM's adaptive routers by when: posteriors and rules, and the odds of a call by them.

State is the answer of GET /adaptive_router/state with the time it was taken, or a row of the state table.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Set
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Generic, TypeVar, cast

from ..convert import as_real, missing
from .litellm_rows import section, text, time_of
from .litellm_thompson import MAX_ARMS, Arm, Rule, choice_odds

STATE: Final = "adaptive router state"
MAX_AGE: Final = timedelta(hours=1)
"""A posterior moves with every turn's feedback: an older one no longer tells the odds of a call."""
MAX_KEPT: Final = 1000
"""States that are kept of one cell or router; calls and states come in order of time."""
_SNAPSHOT: Final = frozenset({"router_name", "cells", "weights"})
_ROW: Final = frozenset({"router_name", "request_type", "model_name", "alpha", "beta"})
_TAKEN: Final = ("taken_at", "timestamp", "ts", "last_updated_at")
_TIER: Final = ("min_quality_tier", "x-litellm-min-quality-tier")

T = TypeVar("T")
Cell = tuple[str, str, str]
"""Router, request type, model."""


def is_state(keys: Set[str]) -> bool:
    """Whether a record with these fields tells the state of routers."""
    return keys >= _SNAPSHOT or keys >= _ROW or ("routers" in keys and not keys - {"routers", *_TAKEN})


@dataclass(frozen=True, slots=True)
class _Setup:
    """What a snapshot says of a router as a whole; costs by model."""

    rule: Rule
    models: tuple[str, ...]
    costs: dict[str, float]


@dataclass(slots=True)
class _History(Generic[T]):
    """Values by the time from which they hold, in order of time."""

    times: list[datetime] = field(default_factory=list[datetime])
    values: list[T] = field(default_factory=list[T])

    def note(self, at: datetime, value: T) -> None:
        place = bisect_right(self.times, at)
        self.times.insert(place, at)
        self.values.insert(place, value)
        del self.times[:-MAX_KEPT], self.values[:-MAX_KEPT]

    def before(self, at: datetime) -> tuple[datetime, T] | None:
        """The last value that held before `at`, from when; None when there is none."""
        place = bisect_right(self.times, at)
        return (self.times[place - 1], self.values[place - 1]) if place else None


class StateBook:
    """The states of all routers that a log has told so far."""

    def __init__(self) -> None:
        self._cells: dict[Cell, _History[tuple[float, float]]] = {}
        self._setups: dict[str, _History[_Setup]] = {}

    def note(self, fields: dict[str, Any]) -> None:
        """Remember the state in `fields`.

        Raises: ValueError when it lacks its time, or a part is not what it should be.
        """
        taken = next((at for name in _TAKEN if (at := time_of(fields, name)) is not None), None)
        if taken is None:
            raise ValueError(f"{STATE} without the time it was taken, expected a field {_TAKEN[0]}")
        listed = fields.get("routers")
        for snapshot in cast("list[Any]", listed) if isinstance(listed, list) else [fields]:
            if not isinstance(snapshot, dict):
                raise ValueError(f"a router's state is {type(snapshot).__name__}, expected an object")
            self._note_one(taken, cast("dict[str, Any]", snapshot))

    def _note_one(self, taken: datetime, told: dict[str, Any]) -> None:
        router = _named(told, "router_name")
        if "cells" not in told:
            self._note_cell(taken, router, told)
            return
        cells = told["cells"]
        if not isinstance(cells, list) or not all(isinstance(cell, dict) for cell in cells):
            raise ValueError("cells is no list of objects")
        setup = _setup(told)
        for cell in cast("list[dict[str, Any]]", cells):
            self._note_cell(taken, router, cell)
        self._setups.setdefault(router, _History()).note(taken, setup)

    def _note_cell(self, taken: datetime, router: str, told: dict[str, Any]) -> None:
        alpha, beta = as_real(told.get("alpha"), "alpha"), as_real(told.get("beta"), "beta")
        if alpha is None or beta is None:
            raise ValueError("a cell without alpha and beta: its odds are not known from its mean alone")
        Arm(name="", alpha=alpha, beta=beta, cost=0.0)  # refuses what is no posterior
        key = (router, _named(told, "request_type"), text(told, "model_name") or _named(told, "model"))
        self._cells.setdefault(key, _History()).note(taken, (alpha, beta))

    def chances(self, routing: dict[str, Any], metadata: dict[str, Any], at: datetime) -> dict[str, Any]:
        """The columns that tell with which odds the router chose at `at`; empty where that is not known.

        Not known: no state, or one older than MAX_AGE, before the call; a call that ruled models out by
        tier, which states do not tell; a choice that the state says was impossible.
        """
        if text(routing, "cause") != "bandit" or _has_tier(metadata):
            return {}
        router, kind = text(routing, "router_model_name"), text(routing, "request_type")
        chosen = text(routing, "routed_model")
        known = self._setups[router].before(at) if router in self._setups else None
        if router is None or kind is None or known is None:
            return {}
        setup = known[1]
        since = datetime.min.replace(tzinfo=at.tzinfo)
        arms: list[Arm] = []
        for model in setup.models:
            history = self._cells.get((router, kind, model))
            cell = history.before(at) if history is not None else None
            if cell is None:
                return {}
            since = max(since, cell[0])
            arms.append(Arm(name=model, alpha=cell[1][0], beta=cell[1][1], cost=setup.costs.get(model, 0.0)))
        if at - since > MAX_AGE or chosen not in setup.models:
            return {}
        odds = choice_odds(tuple(arms), setup.rule)
        share = odds[setup.models.index(chosen)]
        if share <= 0:
            return {}
        return {
            "candidates": list(setup.models),
            "propensities": list(odds),
            "propensity": share,
            "propensity_source": "reconstructed",
            "exploration": True,
            "x_state_age_s": (at - since).total_seconds(),
        }


def _setup(told: dict[str, Any]) -> _Setup:
    weights, costs = section(told, "weights"), section(told, "model_costs")
    rate = as_real(missing(told.get("exploration_rate")), "exploration_rate")
    quality, cost = as_real(weights.get("quality"), "quality"), as_real(weights.get("cost"), "cost")
    models = told.get("available_models")
    if quality is None or cost is None:
        raise ValueError("weights without quality and cost")
    if not isinstance(models, list) or not models or not all(isinstance(m, str) and m for m in models):
        raise ValueError("available_models is no list of names")
    if len(models) > MAX_ARMS:
        raise ValueError(f"{len(models)} available models, expected at most {MAX_ARMS}")
    if cost and not costs:
        raise ValueError("a router that weighs costs, without model_costs: its odds are not known")
    # versions without a rate drew every time; a model without a cost counts as free there
    rule = Rule(quality=quality, cost=cost, exploration_rate=1.0 if rate is None else rate)
    priced = {name: as_real(value, "model_costs") or 0.0 for name, value in costs.items()}
    if any(value < 0 for value in priced.values()):
        raise ValueError("model_costs holds a negative price")
    return _Setup(rule, tuple(dict.fromkeys(cast("list[str]", models))), priced)


def _has_tier(metadata: dict[str, Any]) -> bool:
    holders = [metadata, *(section(metadata, n) for n in ("requester_metadata", "requester_custom_headers"))]
    return any(str(name).lower() in _TIER for holder in holders for name in holder)


def _named(told: dict[str, Any], name: str) -> str:
    found = text(told, name)
    if found is None:
        raise ValueError(f"{STATE} without {name}")
    return found
