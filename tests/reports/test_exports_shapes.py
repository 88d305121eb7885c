"""What holds for every target with a shape of its own: names, stamps, billing fields, --diff and refusals."""

from __future__ import annotations

import csv
import io
import json
import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml
from door import knock
from hypothesis import given
from hypothesis import strategies as st
from mutation import ODD, mutated
from shadowprice import summary
from shadowprice.errors import ExportError
from shadowprice.estimators.policy_value import policy_value
from shadowprice.exporting import Exported
from shadowprice.reports.exports import envoy, focus, langfuse, litellm, vllm_sr
from shadowprice.reports.exports.export import TARGETS, differences, files_of, made_for
from shadowprice.reports.exports.list_prices import COLUMNS
from shadowprice.reports.exports.losses import LOSSES
from shadowprice.reports.exports.made import Made
from shadowprice.reports.exports.supply import FORECAST, Supply, supply
from shadowprice.schemas.config import Config
from shadowprice.schemas.tables import arrow_schema

from tests.reports.exports_supply import (
    GOOD,
    HIDDEN,
    HOSTILE,
    LEVELS,
    MODELS,
    VALUED,
    level,
    model,
    offered,
    supplied,
    token_prices,
    with_price,
)
from tests.reports.factory import PRICED, UNPRICED

SHAPED = [name for name, target in TARGETS.items() if not target.is_table]
STAMPED_IN_TEXT = (
    *(litellm.PRICES, litellm.ROUTERS, litellm.THRESHOLDS, vllm_sr.CONFIG, vllm_sr.SELECTION),
    *(envoy.NAME, focus.NAME, langfuse.SCORES),
)
"""Files with room for the run's id; model definitions have none, and carry it in the record beside them."""
Capture = pytest.CaptureFixture[str]


@dataclass(frozen=True, slots=True)
class Log:
    """A store that is one frame of decisions."""

    frame: pl.DataFrame

    def decisions(self) -> pl.LazyFrame:
        return self.frame.lazy()


def log(*names: str, n: int = 600, seed: int = 2) -> Log:
    """Random choices among models whose costs are exact: 1 and 4 USD per million tokens."""
    rng = np.random.default_rng(seed)
    took = rng.integers(0, len(names), n)
    own, out = rng.integers(100, 9000, n), rng.integers(10, 900, n)
    good = 0.5 + 0.2 * (took == 0)
    frame = pl.DataFrame(
        {
            "decision_id": [f"d{k}" for k in range(n)],
            "request_id": [f"r{k}" for k in range(n)],
            "layer": "router",
            "decision_point": "model",
            "ts": datetime(2026, 11, 3, tzinfo=UTC),
            "tenant_id": [f"t{k % 40}" for k in range(n)],
            "action": [names[k] for k in took],
            "candidates": [list(names)] * n,
            "propensity": 1 / len(names),
            "propensities": [[1 / len(names)] * len(names)] * n,
            "propensity_source": "logged",
            "tok_input_uncached": own,
            "tok_output": out,
            "cost_usd": (own + 4 * out) / 1e6,
            "cost_source": "logged",
            "ttft_s": 0.5,
            "decode_s": 0.02 * out,
            "quality": (rng.random(n) < good).astype(float),
            FORECAST: rng.uniform(0.1, 0.9, n),
            "x_task_class": [f"c{k % 2}" for k in range(n)],
        }
    )
    empty = pl.from_arrow(arrow_schema("decisions").empty_table())
    assert isinstance(empty, pl.DataFrame)
    return Log(pl.concat([empty, frame], how="diagonal_relaxed"))


def ledger_of(frame: pl.DataFrame, better: str, other: str) -> pl.LazyFrame:
    """A ledger in which `better` is worth half a dollar more than `other`, for certain."""
    columns = {"action": better, "baseline": other, "dc": 0.1, "nmv": 0.5, "nmv_lower": 0.3, "nmv_upper": 0.7}
    made = frame.select("decision_id", "request_id", "layer", "decision_point")
    texts = {"grade": "A", "segment": "x_task_class=c0"}
    return made.with_columns(**{k: pl.lit(v) for k, v in (columns | texts).items()}).lazy()


def stored(
    store: Log, target: str, *, better: str = "cheap", other: str = "frontier", **options: Any
) -> Supply:
    kept: Any = store
    ledger = ledger_of(store.frame, better, other)
    made = offered(GOOD, config=VALUED)
    return supply(made, kept, ledger, target=target, config=Config(), seed=0, **options)


