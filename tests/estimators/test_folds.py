"""Folds: a hash of the cluster id, nothing else."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from shadowprice.estimators.folds import FOLDS, cluster_folds

IDS = tuple(f"session-{i}" for i in range(2000))


@given(ids=st.lists(st.text(max_size=8), min_size=1, max_size=30, unique=True), data=st.data())
def test_the_fold_of_a_cluster_does_not_depend_on_the_others(ids: list[str], data: st.DataObject) -> None:
    """Kills folds by position, by rank or by a shuffled order."""
    whole = dict(zip(ids, cluster_folds(tuple(ids), seed=3, repeat=1), strict=True))
    some = data.draw(st.permutations(ids))[: data.draw(st.integers(1, len(ids)))]
    assert [whole[i] for i in some] == cluster_folds(tuple(some), seed=3, repeat=1).tolist()


def test_seeds_and_repeats_cut_differently() -> None:
    """Kills a seed or repeat that is not in the hash: repeats would then average the same split."""
    base = cluster_folds(IDS, seed=0, repeat=0)
    for other in (cluster_folds(IDS, seed=1, repeat=0), cluster_folds(IDS, seed=0, repeat=1)):
        assert 0.1 < (base == other).mean() < 0.3  # one in five agrees by chance


def test_folds_are_all_used_and_of_similar_size() -> None:
    """Kills a hash that favours some folds (2000 clusters: 400 each, sd 18, four sd allowed)."""
    counts = np.bincount(cluster_folds(IDS, seed=0, repeat=0), minlength=FOLDS)
    assert counts.size == FOLDS
    assert abs(counts - 400).max() < 72


def test_folds_are_the_same_on_every_machine_and_day() -> None:
    """Kills Python's salted hash: these numbers are frozen."""
    assert cluster_folds(("a", "b", "c", "d", "e"), seed=0, repeat=0).tolist() == FROZEN


FROZEN = [2, 0, 4, 0, 1]
