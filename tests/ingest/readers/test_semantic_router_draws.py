"""Rebuilt propensities against a router of the test's own, which follows the writer's rule."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reading import lines, rows, run
from shadowprice.ingest.pipeline import ingest
from shadowprice.ingest.readers import semantic_router
from shadowprice.ingest.readers.semantic_router_draws import draw_shares
from shadowprice.ingest.readers.semantic_router_history import Belief

START = datetime(2026, 1, 3, tzinfo=UTC)
COSTS = {"big": 0.04, "mid": 0.02, "small": 0.005}
QUALITY = {"big": 0.74, "mid": 0.7, "small": 0.68}
BASE = "mid"
MARGINS = {"decision": 0.0, "tier": 0.03, "global": 0.08}


def _winner(scores: dict[str, float], candidate_set: str) -> str:
    """The writer's rule: the highest score, if it beats the base by the margin and the extra cost."""
    top = min(scores, key=lambda model: (-scores[model], model))
    extra = max(0.0, COSTS[top] - COSTS[BASE])
    return BASE if top != BASE and scores[top] < scores[BASE] + MARGINS[candidate_set] + extra else top


def _router_log(
    n: int,
    *,
    seed: int,
    candidate_set: str = "tier",
    seeds: float = 0.5,
    unjudged: str = "",
    code_from: int | None = None,
) -> list[dict[str, Any]]:
    """n requests, with a verdict on about half of them before the next arrives.

    unjudged: a model that gets no verdicts. code_from: where the decision changes; until a model has verdicts
    in it, the router goes by those of the whole tier.
    """
    rng = np.random.default_rng(seed)
    verdicts: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    records: list[dict[str, Any]] = []
    for i in range(n):
        decision = "math" if code_from is None or i < code_from else "code"
        scores, told = {}, {}
        for model in COSTS:
            own = verdicts[decision, model]
            good, bad = own if sum(own) else verdicts["", model]
            prior = 0.5 if good + bad else seeds
            alpha, beta = 2 * prior + good + 1, 2 * (1 - prior) + bad + 1
            draw = rng.beta(alpha, beta)
            scores[model] = draw - COSTS[model] + (0.001 if model == BASE else 0.0)
            told[model] = {
                "score": round(scores[model], 4),
                "posterior_mean": round(alpha / (alpha + beta), 4),
                "predicted_quality": round(draw, 4),
                "cost_penalty": COSTS[model],
            }
        chosen = _winner(scores, candidate_set)
        record = _record(i, chosen, told, decision=decision, candidate_set=candidate_set)
        if rng.random() < 0.5 and chosen != unjudged:
            fit = rng.random() < QUALITY[chosen]
            for key in (decision, ""):
                verdicts[key, chosen][0 if fit else 1] += 1
            at = START + timedelta(seconds=i + 0.5)
            verdict = "good_fit" if fit else "underpowered"
            record["outcomes"] = [
                {"timestamp": at.isoformat(), "source": "user", "target": "model", "verdict": verdict}
            ]
        records.append(record)
    return records


def _record(
    i: int, chosen: str, scores: dict[str, Any], *, decision: str, candidate_set: str
) -> dict[str, Any]:
    adaptation = {
        "mode": "apply",
        "reason": "sampled_win",
        "candidate_set": candidate_set,
        "base_model": BASE,
        "proposal_model": chosen,
        "sampling": {"used": True, "seed": i},
        "scores": scores,
    }
    return {
        "id": f"replay-{i}",
        "timestamp": (START + timedelta(seconds=i)).isoformat(),
        "decision": decision,
        "decision_tier": 1,
        "original_model": "auto",
        "selected_model": chosen,
        "learning": {"adaptation": adaptation},
        "outcomes": [],
    }


def _read(records: list[dict[str, Any]], folder: Path) -> list[dict[str, Any]]:
    return rows(run(semantic_router, lines(records), folder))


