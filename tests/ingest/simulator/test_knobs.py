"""Knobs: each moves what it names by as much as it says, and leaves the truth exact."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from shadowprice.ingest.simulator import Knobs, simulate
from shadowprice.ingest.simulator.draw import draw_world
from shadowprice.ingest.simulator.injected import injected_truth
from shadowprice.ingest.simulator.truth import contrast_truth, quantities
from shadowprice.ingest.simulator.truth_prices import regret_truth
from shadowprice.ingest.simulator.world import World

RUINED = 2
"""Index of the class refunds."""
DECIDED = ("over_routing", "under_routing", "over_delegation", "under_verification", "cache_misuse")
"""Failures of single decisions; the dollars of the others are those of queues and of training."""


def world(**knobs: Any) -> World:
    return draw_world(seed=8, knobs=Knobs(**{"requests": 6000, **knobs}))


def log_lines(path: Path) -> Iterator[Any]:
    yield from map(json.loads, path.read_bytes().splitlines())


@pytest.mark.parametrize(
    "knobs",
    [
        {"event_rate": 0.2, "hidden": 20.0},
        {"event_rate": 0.2, "steps": 8},
        {"event_rate": 0.2, "null": True, "actions": 6},
        {"event_rate": 0.001, "inject": DECIDED},
        {"event_rate": 0.2, "inject": DECIDED, "hidden": 3.0, "actions": 6},
        {"inject": ("over_delegation",), "steps": 5, "event_rate": 0.2},
        {"null": True, "steps": 8, "event_rate": 0.2},
    ],
)
def test_no_combination_of_knobs_and_actions_leaves_the_unit_interval(knobs: dict[str, Any]) -> None:
    """Kills: knobs whose effects do not add up to a probability, which would make the truth wrong."""
    drawn = world(**knobs)
    for name in ("quality", "incident"):
        low, high = getattr(drawn.requests, name).copy(), getattr(drawn.requests, name).copy()
        for point in drawn.points:
            if point is drawn.verify and drawn.episodes is not None:
                continue
            low[point.request] += getattr(point, name).min(axis=1)
            high[point.request] += getattr(point, name).max(axis=1)
        if drawn.episodes is not None:
            low, high = low + getattr(drawn.episodes, name), high + getattr(drawn.episodes, name)
        assert low.min() >= 0
        assert high.max() <= 1


@pytest.mark.parametrize("mode", DECIDED)
def test_a_failure_alone_costs_dollars_and_is_the_only_one(mode: str) -> None:
    """Kills: a mode that cannot be injected by itself, or that leaves the stakes of another in place."""
    drawn = world(inject=(mode,))
    contrasts = contrast_truth(drawn)
    found = injected_truth(drawn, contrasts)["failures"]
    assert {f["mode"] for f in found} == {mode}
    assert all(f["usd"] > 20 for f in found)
    regrets = {(r["decision_point"], r["segment"]): r["regret_usd"] for r in regret_truth(drawn).to_dicts()}
    for other in DECIDED:
        if other != mode:
            whole = world(inject=(other,))
            for f in injected_truth(whole, contrast_truth(whole))["failures"]:
                assert regrets.get((f["decision_point"], f["segment"]), 0.0) < 1e-6


def test_all_failures_of_decisions_together_keep_their_own_dollars() -> None:
    """Kills: a failure whose dollars depend on which others are there, where they act on other decisions."""
    together = world(inject=DECIDED)
    usd = {
        (f["mode"], f["action"], f["baseline"]): f["usd"]
        for f in injected_truth(together, contrast_truth(together))["failures"]
    }
    for mode in DECIDED:
        alone = world(inject=(mode,))
        for f in injected_truth(alone, contrast_truth(alone))["failures"]:
            assert usd[mode, f["action"], f["baseline"]] == pytest.approx(f["usd"])


@pytest.mark.parametrize("ratio", [1.5, 4.0])
def test_a_hidden_cause_moves_the_odds_of_verification_by_exactly_its_ratio(ratio: float) -> None:
    """Kills: a confounder of another strength, or one whose logged-context propensity is not the true one."""
    plain, drawn = world(), world(hidden=ratio)
    e, chance = drawn.verify.propensity, drawn.verify.chance
    odds = (chance[:, 1] / chance[:, 0]) / (e[:, 1] / e[:, 0])
    present = odds > 1
    assert np.allclose(odds, np.where(present, ratio, 1 / ratio))
    # The draw follows e over the hidden cause, and the cause moves success.
    z = (drawn.verify.taken - e[:, 1]).sum() / np.sqrt((e[:, 0] * e[:, 1]).sum())
    assert abs(z) < 4
    shift = drawn.requests.quality - plain.requests.quality
    assert np.allclose(shift, np.where(present, -0.03, 0.03))


def test_shared_luck_correlates_a_tenants_requests_and_moves_no_probability() -> None:
    """Kills: an intra-cluster correlation that is not there, or that shifts the mean."""
    shared, plain = world(icc=0.2, requests=20_000, tenants=200), world(requests=20_000, tenants=200)

    def spread(drawn: World) -> float:
        expected = drawn.router.expected(quantities(drawn, drawn.router)["quality"])
        gap = drawn.resolved - expected
        sums = np.bincount(drawn.requests.tenant, weights=gap, minlength=200)
        size = np.bincount(drawn.requests.tenant, minlength=200)
        return float((sums**2).sum() / (size * 0.25).sum())

    assert np.array_equal(shared.requests.quality, plain.requests.quality)
    assert spread(plain) < 1.5
    # Near one half, a latent correlation of .2 is one of (2 / pi) arcsin .2 = .128 between successes.
    sizes = np.bincount(shared.requests.tenant, minlength=200)
    expected = 1 + 0.128 * (sizes**2).sum() / sizes.sum()
    assert 0.6 * expected < spread(shared) < 1.5 * expected


def test_corruption_turns_the_logged_probabilities_of_its_share_around() -> None:
    """Kills: corruption of the truth, of the rule's rows, or of another share."""
    drawn = world(corrupt=0.3)
    logged, true = drawn.router.logged, drawn.router.propensity
    assert logged is not None
    ruled = drawn.requests.task == RUINED
    wrong = (logged != true).any(axis=1)
    assert not wrong[ruled].any()
    assert abs(wrong[~ruled].mean() - 0.3) < 4 * np.sqrt(0.21 / (~ruled).sum())
    assert np.array_equal(logged[wrong], true[wrong][:, ::-1])


