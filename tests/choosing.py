"""Logs of policies that trade at known prices: the worlds of benchmarks/bench_revealed.py, for tests."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType

import numpy as np
from numpy.typing import NDArray
from paths import REPOSITORY
from shadowprice.estimators.prices.behaviour import Behaviour

Array = NDArray[np.float64]


def _bench() -> ModuleType:
    spec = spec_from_file_location("bench_revealed", REPOSITORY / "benchmarks" / "bench_revealed.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


BENCH = _bench()
TRUE = {"V": 2.0, "λ": 0.3, "ρ": 4.0}
"""The prices of every world, where it is not told another one."""


def known_behaviour(
    weight: Array,
    noise: Array,
    *,
    point: tuple[str, str] = ("router", "model"),
    mean_value: float = 1.0,
    ids: tuple[str, ...] | None = None,
    risk_unit: str = "USD/event",
) -> Behaviour:
    """Weights (4,) with a covariance that the influence `noise` (G, 4) makes."""
    names = ids or tuple(f"s{i:04d}" for i in range(len(noise)))
    return Behaviour(
        layer=point[0],
        decision_point=point[1],
        weight=np.asarray(weight, dtype=float),
        influence=noise,
        absent=(None,) * 4,
        mean_value=mean_value,
        risk_unit=risk_unit,
        cluster_key="session_id",
        cluster_ids=names,
        df=len(noise) - 1.0,
        n=10 * len(noise),
        grade="C",
        constants=True,
        notes=(),
    )


def influence(rng: np.random.Generator, sd: Array, clusters: int = 400) -> Array:
    """(G, 4) influence of clusters whose weights have the standard errors sd, independently."""
    return rng.normal(size=(clusters, 4)) * np.asarray(sd) / np.sqrt(clusters)
