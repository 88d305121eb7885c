"""Marginalised weights: actions that share their features share their overlap."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
import polars as pl

from ..errors import SchemaError
from .policy_estimators import marginalised_weights
from .policy_rows import PolicyRows
from .policy_target import Target, logging_matrix, target_matrix

_WHERE: Final = "policy_value action_features"


def mips_rows(rows: PolicyRows, target: Target, features: pl.DataFrame) -> PolicyRows | str:
    """`rows` with the weights of the embeddings instead of those of the actions, or why there are none.

    features: (action, one or more columns); actions with equal values share an embedding, so continuous
    features must be binned first. An action may be new to the log when its embedding is not. Unbiased only
    if actions with the same embedding lead to the same outcome.

    Raises: SchemaError when an action of the log has no row or one has several.
    Source: Saito & Joachims 2022.
    """
    names, codes = _embeddings(rows, features)
    if rows.fault is not None:
        return rows.fault
    e = logging_matrix(rows.problem, names)
    if e is None:
        return "marginalised weights need the logged probabilities of all candidates"
    pi = target_matrix(rows.problem, target, names)
    position = np.array([names.index(arm) for arm in rows.problem.arms])
    taken = position[rows.problem.arm]
    w = marginalised_weights(pi, e, codes, taken)
    same = (codes[:, None] == codes[None, :]).astype(float)
    covered = np.where(e @ same > 0, pi, 0.0)
    unseen = np.maximum(1.0 - covered.sum(axis=1), 0.0)
    one_each = np.unique(codes, return_index=True)[1]
    marginal_pi, marginal_e = (pi @ same)[:, one_each], (e @ same)[:, one_each]
    return replace(rows, pi=marginal_pi, e=marginal_e, w=w, unseen=unseen)


def _embeddings(rows: PolicyRows, features: pl.DataFrame) -> tuple[tuple[str, ...], np.ndarray]:
    """The described actions in order, and the code (K,) of each one's embedding."""
    columns = [c for c in features.columns if c != "action"]
    if "action" not in features.columns or not columns:
        found = f"columns {features.columns}"
        raise SchemaError(found, where=_WHERE, expected="action and at least one column that describes it")
    table = features.sort("action")
    names = tuple(table["action"].cast(pl.String).to_list())
    lacking = sorted(set(rows.problem.arms) - set(names))
    if lacking or len(set(names)) != len(names):
        found = f"actions {lacking} are missing" if lacking else "an action has several rows"
        raise SchemaError(found, where=_WHERE, expected="one row for each action of the log")
    codes = table.select(pl.struct(columns).rank("dense")).to_series().to_numpy().astype(np.int64)
    return names, codes