def test_log_sampling_keeps_failures_and_a_share_of_successes_and_says_so(tmp_path: Path) -> None:
    """Kills: sampling that is not logged, or that also drops what the truth must hold."""
    knobs = Knobs(requests=400, keep_share=0.3)
    run = simulate(tmp_path, seed=8, knobs=knobs)
    drawn = draw_world(seed=8, knobs=knobs)
    assert drawn.kept[~drawn.resolved].all()
    assert 0.2 < drawn.kept[drawn.resolved].mean() < 0.4
    calls = list(log_lines(run.logs / "litellm.jsonl"))
    assert len(calls) == drawn.kept.sum()
    told = [call["metadata"]["spend_logs_metadata"]["shadowprice"]["keep_prob"] for call in calls]
    assert told == drawn.keep_prob[drawn.kept].tolist()


def test_an_adaptive_router_moves_to_what_did_well_and_logs_the_version(tmp_path: Path) -> None:
    """Kills: a policy that does not learn, probabilities of another batch, one version for all."""
    drawn = world(adaptive=True)
    coding = np.flatnonzero(drawn.requests.task == 1)
    first, last = np.array_split(coding, 10)[0], np.array_split(coding, 10)[-1]
    assert np.allclose(drawn.router.propensity[first], 1 / 3)
    assert (drawn.router.propensity[last].argmax(axis=1) == 2).all()
    run = simulate(tmp_path, seed=8, knobs=Knobs(requests=600, adaptive=True))
    recipes = [
        call["metadata"]["spend_logs_metadata"]["shadowprice"]
        for call in log_lines(run.logs / "litellm.jsonl")
    ]
    versions = {r["policy_version"]: set() for r in recipes}
    for r in recipes:
        if r["x_task_class"] == "coding":
            versions[r["policy_version"]].add(tuple(r["propensities"]))
    assert len(versions) > 5
    assert max(map(len, versions.values())) == 1


@pytest.mark.parametrize(("knob", "draws"), [("loss_tail", "loss"), ("latency_tail", "latency")])
def test_pareto_tails_have_their_exponent_and_their_mean(knob: str, draws: str) -> None:
    """Kills: a tail of another weight, or one that moves the mean on which the prices rest."""
    from shadowprice.ingest.simulator.context import realised

    drawn = world(**{knob: 2.5, "requests": 40_000, "event_rate": 0.2})
    if draws == "loss":
        seen = drawn.loss_usd[drawn.incident]
        floor, mean = 5.0 * 1.5 / 2.5, 5.0
    else:
        seen = realised(drawn, drawn.router) / drawn.router.chosen(drawn.router.latency_s)
        floor, mean = 1.5 / 2.5, 1.0
    assert seen.min() == pytest.approx(floor, abs=0.01)
    hill = 1 / np.log(seen / floor).mean()
    assert hill == pytest.approx(2.5, rel=5 / np.sqrt(seen.size))
    assert seen.mean() == pytest.approx(mean, rel=0.1)


def test_incidents_come_at_the_stated_rate_and_labels_judges_and_models_as_asked(tmp_path: Path) -> None:
    """Kills: a rate, a bias or a number of actions that does nothing."""
    rare = world(event_rate=0.01)
    assert rare.requests.incident.mean() == pytest.approx(0.01, rel=0.05)
    assert len(set(rare.router.actions)) == 3
    six = world(actions=6)
    assert len(set(six.router.actions)) == 6
    cost = six.router.cost_usd.mean(axis=0)
    assert (np.diff(cost) > 0).all()
    weak = world(overlap=0.4)
    assert weak.verify.propensity.min() < world().verify.propensity.min()
    knobs = Knobs(requests=1500, judge_bias=0.2, label_share=0.3)
    run, drawn = simulate(tmp_path, seed=8, knobs=knobs), draw_world(seed=8, knobs=knobs)
    found = judged(run.logs / "outcomes.jsonl")
    assert found.size == 1500
    dear, good = drawn.router.taken == 2, drawn.resolved
    gap = [found[dear & (good == g)].mean() - found[~dear & (good == g)].mean() for g in (True, False)]
    assert np.allclose(gap, 0.2, atol=0.03)
    assert stats.pearsonr(found, good).statistic > 0.7


def judged(path: Path) -> np.ndarray:
    """The judge's scores in the order of the log."""
    scores: list[float] = []
    for line in log_lines(path):
        for record in line["resourceLogs"][0]["scopeLogs"][0]["logRecords"]:
            told = {pair["key"]: pair["value"] for pair in record["attributes"]}
            if told["gen_ai.evaluation.name"]["stringValue"] == "judge_score":
                assert told["annotator_kind"]["stringValue"] == "LLM"
                scores.append(told["gen_ai.evaluation.score.value"]["doubleValue"])
    return np.array(scores)
