"""How freely each class of actions may run: alone, confirmed by one person, or by several.

The cheapest level counts what asking costs and what it leaves of the risk; doubt goes to the stricter level.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from ...errors import ConfigError
from ...schemas.config import Config
from ..confidence import critical_t, percentiles
from ..gates import MIN_CLUSTERS, effective_clusters
from ..irreversible import MIN_BAD, Reviews
from ..jackknife import cluster_sums, weighted_mean
from ..problem import Problem, check_frame, problems
from ..risk_mean import Interval
from ..scores import MIN_ARM
from .exposure import ALL, Exposure, exposures

Array = NDArray[np.float64]

LEVELS: Final = ("free", "confirm", "multi-party")
"""From loose to strict."""
CONFIRMING: Final = ("confirm", "defer", "ask", "review", "escalate")
"""Actions that put a decision before a person; their logged cost is what confirming costs."""
SCHEDULE: Final = {
    **dict.fromkeys(("layer", "decision_point", "action_class", "level", "cheapest"), pl.String),
    **{f"p_{name}": pl.Float64 for name in ("free", "confirm", "multi_party")},
    **{f"usd_{name}": pl.Float64 for name in ("free", "confirm", "multi_party")},
    **dict.fromkeys(("loss_usd", "loss_lower", "loss_upper", "ask_usd", "caught"), pl.Float64),
    **dict.fromkeys(("n", "events", "clusters"), pl.Int64),
    **dict.fromkeys(("grade", "method", "reason"), pl.String),
}
"""Columns of the schedule. level: the one to use; cheapest: the one with the smallest expected cost; p_*:
probability that a level is the cheapest; usd_*: its expected cost per decision; loss_*: USD that a free
decision risks; caught: share of bad actions that one person stops. Without a level there is a reason."""
_DRAWS: Final = 4000
_PRIOR: Final = 0.5
"""Jeffreys prior of a probability: half an event and half a non-event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asking:
    """Draws (B,) of what one question costs in USD and of the shares of bad actions it stops and of good ones
    it lets pass; delay_usd: what a good action loses when stopped. method: where they come from."""

    ask: Array
    caught: Array
    passed: Array
    delay_usd: float
    method: str


def autonomy_schedule(
    decisions: pl.DataFrame,
    *,
    config: Config,
    seed: int,
    reviews: Reviews | None = None,
    parties: int = 2,
    cap_usd: float | None = None,
) -> pl.DataFrame:
    """Per action class the level that minimises H + rho R, with its probability of being the cheapest.

    Free costs rho R = rho P(incident) loss, of decisions that did not ask. Confirming costs
    H + (1 - s) rho R + (1 - p) P(good) delay, and `parties` people who err independently
    k H + (1 - s)^k rho R + (1 - p^k) P(good) delay; s, p: sensitivity and specificity of one person. Every
    number is drawn from its uncertainty: incident rates from the law whose 95 % point is the exact upper
    bound, so that a class without incidents is not free of risk; losses log-normal within their interval.
    Where a stricter level is not verifiably dearer than the cheapest one, the strictest such one is taken.

    reviews: what people catch and what asking costs. Without it the cost, and how much of the incidents is
    left after asking, are read off decisions whose action is one of CONFIRMING; refused without either.
    rho: the user's risk price, per USD of loss or instead of it per event, else 1. cap_usd: the largest loss
    of one incident, for classes whose mean loss is not known.

    Raises: SchemaError for a frame not in the layout, ConfigError for fewer than two parties.
    Source: METHODS D5.
    """
    check_frame(decisions)
    if parties < 2:
        raise ConfigError(f"{parties} parties", where="autonomy_schedule", expected="at least 2")
    rows: list[dict[str, Any]] = []
    with threadpool_limits(limits=1):
        for problem in problems(decisions, config):
            free = ~problem.frame["action"].is_in(CONFIRMING).to_numpy()
            found = exposures(problem, cap_usd=cap_usd, seed=seed, among=free)
            if isinstance(found, str) or len(found) < 2:
                why = found if isinstance(found, str) else "no decision says how far its action reaches"
                rows.append(_refused(problem, None, None, why))
                continue
            rng = np.random.default_rng(seed)
            asking = _asking(problem, config, reviews, rng)
            for exposure in found[1:]:
                rows.append(_scheduled(problem, exposure, found[0], asking, config, parties, cap_usd, rng))
    return pl.DataFrame(rows, schema=SCHEDULE, orient="row")


