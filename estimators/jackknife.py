"""Weighted means with their leave-one-cluster-out covariance, read off sums that add over partitions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterSums:
    """State of a weighted mean: per cluster the sums of h d (G, q) and of h (G,). States add."""

    weighted: Array
    weight: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightedMean:
    """theta: (q,) mean. cov: (q, q) CR3 covariance. df: degrees of freedom of the t interval."""

    theta: Array
    cov: Array
    df: float
    clusters: int


def cluster_sums(d: Array, h: Array, cluster: Ints, clusters: int) -> ClusterSums:
    """The state of the rows given; `cluster` are codes below `clusters`."""
    weighted = np.column_stack(
        [
            np.bincount(cluster, weights=h * d[:, j], minlength=clusters).astype(float)
            for j in range(d.shape[1])
        ]
    )
    return ClusterSums(
        weighted=weighted, weight=np.bincount(cluster, weights=h, minlength=clusters).astype(float)
    )


def merge(a: ClusterSums, b: ClusterSums) -> ClusterSums:
    """The state of both partitions together; clusters may span partitions."""
    return ClusterSums(weighted=a.weighted + b.weighted, weight=a.weight + b.weight)


def weighted_mean(sums: ClusterSums) -> WeightedMean:
    """theta = sum h d / sum h with CR3 covariance over the clusters that carry weight.

    V = (G - 1) / G sum_g (theta_(g) - theta)(...)'; df = 1 / sum_g w_g^2 - 1 with w_g the cluster's share
    of the weight. Needs two clusters; NaN columns stay NaN.

    Source: Bell & McCaffrey 2002; Cameron & Miller 2015; Hansen 2022.
    """
    carried = sums.weight > 0
    weighted, weight = sums.weighted[carried], sums.weight[carried]
    g, total = weight.size, float(weight.sum())
    theta = weighted.sum(axis=0) / total
    deviation = deviations(weighted, weight)
    share = weight / total
    return WeightedMean(
        theta=theta,
        cov=(g - 1) / g * deviation.T @ deviation,
        df=1.0 / float((share**2).sum()) - 1.0,
        clusters=g,
    )


def deviations(weighted: Array, weight: Array) -> Array:
    """(G, q) how far leaving out each of G clusters moves the mean; every cluster carries weight."""
    total = weighted.sum(axis=0)
    left_out = (total - weighted) / (weight.sum() - weight)[:, None]
    return left_out - total / weight.sum()
