"""Agents that work step by step: the exact truth equals a naive re-run of the episode from each decision."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from shadowprice.ingest.simulator import agent_steps as a
from shadowprice.ingest.simulator import settings as s
from shadowprice.ingest.simulator import simulate
from shadowprice.ingest.simulator.draw import draw_world
from shadowprice.ingest.simulator.injected import injected_truth
from shadowprice.ingest.simulator.knobs import Knobs
from shadowprice.ingest.simulator.truth import contrast_truth, quantities
from shadowprice.ingest.simulator.world import World, request_ids

STEPS = 8
ROUNDS = 5
RERUNS = 3000


@pytest.fixture(scope="module")
def drawn() -> World:
    return draw_world(seed=4, knobs=Knobs(requests=2000, steps=STEPS))


def rerun(drawn: World, j: int, action: int, rng: np.random.Generator) -> np.ndarray:
    """Quality, incident, USD and seconds that one decision of refunds led to: a walk on from its state."""
    found, i = drawn.episodes, int(drawn.verify.request[j])
    assert found is not None
    met = drawn.requests
    slip = min(max(a.BUG + a.BUG_BY_DIFFICULTY * float(met.x_difficulty[i]), 0.05), 0.6)
    kind = s.CLASSES[int(met.task[i])]
    bug, last, spent, seconds = bool(found.bug[j]), int(found.last_test[j]), 0.0, 0.0
    for r in range(int(found.round[j]), ROUNDS):
        if r > found.round[j]:
            bug = bug or rng.random() < slip
            slope = s.DIFFICULTY_TO_VERIFY + a.MORE_BY_DIFFICULTY
            logit = kind.verify + slope * float(met.x_difficulty[i]) + (0, -0.5, 0.5)[last]
            action = int(rng.random() < 1 / (1 + np.exp(-logit)))
        if action:
            spent, seconds, last = spent + a.VERIFY_USD, seconds + a.VERIFY_S, 1
            if rng.random() < (a.SENSITIVITY if bug else 1 - a.SPECIFICITY):
                spent, seconds, last = spent + a.REWORK_USD, seconds + a.REWORK_S, 2
                bug = bug and rng.random() >= a.FIXED
    if last == 2 and rng.random() < a.DEFER_SHARE:
        return np.array([a.DEFER_QUALITY, 0.0, spent, seconds])
    return np.array([a.BUG_QUALITY * bug, a.BUG_INCIDENT * bug, spent, seconds])


@pytest.mark.parametrize("action", [0, 1])
@pytest.mark.parametrize(("round", "bug", "last"), [(0, 1, 0), (1, 0, 2), (3, 1, 1), (4, 0, 0)])
def test_what_a_decision_leads_to_is_the_mean_of_walking_on_from_it(
    drawn: World, round: int, bug: int, last: int, action: int
) -> None:
    """Kills: a recursion that forgets a later cost, an edit, the deferral, or the policy of later steps."""
    found = drawn.episodes
    assert found is not None
    refunds = drawn.requests.task[drawn.verify.request] == 2
    at = np.flatnonzero(
        refunds & (found.round == round) & (found.bug == bool(bug)) & (found.last_test == last)
    )
    j = int(at[0])
    rng = np.random.default_rng([round, bug, last, action])
    seen = np.array([rerun(drawn, j, action, rng) for _ in range(RERUNS)])
    exact = np.array(
        [
            drawn.verify.quality[j, action],
            drawn.verify.incident[j, action],
            (drawn.verify.cost_usd + found.later_usd)[j, action],
            (drawn.verify.latency_s + found.later_s)[j, action],
        ]
    )
    tolerance = 4.5 * seen.std(axis=0) / np.sqrt(RERUNS) + 1e-9
    assert (np.abs(seen.mean(axis=0) - exact) <= tolerance).all()


def test_episodes_under_the_policy_average_to_what_they_are_said_to_add() -> None:
    """Kills: a start value that is not the mean of the walks, over all task classes."""
    drawn = draw_world(seed=5, knobs=Knobs(requests=20_000, steps=STEPS))
    found = drawn.episodes
    assert found is not None
    for seen, exact in ((found.quality, found.mean_quality), (found.incident, found.mean_incident)):
        for task in range(len(s.CLASSES)):
            inside = drawn.requests.task == task
            gap = (seen - exact)[inside]
            assert abs(gap.mean()) <= 4 * gap.std() / np.sqrt(gap.size) + 1e-12


def test_the_next_state_is_worth_what_the_decision_before_it_promised(drawn: World) -> None:
    """Kills: decisions of one request that disagree; over many, the promise equals what came (martingale)."""
    found = drawn.episodes
    assert found is not None
    promised = drawn.verify.chosen(drawn.verify.quality)
    came = found.quality[drawn.verify.request]
    for round in range(ROUNDS):
        gap = (came - promised)[found.round == round]
        assert abs(gap.mean()) <= 4 * gap.std() / np.sqrt(gap.size)


def test_verification_pays_where_it_is_missing_and_is_worth_its_cost_elsewhere(drawn: World) -> None:
    """Kills: an injected failure without dollars, and stakes where none were put."""
    net = quantities(drawn, drawn.verify)["net"]
    refunds = drawn.requests.task[drawn.verify.request] == 2
    assert np.abs(net[~refunds, 1] - net[~refunds, 0]).max() < 1e-9
    injected = injected_truth(drawn, contrast_truth(drawn))["failures"]
    assert [f["usd"] > 50 for f in injected if f["mode"] == "under_verification"] == [True]


def test_a_null_world_of_steps_has_nothing_at_stake_at_any_decision() -> None:
    """Kills: a null world in which a later verification is worth more than it costs."""
    drawn = draw_world(seed=4, knobs=Knobs(requests=1000, steps=STEPS, null=True))
    assert np.ptp(quantities(drawn, drawn.verify)["net"], axis=1).max() < 1e-9


def test_the_naive_contrast_misleads_as_harder_tasks_are_verified_more(drawn: World) -> None:
    """Kills: a world of steps without confounding, in which any estimator would look good."""
    refunds = drawn.requests.task[drawn.verify.request] == 2
    quality = quantities(drawn, drawn.verify)["quality"][refunds]
    e = drawn.verify.propensity[refunds]
    naive = np.diff((e * quality).sum(axis=0) / e.sum(axis=0)).item()
    assert naive < 0.7 * np.diff(quality.mean(axis=0)).item()


@pytest.mark.parametrize(("steps", "edits"), [(2, 1), (3, 1), (4, 1), (5, 2), (8, 5)])
def test_every_number_of_steps_leaves_room_for_an_edit_and_the_act(steps: int, edits: int) -> None:
    """Kills: an agent without a decision."""
    assert a.edits(steps) == edits


def test_what_the_log_says_was_spent_on_verifying_is_what_the_truth_promised(tmp_path: Path) -> None:
    """Kills: rework or a verification that the log does not charge, so that no cost-to-go can be right."""
    knobs = Knobs(requests=500, steps=STEPS)
    run = simulate(tmp_path, seed=4, knobs=knobs, with_truth=False)
    drawn = draw_world(seed=4, knobs=knobs)
    assert drawn.episodes is not None
    spent: dict[str, float] = {}
    for line in (run.logs / "agent-spans.jsonl").read_bytes().splitlines():
        for span in json.loads(line)["resourceSpans"][0]["scopeSpans"][0]["spans"]:
            told = {pair["key"]: pair["value"] for pair in span["attributes"]}
            verifies = "shadowprice.decision_point" in told or span["name"] == "execute_tool edit_fix"
            if verifies:
                usd = told["shadowprice.cost_usd"]["doubleValue"]
                spent[span["traceId"]] = spent.get(span["traceId"], 0.0) + usd
    first = drawn.episodes.round == 0
    promised = drawn.verify.chosen(drawn.verify.cost_usd + drawn.episodes.later_usd)[first]
    gap = np.array([spent[trace] for trace in request_ids(drawn)]) - promised
    assert abs(gap.mean()) < 4 * gap.std() / np.sqrt(gap.size)
    assert promised.mean() > 0.01
