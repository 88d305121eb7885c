"""A log cut into consecutive periods with about equal numbers of decisions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .pairs import Pair
from .scores import MIN_ARM

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

MAX_PERIODS: Final = 6
"""More would widen each interval and cost the test of a drift its power; six still show when it came."""
MIN_PERIOD: Final = 300
"""Decisions per period; with fewer the gates refuse most periods, or the ratio has no interval."""
MIN_RARER: Final = 2 * MIN_ARM
"""Decisions of the rarer action per period on average: twice what the gates ask of each period."""
_DAY_US: Final = 86_400_000_000
"""A period covers a day on average at least, so that the hours of a day do not pass for a drift."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """number: from 1 in order of time. first, last: timestamps in it as ISO text. members: (n,) decisions."""

    number: int
    first: str
    last: str
    members: Mask


def periods(pair: Pair) -> tuple[Period, ...] | str:
    """The periods of the log in which `pair` can be compared, at least two; or why there are none.

    Each holds about as many decisions as the next one, not as many days: traffic grows and rests, and equal
    numbers give each period the same say and the test of their differences its best power. Cuts lie between
    distinct timestamps. A decision without a timestamp is in no period.
    """
    frame = pair.problem.frame
    if not frame["ts"].dtype.is_temporal() or frame["ts"].null_count() == frame.height:
        return "no decision has a timestamp"
    if "x_clock" in frame.columns and (frame["x_clock"].cast(pl.String) == "relative").any():
        return "timestamps count from the start of each trace, so they give no order"
    ts = frame["ts"].cast(pl.Datetime("us"))
    known = ts.is_not_null().to_numpy()
    times = ts.drop_nulls().to_physical().to_numpy()
    count = _count(pair, known, int(times.max() - times.min()))
    if isinstance(count, str):
        return count
    code = np.full(pair.problem.n, -1)
    code[known] = np.searchsorted(_cuts(np.sort(times), count), times, side="right")
    found = [code == k for k in range(code.max() + 1)]
    if len(found) < 2:
        return "too many decisions share one timestamp to be told apart in time"
    ends = [frame["ts"].filter(pl.Series(members)) for members in found]
    return tuple(
        Period(number=k, first=at.min().isoformat(), last=at.max().isoformat(), members=members)  # type: ignore[union-attr]
        for k, (members, at) in enumerate(zip(found, ends, strict=True), start=1)
    )


def _count(pair: Pair, known: Mask, span_us: int) -> int | str:
    """How many periods the log has decisions, actions and days for; or what it lacks for two."""
    usable = known & pair.feasible
    rarer, name = min(
        (int((took & usable).sum()), name)
        for took, name in ((pair.took_a, pair.action), (pair.took_b, pair.baseline))
    )
    days = span_us / _DAY_US
    shortest = (
        (int(usable.sum()) // MIN_PERIOD, f"{int(usable.sum())} decisions; {2 * MIN_PERIOD} are needed"),
        (rarer // MIN_RARER, f"{rarer} decisions took {name}; {2 * MIN_RARER} are needed"),
        (int(days), f"the log covers {days:.1f} days; 2 are needed"),
    )
    count, lack = min(shortest, key=lambda item: item[0])
    return min(count, MAX_PERIODS) if count >= 2 else f"too little for two periods: {lack}"


def _cuts(ordered: Ints, count: int) -> Ints:
    """The first timestamps of the periods after the first one; ties go where they unbalance least."""
    wanted = np.round(np.arange(1, count) * ordered.size / count).astype(np.int64)
    before, after = (np.searchsorted(ordered, ordered[wanted], side=side) for side in ("left", "right"))
    nearest = np.where(wanted - before <= after - wanted, before, after)
    return np.unique(ordered[nearest[(nearest > 0) & (nearest < ordered.size)]])