def everything(**changes: Any) -> Supply:
    """A supply from which every shaped target writes all its files."""
    at = {
        "layer": "router",
        "decision_point": "model",
        "segment": "all",
        "mode": "over_routing",
        "grade": "B",
    }
    ends = {"loss_usd": 0.08, "lower_usd": 0.05, "upper_usd": 0.1}
    lost = {"decision_id": "d", "request_id": "r", "taken": "frontier", "better": "cheap"}
    sums = {"model": "cheap", "requests": 3, "tokens": 99, "billed": 123_456_789}
    losses = pl.DataFrame([at | ends | lost]).select(*LOSSES)
    usage = pl.DataFrame([at | ends | sums | {"day": datetime(2026, 11, 3, tzinfo=UTC).date()}])
    return supplied(**({"losses": losses, "usage": usage} | changes))


WRITTEN = {target: {k: str(v) for k, v in made_for(everything(), target).files.items()} for target in SHAPED}
"""Target -> its files."""


def billed(target: str, made: Made) -> Any:
    """Everything in the files of a target that a biller or a cost report would read."""
    texts = {name: str(text) for name, text in made.files.items()}
    if target == "litellm":
        return json.loads(texts[litellm.PRICES])
    if target == "vllm-sr":
        return yaml.safe_load(texts[vllm_sr.CONFIG])["providers"]
    if target == "envoy":
        costs = yaml.safe_load(texts[envoy.NAME])["spec"]["llmRequestCosts"]
        return [cost for cost in costs if cost["metadataKey"] == envoy.COST_KEY]
    if target == "focus":
        rows = csv.DictReader(io.StringIO(texts[focus.NAME]))
        return [{k: v for k, v in row.items() if not k.startswith("x_")} for row in rows]
    return texts[langfuse.MODELS]


@pytest.mark.parametrize("target", SHAPED)
def test_no_billing_field_ever_holds_a_shadow_price(target: str) -> None:
    """Kills: lambda, rho, a congestion price or a misallocation in a field that bills."""
    plain = made_for(everything(), target)
    loaded = with_price(everything(), "congestion_prefill_price", 2e-7, "USD/token")
    priced = replace(loaded, offer=replace(loaded.offer, rows=(*loaded.offer.rows, *offered(GOOD).rows)))
    usage = priced.usage.with_columns(loss_usd=pl.lit(9.0), upper_usd=pl.lit(10.0))
    dear = made_for(replace(priced, usage=usage, losses=priced.losses.with_columns(loss_usd=0.09)), target)
    assert billed(target, plain) == billed(target, dear)
    assert billed(target, plain)


@pytest.mark.parametrize("target", SHAPED)
def test_every_file_is_stamped_and_has_its_record_beside_it(target: str) -> None:
    """Kills: a config that nobody can trace back to its run, a number without interval and grade."""
    source = everything()
    made = made_for(source, target)
    files = files_of(source.offer, made, target)
    assert files == files_of(source.offer, made_for(everything(), target), target)
    own = [name for name in files if not name.endswith(".stamp.json")]
    assert own
    for name in own:
        assert name not in STAMPED_IN_TEXT or "7f3a" in files[name].decode()
        record = json.loads(files[f"{name}.stamp.json"])
        assert (record["run_id"], record["valid_until"]) == ("7f3a", "2026-12-22")
        assert record["exported"]
        for one in record["exported"]:
            assert one["grade"] is None or one["lower"] <= one["value"] <= one["upper"]


@pytest.mark.parametrize("target", SHAPED)
def test_a_name_full_of_grammar_survives_in_every_shape(target: str) -> None:
    """Kills: a quote, a tag or a template from a log that ends the string it stands in."""
    everywhere = supplied(
        GOOD,
        replace(GOOD, action=HOSTILE),
        models=(*MODELS, model(HOSTILE, token_prices("1", "4"))),
        levels=(*LEVELS, level(HOSTILE, 0.8)),
        usage=everything().usage.with_columns(model=pl.lit(HOSTILE)),
        losses=everything().losses.with_columns(better=pl.lit(HOSTILE)),
    )
    made = made_for(everywhere, target)
    assert made.files
    reader = TARGETS[target].read
    assert reader is not None
    found = {k: v for text in made.files.values() for k, v in reader(str(text), "f").items()}
    assert {e.key: e.value for e in made.evidence} == {e.key: found[e.key] for e in made.evidence}
    assert any(HOSTILE in e.key for e in made.evidence) or target == "langfuse"


