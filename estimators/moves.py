"""Moving the decisions that took one action to the other: their number and their dollars, row by row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from .pairs import NET, Pair

Array = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

_FLOOR: Final = 0.01
"""Decisions with a smaller propensity of either action are left out of dollar totals."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """direction: 'over' moves decisions that took the action to the baseline, 'under' the reverse.

    rows: (m,) positions. share: (m,) decisions moved that each row stands for. usd: (m,) dollars gained.
    terms: (m, 4) the same dollars by term of Eq. 1 (V dQ, -dC, -lambda dL, -rho dR); they add up to `usd`.
    weight, weight_square: sums of the weights and of their squares over the rows of the other arm, whose
    outcomes say what would happen.
    """

    direction: str
    rows: Ints
    share: Array
    usd: Array
    terms: Array
    weight: float
    weight_square: float

    @property
    def ess(self) -> float:
        """Effective number of decisions that the dollars rest on (Kish 1965)."""
        return self.weight**2 / self.weight_square if self.weight_square > 0 else 0.0


def moves(pair: Pair, rows: Mask) -> Iterator[Move]:
    """Both moves of a contrast over `rows`.

    Weighting scores by the propensity of the action moved away from makes the sum an effect on those who
    took it (ATT), over the decisions where both actions had a propensity of at least one per cent.
    """
    used = np.flatnonzero(rows & (np.minimum(pair.e_a, pair.e_b) >= _FLOOR))
    prices = pair.value.weights(used)
    by_term = np.where(prices == 0.0, 0.0, pair.d[used, :NET] * prices)
    e_a, e_b, weight = pair.e_a[used], pair.e_b[used], pair.problem.weight[used]
    for direction, own, other, took_other, sign in (
        ("over", e_a, e_b, pair.took_b[used], -1.0),
        ("under", e_b, e_a, pair.took_a[used], 1.0),
    ):
        ratio = (own / other * weight)[took_other]
        yield Move(
            direction=direction,
            rows=used,
            share=own * weight,
            usd=own * weight * sign * pair.d[used, NET],
            terms=(own * weight * sign)[:, None] * by_term,
            weight=float(ratio.sum()),
            weight_square=float((ratio**2).sum()),
        )
