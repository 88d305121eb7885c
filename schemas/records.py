"""The frozen records that travel between rooms: a number never without its interval, or a reason."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal

import polars as pl

from ..errors import SchemaError
from .trends import DRIFT, TREND, VALUE_TREND

Quantity = Literal["quality", "cost", "latency", "risk", "net"]
Estimand = Literal["ATO", "ATE", "ATE-trimmed", "bound", "not_identified"]
Grade = Literal["A", "B", "C", "D", "N"]
PriceSource = Literal["user", "break_even", "implied", "revealed", "fitted"]
"""Set by the user; effects set to zero; implied by a cap; revealed by behaviour; fitted to logs."""
Verdict = Literal["supported", "contradicted", "inconclusive", "not_identified"]
Status = Literal["found", "inconclusive", "none_found", "not_identified", "no_data"]

QUANTITIES: Final[tuple[Quantity, ...]] = ("quality", "cost", "latency", "risk")
CONSUMPTION: Final = {
    "quantity": pl.String,
    "mean": pl.Float64,
    "lower": pl.Float64,
    "upper": pl.Float64,
    "n": pl.Int64,
    "decisions": pl.Float64,
}
"""Columns of Estimates.consumption."""
VALUE_CURVE: Final = {
    "quantity": pl.String,
    "share": pl.Float64,
    "cap": pl.Float64,
    "gain_usd": pl.Float64,
    "multiplier": pl.Float64,
    "reason": pl.String,
}
"""Columns of Prices.value_curve: what moving each cap would gain or lose per decision at its best use."""
SAVINGS: Final = {
    **dict.fromkeys(("layer", "decision_point", "segment", "action", "baseline", "direction"), pl.String),
    "cluster": pl.String,
    **dict.fromkeys(("usd", "decisions", "paid_usd"), pl.Float64),
    "n": pl.Int64,
    **dict.fromkeys(("grade", "method", "note", "doubt", "reason"), pl.String),
}
"""Columns of Prices.savings: per failure that no contrast of two actions measures, and per cluster, the USD
that undoing it would have saved over the window. The first six and the cluster are as in Estimates.gains;
decisions: those it is about, and paid_usd what they cost; n: rows that were measured. note: what to say
beside the dollars; doubt: why they are not a finding yet. Where nothing is known, usd is null with a reason.
"""
REGRET: Final = {
    "layer": pl.String,
    "decision_point": pl.String,
    "value_usd": pl.Float64,
    "lower_usd": pl.Float64,
    "upper_usd": pl.Float64,
    "level": pl.Float64,
    "spend_usd": pl.Float64,
    "spend_lower": pl.Float64,
    "spend_upper": pl.Float64,
    "decisions": pl.Float64,
    "left_out": pl.Float64,
    "n": pl.Int64,
    "clusters": pl.Int64,
    "blocks": pl.Int64,
    "order": pl.String,
    "grade": pl.String,
    "method": pl.String,
    "reason": pl.String,
}
"""Columns of Estimates.regret, dollars over the window of the logs.