@pytest.mark.parametrize("target", SHAPED)
@pytest.mark.parametrize("name", HIDDEN)
def test_a_name_that_hides_something_is_left_out_and_listed(target: str, name: str) -> None:
    """Kills: a line break, a direction mark or 10 kB of a model's name in a configuration."""
    store = log("cheap", "frontier", name)
    source = stored(store, target)
    made = made_for(source, target)
    assert made.files
    assert not [text for text in made.files.values() if name in str(text)]
    assert [one for one in made.skipped if "its name" in one.reason]
    assert all(len(one.about) < 300 for one in made.skipped)


def test_the_facts_of_the_models_come_from_the_log() -> None:
    """Kills: a price of another model, a level of the wrong segment, a forecast lost."""
    store = log("cheap", "frontier")
    source = stored(store, "litellm")
    assert [m.name for m in source.models] == ["cheap", "frontier"]
    for one in source.models:
        assert one.prices is not None
        assert (float(one.prices.input), float(one.prices.output)) == (1e-6, 4e-6)
        assert (one.ttft_s, one.tpot_s) == (0.5, pytest.approx(0.02))
    direct = policy_value(store.frame, pl.lit("cheap"), config=Config())
    own = source.level("cheap", "all")
    assert own is not None
    assert own.value == direct.filter(pl.col("estimator") == "DR")["value"][0]
    assert own.value == pytest.approx(0.7, abs=0.08)
    assert source.forecasts is not None
    assert source.forecasts.height == store.frame.height


def test_a_level_that_the_log_does_not_identify_has_a_reason() -> None:
    """Kills: the mean of those who were sent there, taken for what the model would reach with everybody."""
    store = log("cheap", "frontier")
    lists = {name: pl.lit(None, store.frame.schema[name]) for name in ("propensities", "candidates")}
    unknown = store.frame.with_columns(
        propensity=pl.lit(None, pl.Float64), propensity_source=pl.lit("unknown"), **lists
    )
    one = stored(Log(unknown), "vllm-sr").level("cheap", "all")
    assert one is not None
    assert one.value is None
    assert one.reason == "no propensity is logged"
    unlabelled = Log(store.frame.with_columns(quality=pl.lit(None, pl.Float64)))
    silent = stored(unlabelled, "vllm-sr").level("cheap", "all")
    assert silent is not None
    assert silent.reason == "no labelled decision in all"


def test_a_price_file_goes_before_the_log_and_a_missing_price_names_it() -> None:
    """Kills: a discount that was billed, sold as a list price although the list is at hand."""
    store = log("cheap", "frontier")
    book = {"cheap": token_prices("0.3", "2")}
    cheap, frontier = stored(store, "envoy", book=book).models
    assert cheap.prices == book["cheap"]
    assert frontier.prices is not None
    noisy = Log(store.frame.with_columns(cost_usd=pl.col("cost_usd") * (1 + pl.col(FORECAST))))
    for target in ("litellm", "vllm-sr", "envoy", "langfuse"):
        made = made_for(stored(noisy, target), target)
        told = [one for one in made.skipped if "--prices FILE" in one.log_next]
        assert {one.about for one in told} >= {"cheap", "frontier"}
    assert set(COLUMNS.values()) <= set(store.frame.columns)


@pytest.mark.parametrize("target", SHAPED)
def test_a_number_in_use_inside_the_new_interval_is_kept(target: str, tmp_path: Path) -> None:
    """Kills: noise sold as a reason to change a config, a change of a fact that is swallowed."""
    source = everything()
    made = made_for(source, target)
    for name, text in made.files.items():
        in_use = tmp_path / name
        in_use.write_text(str(text))
        found = {d.key: d for d in differences(source.offer, made, in_use, target)}
        own = TARGETS[target].read(str(text), name)  # pyright: ignore[reportOptionalCall]
        assert {d.change for key, d in found.items() if key in own} == {"kept"}
        assert {d.change for key, d in found.items() if key not in own} <= {"new"}
    moved = [replace(e, value=3 * e.value, lower=2 * e.value, upper=4 * e.value) for e in made.evidence]
    later = replace(made, evidence=tuple(moved))
    changed = differences(source.offer, later, in_use, target)
    assert [d for d in changed if d.change == "changed" and d.why]


@pytest.mark.parametrize("target", SHAPED)
@given(st.data())
def test_a_damaged_configuration_is_read_as_far_as_it_goes(target: str, data: st.DataObject) -> None:
    """Kills: a traceback from a config in which one value is of another type than expected."""
    reader = TARGETS[target].read
    assert reader is not None
    for name, text in WRITTEN[target].items():
        if name.endswith(".csv"):
            place = data.draw(st.integers(0, len(text)))
            damaged = text[:place] + data.draw(st.sampled_from([str(odd) for odd in ODD])) + text[place + 9 :]
        else:
            lines = name.endswith(".jsonl")
            content = [json.loads(x) for x in text.splitlines()] if lines else yaml.safe_load(text)
            damaged = json.dumps(mutated(data, content))
        try:
            found = reader(damaged, name)
        except ExportError:
            found = {}  # told in one line
        assert all(math.isfinite(value) for value in found.values())


