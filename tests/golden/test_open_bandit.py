"""Open Bandit: published values reproduced, and the target that these logs cannot support refused.

IPW .004553 and SNIPW .004776 for random -> BTS on campaign 'all' are published with the data (Saito et al.
2021; ten thousand rows, the target's probabilities from 100,000 draws of its prior). They are plain ratios of
sums, so that they must agree to the last digit printed.
"""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest
import shadowprice as sp
from paths import REPOSITORY, shared_data


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    """The benchmark's module, which knows how to read the data."""
    spec = spec_from_file_location("bench_open_bandit", REPOSITORY / "benchmarks" / "bench_open_bandit.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def folder() -> Path:
    """The public data."""
    return shared_data("open_bandit")


def test_the_published_values_of_bts_from_random_logs_are_reproduced(bench: ModuleType, folder: Path) -> None:
    """Kills a weight, a normalisation or a join that is off."""
    log = bench.load(folder, "random", "all")
    values = sp.policy_value(log, bench.bts_target(folder, "all", log))
    found = dict(values.select("estimator", "value").iter_rows())
    assert found["IPS"] == pytest.approx(0.004553, abs=5e-7)
    assert found["SNIPS"] == pytest.approx(0.004776, abs=5e-7)
    assert found["DR"] == pytest.approx(0.004727, abs=2e-4)  # the reward model is another
    assert found["DM"] == pytest.approx(0.003545, abs=3e-4)  # published with a logistic model per position
    for row in values.drop_nulls("lower").iter_rows(named=True):
        assert row["lower"] <= row["value"] <= row["upper"]


def test_the_uniform_target_from_bts_logs_of_women_is_refused(bench: ModuleType, folder: Path) -> None:
    """Kills a value that rests on two decisions: the largest weight is 21,739."""
    values = sp.policy_value(bench.load(folder, "bts", "women"), "uniform")
    assert values["value"].null_count() == values.height
    assert values["ess"][0] == pytest.approx(2, abs=0.6)
    assert "effective sample size 2 of 10000" in values["reason"][0]


@pytest.mark.parametrize(("campaign", "ess"), [("men", 656), ("all", 340)])
def test_the_uniform_target_from_other_bts_logs_has_an_interval(
    bench: ModuleType, folder: Path, campaign: str, ess: float
) -> None:
    """Kills a refusal of everything."""
    values = sp.policy_value(bench.load(folder, "bts", campaign), "uniform")
    assert values["value"].null_count() == 0
    assert values["ess"][0] == pytest.approx(ess, abs=1)
    for row in values.drop_nulls("lower").iter_rows(named=True):
        assert 0 <= row["value"] <= 0.02
        assert row["lower"] < row["value"] < row["upper"]