def _scheduled(
    problem: Problem,
    e: Exposure,
    whole: Exposure,
    asking: _Asking | str,
    config: Config,
    parties: int,
    cap_usd: float | None,
    rng: np.random.Generator,
) -> dict[str, Any]:
    if e.fault is not None or isinstance(asking, str):
        return _refused(problem, e.segment, e, e.fault or str(asking))
    rate = rng.beta(e.rate * e.trials + 1.0, max(e.trials * (1.0 - e.rate), _PRIOR), _DRAWS)
    size = _loss_per_incident(e, whole, config, cap_usd, rng)
    if isinstance(size, str):
        return _refused(problem, e.segment, e, size)
    loss = rate * size[0]
    costs = _costs(loss, rate, asking, parties)
    usd = costs.mean(axis=0)
    cheapest = int(usd.argmin())
    level = max(
        k for k in range(cheapest, 3) if k == cheapest or not _dearer(costs[:, k] - costs[:, cheapest])
    )
    share = np.bincount(costs.argmin(axis=1), minlength=3) / _DRAWS
    lower, upper = percentiles(loss)
    row = _row(problem, e.segment, e)
    row |= {"level": LEVELS[level], "cheapest": LEVELS[cheapest]}
    for k, name in enumerate(("free", "confirm", "multi_party")):
        row |= {f"p_{name}": float(share[k]), f"usd_{name}": float(usd[k])}
    row |= {"loss_usd": float(loss.mean()), "loss_lower": lower, "loss_upper": upper, "grade": "C"}
    row |= {"ask_usd": float(asking.ask.mean()), "caught": float(asking.caught.mean())}
    row["method"] = f"{size[1]}; {asking.method}; {parties} parties err independently"
    return row | {"reason": _doubt(level, cheapest, e)}


def _doubt(level: int, cheapest: int, e: Exposure) -> str | None:
    none = f"no incident among {e.n} decisions: its risk is a bound" if not e.events else None
    if level == cheapest:
        return none
    why = f"{LEVELS[level]} is not verifiably dearer than {LEVELS[cheapest]}, so the stricter level is taken"
    return f"{why}; {none}" if none else why


def _dearer(extra: Array) -> bool:
    """Whether the interval of an extra cost lies above 0."""
    return percentiles(extra)[0] > 0.0


def _costs(loss: Array, rate: Array, asking: _Asking, parties: int) -> Array:
    """(B, 3) USD per decision of each level."""
    missed, passed = 1.0 - asking.caught, asking.passed
    columns = [loss]
    for k in (1, parties):
        stopped = (1.0 - passed**k) * (1.0 - rate) * asking.delay_usd
        columns.append(k * asking.ask + missed**k * loss + stopped)
    return np.column_stack(columns)


def _loss_per_incident(
    e: Exposure, whole: Exposure, config: Config, cap_usd: float | None, rng: np.random.Generator
) -> tuple[Array, str] | str:
    """Draws (B,) of rho times the loss of one incident, USD, and how they were made."""
    price = config.prices.risk
    if price is not None and price.unit == "USD/event":
        return np.full(_DRAWS, price.value), f"{price.value:g} USD an incident, as set"
    rho = price.value if price is not None else 1.0
    load = f", times the risk price {rho:g}" if price is not None else ""
    if not isinstance(e.severity, str):
        return rho * _positive(e.severity, rng), f"mean loss of its own incidents{load}"
    if cap_usd is not None:
        return np.full(_DRAWS, rho * cap_usd), f"{e.severity}: every incident at {cap_usd:g} USD{load}"
    if not isinstance(whole.severity, str):
        pooled = f"{e.severity}: mean loss of all classes{load}"
        return rho * _positive(whole.severity, rng), pooled
    return f"{e.severity}; state the largest loss (cap_usd) or a risk price in USD/event"


def _positive(loss: Interval, rng: np.random.Generator) -> Array:
    """Draws (B,) around a positive mean loss, as far on the log scale as its interval reaches."""
    z, c = rng.normal(size=_DRAWS), critical_t(math.inf)
    up = math.log(loss.upper / loss.value) / c
    down = math.log(loss.value / loss.lower) / c if loss.lower > 0.0 else up
    return loss.value * np.exp(z * np.where(z > 0.0, up, down))


