"""Rollouts as signals that fade: which the log holds, in which update, and how difficult they were."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...schemas.columns import FEATURE_PREFIX
from .fading import Signals
from .records import bounded, check_at_least

Array = NDArray[np.float64]

SIGNAL: Final = "learning_signal"
_AS_FEATURE: Final = FEATURE_PREFIX + SIGNAL
_RUN: Final = FEATURE_PREFIX + "run"
_NO_SIGNAL: Final = (
    "what a rollout taught is not logged (reward says how good it was, not what was learned from it): log "
    "the outcome learning_signal per rollout: the gain of a held-out score by its update, the cosine of its "
    "gradient with a fresh one, or the effective share of its importance ratios"
)
MAX_CONTROLS: Final = 8
SIGNAL_OF: Final = "_signal"
UPDATE: Final = "_update"


@dataclass(frozen=True, slots=True, kw_only=True)
class Traces:
    """What was read. controls: the features held constant. cost_usd: mean cost of a kept rollout more than
    of a dropped one, None where not logged. note: what was left out."""

    signals: Signals
    controls: tuple[str, ...]
    cost_usd: float | None
    note: str


def read_traces(frame: pl.DataFrame, outcomes: pl.DataFrame | None, *, seed: int) -> Traces | str:
    """The rollouts of a frame in the decisions layout with their signals, or what the log lacks.

    Raises: SchemaError for a negative version_lag.
    """
    rollouts = read_rollouts(frame, outcomes)
    return rollouts if isinstance(rollouts, str) else _traces(*bounded(rollouts, UPDATE, seed=seed))


def read_rollouts(frame: pl.DataFrame, outcomes: pl.DataFrame | None) -> pl.DataFrame | str:
    """The training rows with lag and update, with columns SIGNAL_OF and UPDATE, or what the log lacks.

    Those of updates in which no signal was measured are left out. outcomes: the outcomes layout, of which
    those called learning_signal count; else x_learning_signal.

    Raises: SchemaError for a negative version_lag.
    """
    check_at_least(frame, "version_lag", 0.0)
    rows = frame.filter(pl.col("layer") == "training")
    if rows.is_empty():
        return "no training decision is logged"
    for name, cure in (
        ("version_lag", "log the versions that wrote the rollout and that were trained"),
        ("update_id", "log the update that used or passed over each rollout"),
    ):
        if name not in rows.columns or rows[name].null_count() == rows.height:
            return f"{name} is not logged: {cure}"
    signal = _signal(rows, outcomes)
    if signal is None:
        return _NO_SIGNAL
    held = rows.with_columns(
        signal.cast(pl.Float64).fill_nan(None).alias(SIGNAL_OF), _update(rows).alias(UPDATE)
    )
    taught = held.drop_nulls(["version_lag", UPDATE]).filter(
        pl.col(SIGNAL_OF).is_not_null().any().over(UPDATE)
    )
    if taught.is_empty():
        return "no rollout has a learning signal, a version_lag and an update_id together"
    return taught


def _update(rows: pl.DataFrame) -> pl.Expr:
    """The update of a rollout, which runs may number alike."""
    update = pl.col("update_id").cast(pl.String)
    if _RUN not in rows.columns:
        return update
    return pl.concat_str(pl.col(_RUN).cast(pl.String).fill_null(""), update, separator=" ")


def _signal(rows: pl.DataFrame, outcomes: pl.DataFrame | None) -> pl.Series | None:
    """(n,) the signal of each row, or None where none is known. Several of one rollout are averaged."""
    if outcomes is not None:
        found = (
            outcomes.filter(pl.col("name") == SIGNAL)
            .drop_nulls(["decision_id", "value"])
            .group_by("decision_id")
            .agg(_signal=pl.col("value").mean())
        )
        joined = rows.select("decision_id").join(found, on="decision_id", how="left", maintain_order="left")
        if joined["_signal"].null_count() < rows.height:
            return joined["_signal"]
    if _AS_FEATURE in rows.columns and rows[_AS_FEATURE].null_count() < rows.height:
        return rows[_AS_FEATURE].cast(pl.Float64)
    return None


def _traces(kept: pl.DataFrame, note: str) -> Traces:
    _, update = np.unique(kept[UPDATE].to_numpy().astype(str), return_inverse=True)
    names = _controls(kept)
    columns = [kept[name].cast(pl.Float64).to_numpy() for name in names]
    standard = [(c - c.mean()) / c.std() for c in columns]
    return Traces(
        signals=Signals(
            signal=kept[SIGNAL_OF].fill_null(float("nan")).to_numpy(),
            lag=kept["version_lag"].cast(pl.Float64).to_numpy(),
            controls=np.column_stack(standard) if standard else np.zeros((kept.height, 0)),
            update=update.astype(np.int64),
        ),
        controls=names,
        cost_usd=cost_of_keeping(kept),
        note=note,
    )


def _controls(kept: pl.DataFrame) -> tuple[str, ...]:
    """Numeric features known in every row, which vary, and the output tokens of the rollout."""
    names = [n for n in kept.columns if n.startswith(FEATURE_PREFIX) and n != _AS_FEATURE]
    usable = [
        n
        for n in [*sorted(names), "tok_output"]
        if n in kept.columns and kept[n].dtype.is_numeric() and not kept[n].null_count()
    ]
    return tuple(n for n in usable if kept[n].n_unique() > 1)[:MAX_CONTROLS]


def cost_of_keeping(kept: pl.DataFrame) -> float | None:
    """USD by which a kept rollout cost more than a dropped one on average; None where not logged."""
    if not {"cost_usd", "kept"} <= set(kept.columns):
        return None
    known = kept.drop_nulls(["cost_usd", "kept"])
    mean = {bool(k): float(v) for k, v in known.group_by("kept").agg(pl.col("cost_usd").mean()).iter_rows()}
    return mean[True] - mean.get(False, 0.0) if True in mean else None
