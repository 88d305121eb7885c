"""Odds of the adaptive router: exact where a formula exists, else against draws made as the router does."""

from __future__ import annotations

import math
import random
from itertools import permutations

import pytest
from shadowprice.ingest.readers.litellm_thompson import Arm, Rule, choice_odds

UNIFORM = Rule(quality=1.0, cost=0.0)
LITELLM = Rule(quality=0.7, cost=0.3)


def _arm(name: str, alpha: float, beta: float, cost: float = 1.0) -> Arm:
    return Arm(name=name, alpha=alpha, beta=beta, cost=cost)


@pytest.mark.parametrize(
    ("arms", "expected"),
    [
        ((_arm("a", 1, 1), _arm("b", 1, 1)), 1 / 2),
        ((_arm("a", 2, 1), _arm("b", 1, 1)), 2 / 3),  # the mean of Beta(2, 1)
        ((_arm("a", 1, 3), _arm("b", 1, 1)), 1 / 4),
        ((_arm("a", 1, 1), _arm("b", 1, 1), _arm("c", 1, 1)), 1 / 3),
        ((_arm("a", 3, 1), _arm("b", 1, 1), _arm("c", 1, 1)), 3 / 5),  # E[x^2] under Beta(3, 1)
    ],
)
def test_odds_are_those_of_the_formula(arms: tuple[Arm, ...], expected: float) -> None:
    """Kills confusing alpha with beta, or the chance of the best mean with the chance of the best draw."""
    assert choice_odds(arms, UNIFORM)[0] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("gap", [0.1, 0.3 / 0.7])
def test_cheapness_moves_the_draw_by_its_weight(gap: float) -> None:
    """Kills a cost weight that is not divided by the quality's, and dear taken for cheap.

    Two uniform draws, one with `gap` added, closed form: the other wins with (1 - gap)^2 / 2.
    """
    rule = Rule(quality=1.0, cost=gap)
    dear, cheap = choice_odds((_arm("dear", 1, 1, 5.0), _arm("cheap", 1, 1, 2.0)), rule)
    assert dear == pytest.approx((1 - gap) ** 2 / 2, abs=1e-5)
    assert cheap == pytest.approx(1 - (1 - gap) ** 2 / 2, abs=1e-5)


def test_without_exploration_the_best_mean_wins_for_sure_and_in_between_both_mix() -> None:
    """Kills an exploration rate that is not applied."""
    arms = (_arm("a", 2, 1), _arm("b", 1, 1))
    assert choice_odds(arms, Rule(quality=1.0, cost=0.0, exploration_rate=0.0)) == (1.0, 0.0)
    mixed = choice_odds(arms, Rule(quality=1.0, cost=0.0, exploration_rate=0.3))
    assert mixed[1] == pytest.approx(0.3 / 3, abs=1e-6)


@pytest.mark.parametrize("rate", [1.0, 0.2])
def test_odds_agree_with_drawing_as_the_router_does(rate: float) -> None:
    """Kills a rule that is not the writer's: 20,000 draws by the standard library, within five deviations.

    By hand, against pick_best of litellm 1.110.2 itself: 40,000 draws of six random states, all within 1.1.
    """
    arms = (_arm("small", 12, 9, 0.2), _arm("large", 60.5, 12, 3.0), _arm("other", 100, 90, 1.0))
    odds = choice_odds(arms, Rule(quality=0.7, cost=0.3, exploration_rate=rate))
    rng, n = random.Random(20261126), 20_000
    cheap = [1 - (arm.cost - 0.2) / 2.8 for arm in arms]
    seen = [0, 0, 0]
    for _ in range(n):
        explore = rng.random() < rate
        draws = [rng.betavariate(a.alpha, a.beta) if explore else a.alpha / (a.alpha + a.beta) for a in arms]
        scores = [0.7 * draw + 0.3 * bonus for draw, bonus in zip(draws, cheap, strict=True)]
        seen[scores.index(max(scores))] += 1
    for share, count in zip(odds, seen, strict=True):
        assert abs(count / n - share) <= 5 * math.sqrt(share * (1 - share) / n) + 1e-9


def test_the_order_of_arms_does_not_matter_and_odds_sum_to_one() -> None:
    """Kills odds tied to a position."""
    arms = (_arm("a", 10, 3, 0.5), _arm("b", 150, 50, 2.0), _arm("c", 5.5, 7, 0.0))
    told = dict(zip("abc", choice_odds(arms, LITELLM), strict=True))
    assert sum(told.values()) == pytest.approx(1, abs=1e-12)
    for order in permutations(arms):
        again = dict(zip((arm.name for arm in order), choice_odds(order, LITELLM), strict=True))
        assert again == pytest.approx(told, abs=1e-12)


@pytest.mark.parametrize(("alpha", "beta"), [(0, 1), (1, -1), (math.nan, 1), (1, math.inf), (1e9, 1)])
def test_what_is_no_posterior_is_refused(alpha: float, beta: float) -> None:
    """Kills NaN odds."""
    with pytest.raises(ValueError, match="posterior Beta"):
        _arm("a", alpha, beta)


def test_a_rule_without_quality_is_refused() -> None:
    """Kills a division by zero: such a router ranks by cost and draws nothing."""
    with pytest.raises(ValueError, match="quality weight > 0"):
        Rule(quality=0.0, cost=1.0)