def _asking(
    problem: Problem, config: Config, reviews: Reviews | None, rng: np.random.Generator
) -> _Asking | str:
    """What asking costs and catches, as stated or as logged."""
    if reviews is None:
        return _logged_asking(problem, config, rng)
    if reviews.bad >= MIN_BAD:
        caught = rng.beta(_PRIOR + reviews.caught, _PRIOR + reviews.bad - reviews.caught, _DRAWS)
        passed = rng.beta(_PRIOR + reviews.passed, _PRIOR + reviews.good - reviews.passed, _DRAWS)
    elif reviews.sensitivity is not None and reviews.specificity is not None:
        caught, passed = np.full(_DRAWS, reviews.sensitivity), np.full(_DRAWS, reviews.specificity)
    else:
        return f"{reviews.bad} bad actions were reviewed; {MIN_BAD}, or a stated sensitivity, are needed"
    ask = np.full(_DRAWS, reviews.ask_usd)
    method = f"asking as stated, {reviews.bad} bad actions reviewed"
    return _Asking(ask=ask, caught=caught, passed=passed, delay_usd=reviews.delay_usd, method=method)


def _logged_asking(problem: Problem, config: Config, rng: np.random.Generator) -> _Asking | str:
    """The cost of logged questions, and the incidents left after them against those without one.

    Who is asked may differ from who is not in more than the asking: an association, grade C at best.
    """
    asked = problem.frame["action"].is_in(CONFIRMING).to_numpy()
    refused = "what asking costs and catches is neither stated (reviews) nor logged"
    if asked.sum() < MIN_ARM or (~asked).sum() < MIN_ARM:
        return f"{refused}: {int(asked.sum())} decisions of {MIN_ARM} asked first"
    if effective_clusters(problem.cluster, asked) < MIN_CLUSTERS:
        return f"{refused} in {MIN_CLUSTERS:.0f} clusters or more"
    price = config.prices.latency.value if config.prices.latency is not None else 0.0
    frame = problem.frame
    cost = frame["cost_usd"].cast(pl.Float64).fill_null(float("nan")).to_numpy().copy()
    if price:
        cost += price * frame["latency_s"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    extra = _mean(problem, cost, asked), _mean(problem, cost, ~asked)
    hurt = problem.frame["incident"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    left, before = _mean(problem, hurt, asked), _mean(problem, hurt, ~asked)
    if None in (*extra, left, before):
        return f"{refused}: the cost or the incidents of asking are not logged"
    means = [m for m in (*extra, left, before) if m is not None]
    draws = [rng.normal(value, se, _DRAWS) for value, se in means]
    if means[3][0] <= 0.0:
        return (
            f"{refused}: without an incident among decisions that did not ask, nothing shows what it catches"
        )
    caught = np.clip(1.0 - draws[2] / np.maximum(draws[3], 1e-12), 0.0, 1.0)
    return _Asking(
        ask=np.maximum(draws[0] - draws[1], 0.0),
        caught=caught,
        passed=np.ones(_DRAWS),
        delay_usd=0.0,
        method=f"asking as logged in {int(asked.sum())} decisions, by association",
    )


def _mean(problem: Problem, y: Array, member: NDArray[np.bool_]) -> tuple[float, float] | None:
    """Mean of the known y of `member` with its clustered standard error; None where too few are known."""
    seen = member & np.isfinite(y)
    if seen.sum() < MIN_ARM:
        return None
    h = np.where(seen, problem.weight, 0.0)
    sums = cluster_sums(np.where(seen, y, 0.0)[:, None], h, problem.cluster, len(problem.cluster_ids))
    if int((sums.weight > 0).sum()) < 2:
        return None
    mean = weighted_mean(sums)
    return float(mean.theta[0]), math.sqrt(float(mean.cov[0, 0]))


def _row(problem: Problem, segment: str | None, e: Exposure | None) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(SCHEDULE)
    row |= {"layer": problem.layer, "decision_point": problem.decision_point}
    row["action_class"] = None if segment in (None, ALL) else str(segment).removeprefix("action_class=")
    if e is not None:
        row |= {"n": e.n, "events": e.events, "clusters": e.clusters}
    return row


def _refused(problem: Problem, segment: str | None, e: Exposure | None, reason: str) -> dict[str, Any]:
    return _row(problem, segment, e) | {"grade": "N", "method": "none", "reason": reason}
