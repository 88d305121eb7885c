"""One decision point as arrays: outcomes, arms, clusters, weights; from a frame in the decisions layout."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..errors import SchemaError
from ..schemas.columns import DECISIONS, FEATURE_PREFIX, REPEATED_CONTEXT
from ..schemas.config import Config, Identified
from ..schemas.records import QUANTITIES
from ..schemas.store import Store
from .steps import SKIP, asked_at_each_step, spent_from_here, with_history

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

RISK: Final = 3
"""Position of risk among the outcomes."""
_REQUIRED: Final = ("decision_id", "layer", "decision_point", "action")
_MIN_TENANTS: Final = 30
"""With fewer tenants a tenant is too coarse a cluster for a t interval (METHODS A1)."""
_FEW: Final = 30
"""Rows of an action from which a feature that it never has is taken to belong to the other actions."""
_SUM_SLACK: Final = 1e-3
"""Rounding allowed in the sum of the probabilities of one decision."""
_CONTEXT: Final = {
    ("serving", "reuse"): ("cache_similarity", "cache_age_s"),
    ("training", "keep"): ("version_lag", "reward"),
}
"""Fixed columns that are known before the action at these decision points."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """All decisions at one decision point. n rows, K arms in sorted order.

    outcomes: (n, 4) in the order of QUANTITIES, NaN where not observed. arm: (n,) index into arms.
    cluster: (n,) codes into cluster_ids. weight: (n,) 1 / keep_prob.
    events: which outcomes are events, so that they must be counted: a quality of 0 or 1, incidents,
    losses. risk_in_dollars: risk is the loss, else the incident. stepwise: a row is a step of a request,
    with what followed from there on as its outcome. left_out: features that only come with
    some of the actions, so that they are no context. declared: the identification class that the user
    states for this decision point.
    """

    layer: str
    decision_point: str
    frame: pl.DataFrame
    arms: tuple[str, ...]
    arm: Ints
    outcomes: Array
    cluster: Ints
    cluster_ids: tuple[str, ...]
    cluster_key: str
    weight: Array
    features: tuple[str, ...]
    left_out: tuple[str, ...]
    events: tuple[bool, bool, bool, bool]
    risk_in_dollars: bool
    stepwise: bool = False
    declared: Identified | None = None

    @property
    def n(self) -> int:
        """Number of decisions."""
        return self.frame.height

    def arm_index(self, name: str) -> int:
        """The position of arm `name`."""
        return self.arms.index(name)


def check_frame(frame: pl.DataFrame) -> None:
    """Refuse a frame that is not in the decisions layout.

    Raises: SchemaError for missing required columns, unknown columns ("did you mean"), repeated ids, and
    values that no decision can have (propensity, keep_prob or label_prob not in (0, 1], lists of
    probabilities that are no distribution, infinite outcomes or features).
    """
    known = [c.name for c in DECISIONS]
    for name in _REQUIRED:
        if name not in frame.columns:
            raise SchemaError(f"column '{name}' is missing", where="decisions", expected=", ".join(_REQUIRED))
    for name in frame.columns:
        if name not in known and not name.startswith(FEATURE_PREFIX):
            close = difflib.get_close_matches(name, known, n=1)
            cure = f"Did you mean '{close[0]}'?" if close else "Name context features x_*."
            raise SchemaError(f"unknown column '{name}'", where="decisions", cure=cure)
    for name in _REQUIRED:
        if frame[name].null_count():
            raise SchemaError("null values", where=f"decisions.{name}", expected="a value in every row")
    for name in ("propensity", "keep_prob", "label_prob"):
        _check_range(frame, name, low=0.0, high=1.0, low_open=True)
    for name in ("quality", "judge_score"):
        _check_range(frame, name, low=0.0, high=1.0)
    for name in ("cost_usd", "latency_s", "loss_usd"):
        _check_range(frame, name, low=0.0, high=np.inf)
    for name in frame.columns:
        if name.startswith(FEATURE_PREFIX) and frame[name].dtype.is_float():
            _check_finite(frame[name])
    _check_lists(frame)
    _check_ids(frame["decision_id"])


def _check_finite(feature: pl.Series) -> None:
    infinite = feature.is_infinite().fill_null(value=False)
    if infinite.any():
        row = int(infinite.arg_true()[0])
        raise SchemaError(
            f"{feature.name} is {feature[row]}",
            where=f"decisions row {row}",
            expected="a finite number or null",
        )


def _check_ids(ids: pl.Series) -> None:
    repeated = ids.filter(ids.is_duplicated())
    if repeated.len():
        found = f"decision_id '{repeated[0]}' appears {(ids == repeated[0]).sum()} times"
        raise SchemaError(found, where="decisions", expected="one row per decision")


def _check_lists(frame: pl.DataFrame) -> None:
    """Every list of probabilities must be a distribution over the candidates beside it."""
    if not {"candidates", "propensities"} <= set(frame.columns):
        return
    lists = frame.select("candidates", "propensities", row=pl.int_range(pl.len()))
    if pl.Null in (lists["candidates"].dtype, lists["propensities"].dtype):
        return
    shares = pl.col("propensities").cast(pl.List(pl.Float64))
    element = pl.element()
    possible = element.is_not_nan() & (element >= 0.0) & (element <= 1.0)
    bad = lists.drop_nulls("propensities").filter(
        (shares.list.len() != pl.col("candidates").list.len()).fill_null(value=True)
        | ~shares.list.eval(possible.fill_null(value=False)).list.all()
        | ((shares.list.sum() - 1.0).abs() > _SUM_SLACK)
    )
    if bad.height:
        row = bad.row(0, named=True)
        raise SchemaError(
            f"propensities are {row['propensities']} for candidates {row['candidates']}",
            where=f"decisions row {row['row']}",
            expected="one probability for each candidate, adding up to 1",
        )


def _check_range(frame: pl.DataFrame, name: str, *, low: float, high: float, low_open: bool = False) -> None:
    if name not in frame.columns:
        return
    kind = frame[name].dtype
    if not (kind.is_numeric() or kind == pl.Boolean or kind == pl.Null):
        raise SchemaError(f"{name} is {kind}", where="decisions", expected="a number")
    x = frame[name].cast(pl.Float64)
    below = (x <= low) if low_open else (x < low)
    bad = (x.is_nan() | x.is_infinite() | below | (x > high)).fill_null(value=False)
    if bad.any():
        row = int(bad.arg_true()[0])
        bracket = "(" if low_open else "["
        raise SchemaError(
            f"{name} is {x[row]}", where=f"decisions row {row}", expected=f"{bracket}{low:g}, {high:g}]"
        )


def problems(frame: pl.DataFrame, config: Config) -> Iterator[Problem]:
    """The decision points of `frame`, in order of layer and name."""
    full = _with_all_columns(frame)
    spread = _request_totals(full)
    for (layer, point), rows in sorted(
        full.group_by("layer", "decision_point"), key=lambda item: str(item[0])
    ):
        stepwise = layer == "agent" and point in config.optional_points and asked_at_each_step(rows)
        if stepwise:
            kept = spent_from_here(with_history(rows), full)
        elif layer == "agent":
            kept = _cost_to_completion(_one_per_request(rows, config), spread)
        else:
            kept = rows
        yield _problem(str(layer), str(point), kept, config, stepwise=stepwise)


def only_problem(decisions: pl.DataFrame | pl.LazyFrame | Store, config: Config) -> Problem:
    """The decision point of decisions that hold one.

    Raises: SchemaError when they hold several or none, or are not in the layout.
    """
    lazy = decisions.decisions() if isinstance(decisions, Store) else decisions.lazy()
    frame = lazy.collect()
    check_frame(frame)
    found = list(problems(frame, config))
    if len(found) != 1:
        names = f" ({', '.join(f'{p.layer}.{p.decision_point}' for p in found)})" if found else ""
        cure = "Filter the frame by decision_point." if found else None
        raise SchemaError(
            f"{len(found)} decision points{names}", where="decisions", expected="one", cure=cure
        )
    return found[0]


def check_taken(problem: Problem, name: str) -> None:
    """Refuse an action that no decision of `problem` took.

    Raises: SchemaError naming the actions that were taken.
    """
    if name not in problem.arms:
        raise SchemaError(
            f"no decision took '{name}'", where="decisions.action", expected=" or ".join(problem.arms)
        )


def _with_all_columns(frame: pl.DataFrame) -> pl.DataFrame:
    absent = [c for c in DECISIONS if c.name not in frame.columns]
    kinds = {"double": pl.Float64, "int64": pl.Int64, "bool": pl.Boolean, "string": pl.String}
    types = {c.name: kinds.get(str(c.dtype), pl.Null) for c in absent}
    return frame.with_columns(pl.lit(None, dtype=t).alias(name) for name, t in types.items())


def _request_totals(frame: pl.DataFrame) -> pl.DataFrame:
    """Cost and latency of each request, from router and agent rows; null when a model call has no cost.

    Skipped steps cost nothing and prove nothing: a request with no other cost has an unknown one.
    """
    taken = pl.col("layer").is_in(["router", "agent"]) & (pl.col("action") != SKIP)
    own = frame.filter(taken & pl.col("request_id").is_not_null())
    unpriced = (pl.col("cost_source") == "unpriced").fill_null(value=False)
    unknown = (pl.col("layer") == "router") & pl.col("cost_usd").is_null()
    known = pl.col("cost_usd").is_not_null().any() & ~(unpriced | unknown).any()
    timed = pl.col("latency_s").is_not_null().any()
    return own.group_by("request_id").agg(
        cost_usd=pl.when(known).then(pl.col("cost_usd").sum()),
        latency_s=pl.when(timed).then(pl.col("latency_s").sum()),
    )


def _cost_to_completion(rows: pl.DataFrame, totals: pl.DataFrame) -> pl.DataFrame:
    """Agent rows carry what their whole request cost: a step that saves a later retry must show it.

    A row without a request id keeps its own.
    """
    whole = rows.join(totals, on="request_id", how="left", maintain_order="left", suffix="_request")
    alone = pl.col("request_id").is_null()
    return whole.with_columns(
        pl.when(alone).then(name).otherwise(f"{name}_request").alias(name)
        for name in ("cost_usd", "latency_s")
    ).drop("cost_usd_request", "latency_s_request")


def _one_per_request(rows: pl.DataFrame, config: Config) -> pl.DataFrame:
    """At optional points the question is asked once per request: the first taken row answers it."""
    point = rows["decision_point"][0]
    if point not in config.optional_points or SKIP not in rows["action"].unique():
        return rows
    order = rows.sort(pl.col("action") == SKIP, "step", "ts", "decision_id", nulls_last=True)
    lone = pl.col("request_id").is_null()
    return pl.concat([order.filter(lone), order.filter(~lone).unique("request_id", keep="first")]).sort(
        "decision_id"
    )


def _problem(layer: str, point: str, rows: pl.DataFrame, config: Config, *, stepwise: bool) -> Problem:
    rows = rows.sort("decision_id")
    arms = tuple(sorted(rows["action"].unique().to_list()))
    codes = {name: i for i, name in enumerate(arms)}
    key, ids = _clusters(rows, config)
    features = _features(rows, layer, point, key)
    left_out = tuple(n for n in features if not _known_before(rows, n))
    outcomes, in_dollars = _outcomes(rows, config)
    quality = outcomes[:, 0]
    graded = not bool(np.isin(quality[~np.isnan(quality)], (0.0, 1.0)).all())
    names, cluster = np.unique(ids.to_numpy().astype(str), return_inverse=True)
    return Problem(
        layer=layer,
        decision_point=point,
        frame=rows,
        arms=arms,
        arm=rows["action"].replace_strict(codes, return_dtype=pl.Int64).to_numpy(),
        outcomes=outcomes,
        cluster=cluster.astype(np.int64),
        cluster_ids=tuple(names.tolist()),
        cluster_key=key,
        weight=1.0 / rows["keep_prob"].cast(pl.Float64).fill_null(1.0).to_numpy(),
        features=tuple(n for n in features if n not in left_out),
        left_out=left_out,
        events=(not graded, False, False, True),
        risk_in_dollars=in_dollars,
        stepwise=stepwise,
        declared=config.declared(point),
    )


def _clusters(rows: pl.DataFrame, config: Config) -> tuple[str, pl.Series]:
    key = config.cluster
    if key is None:
        many_tenants = rows["tenant_id"].n_unique() - bool(rows["tenant_id"].null_count()) >= _MIN_TENANTS
        order = (["tenant_id"] if many_tenants else []) + ["session_id", "request_id"]
        key = next((name for name in order if rows[name].null_count() < rows.height), "decision_id")
    lone = pl.format("{}:{}", pl.lit("decision"), pl.col("decision_id"))
    return key, rows.select(pl.coalesce(pl.col(key).cast(pl.String), lone)).to_series()


def _outcomes(rows: pl.DataFrame, config: Config) -> tuple[Array, bool]:
    in_dollars = config.prices.risk is not None and config.prices.risk.unit == "USD/USD"
    risk = "loss_usd" if in_dollars else "incident"
    columns = [rows[name].cast(pl.Float64) for name in ("quality", "cost_usd", "latency_s", risk)]
    assert len(columns) == len(QUANTITIES)
    return np.column_stack([c.fill_null(float("nan")).to_numpy() for c in columns]), in_dollars


def _features(rows: pl.DataFrame, layer: str, point: str, cluster_key: str) -> tuple[str, ...]:
    names = [n for n in rows.columns if n.startswith(FEATURE_PREFIX) and n != REPEATED_CONTEXT]
    names += _CONTEXT.get((layer, point), ())
    if cluster_key != "tenant_id":
        names.append("tenant_id")
    return tuple(n for n in sorted(names) if rows[n].drop_nulls().n_unique() > 1)


def _known_before(rows: pl.DataFrame, name: str) -> bool:
    """Whether every action has rows with the feature: one that comes with an action is not context."""
    known = rows.group_by("action").agg(rows=pl.len(), known=pl.col(name).is_not_null().sum())
    return known.filter((pl.col("rows") >= _FEW) & (pl.col("known") == 0)).is_empty()
