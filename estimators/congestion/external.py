"""What long contexts made all others wait for, in USD per block of time, and what they paid themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...schemas.records import SAVINGS, Grade
from ..scores import MIN_ARM
from .by_queue import QueueLog
from .deletions import BUDGET, delete_each
from .fingerprint import LONG, Fingerprint, fingerprint
from .panel import PanelPrices
from .replay import Replay
from .requests import Array, Ints, Requests
from .token_prices import time_blocks

Mask = NDArray[np.bool_]
Source = list[Replay] | QueueLog | PanelPrices
"""Where external delays come from: replays, the logged queue, or a panel."""

MIN_BLOCKS: Final = 8
"""Blocks of time with long contexts below which a t interval over them has no meaning."""
MAX_BLOCKS: Final = 200
"""Blocks into which the hours of a long log are put."""
_BUDGET: Final = BUDGET // 4
_NO_PRICE: Final = "a second of waiting has no price: set prices.latency, such as '0.002 USD/s'"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Delays:
    """m long requests that say what all impose. delay_s: (m,) seconds of others. weight: (m,) how many each
    stands for. block: (m,) codes of time. without: (G,) seconds that all impose by the slopes without each
    cluster, in place of blocks. count: the long requests they stand for."""

    delay_s: Array
    weight: Array
    block: Ints
    without: Array | None
    count: int
    grade: Grade
    method: str


def long_contexts(requests: Requests) -> tuple[str, Mask]:
    """The segment of long contexts and (n,) who is in it; no delay is looked at.

    Of the values of the column that requests are sliced by, the one with the longest median prompt; without
    such a column, or with one value, prompts above the quantile LONG.
    """
    codes = np.unique(requests.slice[requests.slice >= 0])
    if codes.size >= 2 and requests.column is not None:
        longest = max(codes.tolist(), key=lambda k: float(np.median(requests.prompt[requests.slice == k])))
        return f"{requests.column}={requests.slices[longest]}", requests.slice == longest
    edge = float(np.quantile(requests.prompt, LONG))
    return f"prompt_tok>{edge:.0f}", requests.prompt > edge


def external_savings(
    requests: Requests,
    source: Source,
    *,
    latency_price: float | None,
    seed: int,
    scale: float = 1.0,
) -> pl.DataFrame:
    """Rows of SAVINGS: per block of time the USD of waiting that long contexts imposed on all others.

    Their mean marginal external delay, times their number, times latency_price (USD per second of any
    request). The sum of what single requests impose: it is not the delay that goes when all of them go. From
    replays a sample of them is deleted, from a queue every one; a panel's slopes are multiplied by their
    tokens, with its clusters as jackknife pseudo-values. paid_usd: their priced spend and latency_price times
    their own latency. scale: of a log of which `requests` are a stretch. doubt: unless the fingerprint test
    supports that short requests wait for them. Refused without a price, or in fewer than MIN_BLOCKS blocks.

    Source: METHODS H5, F1, F2.
    """
    segment, member = long_contexts(requests)
    if latency_price is None:
        return refused_savings(_NO_PRICE, segment=segment)
    found = _delays(requests, source, member, seed)
    if isinstance(found, str):
        return refused_savings(found, segment=segment)
    told = fingerprint(requests)
    common = _row(segment=segment, grade=found.grade, method=found.method, note=str(told), doubt=_doubt(told))
    paid = _paid_per_request(requests, member, latency_price)
    return pl.DataFrame(
        [
            {
                **common,
                "cluster": name,
                "usd": scale * latency_price * seconds,
                "decisions": scale * count,
                "paid_usd": scale * paid * count,
                "n": n,
            }
            for name, seconds, count, n in _blocks(found)
        ],
        schema=SAVINGS,
        orient="row",
    )


def refused_savings(reason: str, *, segment: str = "all") -> pl.DataFrame:
    """The one row that says why there are no dollars."""
    return pl.DataFrame([_row(segment=segment, reason=reason)], schema=SAVINGS, orient="row")


def _delays(requests: Requests, source: Source, member: Mask, seed: int) -> _Delays | str:
    if isinstance(source, PanelPrices):
        return _from_panel(source, member)
    if isinstance(source, QueueLog):
        rows, delay, weight = np.flatnonzero(member), source.deleted.delay_s[member], np.ones(member.sum())
        how = f"deletion of {rows.size} long contexts from the logged waits"
    else:
        served = np.zeros(requests.n, dtype=bool)
        served[np.concatenate([r.rows for r in source])] = True
        member = member & served
        if member.sum() < MIN_ARM:
            return _few(int(member.sum()))
        rng = np.random.default_rng((seed, 1))
        deleted = delete_each(requests, source, rng=rng, among=member, budget=_BUDGET)
        rows, delay, weight = deleted.rows, deleted.delay_s, deleted.weight
        how = f"engine replay without each of {rows.size} of {member.sum()} long contexts"
    if rows.size < MIN_ARM:
        return _few(rows.size)
    block = time_blocks(requests.time_s, fewest=MIN_BLOCKS)[rows]
    _, block = np.unique(block, return_inverse=True)
    blocks = int(block.max()) + 1
    if blocks < MIN_BLOCKS:
        return f"long contexts in {blocks} blocks of time; {MIN_BLOCKS} are needed for an interval"
    return _Delays(
        delay_s=delay,
        weight=weight,
        block=(block * min(blocks, MAX_BLOCKS) // blocks).astype(np.int64),
        without=None,
        count=int(member.sum()),
        grade="B",
        method=f"{how}, clustered by time",
    )


def _from_panel(panel: PanelPrices, member: Mask) -> _Delays | str:
    if panel.delay_s is None or panel.without is None:
        return panel.slopes.reason or "the panel gives no price of a token"
    if member.sum() < MIN_ARM:
        return _few(int(member.sum()))
    return _Delays(
        delay_s=panel.delay_s[member],
        weight=np.ones(int(member.sum())),
        block=np.zeros(int(member.sum()), dtype=np.int64),
        without=panel.without[:, member].sum(axis=1),
        count=int(member.sum()),
        grade="C",
        method="panel of times to the first token, times tokens: slower decoding is not in it",
    )


def _few(count: int) -> str:
    return f"{count} long contexts; {MIN_ARM} are needed"


def _blocks(found: _Delays) -> list[tuple[str, float, float, int]]:
    """Per cluster its name, seconds imposed, long requests and those of them that were measured."""
    if found.without is not None:
        g = found.without.size
        total = float(found.delay_s.sum())
        apart = found.without.mean() - found.without
        seconds = total / g + (1.0 - 1.0 / g) * apart
        return [(f"day {k}", float(s), found.count / g, found.count // g) for k, s in enumerate(seconds)]
    per_seen = found.count / float(found.weight.sum())
    sums = [
        np.bincount(found.block, weights=w)
        for w in (found.weight * found.delay_s, found.weight, np.ones(found.weight.size))
    ]
    return [
        (f"time {k}", float(s * per_seen), float(c * per_seen), int(n))
        for k, (s, c, n) in enumerate(zip(*sums, strict=True))
    ]


def _paid_per_request(requests: Requests, member: Mask, latency_price: float) -> float:
    """USD that a long request paid: its cost where known, and its own latency where logged."""
    cost, latency = requests.cost_usd[member], requests.latency_s[member]
    waited = float(np.nanmean(latency)) if np.isfinite(latency).any() else 0.0
    return float(np.nansum(cost)) / cost.size + latency_price * waited


def _doubt(told: Fingerprint) -> str | None:
    if told.verdict == "supported":
        return None
    verdict = told.verdict.replace("_", " ")
    return f"the test of whether short requests wait for long contexts is {verdict}: {told.reason}"


def _row(**values: Any) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(SAVINGS)
    row |= {"layer": "serving", "decision_point": "admit", "action": "admit", "baseline": "price"}
    return row | {"direction": "over", "n": 0, "grade": "N"} | values
