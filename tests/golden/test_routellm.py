"""RouteLLM's answers: both models are known for every question, so the truth is known on real data.

A few of the 200 seeds of benchmarks/bench_routellm.py, whose committed table has the whole count.
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
@pytest.mark.parametrize(("data", "ate", "off"), [("mmlu", 0.1250, 0.15), ("gsm8k", 0.2183, 0.02)])
def test_the_gain_of_the_stronger_model_is_found_where_the_naive_difference_is_off(
    bench: ModuleType, data: str, ate: float, off: float
) -> None:
    """Kills confounding that slips through on real data: mean errors within 2.5 standard errors of 4 seeds,
    and at least three of four 95 % intervals hold the truth (fewer has probability 1.4 %), logged
    propensities or not. GSM8K has a tenth of MMLU's questions and three times its width."""
    rows = bench.run(shared_data("routellm"), data, SEEDS)
    assert {(r["propensities"], r["estimand"]) for r in rows} == {
        (p, e) for p in ("logged", "estimated") for e in ("ATO", "ATE")
    }
    for row in rows:
        assert abs(row["naive error"]) > off
        assert abs(row["mean error"]) < 2.5 * row["mean width"] / 3.92 / SEEDS**0.5, row
        assert row["covered"] >= row["seeds"] - 1, row
        assert row["mean width"] < (0.10 if data == "mmlu" else 0.20), row
    assert {round(r["truth"], 4) for r in rows if r["estimand"] == "ATE"} == {ate}


@pytest.mark.slow
def test_with_the_confounder_hidden_the_bounds_hold_the_truth_and_the_naive_interval_does_not(
    bench: ModuleType,
) -> None:
    """Kills bounds that miss what a hidden cause of exactly that strength does on real answers: at an odds
    ratio of 2 the naive interval holds the truth in 1 of 200 seeds, the bounds in 198."""
    found = bench.hidden(shared_data("routellm"), "gsm8k", 6, 2.0)
    assert found["naive covered"] <= 1
    assert found["bounds covered"] >= 5
    assert found["mean error"] < -0.08
    assert 1.0 <= found["critical"] < 2.0