@pytest.mark.parametrize(("candidate_set", "seeds"), [("decision", 0.5), ("tier", 0.5), ("global", 0.9)])
def test_rebuilt_propensities_are_those_that_the_choices_follow(
    candidate_set: str, seeds: float, tmp_path: Path
) -> None:
    """Kills the margin, the penalties or a count left out, and alpha taken for beta.

    In every request an action minus its propensity has mean 0, so the sums over 600 requests are within 4.5
    of their standard deviations but for one world in 50,000; the worlds are seeded.
    """
    found = _read(_router_log(600, seed=5, candidate_set=candidate_set, seeds=seeds), tmp_path)
    rebuilt = [row for row in found if row.get("propensity_source") == "reconstructed"]
    assert len(rebuilt) == 600
    for place, model in enumerate(sorted(COSTS)):
        shares = np.array([row["propensities"][place] for row in rebuilt])
        taken = np.array([row["action"] == model for row in rebuilt])
        spread = np.sqrt((shares * (1 - shares)).sum())
        assert spread > 3
        assert abs((taken - shares).sum()) < 4.5 * spread
        high = shares > np.median(shares)
        assert abs((taken - shares)[high].sum()) < 4.5 * np.sqrt((shares * (1 - shares))[high].sum())
    assert all(
        row["propensity"] == row["propensities"][sorted(COSTS).index(row["action"])] for row in rebuilt
    )


@pytest.mark.parametrize("candidate_set", ["decision", "tier", "global"])
def test_one_propensity_is_that_of_a_million_draws(candidate_set: str) -> None:
    """Kills an integral that is right on average only; 5 standard errors of the draws' own mean."""
    beliefs = {"big": Belief(7.0, 3.0), "mid": Belief(5.0, 4.0), "small": Belief(2.0, 2.0)}
    rng = np.random.default_rng(3)
    draws = {model: rng.beta(b.alpha, b.beta, 1_000_000) - COSTS[model] for model, b in beliefs.items()}
    draws[BASE] += 0.001
    stack = np.stack([draws[model] for model in sorted(COSTS)])
    top = stack.argmax(axis=0)
    cost = np.array([COSTS[model] for model in sorted(COSTS)])
    base = sorted(COSTS).index(BASE)
    needed = stack[base] + MARGINS[candidate_set] + np.maximum(0.0, cost[top] - cost[base])
    wins = np.where((top != base) & (stack.max(axis=0) < needed), base, top)
    scores = {
        model: {
            "score": logged - COSTS[model] + (0.001 if model == BASE else 0.0),
            "predicted_quality": logged,
            "cost_penalty": COSTS[model],
        }
        for model, logged in {"big": 0.6, "mid": 0.7, "small": 0.6}.items()
    }
    adaptation = {
        "candidate_set": candidate_set,
        "base_model": BASE,
        "proposal_model": BASE,
        "scores": scores,
    }
    shares = draw_shares(adaptation, beliefs)
    assert shares is not None
    assert sum(shares.values()) == pytest.approx(1.0, abs=1e-12)
    for place, model in enumerate(sorted(COSTS)):
        seen = float((wins == place).mean())
        assert shares[model] == pytest.approx(seen, abs=5 * np.sqrt(seen * (1 - seen) / 1e6) + 1e-6)


def test_the_order_of_the_file_does_not_matter(tmp_path: Path) -> None:
    """Kills counting verdicts in the order of the file: the API lists the newest first."""
    log = _router_log(120, seed=2)
    forward = {row["decision_id"]: row["propensities"] for row in _read(log, tmp_path)}
    backward = {row["decision_id"]: row["propensities"] for row in _read(log[::-1], tmp_path)}
    assert forward == backward


@pytest.mark.parametrize("lost", [1, 5, 40])
def test_a_log_whose_beginning_is_missing_has_no_propensities(lost: int, tmp_path: Path) -> None:
    """Kills propensities from a part of the verdicts: the logged means tell that some are missing."""
    log = _router_log(200, seed=4)
    first = next(i for i, record in enumerate(log) if record["outcomes"])
    found = _read(log[first + lost :], tmp_path)
    assert found
    assert all("propensity" not in row for row in found)