@pytest.mark.parametrize("target", SHAPED)
def test_what_is_no_configuration_is_one_clear_error(
    target: str, tmp_path: Path, audited: Path, capfd: Capture
) -> None:
    """Kills: a traceback, or 'nothing changes', against a file that is no such thing."""
    broken = tmp_path / "broken"
    broken.write_text("{[ no config")
    for path, told in ((broken, "broken"), (tmp_path / "none.yaml", "none.yaml")):
        said = knock(capfd, "export", audited, "--to", target, "--diff", path)
        assert said.code == 2
        assert told in said.err
        assert len(said.err.strip().splitlines()) == 1
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe\x00")
    assert "not text" in knock(capfd, "export", audited, "--to", target, "--diff", binary).err


@pytest.mark.parametrize("target", SHAPED)
def test_a_run_without_anything_to_hand_on_writes_nothing_and_ends_with_three(target: str) -> None:
    """Kills: an empty configuration that wipes the one in use, and success where nothing is known."""
    refused = replace(GOOD, grade="N", reason="no overlap")
    source = Supply(offer=offered(refused, config=UNPRICED))
    made = made_for(source, target)
    assert files_of(source.offer, made, target) == {}
    answer = summary.of_export(Exported(offer=source.offer, made=made, files=()))
    assert (answer.exit_code, answer.status) == (3, "not_identified")


def test_logs_without_a_router_say_so_to_every_target() -> None:
    """Kills: an export that writes nothing and does not tell why."""
    store = log("cheap", "frontier")
    elsewhere = Log(store.frame.with_columns(decision_point=pl.lit("verify")))
    for target in SHAPED:
        made = made_for(stored(elsewhere, target), target)
        assert any("no decision of a router on a model" in one.reason for one in made.skipped)


@pytest.mark.parametrize("target", SHAPED)
def test_the_verb_writes_and_compares_with_every_target(
    target: str, audited: Path, tmp_path: Path, capfd: Capture
) -> None:
    """Kills: a target that only its own unit tests can call; --diff that writes."""
    said = knock(capfd, "export", audited, "--to", target, "--out", tmp_path, "--json", "--quiet")
    assert said.code == 0
    files = [Path(name) for name in said.json["data"]["files"]]
    assert sorted(files) == sorted(tmp_path.glob("shadowprice*"))
    assert all(file.stat().st_mode & 0o077 == 0 for file in files)
    before = {file: file.read_bytes() for file in files}
    own = next(file for file in files if not file.name.endswith(".stamp.json"))
    told = knock(capfd, "export", audited, "--to", target, "--diff", own, "--quiet")
    assert told.out.startswith("0 changed, ")
    assert {file: file.read_bytes() for file in files} == before


def test_prices_from_a_file_reach_the_target(audited: Path, tmp_path: Path, capfd: Capture) -> None:
    """Kills: --prices that is read and not used, or an error without the file's name."""
    names = pl.read_parquet(audited / "ledger.parquet").filter(pl.col("decision_point") == "model")["action"]
    book = {n: {"input_cost_per_token": 9e-7, "output_cost_per_token": 9e-6} for n in names.unique()}
    path = tmp_path / "book.json"
    path.write_text(json.dumps(book))
    assert knock(capfd, "export", audited, "--to", "litellm", "--out", tmp_path, "--prices", path).code == 0
    written = json.loads((tmp_path / litellm.PRICES).read_text())
    assert {written[name]["input_cost_per_token"] for name in book} == {9e-7}
    wrong = knock(capfd, "export", audited, "--to", "envoy", "--prices", tmp_path / "absent.json")
    assert wrong.code == 2
    assert "absent.json" in wrong.err


def test_a_price_that_behaviour_reveals_is_not_the_one_that_was_set() -> None:
    """Kills: a revealed lambda that makes the router's export impossible, or enters a threshold."""
    revealed = with_price(supplied(), "latency_price", 0.5, "USD/s", source="revealed")
    revealed = with_price(revealed, "task_value", 99.0, "USD/task", source="revealed")
    for target in ("litellm", "vllm-sr"):
        assert made_for(revealed, target).files == made_for(supplied(), target).files
    assert made_for(supplied(config=PRICED), "litellm").files != made_for(supplied(), "litellm").files
