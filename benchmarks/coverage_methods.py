"""The methods of the coverage benchmark: each turns a drawn world into one interval, or into a refusal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

import numpy as np
import polars as pl
import shadowprice as sp
from coverage_regimes import World
from numpy.typing import NDArray
from shadowprice.errors import SchemaError
from shadowprice.estimators.gates import trim_threshold
from shadowprice.ingest.simulator.regime import TRUTH_ROWS, KnownWorld, Regime, contrast, draw, truth
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LassoCV, LogisticRegression
from sklearn.model_selection import KFold

Array = NDArray[np.float64]

Z: Final = 1.959964
CONTEXT: Final = ("x_difficulty", "x_length", "x_budget")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One interval beside the truth that it speaks of; value None is a refusal with its reason."""

    value: float | None
    lower: float | None
    upper: float | None
    truth: float
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """A logged world as plain arrays, rows with a label only. e: logged probabilities or None."""

    x: Array
    arm: NDArray[np.int64]
    y: Array
    e: Array | None
    weight: Array
    arms: int


def ours(world: World, drawn: KnownWorld, frame: pl.DataFrame) -> Answer:
    """What a user of `sp.estimate` reads first."""
    last = f"a{world.regime.actions - 1}"
    try:
        rows = sp.estimate(frame, baseline="a0", seed=0).where(
            quantity="quality", segment="all", action=last, baseline="a0"
        )
    except SchemaError as error:  # a baseline that no decision took
        return Answer(value=None, lower=None, upper=None, truth=np.nan, note=str(error))
    first = rows[0] if rows else None
    if first is None or first.value is None:
        reason = first.reason if first is not None else "no estimate"
        return Answer(value=None, lower=None, upper=None, truth=np.nan, note=reason or "")
    known = _truth(world.regime, drawn, first.estimand, first.reason or "")
    return Answer(value=first.value, lower=first.lower, upper=first.upper, truth=known, note=first.estimand)


def _truth(regime: Regime, drawn: KnownWorld, estimand: str, reason: str) -> float:
    if regime.adaptive or estimand == "ATE":
        return truth(regime).ate
    if "trimmed" not in reason:
        return truth(regime).ato
    last = regime.actions - 1
    alpha = trim_threshold(drawn.e[:, last], drawn.e[:, 0])
    large = _population(regime)
    share = large.e[:, last] / (large.e[:, last] + large.e[:, 0])
    inside = np.minimum(share, 1 - share) >= alpha
    return contrast(large.e[inside], large.mean[inside], last, 0, overlap_weighted=estimand == "ATO")


