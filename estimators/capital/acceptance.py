"""Acceptance of drafted tokens: what a verification yields, when that pays, and the rate in a log."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import optimize

from ...errors import SchemaError
from .leave_out import Span, leave_one_out, totals

Array = NDArray[np.float64]
Ints = NDArray[np.int64]


def tokens_per_verify(alpha: float, draft: float) -> float:
    """E(g, alpha) = (1 - alpha^(g + 1)) / (1 - alpha): tokens that one verification of g drafts yields.

    Source: Leviathan, Kalman & Matias 2023, ICML, equation 1.
    """
    if alpha >= 1.0:
        return draft + 1.0
    return (1.0 - alpha ** (draft + 1.0)) / (1.0 - alpha)


def acceptance_of(tokens: float, draft: float) -> float:
    """The acceptance in [0, 1] at which a verification of `draft` drafts yields `tokens`: E inverted."""
    if tokens <= 1.0:
        return 0.0
    if tokens >= draft + 1.0:
        return 1.0
    found = optimize.root_scalar(
        lambda a: tokens_per_verify(a, draft) - tokens, bracket=(0.0, 1.0), method="brentq", xtol=1e-12
    )
    return float(found.root)


def threshold(draft: float, *, step_s: float, verify_s: float, draft_s: float) -> float | None:
    """alpha*, the acceptance above which drafting pays; 0 if it always does, None if it never does.

    Drafting pays when E(g, alpha) T1 > Tv + g Td. step_s: T1, s of a step without drafts. verify_s: Tv, s of
    a verification. draft_s: Td, s to draft one token. All at the same batch and context, because long
    contexts lower both alpha and Tv / T1 (MagicDec, arXiv 2408.11049).

    >>> round(threshold(4, step_s=1.0, verify_s=1.1, draft_s=0.1), 2)
    0.34

    Raises: SchemaError for a time that is not positive (Td may be 0) or a draft below 1.
    Source: METHODS G1.
    """
    if not (draft >= 1.0 and step_s > 0.0 and verify_s > 0.0 and draft_s >= 0.0):
        raise SchemaError(
            f"draft {draft}, step_s {step_s}, verify_s {verify_s}, draft_s {draft_s}",
            where="speculation",
            expected="a draft of at least 1 token and positive seconds",
        )
    needed = (verify_s + draft * draft_s) / step_s
    return None if needed >= draft + 1.0 else acceptance_of(needed, draft)


def censored_acceptance(accepted: Array, drafted: Array, cluster: Ints) -> Span | None:
    """The acceptance rate from single rounds: accepted / (accepted + rejections), None without two clusters.

    accepted, drafted, cluster: (n,) per round. A round stops at its first rejection; one that accepts all its
    drafts is censored and has none. This is the maximum likelihood of a geometric law. The interval is a
    leave-one-cluster-out t interval of the log-odds; None too where the rate is 0 or 1.
    """
    rejected = (accepted < drafted).astype(float)
    sums = totals(np.column_stack([accepted, rejected]), cluster)
    if sums.shape[0] < 2 or not _open(sums):
        return None
    found = leave_one_out(sums, lambda t: np.log(t[:, :1] / t[:, 1:]), weight=sums.sum(axis=1))
    return found.span().mapped(lambda x: float(1.0 / (1.0 + np.exp(-x))))


def _open(sums: Array) -> bool:
    """Whether there are acceptances and rejections whichever cluster is left out."""
    return bool(((sums.sum(axis=0) - sums) > 0.0).all())
