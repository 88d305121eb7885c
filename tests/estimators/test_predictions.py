"""The door to the three predictions: order, sampling, bad input, and the record that they share."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest
import shadowprice as sp
from shadowprice.errors import SchemaError
from shadowprice.estimators.congestion.fingerprint import Fingerprint
from shadowprice.estimators.predictions import predictions as door
from shadowprice.estimators.predictions.congestion import as_prediction
from shadowprice.schemas.config import parse_config
from shadowprice.schemas.records import Prediction, Reading
from verdicts import ROUTER_PRICES, VERIFIER_PRICES, agents, routed

NAMES = ("verifier", "router", "congestion")
BOTH = parse_config({"prices": {**ROUTER_PRICES, **VERIFIER_PRICES}})


@pytest.fixture(scope="module")
def log() -> pl.DataFrame:
    """A router and agents in one log; requests of one have no part in the other."""
    router = routed(n=4_000)[0].with_columns(incident=pl.lit(False))
    return pl.concat([router, agents(tasks=1_500)[0]], how="diagonal_relaxed")


def test_all_three_are_answered_in_order_whatever_the_log_holds(log: pl.DataFrame) -> None:
    """Kills: a prediction that is absent where it cannot be tested."""
    found = sp.predictions(log, BOTH, seed=0)
    assert tuple(p.name for p in found) == NAMES
    assert found[2].verdict == "not_identified"
    assert "no serving decisions" in found[2].reason
    assert tuple(p.name for p in sp.predictions(log.clear(), BOTH)) == NAMES


def test_the_order_of_rows_does_not_matter(log: pl.DataFrame) -> None:
    """Kills: a dose counted in the order in which rows happen to stand."""
    shuffled = log.sample(fraction=1.0, shuffle=True, seed=3)
    first, again = (sp.predictions(f, BOTH, seed=0) for f in (log, shuffled))
    for a, b in zip(first[:2], again[:2], strict=True):
        assert a.verdict == b.verdict
        assert a.effect == pytest.approx(b.effect, rel=1e-9)


def test_large_logs_are_sampled_by_whole_requests(log: pl.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kills: single steps of a task in the sample, whose dose is then wrong; a sample of sessions, which are
    few here; a sample that is the whole."""
    monkeypatch.setattr(door, "MOST_CHOICES", 4_000)
    seen: list[pl.DataFrame] = []
    real = door.verifier_prediction
    monkeypatch.setattr(door, "verifier_prediction", lambda f, *a, **k: seen.append(f) or real(f, *a, **k))
    found = door.predictions(log, BOTH, seed=0)
    tasks = seen[0].filter(layer="agent").group_by("request_id").len()
    assert 0.35 < tasks.height / 1_500 < 0.6
    assert (tasks["len"] == 3).all()
    assert seen[0]["session_id"].n_unique() == log["session_id"].n_unique()
    assert found[0].verdict == "supported", str(found[0])


def test_the_first_requests_stand_for_a_long_serving_log(
    monkeypatch: pytest.MonkeyPatch, log: pl.DataFrame
) -> None:
    """Kills: a sample of requests, whose queue has no history, and a whole log in memory."""
    seen: list[pl.DataFrame] = []
    monkeypatch.setattr(door, "MOST_REQUESTS", 10)
    monkeypatch.setattr(door, "congestion_prediction", lambda f: seen.append(f) or as_prediction(UNKNOWN))
    serving = pl.DataFrame(
        {
            "decision_id": [f"q{i}" for i in range(30)],
            "layer": "serving",
            "decision_point": "admit",
            "action": "admit",
            "ts": pl.Series([1_000_000 * (30 - i) for i in range(30)]).cast(pl.Datetime("us", "UTC")),
        }
    )
    door.predictions(pl.concat([log, serving], how="diagonal_relaxed"), BOTH)
    assert seen[0]["decision_id"].to_list() == [f"q{i}" for i in range(29, 19, -1)]


UNKNOWN = Fingerprint(verdict="not_identified", reason="one replica")


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (lambda f: f.drop("layer"), "'layer' is missing"),
        (lambda f: f.drop("decision_point"), "'decision_point' is missing"),
        (lambda f: f.rename({"quality": "qualty"}), "Did you mean 'quality'"),
        (lambda f: f.with_columns(propensity=pl.lit(1.5)), "propensity is 1.5"),
        (lambda f: f.with_columns(cost_usd=pl.lit(-1.0)), "cost_usd is -1"),
        (lambda f: pl.concat([f, f]), "appears 2 times"),
    ],
)
def test_a_frame_that_no_log_can_give_is_an_error(log: pl.DataFrame, broken: object, said: str) -> None:
    """Kills: an exception of a library, or a verdict from numbers that cannot be."""
    with pytest.raises(SchemaError, match=said):
        sp.predictions(broken(log), BOTH)  # type: ignore[operator]


def test_the_fingerprint_keeps_its_numbers_and_its_worse_placebo() -> None:
    """Kills: the placebo that did not move told in place of the one that did."""
    known = Fingerprint(
        verdict="inconclusive",
        reason="a common cause",
        effect_s=0.2,
        lower_s=0.1,
        upper_s=0.3,
        p_value=0.01,
        placebo_elsewhere_p=0.6,
        placebo_lead_p=0.02,
        n=100,
        clusters=12,
    )
    found = as_prediction(known)
    assert (found.effect, found.lower, found.upper, found.unit) == (0.2, 0.1, 0.3, "s per request")
    assert (found.placebo_p, found.grade, found.n, found.clusters) == (0.02, "C", 100, 12)
    refused = as_prediction(UNKNOWN)
    assert (refused.verdict, refused.grade, refused.effect) == ("not_identified", "N", None)
    assert str(refused) == "congestion: not_identified: one replica"


KNOWN = Prediction(
    name="router",
    statement="s",
    verdict="supported",
    reason="r",
    layer="router",
    effect=1.0,
    lower=0.5,
    upper=1.5,
    unit="USD per doubling of V",
    grade="A",
    n=9,
)


@pytest.mark.parametrize(
    "change",
    [
        {"reason": ""},
        {"grade": "N"},
        {"verdict": "not_identified"},
        {"effect": None},
        {"lower": 2.0},
        {"lower": None},
        {"upper": float("nan")},
    ],
)
def test_a_verdict_cannot_contradict_its_numbers(change: dict[str, object]) -> None:
    """Kills: an effect without an interval, support without an effect, a refusal without a reason."""
    with pytest.raises(SchemaError):
        replace(KNOWN, **change)  # type: ignore[arg-type]


def test_a_record_is_one_line_to_paste() -> None:
    """Kills: a verdict without its numbers."""
    assert str(KNOWN) == "router: supported, +1 [+0.5, +1.5] USD per doubling of V (grade A, n 9): r"
    with pytest.raises(SchemaError, match="outside"):
        Reading(label="x", unit="USD", value=3.0, lower=0.0, upper=1.0)
