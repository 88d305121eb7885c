"""External delay per token: delays of single requests regressed on tokens, with block bootstrap intervals."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from ...schemas.records import Grade, Price
from ..confidence import LEVEL, percentiles
from ..gates import MIN_CLUSTERS

Array = NDArray[np.float64]
Ints = NDArray[np.int64]

DRAWS: Final = 300
MIN_SAMPLE: Final = 30
"""Deleted requests below which three prices are not told apart."""
Token = Literal["prefill", "decode", "kv"]
TOKENS: Final[tuple[Token, ...]] = ("prefill", "decode", "kv")
SYMBOLS: Final[dict[Token, str]] = {"prefill": "π_p", "decode": "π_d", "kv": "π_KV"}
_PER: Final[dict[Token, str]] = {"prefill": "token", "decode": "token", "kv": "(token*s)"}
_AT_ZERO: Final = "at the boundary 0: not told apart from the prices of the other tokens"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delays:
    """m requests whose external delay is known.

    tokens: (m, 3) prefill tokens, decode tokens, KV tokens times seconds. delay_s: (m,). weight: (m,)
    requests that each stands for. block: (m,) stretch of time, the unit that the bootstrap draws.
    """

    tokens: Array
    delay_s: Array
    weight: Array
    block: Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Slopes:
    """Seconds of others' delay per prefill token, decode token, KV token-second, with intervals; (3,) each.

    value None, or NaN for a single token, with a reason where there is none. n: requests. blocks: stretches
    of time, or days of replicas.
    """

    value: Array | None
    lower: Array | None
    upper: Array | None
    n: int
    blocks: int
    reason: str | None = None


def slopes(delays: Delays, *, rng: np.random.Generator) -> Slopes:
    """Non-negative weighted least squares of the delay on the tokens, without intercept.

    A request without tokens delays nobody, so there is no intercept. Intervals are percentiles over DRAWS
    draws of whole blocks, which stop at 0 as the value does. Not identified: fewer than MIN_SAMPLE requests
    or MIN_CLUSTERS blocks.

    Source: METHODS F1 (b).
    """
    n, blocks = delays.delay_s.size, np.unique(delays.block)
    if n < MIN_SAMPLE:
        reason = f"{n} requests replayed without; {MIN_SAMPLE} are needed"
        return Slopes(value=None, lower=None, upper=None, n=n, blocks=blocks.size, reason=reason)
    if blocks.size < MIN_CLUSTERS:
        reason = (
            f"requests from {blocks.size} stretches of time; {MIN_CLUSTERS:.0f} are needed for an interval"
        )
        return Slopes(value=None, lower=None, upper=None, n=n, blocks=blocks.size, reason=reason)
    gram, moment = _moments(delays, blocks)
    value = _solve(gram.sum(axis=0), moment.sum(axis=0))
    counts = rng.multinomial(blocks.size, np.full(blocks.size, 1.0 / blocks.size), size=DRAWS).astype(float)
    drawn = np.array([_solve(np.einsum("b,bij->ij", c, gram), c @ moment) for c in counts])
    ends = np.array([percentiles(drawn[:, j]) for j in range(len(TOKENS))])
    return Slopes(
        value=value,
        # percentiles of few draws can miss the estimate by a hair
        lower=np.minimum(ends[:, 0], value),
        upper=np.maximum(ends[:, 1], value),
        n=n,
        blocks=blocks.size,
    )


def least_squares(delays: Delays) -> Array | None:
    """(3,) the values of `slopes` alone; None for fewer than MIN_SAMPLE requests."""
    if delays.delay_s.size < MIN_SAMPLE:
        return None
    gram, moment = _moments(delays, np.unique(delays.block))
    return _solve(gram.sum(axis=0), moment.sum(axis=0))


def token_prices(
    found: Slopes, *, segment: str, latency_price: float | None, grade: Grade, method: str
) -> tuple[Price, ...]:
    """The three prices of one segment: USD per token where a second has a price, else seconds per token.

    latency_price: lambda, USD per second that any request waits.
    """
    scale, money = (1.0, "s") if latency_price is None else (latency_price, "USD")
    kind = "delay" if latency_price is None else "price"
    rows: list[Price] = []
    for j, token in enumerate(TOKENS):
        parts = [a for a in (found.value, found.lower, found.upper) if a is not None]
        known = bool(parts) and bool(np.isfinite(parts[0][j]))
        value, lower, upper = [float(scale * a[j]) for a in parts] if known else (None, None, None)
        rows.append(
            Price(
                name=f"congestion_{token}_{kind}",
                symbol=SYMBOLS[token],
                unit=f"{money}/{_PER[token]}",
                source="fitted",
                segment=segment,
                value=value,
                lower=lower,
                upper=upper,
                level=LEVEL if known else None,
                layer="serving",
                decision_point="admit",
                action="admit",
                grade=grade if known else "N",
                n=found.n,
                clusters=found.blocks,
                method=method,
                reason=found.reason if not known else _AT_ZERO if value == 0.0 and scale > 0 else None,
            )
        )
    return tuple(rows)


def time_blocks(time_s: Array, *, hour_s: float = 3600.0, fewest: int = 40) -> Ints:
    """(n,) the hour of each time; where the log spans fewer than `fewest`, one of as many equal parts."""
    hour = np.floor(time_s / hour_s).astype(np.int64)
    if np.unique(hour).size >= fewest:
        return hour
    rank = np.argsort(np.argsort(time_s, kind="stable"), kind="stable")
    return (rank * fewest // max(time_s.size, 1)).astype(np.int64)


def _moments(delays: Delays, blocks: Ints) -> tuple[Array, Array]:
    """Per block (B, 3, 3) and (B, 3) weighted sums of products of tokens, and of tokens with delays."""
    where = np.searchsorted(blocks, delays.block)
    gram, moment = np.zeros((blocks.size, 3, 3)), np.zeros((blocks.size, 3))
    weighted = delays.weight[:, None] * delays.tokens
    np.add.at(gram, where, weighted[:, :, None] * delays.tokens[:, None, :])
    np.add.at(moment, where, weighted * delays.delay_s[:, None])
    return gram, moment


def _solve(gram: Array, moment: Array) -> Array:
    """(3,) non-negative least squares from its normal equations, by their symmetric root."""
    scale = np.sqrt(np.maximum(np.diag(gram), 1e-300))
    values, vectors = np.linalg.eigh(gram / np.outer(scale, scale))
    keep = values > 1e-12
    root = np.sqrt(values[keep])[:, None] * vectors[:, keep].T
    target = (vectors[:, keep].T @ (moment / scale)) / np.sqrt(values[keep])
    return nnls(root, target)[0] / scale
