"""RouteLLM's MMLU answers: both models are known for every question, so the truth is known on real data.

Four of the fifty seeds of benchmarks/bench_routellm.py, whose committed table has the whole count.
"""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from types import ModuleType

import pytest
from paths import REPOSITORY, shared_data

SEEDS = 4


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    """The benchmark's module."""
    spec = spec_from_file_location("bench_routellm", REPOSITORY / "benchmarks" / "bench_routellm.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_the_gain_of_the_stronger_model_is_found_where_the_naive_difference_is_off_by_18_points(
    bench: ModuleType,
) -> None:
    """Kills confounding that slips through on real data: means within 1 point of the truth, and at least
    three of four 95 % intervals hold it (fewer has probability 1.4 %), logged propensities or not."""
    rows = bench.run(shared_data("routellm"), SEEDS)
    assert {(r["propensities"], r["estimand"]) for r in rows} == {
        (p, e) for p in ("logged", "estimated") for e in ("ATO", "ATE")
    }
    for row in rows:
        assert abs(row["naive error"]) > 0.15
        assert abs(row["mean error"]) < 0.01, row
        assert row["covered"] >= SEEDS - 1, row
        assert row["mean width"] < 0.10, row
    (ate,) = {round(r["truth"], 4) for r in rows if r["estimand"] == "ATE"}
    assert ate == 0.1250
