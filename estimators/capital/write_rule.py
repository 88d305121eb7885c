"""Whether an entry is worth writing: what its hits will save while it lasts, against what writing costs."""

from __future__ import annotations

import math

from ...errors import SchemaError
from .leave_out import Span


def write_value(*, hits: float, saving_usd: float, decay: float, discount: float = 1.0) -> float:
    """USD that writing one entry brings: sum over k of discount^k (1 - decay)^k hits saving.

    hits: p, expected hits per period; decay: delta_S per the same period; discount: beta, what a dollar one
    period later is worth. Writing pays where this exceeds its cost (METHODS G2).

    >>> write_value(hits=0.5, saving_usd=0.10, decay=0.05)
    1.0

    Raises: SchemaError when the sum has no end (beta (1 - delta) = 1) or a share is none.
    """
    kept = discount * (1.0 - decay)
    if not (hits >= 0.0 and math.isfinite(saving_usd) and 0.0 <= kept < 1.0 and 0.0 <= discount <= 1.0):
        raise SchemaError(
            f"hits {hits}, saving {saving_usd}, decay {decay}, discount {discount}",
            where="write_value",
            expected="hits >= 0, a decay and a discount in [0, 1] that leave less than all of the entry",
        )
    return hits * saving_usd / (1.0 - kept)


def write_span(*, hits: float, saving: Span, decay: Span) -> Span | str:
    """`write_value` with an interval, or why it has none; hits known, the other two independent.

    On the log scale, with both half widths added in squares; needs a saving and a decay above 0.
    """
    if saving.lower <= 0.0 or decay.lower <= 0.0:
        which = "the saving per hit" if saving.lower <= 0.0 else "the decay"
        return f"the interval of {which} holds 0, so what an entry brings has no size"
    value = write_value(hits=hits, saving_usd=saving.value, decay=decay.value)
    up = math.hypot(math.log(saving.upper / saving.value), math.log(decay.value / decay.lower))
    down = math.hypot(math.log(saving.value / saving.lower), math.log(decay.upper / decay.value))
    return Span(
        value=value,
        lower=value * math.exp(-down),
        upper=value * math.exp(up),
        clusters=min(saving.clusters, decay.clusters),
    )
