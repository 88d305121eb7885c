"""The confidence level lives in one place, and alpha is split once."""

from __future__ import annotations

import math
import re

import pytest
from paths import REPOSITORY
from scipy import stats
from shadowprice.estimators.confidence import LEVEL, critical_t, detectable_effect, interval, upper_tail_p


@pytest.mark.parametrize(("df", "expected"), [(10.0, 2.2281), (30.0, 2.0423), (math.inf, 1.9600)])
def test_the_critical_value_is_the_one_in_every_table(df: float, expected: float) -> None:
    """Kills alpha split twice or not at all (printed tables of t, two-sided 5 %)."""
    assert critical_t(df) == pytest.approx(expected, abs=1e-4)


def test_another_level_gives_another_value() -> None:
    """Kills ignoring `level`."""
    assert critical_t(math.inf, level=0.90) == pytest.approx(1.6449, abs=1e-4)
    assert LEVEL == 0.95


def test_fewer_than_one_degree_of_freedom_is_one() -> None:
    """Kills an undefined t quantile below one degree of freedom."""
    assert critical_t(0.2) == critical_t(1.0) == pytest.approx(12.7062, abs=1e-4)


def test_the_interval_is_symmetric_and_has_the_level_it_claims() -> None:
    """Kills an interval at half or twice alpha."""
    lower, upper = interval(1.0, 0.5, 8.0)
    assert (lower + upper) / 2 == pytest.approx(1.0)
    assert stats.t.cdf((upper - 1.0) / 0.5, 8) - stats.t.cdf((lower - 1.0) / 0.5, 8) == pytest.approx(0.95)


def test_the_one_sided_p_value_is_a_half_at_the_null_and_falls_above_it() -> None:
    """Kills a two-sided p-value or the lower tail."""
    assert upper_tail_p(2.0, 1.0, 5.0, null=2.0) == pytest.approx(0.5)
    assert upper_tail_p(2.0, 1.0, 5.0) == pytest.approx(stats.t.sf(2.0, 5))
    assert upper_tail_p(2.0, 1.0, math.inf) == pytest.approx(0.02275, abs=1e-5)


@pytest.mark.parametrize(("value", "expected"), [(1.0, 0.0), (0.0, 1.0), (-1.0, 1.0)])
def test_without_noise_the_p_value_is_certain(value: float, expected: float) -> None:
    """Kills a division by a zero standard error, or a finding at exactly nothing."""
    assert upper_tail_p(value, 0.0, 5.0) == expected


def test_the_detectable_effect_is_found_with_the_stated_power() -> None:
    """Kills a forgotten power or a two-sided test: 2.486 standard errors at 5 % and 80 %."""
    assert detectable_effect(1.0, math.inf) == pytest.approx(2.4865, abs=1e-4)
    assert detectable_effect(2.0, math.inf) == pytest.approx(2 * 2.4865, abs=1e-4)
    few = detectable_effect(1.0, 12.0)
    assert few > detectable_effect(1.0, math.inf)


def test_no_other_estimator_splits_alpha() -> None:
    """Kills a second owner of the level: only confidence.py may halve a tail."""
    halved = re.compile(r"1(\.0)? - (LEVEL|level)\)? */ *2|LEVEL */ *2|ppf\(0\.975|1\.959|isf\(0\.025")
    others = [f for f in (REPOSITORY / "estimators").glob("*.py") if f.name != "confidence.py"]
    assert [f.name for f in others if halved.search(f.read_text(encoding="utf-8"))] == []
