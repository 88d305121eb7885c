"""Which choices to randomise, and how much, so that a budget buys the most certainty in dollars."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final

import polars as pl

from ..errors import ConfigError
from ..schemas.config import Config
from ..schemas.records import Estimates
from ..schemas.store import Store
from .confidence import critical_t
from .exploration_design import Ground, Promise, ground, promise, swap_cost
from .problem import Problem, problems

Row = dict[str, Any]

RATES: Final = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2)
"""Shares to randomise; above a fifth it is an experiment and no longer a small slice."""
RULE: Final = (
    "step by step, the raise of a rate that takes away the most dollar uncertainty (standard error times "
    "decisions) per expected dollar lost, while the budget lasts"
)
_UNIFORM_SD: Final = 1.0 / math.sqrt(12.0)
"""Standard deviation of a quality effect of which only Manski's bounds are known, which are 1 wide."""
_LEAST_USD: Final = 1e-9
_DAY_S: Final = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Randomise:
    """One line of a plan: draw `rate` of the decisions in `segment` that would take action or baseline by a
    fair coin between them, and log both probabilities.

    quantity: 'net' in USD, or 'quality' where no task value is set. decisions, swapped: in the time of the
    plan. cost_usd: expected loss; worst_usd: at the worst end of what is known, None without a task value.
    half_width: promised for the interval per decision from the new log alone; detectable: the effect found
    with 80 % power. uncertainty_without, uncertainty_with: standard error times decisions, USD (or solved
    tasks), at the end of the plan, without and with this line.
    """

    layer: str
    decision_point: str
    segment: str
    action: str
    baseline: str
    quantity: str
    because: str
    rate: float
    decisions: float
    swapped: float
    cost_usd: float
    worst_usd: float | None
    half_width_now: float | None
    half_width: float
    detectable: float
    uncertainty_without: float
    uncertainty_with: float
    clusters: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """A contrast that is open and that the plan does not settle, with the reason and what would help."""

    layer: str
    decision_point: str
    segment: str
    action: str | None
    baseline: str | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplorationPlan:
    """What to randomise. days: time of the plan, None where the log has no clock (its volume once more).
    `to_dict` is the stable export."""

    budget_usd: float
    cost_usd: float
    days: float | None
    quantity: str
    rule: str
    lines: tuple[Randomise, ...]
    left_out: tuple[LeftOut, ...]

    def to_dict(self) -> Row:
        """The plan as plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Open:
    """An open contrast with every rate that would serve it. idle: what the same policy shows by itself."""

    row: Row
    ground: Ground
    scale: float
    se_now: float
    net: float | None
    worst: float | None
    idle: Promise | None
    offers: tuple[Promise, ...]

    @property
    def decisions(self) -> float:
        return self.ground.decisions * self.scale

    def cost(self, rate: float) -> float:
        at = None if self.net is None else (self.net, self.net)
        return rate / 2.0 * self.decisions * swap_cost(self.ground, at)

    def uncertainty(self, offer: Promise | None) -> float:
        new = offer or self.idle
        precision = self.se_now**-2 + (new.se**-2 if new else 0.0)
        return self.decisions / math.sqrt(precision)


def plan_exploration(
    est: Estimates,
    decisions: pl.DataFrame | pl.LazyFrame | Store,
    *,
    budget_usd: float,
    config: Config | None = None,
    days: float | None = None,
) -> ExplorationPlan:
    """The randomisation that takes away the most dollar uncertainty for `budget_usd` of expected loss.

    Open are the contrasts whose net value (or quality, where no task value is set) is not identified or whose
    interval covers 0, each in the segments of the first column that slices it. What both actions cost and
    how much outcomes vary is read from `decisions`, the log behind `est`. days: time of the plan, by default
    as long as the log. The expected loss of a swap is that of the estimate where there is one, else of the
    outcomes fitted to the context, which hidden causes may distort; the worst case uses the ends of the
    interval, else every outcome that was not seen at 0.

    Raises: ConfigError for a budget that is not positive, or `days` without a clock in the log.
    """
    if not (math.isfinite(budget_usd) and budget_usd > 0.0):
        raise ConfigError(f"{budget_usd:g} USD", where="budget", expected="more than 0 USD")
    config = config or Config()
    logged = _days(est)
    if days is not None and (logged is None or not days > 0.0):
        found = "the log has no clock" if logged is None else f"{days:g} days"
        raise ConfigError(found, where="days", expected="more than 0 days, and logs with timestamps")
    scale = 1.0 if days is None or logged is None else days / logged
    frame = (decisions.decisions() if isinstance(decisions, Store) else decisions.lazy()).collect()
    priced = config.prices.task_value is not None or bool(config.prices.task_value_by_class)
    quantity = "net" if priced else "quality"
    places = {(p.layer, p.decision_point): p for p in problems(frame, config)}
    open_, left = _open(est, places, config, quantity, scale)
    chosen = _spent(open_, budget_usd)
    lines = [_line(one, offer, quantity) for one, offer in zip(open_, chosen, strict=True) if offer]
    left += [_unaffordable(one) for one, offer in zip(open_, chosen, strict=True) if not offer]
    left += _without_contrast(est)
    return ExplorationPlan(
        budget_usd=budget_usd,
        cost_usd=sum(line.cost_usd for line in lines),
        days=days if days is not None else logged,
        quantity=quantity,
        rule=RULE,
        lines=tuple(sorted(lines, key=lambda x: x.uncertainty_with - x.uncertainty_without)),
        left_out=tuple(left),
    )


def _days(est: Estimates) -> float | None:
    if None in est.window:
        return None
    first, last = (datetime.fromisoformat(str(end)) for end in est.window)
    span = (last - first).total_seconds() / _DAY_S
    return span if span > 0.0 else None


def _open(
    est: Estimates,
    places: dict[tuple[str, str], Problem],
    config: Config,
    quantity: str,
    scale: float,
) -> tuple[list[_Open], list[LeftOut]]:
    """The open contrasts that can be planned, and the others with the reason."""
    found: list[_Open] = []
    left: list[LeftOut] = []
    for row in _undecided(est, config, quantity):
        problem = places.get((row["layer"], row["decision_point"]))
        if problem is None:
            left.append(_left(row, "its decisions are not in the log given"))
            continue
        net = quantity == "net"
        base = ground(problem, row["segment"], row["action"], row["baseline"], config, net=net)
        if isinstance(base, str):
            left.append(_left(row, base))
            continue
        if not math.isfinite(base.difference) or (net and not math.isfinite(base.value)):
            left.append(_left(row, "no task value V is set for these decisions"))
            continue
        idle, *offers = (promise(base, rate, scale=scale) for rate in (0.0, *RATES))
        usable = tuple(offer for offer in offers if isinstance(offer, Promise))
        if not usable:
            left.append(_left(row, f"even at {RATES[-1]:.0%} {offers[-1]}"))
            continue
        alone = idle if isinstance(idle, Promise) else None
        found.append(_priced_open(row, base, scale, alone, usable, quantity))
    return found, left


def _priced_open(
    row: Row, base: Ground, scale: float, idle: Promise | None, usable: tuple[Promise, ...], quantity: str
) -> _Open:
    net = quantity == "net"
    if row["value"] is not None:
        se = (row["upper"] - row["lower"]) / 2.0 / critical_t(base.df)
        known, ends = row["value"], (row["lower"], row["upper"])
    else:
        se = _UNIFORM_SD * (base.value if net else 1.0)
        known, ends = None, None
    if net:
        q = [0.5 if math.isnan(arm.means[0]) else float(arm.means[0]) for arm in (base.action, base.baseline)]
        ends = ends or (-base.value * q[1] - base.extra, base.value * q[0] - base.extra)
        worst = swap_cost(base, ends)
    else:
        known, worst = -base.extra, None  # without a task value only money is lost for certain
    return _Open(
        row=row, ground=base, scale=scale, se_now=se, net=known, worst=worst, idle=idle, offers=usable
    )


def _undecided(est: Estimates, config: Config, quantity: str) -> Iterator[Row]:
    """Rows of the quantity that are not identified or cover 0, each contrast in one set of slices."""
    rank = pl.col("value").is_null().cast(pl.Int8) * 2 + (pl.col("estimand") != "ATO").cast(pl.Int8)
    rows = (
        est.contrasts.filter(pl.col("quantity") == quantity)
        .sort(rank, maintain_order=True)
        .unique(
            ["layer", "decision_point", "segment", "action", "baseline"], keep="first", maintain_order=True
        )
        .sort("layer", "decision_point", "action", "baseline", "segment")
        .to_dicts()
    )
    columns = config.segments if config.segments is not None else (config.task_class,)
    sliced = {(r["layer"], r["decision_point"], r["segment"].partition("=")[0]) for r in rows}
    breadth = {c: sum(key[2] == c for key in sliced) for c in columns}
    for row in rows:
        place = (row["layer"], row["decision_point"])
        mine = [r for r in rows if (r["layer"], r["decision_point"]) == place]
        mine = [r for r in mine if (r["action"], r["baseline"]) == (row["action"], row["baseline"])]
        keys = {r["segment"].partition("=")[0] for r in mine} - {"all"}
        key = min(keys, key=lambda c: (breadth.get(c, 0), c), default="all")
        covers = row["value"] is None or row["lower"] <= 0.0 <= row["upper"]
        if row["segment"].partition("=")[0] == key and covers:
            yield row


def _spent(open_: list[_Open], budget: float) -> list[Promise | None]:
    """The rate of each contrast; greedy over raises, each to whichever higher rate pays best."""
    chosen: list[Promise | None] = [None] * len(open_)
    left = budget
    while True:
        best: tuple[float, int, Promise, float] | None = None
        for k, one in enumerate(open_):
            now = chosen[k]
            paid, before = (one.cost(now.rate) if now else 0.0), one.uncertainty(now)
            for offer in one.offers:
                price = one.cost(offer.rate) - paid
                if (now and offer.rate <= now.rate) or price > left:
                    continue
                gain = (before - one.uncertainty(offer)) / max(price, _LEAST_USD)
                if gain > 0.0 and (best is None or gain > best[0]):
                    best = gain, k, offer, price
        if best is None:
            return chosen
        _, k, offer, price = best
        chosen[k], left = offer, left - price


def _line(one: _Open, offer: Promise, quantity: str) -> Randomise:
    row = one.row
    swapped = offer.rate / 2.0 * one.decisions
    half_now = None if row["value"] is None else (row["upper"] - row["lower"]) / 2.0
    return Randomise(
        **{name: row[name] for name in ("layer", "decision_point", "segment", "action", "baseline")},
        quantity=quantity,
        because="not identified" if row["value"] is None else "its interval covers 0",
        rate=offer.rate,
        decisions=one.decisions,
        swapped=swapped,
        cost_usd=one.cost(offer.rate),
        worst_usd=None if one.worst is None else swapped * one.worst,
        half_width_now=half_now,
        half_width=offer.half_width,
        detectable=offer.detectable,
        uncertainty_without=one.uncertainty(None),
        uncertainty_with=one.uncertainty(offer),
        clusters=one.ground.clusters,
    )


def _left(row: Row, reason: str) -> LeftOut:
    names = ("layer", "decision_point", "segment", "action", "baseline")
    return LeftOut(**{name: row[name] for name in names}, reason=reason)


def _unaffordable(one: _Open) -> LeftOut:
    first = one.offers[0]
    return _left(one.row, f"the budget is spent; {first.rate:.1%} would cost {one.cost(first.rate):,.2f} USD")


def _without_contrast(est: Estimates) -> list[LeftOut]:
    """Decision points at which nothing is compared although something could be randomised."""
    named = est.contrasts.select("layer", "decision_point").unique()
    alone = est.coverage.join(named, on=["layer", "decision_point"], how="anti")
    alone = alone.filter((pl.col("grade") == "N") & (pl.col("advice").fill_null("") != ""))
    return [
        LeftOut(
            layer=row["layer"],
            decision_point=row["decision_point"],
            segment="all",
            action=None,
            baseline=None,
            reason=f"{row['reason']}: what another action costs is not in the log. {row['advice']}",
        )
        for row in alone.iter_rows(named=True)
    ]
