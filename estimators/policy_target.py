"""A target policy as a matrix of probabilities: from a frame, a rule, an expression or a name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Literal, TypeAlias

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..errors import SchemaError
from .problem import Problem

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

Rule: TypeAlias = Callable[[pl.DataFrame], pl.Series | pl.DataFrame]
Target: TypeAlias = pl.DataFrame | pl.Expr | Rule | Literal["uniform", "logged"]
"""Rows (decision_id, action, probability); an expression of the action; a function of the decisions that
gives either; or a name."""

_WHERE: Final = "target policy"
_COLUMNS: Final = ("decision_id", "action", "probability")
_SLACK: Final = 1e-6
"""Rounding allowed in the sum of a decision's probabilities."""


def target_matrix(problem: Problem, target: Target, arms: tuple[str, ...]) -> Array:
    """Probability (n, K) that the target takes each of `arms`; what is missing to 1 goes to other actions.

    In a frame, absent pairs have probability 0. "uniform" is uniform over the actions taken in the log;
    "logged" is the logging policy.

    Raises: SchemaError when the target is no distribution over actions.
    """
    if isinstance(target, str):
        return _named(problem, target, arms)
    given: Any = target(problem.frame) if callable(target) else target
    if isinstance(given, pl.Expr):
        given = problem.frame.select(pl.int_range(pl.len()), action=given)["action"]
    if isinstance(given, pl.Series):
        return _of_actions(problem, given, arms)
    if isinstance(given, pl.DataFrame):
        return _of_frame(problem, given, arms)
    expected = (
        "a frame, a polars expression, a function that gives a frame or a series, 'uniform' or 'logged'"
    )
    raise SchemaError(f"the target is {type(given).__name__}", where=_WHERE, expected=expected)


def logging_matrix(problem: Problem, arms: tuple[str, ...]) -> Array | None:
    """Logged probability (n, K) of each of `arms`, or None when only those of the taken actions are known."""
    lists = problem.frame.select("candidates", "propensities", row=pl.int_range(pl.len()))
    if pl.Null not in (lists["candidates"].dtype, lists["propensities"].dtype):
        held = lists.drop_nulls()
        if held.height == problem.n:
            long = held.explode("candidates", "propensities", empty_as_null=True, keep_nulls=True)
            return _scatter(problem.n, arms, long["row"].to_numpy(), long["candidates"], long["propensities"])
    taken = problem.frame["propensity"].cast(pl.Float64).fill_null(float("nan")).to_numpy()
    if len(problem.arms) != 2 or np.isnan(taken).any():
        return None
    own = (problem.arm[:, None] == np.arange(2)) * taken[:, None]
    both = np.where(own > 0, own, 1.0 - taken[:, None])
    return np.column_stack(
        [both[:, problem.arms.index(a)] if a in problem.arms else np.zeros(problem.n) for a in arms]
    )


def _named(problem: Problem, target: str, arms: tuple[str, ...]) -> Array:
    if target == "uniform":
        return np.tile([(a in problem.arms) / len(problem.arms) for a in arms], (problem.n, 1))
    if target != "logged":
        raise SchemaError(f"the target is '{target}'", where=_WHERE, expected="'uniform' or 'logged'")
    matrix = logging_matrix(problem, arms)
    if matrix is None:
        raise SchemaError(
            "only the taken action's probability is logged",
            where=_WHERE,
            expected="the probabilities of all candidates for the target 'logged'",
            cure="Log candidates and propensities.",
        )
    return matrix


def _of_actions(problem: Problem, actions: pl.Series, arms: tuple[str, ...]) -> Array:
    if actions.len() != problem.n or actions.null_count():
        found = f"{actions.len()} actions, {actions.null_count()} of them null, for {problem.n} decisions"
        raise SchemaError(found, where=_WHERE, expected="one action for each decision")
    return _scatter(
        problem.n, arms, np.arange(problem.n), actions.cast(pl.String), pl.Series(np.ones(problem.n))
    )


def _of_frame(problem: Problem, target: pl.DataFrame, arms: tuple[str, ...]) -> Array:
    missing = set(_COLUMNS) - set(target.columns)
    if missing:
        raise SchemaError(f"columns {sorted(missing)} are missing", where=_WHERE)
    repeated = target.select("decision_id", "action").is_duplicated()
    if repeated.any():
        found = f"{int(repeated.sum())} rows repeat a decision and action"
        raise SchemaError(found, where=_WHERE, expected="one row per decision and action")
    rows = pl.DataFrame({"decision_id": problem.frame["decision_id"], "row": np.arange(problem.n)})
    known = target.join(rows, on="decision_id")
    p = known["probability"].cast(pl.Float64).fill_null(float("nan"))
    total = np.bincount(known["row"].to_numpy(), weights=p.to_numpy(), minlength=problem.n)
    if not np.isfinite(total).all() or (p < 0).any() or (total > 1 + _SLACK).any():
        raise SchemaError("target probabilities are not a distribution", where=_WHERE)
    return _scatter(problem.n, arms, known["row"].to_numpy(), known["action"], p)


def _scatter(n: int, arms: tuple[str, ...], rows: Ints, names: pl.Series, values: pl.Series) -> Array:
    """values (m,) at (row, arm) of an (n, K) matrix of zeros; other names are left out."""
    known = names.is_in(list(arms)).fill_null(value=False)
    codes = names.filter(known).replace_strict({a: i for i, a in enumerate(arms)}, return_dtype=pl.Int64)
    out = np.zeros((n, len(arms)))
    out[rows[known.to_numpy()], codes.to_numpy()] = values.filter(known).cast(pl.Float64).to_numpy()
    return out