@lru_cache(maxsize=4)
def _population(regime: Regime) -> KnownWorld:
    clusters = None if regime.clusters is None else 40_000
    large = replace(regime, n=TRUTH_ROWS // 2, clusters=clusters, keep_share=1.0, label_share=1.0)
    return draw(replace(large, corrupt=0.0, judge_bias=None), seed=99)


def oracle(world: World, drawn: KnownWorld, _: pl.DataFrame) -> Answer:
    """The overlap-weighted interval of someone who knows the true means and propensities, 1.96 se."""
    kept, last = drawn.kept, world.regime.actions - 1
    e, mean, taken = drawn.e[kept], drawn.mean[kept], drawn.taken[kept]
    frame = drawn.frame
    y = frame["quality"].cast(pl.Float64).fill_null(0.0).to_numpy()
    chance = _column(frame, "label_prob")
    seen = frame["quality"].is_not_null().to_numpy()
    weight = 1.0 / _column(frame, "keep_prob")
    d = mean[:, last] - mean[:, 0]
    for arm, sign in ((last, 1.0), (0, -1.0)):
        d = d + sign * ((taken == arm) & seen) * (y - mean[:, arm]) / (e[:, arm] * chance)
    h = weight * e[:, last] * e[:, 0] / (e[:, last] + e[:, 0])
    value, se = _clustered_mean(d, h, _codes(frame))
    known = truth(world.regime)
    return _wald(value, se, known.ate if world.regime.adaptive else known.ato)


def wald(world: World, _: KnownWorld, frame: pl.DataFrame) -> Answer:
    """Plain AIPW of the ATE: logits cross-fitted on the raw context, logged propensities, 1.96 se, i.i.d."""
    r = _rows(world, frame)
    last = world.regime.actions - 1
    e = np.zeros((r.y.size, r.arms)) if r.e is None else r.e
    mu = np.zeros((r.y.size, 2))
    for train, test in KFold(5, shuffle=True, random_state=0).split(r.x):
        if r.e is None:
            e[test] = LogisticRegression().fit(r.x[train], r.arm[train]).predict_proba(r.x[test])
        for column, arm in enumerate((0, last)):
            own = train[r.arm[train] == arm]
            mu[test, column] = _mean_model(r.x[own], r.y[own], r.x[test])
    d = mu[:, 1] - mu[:, 0]
    for column, arm, sign in ((1, last, 1.0), (0, 0, -1.0)):
        d = d + sign * (r.arm == arm) * (r.y - mu[:, column]) / e[:, arm]
    value, se = _clustered_mean(d, r.weight, np.arange(d.size))
    return _wald(value, se, truth(world.regime).ate)


def econml_linear(world: World, _: KnownWorld, frame: pl.DataFrame) -> Answer:
    """econml LinearDRLearner with logit and lasso; its API takes no logged propensities."""
    from econml.dr import LinearDRLearner

    return _econml(LinearDRLearner, {"model_regression": LassoCV(cv=3)}, world, frame)


def econml_forest(world: World, _: KnownWorld, frame: pl.DataFrame) -> Answer:
    """econml ForestDRLearner with logit and forest; its API takes no logged propensities."""
    from econml.dr import ForestDRLearner

    means = RandomForestRegressor(n_estimators=100, min_samples_leaf=10, random_state=0, n_jobs=1)
    models = {"model_regression": means, "n_estimators": 100, "n_jobs": 1}
    return _econml(ForestDRLearner, models, world, frame)


def _econml(kind: Any, models: dict[str, Any], world: World, frame: pl.DataFrame) -> Answer:
    r, last = _rows(world, frame), world.regime.actions - 1
    model: Any = kind(model_propensity=LogisticRegression(), cv=5, random_state=0, **models)
    model.fit(r.y, r.arm, X=r.x, sample_weight=r.weight if np.ptp(r.weight) > 0 else None)
    inference = model.ate_inference(r.x, T0=0, T1=last)
    lower, upper = inference.conf_int_mean(alpha=0.05)
    return Answer(
        value=float(np.ravel(inference.mean_point)[0]),
        lower=float(np.ravel(lower)[0]),
        upper=float(np.ravel(upper)[0]),
        truth=truth(world.regime).ate,
        note="ATE",
    )


def double_ml(world: World, _: KnownWorld, frame: pl.DataFrame) -> Answer:
    """doubleml's average potential outcomes, logit and lasso; no logged propensities, no sampling weights."""
    import doubleml

    r, last = _rows(world, frame), world.regime.actions - 1
    data = doubleml.DoubleMLData.from_arrays(r.x, r.y, r.arm.astype(float))
    model = doubleml.DoubleMLAPOS(
        data,
        ml_g=LassoCV(cv=3),
        ml_m=LogisticRegression(),
        treatment_levels=[0.0, float(last)],
        n_folds=5,
    )
    model.fit()
    effect = model.causal_contrast(reference_levels=0.0)
    lower, upper = effect.confint(level=0.95).iloc[0]
    return Answer(
        value=float(effect.thetas[0]),
        lower=float(lower),
        upper=float(upper),
        truth=truth(world.regime).ate,
        note="ATE",
    )


METHODS: Final[dict[str, Callable[[World, KnownWorld, pl.DataFrame], Answer]]] = {
    "ours": ours,
    "oracle": oracle,
    "wald": wald,
    "econml linear": econml_linear,
    "doubleml": double_ml,
    "econml forest": econml_forest,
}


def _wald(value: float, se: float, known: float) -> Answer:
    return Answer(value=value, lower=value - Z * se, upper=value + Z * se, truth=known, note="")


def _clustered_mean(d: Array, h: Array, cluster: NDArray[np.int64]) -> tuple[float, float]:
    value = float((h * d).sum() / h.sum())
    sums = np.bincount(cluster, weights=h * (d - value))
    return value, float(np.sqrt((sums**2).sum()) / h.sum())


def _mean_model(x: Array, y: Array, new: Array) -> Array:
    if not np.isin(y, (0.0, 1.0)).all():
        return np.full(len(new), y.mean()) if len(y) < 5 else LassoCV(cv=3).fit(x, y).predict(new)
    if y.min() == y.max():
        return np.full(len(new), y[0])
    return LogisticRegression().fit(x, y).predict_proba(new)[:, 1]


def _column(frame: pl.DataFrame, name: str) -> Array:
    return frame[name].to_numpy() if name in frame.columns else np.ones(frame.height)


def _codes(frame: pl.DataFrame) -> NDArray[np.int64]:
    return np.unique(frame["session_id"].to_numpy().astype(str), return_inverse=True)[1].astype(np.int64)


def _rows(world: World, frame: pl.DataFrame) -> Rows:
    seen = frame.filter(pl.col("quality").is_not_null())
    logged = "propensities" in seen.columns
    return Rows(
        x=seen.select(CONTEXT).to_numpy(),
        arm=seen["action"].str.slice(1).cast(pl.Int64).to_numpy(),
        y=seen["quality"].cast(pl.Float64).to_numpy(),
        e=np.array(seen["propensities"].to_list()) if logged else None,
        weight=1.0 / _column(seen, "keep_prob"),
        arms=world.regime.actions,
    )
