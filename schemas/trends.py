"""The columns of what moves over time: a contrast in consecutive periods, the test of its changes, its V*."""

from __future__ import annotations

from typing import Final

import polars as pl

_CONTRAST: Final = dict.fromkeys(("layer", "decision_point", "action", "baseline"), pl.String)
_PERIOD: Final = {"period": pl.Int64, "period_from": pl.String, "period_to": pl.String}

TREND: Final = {
    **_CONTRAST,
    **_PERIOD,
    **dict.fromkeys(("estimand", "grade"), pl.String),
    **dict.fromkeys(("theta", "cov"), pl.List(pl.Float64)),
    "df": pl.Float64,
    "n": pl.Int64,
    "clusters": pl.Int64,
    "ess": pl.Float64,
    "reason": pl.String,
}
"""Columns of Estimates.trend. period: 1, 2, ... in order of time, with the first and last timestamp in it as
ISO text; the rest as in Estimates.joint. A refused period has no theta and a reason; where no period could
be made there is one row, without period, that says why."""
DRIFT: Final = {
    **_CONTRAST,
    "quantity": pl.String,
    "periods": pl.Int64,
    **dict.fromkeys(("statistic", "df", "df_rest", "p_value", "p_adjusted", "level"), pl.Float64),
    "method": pl.String,
    "reason": pl.String,
}
"""Columns of Estimates.drift: per contrast and quantity ('break_even', 'quality', 'net') the test that it is
the same in all `periods` which have an estimate. statistic: F with `df` and `df_rest` degrees of freedom.
p_adjusted: Holm over the contrasts of a quantity; it moved beyond noise where this is at most 1 - level.
Without a test there is a reason."""
VALUE_TREND: Final = {
    **_CONTRAST,
    **_PERIOD,
    **dict.fromkeys(("value", "lower", "upper", "level"), pl.Float64),
    "grade": pl.String,
    "n": pl.Int64,
    "clusters": pl.Int64,
    "reason": pl.String,
}
"""Columns of Prices.trend: V* in USD per task by period, with its Fieller interval, or the reason why there
is none; what it means where it is below 0 or the quality falls stands in `reason` beside it."""
