"""Which tests become findings, under each kind of control, and the intervals that go with them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from shadowprice.reports.verdicts import Hypothesis, Verdict, verdicts
from shadowprice.schemas.config import Control

CONTROLS: tuple[Control, ...] = ("bh", "by", "e-bh")
LEVEL = 0.95


def at(z: float, *, decisions: float = 2_000.0, doubted: bool = False) -> Hypothesis:
    """A gain of z standard errors of 100 USD."""
    return Hypothesis(usd=100.0 * z, se=100.0, df=math.inf, decisions=decisions, doubted=doubted)


def flat(given: tuple[tuple[Verdict, ...], ...]) -> list[Verdict]:
    return [v for family in given for v in family]


def test_a_plain_loss_costs_the_other_tests_nothing() -> None:
    """Kills counting moves whose loss is plain among the tests, which halves the power of a tuned system."""
    alone = verdicts([[at(2.5)], [at(0.4)]], level=LEVEL)
    beside = verdicts([[at(2.5), *[at(-4.0)] * 20], [at(0.4)], [at(-3.0)] * 9], level=LEVEL)
    assert alone[0][0] == beside[0][0]
    assert alone[0][0].found
    assert not any(v.found for v in flat(beside)[1:])


def test_each_loss_keeps_its_place_and_its_interval() -> None:
    """Kills verdicts that slip by one where a test is left out."""
    ((lost, won, open_),) = verdicts([[at(-4.0), at(4.0), at(0.5)]], level=LEVEL)
    assert (lost.found, won.found, open_.found) == (False, True, False)
    assert (lost.p_adjusted, lost.level) == (1.0, LEVEL)
    assert lost.upper == pytest.approx(-400.0 + 195.996, abs=0.01)
    assert 0.0 < won.lower < 400.0 < won.upper


@pytest.mark.parametrize("control", CONTROLS)
def test_quiet_logs_rarely_have_a_finding(control: Control) -> None:
    """Kills one-sided p-values after the negative ones were left out, which doubles the false findings.

    Half of the tests mirror others, as the moves between two arms do.
    """
    rng = np.random.default_rng(8)
    alarms = 0
    for _ in range(500):
        z = rng.normal(size=(5, 3))
        families = [[at(s * x) for x in row] for row in z.tolist() for s in (1.0, -1.0)]
        alarms += any(v.found for v in flat(verdicts(families, level=LEVEL, control=control)))
    assert alarms / 500 <= 0.10 + 2 * math.sqrt(0.1 * 0.9 / 500)


@pytest.mark.parametrize("control", CONTROLS)
def test_a_finding_has_an_interval_above_zero_and_a_doubted_gain_is_none(control: Control) -> None:
    """Kills a finding whose interval covers 0, and a doubt that large dollars silence."""
    found, doubted = flat(verdicts([[at(9.0)], [at(9.0, doubted=True)]], level=LEVEL, control=control))
    assert found.found
    assert 0.0 < found.lower < 900.0 < found.upper
    assert found.level >= LEVEL
    assert not doubted.found
    for z in np.linspace(1.5, 5.0, 30).tolist():
        (one,) = flat(verdicts([[at(z)]], level=LEVEL, control=control))
        assert not one.found or one.lower > 0.0


def test_stricter_control_finds_no_more() -> None:
    """Kills a control that is named and not used."""
    z = [2.6, 3.4, 4.6]
    found = {
        c: sum(v.found for v in flat(verdicts([[at(x) for x in z]], level=LEVEL, control=c)))
        for c in CONTROLS
    }
    assert (found["bh"], found["by"], found["e-bh"]) == (3, 3, 2)
    lone = [[at(2.4), *[at(-0.5)] * 9]]
    assert verdicts(lone, level=LEVEL)[0][0].found
    assert not verdicts(lone, level=LEVEL, control="by")[0][0].found


def test_a_log_that_is_looked_at_every_day_needs_evidence_that_lasts() -> None:
    """Kills e-values whose sample size stands still: 40 looks at growing logs without anything to gain."""
    rng = np.random.default_rng(6)
    ever: dict[Control, int] = {"bh": 0, "e-bh": 0}
    for _ in range(150):
        sums = rng.normal(scale=math.sqrt(200.0), size=(40, 6)).cumsum(axis=0)
        for control in ever:
            looks = (
                verdicts([[at(x / math.sqrt(n), decisions=n)] for x in row], level=LEVEL, control=control)
                for n, row in zip((200.0 * np.arange(1, 41)).tolist(), sums.tolist(), strict=True)
            )
            ever[control] += any(any(v.found for v in flat(look)) for look in looks)
    assert ever["e-bh"] / 150 <= 0.10
    assert ever["bh"] / 150 > 0.25