def test_one_lost_verdict_in_the_middle_is_noticed(tmp_path: Path) -> None:
    """Kills trusting a model's early means after a verdict on it went missing."""
    log = _router_log(200, seed=4)
    lost = [record for record in log if record["outcomes"]][20]
    lost["outcomes"] = []
    found = _read(log, tmp_path)
    assert all("propensity" not in row for row in found)


def test_the_store_takes_the_rebuilt_propensities(tmp_path: Path) -> None:
    """Kills propensities that do not sum to 1, or not in the order of the candidates."""
    (tmp_path / "replay.jsonl").write_text(lines(_router_log(150, seed=3)))
    store = ingest(tmp_path / "replay.jsonl", out=tmp_path / "out")
    found = store.decisions().collect()
    assert store.manifest["counts"]["quarantined"] == 0
    assert found["propensity_source"].to_list() == ["reconstructed"] * 150
    assert found["candidates"][0].to_list() == sorted(COSTS)


def test_a_verdict_that_raced_a_decision_costs_that_decision_only(tmp_path: Path) -> None:
    """Kills a whole log given up because a record's time is a little later than its decision."""
    log = _router_log(300, seed=4)
    late = log[200]
    outcome = next(o for record in log[200:] for o in record["outcomes"])
    late["timestamp"] = (datetime.fromisoformat(outcome["timestamp"]) + timedelta(seconds=0.1)).isoformat()
    found = {row["decision_id"]: "propensity" in row for row in _read(log, tmp_path)}
    assert [name for name, known in found.items() if not known] == [late["id"]]


def test_models_without_verdicts_are_not_trusted(tmp_path: Path) -> None:
    """Kills alpha and beta from the prior alone, where unlogged verdicts may have cancelled out at 0.5."""
    found = _read(_router_log(200, seed=1, unjudged="big"), tmp_path)
    assert {row["action"] for row in found} == set(COSTS)
    assert all("propensity" not in row for row in found)


def test_a_borrowed_posterior_is_not_told_from_an_own_one(tmp_path: Path) -> None:
    """Kills the prior assumed for a decision that went by the verdicts of its tier until it had its own."""
    log = _router_log(500, seed=9, code_from=250)
    found = {row["decision_id"]: row for row in _read(log, tmp_path)}
    seen = dict.fromkeys(COSTS, False)
    known: list[bool] = []
    for record in log[250:]:
        row = found[record["id"]]
        assert ("propensity" in row) == all(seen.values())
        known.append(all(seen.values()))
        seen[record["selected_model"]] |= bool(record["outcomes"])
    assert 0 < sum(known) < len(known)
    assert all("propensity" in found[record["id"]] for record in log[:250])


@pytest.mark.parametrize("change", [{"reason": "cold_start"}, {"proposal_model": "big", "force": True}])
def test_a_choice_that_the_rule_does_not_explain_has_no_propensity(
    change: dict[str, Any], tmp_path: Path
) -> None:
    """Kills a propensity for a model without experience, which always wins, or for another rule."""
    log = _router_log(100, seed=6)
    last = next(r for r in reversed(log) if r["learning"]["adaptation"]["proposal_model"] != "big")
    adaptation = last["learning"]["adaptation"]
    adaptation["scores"]["big"]["score"] = min(adaptation["scores"]["big"]["score"], 0.2)
    adaptation.update({name: value for name, value in change.items() if name != "force"})
    (row,) = [row for row in _read(log, tmp_path) if row["decision_id"] == last["id"]]
    assert "propensity" not in row
    assert row["exploration"] is True


def test_verdicts_of_weight_count_as_many(tmp_path: Path) -> None:
    """Kills one count for a verdict whose score says three."""
    log = _router_log(150, seed=8)
    plain = {row["decision_id"]: row["propensities"] for row in _read(log, tmp_path)}
    for record in log:
        for outcome in record["outcomes"]:
            outcome["score"] = 0.7  # below 1: still one verdict
    assert plain == {row["decision_id"]: row["propensities"] for row in _read(log, tmp_path)}
    for record in log:
        for outcome in record["outcomes"]:
            outcome["score"] = 3.0
    assert all("propensity" not in row for row in _read(log, tmp_path))