value_usd: what policies learned from the log's context would have gained. lower_usd, upper_usd: one-sided
bounds, each at `level`, on what the best policy would have gained; the first may be below 0. spend_usd: what
the learned policies would spend more, with a two-sided interval at `level`. decisions: that the row speaks
for; left_out: that it does not. order: of the clusters in their blocks, 'time' or 'hash' of their ids.
"""
GRADES: Final[tuple[Grade, ...]] = ("A", "B", "C", "D", "N")


def _check_interval(name: str, value: float | None, lower: float | None, upper: float | None) -> None:
    for end in (value, lower, upper):
        if end is not None and math.isnan(end):
            raise SchemaError("NaN in an interval", where=name, expected="a number, or None with a reason")
    if lower is not None and upper is not None and lower > upper:
        raise SchemaError(f"lower {lower} exceeds upper {upper}", where=name)
    if value is None:
        return
    if lower is None or upper is None:
        raise SchemaError("a value without an interval", where=name)
    slack = 1e-9 * max(1.0, abs(value))
    if not lower - slack <= value <= upper + slack:
        raise SchemaError(f"value {value} outside [{lower}, {upper}]", where=name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """One contrast in one quantity: value and interval, or the reason why there is none.

    A bound has `lower` and `upper` but no `value`. Units: quality in [0, 1], cost USD, latency s,
    risk in the unit of the risk price, net USD.
    """

    layer: str
    decision_point: str
    segment: str
    action: str
    baseline: str
    quantity: Quantity
    estimand: Estimand
    value: float | None
    lower: float | None
    upper: float | None
    level: float
    n: int
    clusters: int
    ess: float | None
    grade: Grade
    method: str
    reason: str | None = None

    def __post_init__(self) -> None:
        where = f"{self.decision_point} {self.action} vs {self.baseline}, {self.quantity}"
        _check_interval(where, self.value, self.lower, self.upper)
        if self.value is None and not self.reason:
            raise SchemaError("an estimate without value needs a reason", where=where)
        if (self.estimand == "not_identified") != (self.grade == "N"):
            raise SchemaError(f"grade {self.grade} does not fit estimand {self.estimand}", where=where)

    def __str__(self) -> str:
        contrast = f"{self.action} vs {self.baseline}: {self.quantity}"
        head = f"{self.layer}.{self.decision_point} [{self.segment}] {contrast}"
        if self.value is None:
            return f"{head} {self.estimand}: {self.reason}"
        interval = f"{self.value:+.4g} [{self.lower:+.4g}, {self.upper:+.4g}]"
        return (
            f"{head} {interval} ({self.estimand}, grade {self.grade}, n {self.n}, clusters {self.clusters})"
        )

    def to_dict(self) -> dict[str, Any]:
        """The row of estimates.parquet."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """One price with unit and provenance; `value` None means unknown, which is not 0.

    name: 'task_value' (V), 'cost_price' (p_C), 'latency_price' (lambda), 'risk_price' (rho) as set, with
    a training also 'learning_signal_price' and 'rollout_price';
    'break_even_task_value' (V*). The module that fits the others says what each is: implied.py, revealed.py,
    values.py and risk_prices.py in `estimators/prices/`, and `estimators/congestion/`, `estimators/capital/`.
    An unbounded end of an interval is None beside a reason.
    """

    name: str
    symbol: str
    unit: str
    source: PriceSource
    segment: str = "all"
    value: float | None = None
    lower: float | None = None
    upper: float | None = None
    level: float | None = None
    layer: str | None = None
    decision_point: str | None = None
    action: str | None = None
    baseline: str | None = None
    grade: Grade | None = None
    n: int | None = None
    clusters: int | None = None
    ess: float | None = None
    method: str | None = None
    reason: str | None = None
    run_id: str | None = None
    window_from: str | None = None
    window_to: str | None = None

    def __post_init__(self) -> None:
        if self.source != "user":
            _check_interval(self.name, None, self.lower, self.upper)
        if self.value is None and not self.reason:
            raise SchemaError("a price without value needs a reason", where=self.name)

    def to_dict(self) -> dict[str, Any]:
        """The entry of prices.json."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """All prices of a run, user-set and fitted, dated by the window of the logs.

    value_curve: rows of VALUE_CURVE for all decision points as one market; empty without one.
    savings: rows of SAVINGS; empty where the prices were not fitted to decisions.
    trend: rows of VALUE_TREND: V* of each contrast in consecutive periods of the log.
    """

    prices: tuple[Price, ...]
    run_id: str
    window_from: str | None = None
    window_to: str | None = None
    value_curve: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=VALUE_CURVE))
    savings: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=SAVINGS))
    trend: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=VALUE_TREND))

    def named(self, name: str) -> tuple[Price, ...]:
        """Every price called `name`, in order."""
        return tuple(p for p in self.prices if p.name == name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A failure mode looked for in one segment: dollars with interval and grade, and what to do.

    status: found | inconclusive (interval covers 0) | none_found (mde_usd says what could have been
    seen) | not_identified | no_data. Dollars are over the window of the logs. `action`, `baseline` and
    `direction` name the rows of Estimates.gains or Prices.savings; `moved` is how many decisions
    the change moves. `counted` is False for an alternative that would move the same decisions as a better
    finding.
    """

    mode: str
    status: Status
    layer: str
    decision_point: str
    segment: str
    grade: Grade
    action: str | None = None
    baseline: str | None = None
    direction: str | None = None
    moved: float | None = None
    counted: bool = True
    usd: float | None = None
    usd_lower: float | None = None
    usd_upper: float | None = None
    level: float | None = None
    p_value: float | None = None
    p_adjusted: float | None = None
    mde_usd: float | None = None
    break_even_usd: float | None = None
    n: int = 0
    clusters: int = 0
    claim: str = ""
    recommendation: str = ""
    reason: str | None = None

    def __post_init__(self) -> None:
        _check_interval(self.mode, self.usd, self.usd_lower, self.usd_upper)
        if self.status in ("not_identified", "no_data") and not self.reason:
            raise SchemaError(f"a finding that is {self.status} needs a reason", where=self.mode)

    def to_dict(self) -> dict[str, Any]:
        """The entry of findings.json."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One number beside a prediction: a point of its curve or a further test, with interval or with None.

    p_value: one-sided, of no effect in the direction that the prediction names.
    """

    label: str
    unit: str
    value: float | None
    lower: float | None = None
    upper: float | None = None
    p_value: float | None = None
    n: int | None = None

    def __post_init__(self) -> None:
        if self.lower is not None or self.upper is not None:
            _check_interval(self.label, self.value, self.lower, self.upper)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """One prediction of the paper as a test: its verdict, why, and the numbers that it rests on.

    name: 'verifier', 'router' or 'congestion'. effect with lower, upper in `unit`: the tested number; None
    where the verdict is not_identified. p_value: one-sided, of no effect. placebo_p: of the check that must
    not move, None where there is none. stop: verifications in a task beyond which another one is not shown
    to pay (verifier only). further: other tests beside the main one. curve: points to draw, in order, each
    in the unit of its reading.
    """

    name: str
    statement: str
    verdict: Verdict
    reason: str
    layer: str
    effect: float | None = None
    lower: float | None = None
    upper: float | None = None
    unit: str | None = None
    level: float | None = None
    p_value: float | None = None
    placebo_p: float | None = None
    stop: int | None = None
    n: int = 0
    clusters: int = 0
    grade: Grade = "N"
    method: str = "none"
    further: tuple[Reading, ...] = ()
    curve: tuple[Reading, ...] = ()

    def __post_init__(self) -> None:
        _check_interval(self.name, self.effect, self.lower, self.upper)
        if not self.reason:
            raise SchemaError(f"a verdict {self.verdict} needs a reason", where=self.name)
        unknown = self.verdict == "not_identified"
        if unknown != (self.effect is None) or unknown != (self.grade == "N"):
            expected = "no effect and grade N exactly where the verdict is not_identified"
            raise SchemaError(f"{self.verdict} with grade {self.grade}", where=self.name, expected=expected)

    def __str__(self) -> str:
        if self.effect is None:
            return f"{self.name}: {self.verdict}: {self.reason}"
        ends = f"{self.effect:+.3g} [{self.lower:+.3g}, {self.upper:+.3g}] {self.unit}"
        return f"{self.name}: {self.verdict}, {ends} (grade {self.grade}, n {self.n}): {self.reason}"

    def to_dict(self) -> dict[str, Any]:
        """The entry of predictions.json."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimates:
    """What `estimate` returns: frames that prices, diagnoses and the report are read from.

    contrasts: rows of estimates.parquet. ledger: rows of ledger.parquet.
    joint: per contrast the mean vector `theta` (quality, cost, latency, risk; NaN where not
    identified) and its covariance `cov` (16 numbers, row by row), with `df`, `estimand`, `grade`.
    gains: per contrast, direction and cluster the dollars `usd` gained by switching: 'over' moves
    decisions that took `action` to `baseline`, 'under' the reverse. `quality_usd`, `cost_usd`,
    `latency_usd` and `risk_usd` are its terms of Eq. 1 at the prices of the run, and add up to it.
    coverage: per layer, decision point and grade: decisions, spend_usd, unpriced_tokens, reason.
    overlap: per contrast, arm and propensity bin: count.
    window: first and last timestamp as ISO text, or None.
    consumption: per capped quantity ('cost', 'latency', 'risk') the mean per decision with `lower`,
    `upper`, `n` rows standing for `decisions`; empty when no cap has to be judged.
    regret: per decision point, and under layer 'all' for all of them, what the best use of the logged context
    would have gained, between bounds: columns REGRET.
    trend: per contrast identified over the whole log its joint means in consecutive periods: columns TREND.
    drift: whether they differ beyond noise: columns DRIFT. Both are empty where the log was read in parts.
    """

    contrasts: pl.DataFrame
    ledger: pl.DataFrame
    joint: pl.DataFrame
    gains: pl.DataFrame
    coverage: pl.DataFrame
    overlap: pl.DataFrame
    level: float
    seed: int
    window: tuple[str | None, str | None] = (None, None)
    notes: tuple[str, ...] = field(default=())
    consumption: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=CONSUMPTION))
    regret: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=REGRET))
    trend: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=TREND))
    drift: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=DRIFT))

    def where(self, **columns: str) -> list[Estimate]:
        """The contrasts whose columns equal the given values, as records.

        >>> est.where(decision_point="model", quantity="quality", segment="all")  # doctest: +SKIP
        """
        frame = self.contrasts.filter(*(pl.col(k) == v for k, v in columns.items()))
        return [Estimate(**row) for row in frame.iter_rows(named=True)]
