"""Folds as a hash of the cluster id, so that a row's fold never depends on the rows beside it."""

from __future__ import annotations

import hashlib
from typing import Final

import numpy as np
from numpy.typing import NDArray

FOLDS: Final = 5
_BYTES: Final = 8


def cluster_folds(
    cluster_ids: tuple[str, ...], *, seed: int, repeat: int, folds: int = FOLDS
) -> NDArray[np.int64]:
    """The fold, 0 to folds - 1, of each cluster."""
    salt = f"{seed}:{repeat}".encode()
    digests = (hashlib.blake2b(i.encode(), digest_size=_BYTES, key=salt).digest() for i in cluster_ids)
    return np.array([int.from_bytes(d, "big") % folds for d in digests], dtype=np.int64)
