"""Langfuse: its own request types take every line, patterns match one model, scores overwrite themselves."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from shadowprice.exporting import offer_of
from shadowprice.reports.exports.export import made_for
from shadowprice.reports.exports.langfuse import MODELS, SCORES, langfuse, read_langfuse
from shadowprice.reports.exports.losses import LOSSES, decision_losses
from shadowprice.reports.exports.supply import Supply

from tests.reports.exports_supply import HOSTILE, model, supplied, token_prices
from tests.reports.exports_supply import MODELS as KNOWN

LOST = {
    "decision_id": "d1",
    "request_id": "trace-1",
    "layer": "router",
    "decision_point": "model",
    "taken": "frontier",
    "better": "cheap",
    "mode": "over_routing",
    "loss_usd": 0.08,
    "lower_usd": 0.05,
    "upper_usd": 0.11,
    "grade": "B",
    "segment": "all",
}


def lost(**changes: Any) -> pl.DataFrame:
    return pl.DataFrame([LOST | changes], schema=LOSSES)


def read(supply: Supply, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in str(made_for(supply, "langfuse").files[name]).splitlines()]


def test_langfuses_own_types_take_every_line() -> None:
    """Kills: a field in another spelling or type than the API's."""
    pytest.importorskip("langfuse")
    from langfuse.api.core.pydantic_utilities import parse_obj_as
    from langfuse.api.models.types.create_model_request import CreateModelRequest
    from langfuse.api.scores.types.create_score_request import CreateScoreRequest

    supply = supplied(losses=lost())
    for kind, name in ((CreateModelRequest, MODELS), (CreateScoreRequest, SCORES)):
        for line in read(supply, name):
            loaded: Any = parse_obj_as(kind, line)
            assert not loaded.model_extra  # the type keeps what it does not know, and the API ignores it
            assert all(not tier.model_extra for tier in getattr(loaded, "pricing_tiers", ()))
    cheap: Any = parse_obj_as(CreateModelRequest, read(supply, MODELS)[0])
    assert (cheap.model_name, cheap.pricing_tiers[0].prices["output"]) == ("cheap", pytest.approx(2e-6))


def test_there_is_one_default_tier_of_list_prices_per_token() -> None:
    """Kills: a price per million, two defaults, a flat price beside a tier."""
    cheap, frontier = read(supplied(), MODELS)
    (tier,) = cheap["pricingTiers"]
    assert (tier["isDefault"], tier["priority"], tier["conditions"]) == (True, 0, [])
    assert tier["prices"]["input"] == pytest.approx(2.5e-7, rel=1e-12)
    assert tier["prices"]["input_cache_read"] == pytest.approx(2.5e-8, rel=1e-12)
    assert set(frontier["pricingTiers"][0]["prices"]) == {"input", "output"}
    assert not {"inputPrice", "outputPrice", "totalPrice"} & set(cheap)


@pytest.mark.parametrize("name", ["gpt-4.1", "a+b", "x|y", HOSTILE])
def test_a_pattern_matches_its_own_model_alone(name: str) -> None:
    """Kills: a dot that matches any character, an alternative that matches half of another name."""
    (line,) = read(supplied(models=(model(name, token_prices("1", "2")),)), MODELS)
    assert re.search(line["matchPattern"], name)
    assert re.search(line["matchPattern"], name.upper())
    for other in (name.replace(".", "x"), f"{name}-mini", f"my-{name}", "x"):
        assert other == name or not re.search(line["matchPattern"], other)


def test_a_loss_is_two_scores_on_its_trace_with_interval_and_grade() -> None:
    """Kills: a number without its interval, a score on the wrong trace, a price that includes an estimate."""
    loss, mode = read(supplied(losses=lost()), SCORES)
    assert (loss["traceId"], loss["value"], loss["dataType"]) == ("trace-1", 0.08, "NUMERIC")
    assert (mode["value"], mode["dataType"]) == ("over_routing", "CATEGORICAL")
    assert "[0.05, 0.11] USD, grade B: cheap instead of frontier at router.model" in loss["comment"]
    assert loss["metadata"]["run_id"] == "7f3a"
    with_losses, without = (read(supplied(losses=x), MODELS) for x in (lost(), lost().clear()))
    assert with_losses == without


