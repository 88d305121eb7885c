"""Waiting for a server that serves one at a time: exact delays by deletion, and a formula for their mean."""

from __future__ import annotations

from bisect import bisect_right

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def waits(time_s: Array, service_s: Array) -> Array:
    """(n,) seconds each waits: W_j = max(0, W_(j-1) + S_(j-1) - (t_j - t_(j-1))), by Lindley's recursion.

    time_s: (n,) arrivals in order. service_s: (n,). The queue is empty before the first.

    Source: Lindley 1952.
    """
    excess = np.concatenate(([0.0], np.cumsum(service_s[:-1] - np.diff(time_s))))
    return excess - np.minimum.accumulate(excess)


def deletion_delays(wait_s: Array, service_s: Array) -> Array:
    """(n,) seconds that all later requests would have waited less without request i, exactly.

    D starts as S_i; each later request j waits min(D, W_j) less, which is then D: MED_i =
    sum_(j > i) min(S_i, min_(i < k <= j) W_k). In one pass from the end, as the minima are a staircase that
    each earlier request lowers at its front.

    Source: METHODS F1 (a); Ho & Cao 1983; Suri & Zazanis 1988 (infinitesimal perturbation analysis).
    """
    found = np.zeros(wait_s.size)
    level: list[float] = []
    count, total = [0], [0.0]
    for i in range(wait_s.size - 1, -1, -1):
        service = float(service_s[i])
        below = bisect_right(level, service)
        found[i] = total[below] + service * (count[-1] - count[below])
        # request i becomes the nearest behind its predecessor: no minimum beyond it exceeds its own wait
        below = bisect_right(level, float(wait_s[i]))
        members = count[-1] - count[below] + 1
        del level[below:], count[below + 1 :], total[below + 1 :]
        level.append(float(wait_s[i]))
        count.append(count[-1] + members)
        total.append(total[-1] + members * level[-1])
    return found


def mg1_delay(rate_per_s: float, service_s: Array, mean_s: float, square_s2: float) -> Array | str:
    """Mean seconds of delay that a request of each service time imposes in an M/G/1 queue.

    lam (S^2 / (2 (1 - r)) + lam E[S^2] / 2 * S / (1 - r)^2), r = lam E[S] (METHODS F1). mean_s, square_s2:
    E[S] and E[S^2] of all requests. Averaged over a class it is the class's mean. In words why there is none
    where r >= 1: such a queue grows without end.
    """
    busy = rate_per_s * mean_s
    if busy >= 1.0:
        return f"work arrives {busy:.2f} times as fast as it is served, so the queue has no mean"
    direct = service_s**2 / (2.0 * (1.0 - busy))
    return rate_per_s * (direct + rate_per_s * square_s2 / 2.0 * service_s / (1.0 - busy) ** 2)
