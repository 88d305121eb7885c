"""The frozen records of risk: what the user states, and one estimate with its interval or its reason."""

from __future__ import annotations

import itertools
import math
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

import polars as pl

from ..errors import ConfigError, SchemaError
from ..schemas.records import Grade
from .irreversible import Reviews

Measure = Literal[
    "incident", "expected", "cvar", "knightian", "ambiguity", "irreversible", "irreversible_load"
]


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskSettings:
    """What the user says about risk. beta: share of the losses that CVaR leaves below its tail. cap_usd: the
    largest loss that one incident can cause. strength: odds ratio of a hidden cause that the worst case
    allows for, 1 for none. radius: Kullback-Leibler distance of the ambiguity set. reviews: for the load on
    irreversible losses. None leaves the measure out, or refused where it cannot be had without."""

    beta: float = 0.99
    cap_usd: float | None = None
    strength: float = 1.0
    radius: float | None = None
    reviews: Reviews | None = None

    def __post_init__(self) -> None:
        cap, radius = self.cap_usd, self.radius
        checks = (
            (0.0 < self.beta < 1.0, f"beta {self.beta}", "a probability between 0 and 1"),
            (cap is None or 0.0 < cap < math.inf, f"cap_usd {cap}", "a positive amount"),
            (1.0 <= self.strength < math.inf, f"strength {self.strength}", "an odds ratio of at least 1"),
            (radius is None or 0.0 < radius < math.inf, f"radius {radius}", "a positive distance"),
        )
        for fine, found, expected in checks:
            if not fine:
                raise ConfigError(found, where="risk settings", expected=expected)


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskEstimate:
    """One measure of risk with its interval, or the reason why there is none.

    action None: all logged decisions (of action_class, if given). baseline: the value is a difference.
    measure: 'incident' probability; 'expected' loss; 'cvar', whose contrasts are differences of the additive
    shares; 'knightian' and 'ambiguity' worst expected loss; 'irreversible' expected loss that cannot be
    undone; 'irreversible_load' on it, a factor. The others are USD per decision. A bound has `lower` and
    `upper` but no value: for 'knightian' the expected loss and the worst one.
    """

    layer: str
    decision_point: str
    action_class: str | None
    action: str | None
    baseline: str | None
    measure: Measure
    value: float | None
    lower: float | None
    upper: float | None
    level: float
    n: int
    events: int
    clusters: int
    ess: float
    grade: Grade
    method: str
    reason: str | None = None

    def __post_init__(self) -> None:
        where = f"{self.decision_point} {self.action or self.action_class or 'all'}, {self.measure}"
        ends = [x for x in (self.lower, self.value, self.upper) if x is not None]
        if not all(math.isfinite(x) for x in ends):
            raise SchemaError(
                f"{ends} in an interval", where=where, expected="numbers, or None with a reason"
            )
        if any(b < a - 1e-9 * max(1.0, abs(a)) for a, b in itertools.pairwise(ends)):
            raise SchemaError(f"{ends} are not in order", where=where)
        if self.value is None and not self.reason:
            raise SchemaError("an estimate without value needs a reason", where=where)

    def to_dict(self) -> dict[str, Any]:
        """The row of the risk frame."""
        return asdict(self)


RISK: Final = {
    **dict.fromkeys(("layer", "decision_point", "action_class", "action", "baseline", "measure"), pl.String),
    **dict.fromkeys(("value", "lower", "upper", "level"), pl.Float64),
    **dict.fromkeys(("n", "events", "clusters"), pl.Int64),
    "ess": pl.Float64,
    **dict.fromkeys(("grade", "method", "reason"), pl.String),
}
"""Columns of the risk frame."""


def risk_frame(estimates: tuple[RiskEstimate, ...]) -> pl.DataFrame:
    """The estimates as rows, one column per field."""
    return pl.DataFrame([e.to_dict() for e in estimates], schema=RISK, orient="row")