def test_a_second_import_overwrites() -> None:
    """Kills: ids that hold the run or the value, so that every import adds a score."""
    first, _ = read(supplied(losses=lost()), SCORES)
    again, mode = read(supplied(losses=lost(loss_usd=0.09)), SCORES)
    other, _ = read(supplied(losses=lost(decision_id="d2")), SCORES)
    assert first["id"] == again["id"] != mode["id"]
    assert other["id"] != first["id"]


def test_a_decision_without_a_trace_is_counted() -> None:
    """Kills: a score that hangs nowhere, or a trace id with a line break."""
    for request in (None, "a\nb"):
        made = langfuse(supplied(losses=lost(request_id=request)))
        assert SCORES not in made.files
        assert [one.about for one in made.skipped] == ["1 decisions"]


def test_what_is_in_use_is_compared_in_its_own_shape() -> None:
    """Kills: a --diff that misses flat prices, lists or lines."""
    made = made_for(supplied(losses=lost(), models=KNOWN), "langfuse")
    both = read_langfuse(str(made.files[MODELS]), "m") | read_langfuse(str(made.files[SCORES]), "s")
    assert both == {e.key: e.value for e in made.evidence}
    old = {"data": [{"modelName": "cheap", "inputPrice": 3e-7}]}
    assert read_langfuse(json.dumps(old), "m") == {"price/cheap/input": 3e-7}


def ledger_row(**changes: Any) -> dict[str, Any]:
    row = {"decision_id": "d", "request_id": "r", "layer": "router", "decision_point": "model",
           "action": "frontier", "baseline": "cheap", "dc": 0.085, "nmv": 0.5, "nmv_lower": 0.2,
           "nmv_upper": 0.8, "grade": "A", "segment": "all"}  # fmt: skip
    return row | changes


def found(*rows: dict[str, Any], took: str = "cheap") -> pl.DataFrame:
    taken = pl.LazyFrame({"decision_id": ["d"], "action": [took]})
    return decision_losses(pl.LazyFrame(list(rows)), taken)


def test_a_loss_is_what_the_better_action_would_have_gained() -> None:
    """Kills: the sign of the other arm, the interval turned round, a dearer model called over-routing."""
    (under,) = found(ledger_row()).to_dicts()
    assert (under["mode"], under["loss_usd"], under["better"]) == ("under_routing", 0.5, "frontier")
    worse = ledger_row(nmv=-0.5, nmv_lower=-0.8, nmv_upper=-0.2)
    (over,) = found(worse, took="frontier").to_dicts()
    assert (over["mode"], over["loss_usd"]) == ("over_routing", 0.5)
    assert (over["lower_usd"], over["upper_usd"]) == (0.2, 0.8)
    assert found(ledger_row(), took="frontier").is_empty()


def test_no_decision_loses_by_noise_by_bounds_or_by_what_it_did_not_take() -> None:
    """Kills: an interval over 0, a grade D or N, a contrast of two other actions that becomes a score."""
    assert found(ledger_row(nmv_lower=-0.1)).is_empty()
    assert found(ledger_row(grade="D")).is_empty()
    assert found(ledger_row(), took="mid").is_empty()
    best = found(ledger_row(), ledger_row(action="mid", nmv=0.6, nmv_lower=0.1, nmv_upper=1.1))
    assert best["better"].to_list() == ["frontier"]  # by the lower end, not by the larger number


def test_a_run_with_losses_scores_exactly_its_traces(audited: Path) -> None:
    """Kills: a trace that the log does not know."""
    _, made = offer_of(audited, target="langfuse", max_rows=2000)
    scores = [json.loads(line) for line in str(made.files[SCORES]).splitlines()]
    assert len({score["id"] for score in scores}) == len(scores) > 0
    known = set(pl.read_parquet(audited / "ledger.parquet")["request_id"])
    assert {score["traceId"] for score in scores} <= known
