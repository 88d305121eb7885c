"""The prices at which a policy behaves as if it knew them: what a second, a risk, a solved task is to it.

They describe the policy, not the world: next to fitted prices they show what it gets wrong.
"""

from __future__ import annotations

from typing import Final

from ...schemas.config import Config
from ...schemas.records import Grade, Price
from ...schemas.units import LATENCY_PRICE, TASK_VALUE
from ..confidence import LEVEL, critical_t
from ..scores import Scores
from .attributes import COST, Offers, offers
from .behaviour import Behaviour, behaviour_of
from .break_even import Ratio, fieller
from .inverse import PriceSet, feasible_prices

REVEALED: Final = {
    "revealed_latency_price": (2, "λ_rev"),
    "revealed_risk_price": (3, "ρ_rev"),
    "revealed_task_value": (0, "V_rev"),
}
"""Name of each revealed price: its attribute's position, its symbol."""
_INSENSITIVE: Final = "the choices show no sensitivity to cost: the interval of its weight covers 0"
_UPSIDE_DOWN: Final = (
    "the choices favour the dearer action at equal quality, so no dollar price describes them"
)
_NEGATIVE: Final = {
    2: "the choices favour the slower action, other things equal",
    3: "the choices favour the riskier action, other things equal",
    0: "the choices favour the worse action, other things equal",
}


def revealed_prices(scores: Scores, *, config: Config, seed: int) -> tuple[Price, ...]:
    """What a second (USD/s), a unit of risk and a solved task (USD/task) are worth to one decision point.

    lambda = b_L / b_C, rho = b_R / b_C, V = b_Q / b_C of a conditional logit with attributes predicted before
    the decision, in Fieller intervals; in the policy's own dollars, of which one is worth 1 (METHODS 0.1).
    Where a rule fixed the choices: the set of prices under which they are best, as a range without a value.
    Refused without sensitivity to cost, and where the predictions cannot be told from noise. Grade C at best:
    what else moves a policy is not in the log.

    Source: McFadden 1974; Fieller 1954; Mohajerin Esfahani et al. 2018; METHODS E3.
    """
    found = offers(scores, config=config, seed=seed)
    if isinstance(found, str):
        at = scores.problem.layer, scores.problem.decision_point
        unit = "USD/USD" if scores.problem.risk_in_dollars else "USD/event"
        return tuple(_refused(name, *at, unit, found) for name in REVEALED)
    if found.fixed:
        return _of_rule(found, feasible_prices(found, seed=seed))
    fit = behaviour_of(found)
    if isinstance(fit, str):
        return tuple(
            _refused(name, found.layer, found.decision_point, found.risk_unit, fit) for name in REVEALED
        )
    return prices_of(fit)


def prices_of(fit: Behaviour) -> tuple[Price, ...]:
    """The three revealed prices of a fitted behaviour, each with its Fieller interval or its reason."""
    return tuple(_price(name, fit) for name in REVEALED)


def price_ratio(fit: Behaviour, attribute: int) -> Ratio:
    """The weight of an attribute over the weight of a dollar, with its Fieller interval or the reason."""
    reason = fit.absent[COST] or fit.absent[attribute]
    if reason is not None:
        return Ratio(value=None, lower=None, upper=None, level=LEVEL, reason=reason)
    cov, weight, scale = fit.cov, fit.weight, fit.mean_value if attribute == 0 else 1.0
    ratio = fieller(
        scale * float(weight[attribute]),
        float(weight[COST]),
        scale**2 * float(cov[attribute, attribute]),
        scale * float(cov[attribute, COST]),
        float(cov[COST, COST]),
        critical_t(fit.df),
        level=LEVEL,
    )
    if ratio.value is None:
        return Ratio(value=None, lower=None, upper=None, level=LEVEL, reason=_INSENSITIVE)
    if weight[COST] < 0.0:
        return Ratio(value=None, lower=None, upper=None, level=LEVEL, reason=_UPSIDE_DOWN)
    return ratio


def unit_of(name: str, risk_unit: str) -> str:
    """The unit of a revealed price."""
    return {"revealed_latency_price": LATENCY_PRICE, "revealed_task_value": TASK_VALUE}.get(name, risk_unit)


def _price(name: str, fit: Behaviour) -> Price:
    attribute, symbol = REVEALED[name]
    ratio = price_ratio(fit, attribute)
    sign = _NEGATIVE[attribute] if ratio.upper is not None and ratio.upper < 0.0 else None
    constants = "a constant per action" if fit.constants else "no constant per action"
    return Price(
        name=name,
        symbol=symbol,
        unit=unit_of(name, fit.risk_unit),
        source="revealed",
        value=ratio.value,
        lower=ratio.lower,
        upper=ratio.upper,
        level=LEVEL,
        layer=fit.layer,
        decision_point=fit.decision_point,
        grade=fit.grade if ratio.value is not None else "N",
        n=fit.n,
        clusters=fit.clusters,
        method=f"conditional logit, {constants}, predictions corrected for noise, Fieller interval; "
        + "; ".join(fit.notes),
        reason=ratio.reason or sign,
    )


def _of_rule(found: Offers, sets: dict[int, PriceSet] | str) -> tuple[Price, ...]:
    """Ranges without a value: a rule reveals a set of prices, not one."""
    out: list[Price] = []
    for name, (attribute, symbol) in REVEALED.items():
        own = (
            sets
            if isinstance(sets, str)
            else sets.get(attribute, "its attribute is not known for every action")
        )
        bounded = not isinstance(own, str)
        grade: Grade = "D" if bounded else "N"
        scale = found.mean_value if attribute == 0 else 1.0
        out.append(
            Price(
                name=name,
                symbol=symbol,
                unit=unit_of(name, found.risk_unit),
                source="revealed",
                lower=scale * own.lower if bounded else None,
                upper=scale * own.upper if bounded and own.upper is not None else None,
                layer=found.layer,
                decision_point=found.decision_point,
                grade=grade,
                n=found.choices.n,
                clusters=len(found.cluster_ids),
                method=own.method if bounded else "none",
                reason=own.reason if bounded else own,
            )
        )
    return tuple(out)


def _refused(name: str, layer: str, point: str, risk_unit: str, reason: str) -> Price:
    return Price(
        name=name,
        symbol=REVEALED[name][1],
        unit=unit_of(name, risk_unit),
        source="revealed",
        layer=layer,
        decision_point=point,
        grade="N",
        method="none",
        reason=reason,
    )
