"""A log cut into consecutive periods with about equal numbers of decisions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .frames import window
from .gates import MIN_EVENTS
from .jackknife import WeightedMean
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
_CLEAR: Final = 3.6
"""Standard errors between the quality gain of a period and 0: V* then has an interval in 19 of 20."""
_EVENTS: Final = 2 * MIN_EVENTS
_DAY_US: Final = 86_400_000_000
"""A period covers a day on average at least, so that the hours of a day do not pass for a drift."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """number: from 1 in order of time. first, last: timestamps in it as ISO text. members: (n,) decisions."""

    number: int
    first: str
    last: str
    members: Mask


def periods(pair: Pair, whole: WeightedMean) -> tuple[Period, ...] | str:
    """The periods of the log in which `pair` can be compared, two to six; or why there are none.

    whole: the mean of `pair` over the whole log. Each period holds about as many decisions as the next one,
    not as many days: traffic grows and rests, and equal numbers give each period the same say and the test of
    their differences its best power. Cuts lie between distinct timestamps. A decision without a timestamp,
    or with one that counts from the start of its trace, is in no period.
    """
    ts, known = _times(pair.problem.frame)
    if not known.any():
        return "no decision has a timestamp in common time"
    times = ts.filter(pl.Series(known)).to_physical().to_numpy()
    count = _count(pair, whole, known, int(times.max() - times.min()))
    if isinstance(count, str):
        return count
    code = np.full(pair.problem.n, -1)
    code[known] = np.searchsorted(_cuts(np.sort(times), count), times, side="right")
    found = [code == k for k in range(code.max() + 1)]
    if len(found) < 2:
        return "too many decisions share one timestamp to be told apart in time"
    alone = pair.problem.frame.select("ts")
    ends = [window(alone.filter(pl.Series(members))) for members in found]
    return tuple(
        Period(number=k, first=str(first), last=str(last), members=members)
        for k, (members, (first, last)) in enumerate(zip(found, ends, strict=True), start=1)
    )


def _times(frame: pl.DataFrame) -> tuple[pl.Series, Mask]:
    """Timestamps in microseconds, and which decisions have one that orders them among all others."""
    if not frame["ts"].dtype.is_temporal():
        return frame["ts"], np.zeros(frame.height, dtype=bool)
    known = frame["ts"].is_not_null()
    if "x_clock" in frame.columns:
        known &= frame["x_clock"].cast(pl.String).ne_missing("relative")
    return frame["ts"].cast(pl.Datetime("us")), known.to_numpy()


def _count(pair: Pair, whole: WeightedMean, known: Mask, span_us: int) -> int | str:
    """How many periods the log has decisions, actions and days for; or what it lacks for two.

    No more than leave V* an interval in each, as far as the whole tells, though two in any case: the mean of
    the whole is independent of the differences between its parts, so this choice does not bias their test.
    """
    usable = known & pair.feasible
    rarer, name = min(
        (int((took & usable).sum()), name)
        for took, name in ((pair.took_a, pair.action), (pair.took_b, pair.baseline))
    )
    days = span_us / _DAY_US
    needed = (
        (int(usable.sum()) // MIN_PERIOD, f"{int(usable.sum())} decisions; {2 * MIN_PERIOD} are needed"),
        (rarer // MIN_RARER, f"{rarer} decisions took {name}; {2 * MIN_RARER} are needed"),
        (int(days), f"the log covers {days:.1f} days; 2 are needed"),
    )
    count, lack = min(needed, key=lambda item: item[0])
    if count < 2:
        return f"too little for two periods: {lack}"
    return min(count, MAX_PERIODS, max(2, min(_determined(whole), _eventful(pair, usable))))


def _determined(whole: WeightedMean) -> int:
    """In how many equal parts the quality gain of the whole would still be clear of 0."""
    gain, variance = float(whole.theta[0]), float(whole.cov[0, 0])
    if not np.isfinite(gain) or variance <= 0.0:
        return MAX_PERIODS
    return int(min(gain**2 / variance / _CLEAR**2, MAX_PERIODS))


def _eventful(pair: Pair, usable: Mask) -> int:
    """In how many equal parts each arm would have the events that V* needs, and non-events."""
    priced = (True, False, False, pair.value.risk_price != 0.0)
    least = [MAX_PERIODS]
    for j in np.flatnonzero(np.array(priced) & np.array(pair.problem.events)):
        y = pair.problem.outcomes[:, j]
        for took in (pair.took_a & usable, pair.took_b & usable):
            least += [int((y[took] > 0).sum()) // _EVENTS, int((y[took] == 0).sum()) // _EVENTS]
    return min(least)


def _cuts(ordered: Ints, count: int) -> Ints:
    """The first timestamps of the periods after the first one; ties go where they unbalance least."""
    wanted = np.round(np.arange(1, count) * ordered.size / count).astype(np.int64)
    before, after = (np.searchsorted(ordered, ordered[wanted], side=side) for side in ("left", "right"))
    nearest = np.where(wanted - before <= after - wanted, before, after)
    return np.unique(ordered[nearest[(nearest > 0) & (nearest < ordered.size)]])
