"""Exports: what is handed on, what is left out, and that the systems which load it read the same numbers."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from door import knock
from google.protobuf import json_format
from openfeature.contrib.tools.flagd.core import FlagdCore
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics_parser
from shadowprice import cli, summary
from shadowprice.errors import ExportError
from shadowprice.exporting import Exported
from shadowprice.reports.exports import export
from shadowprice.reports.exports.export import TARGETS, made_for
from shadowprice.reports.exports.flagd import FLAG
from shadowprice.reports.exports.offer import LONGEST_NAME, Offer
from shadowprice.reports.exports.supply import Supply

from tests.reports.exports_supply import GOOD, HOSTILE, offered, supplied, with_price
from tests.reports.factory import UNPRICED, Case

REFUSED = Case(decision_point="verify", grade="N", reason="no overlap")
TABLES = [name for name, target in TARGETS.items() if target.is_table]
Capture = pytest.CaptureFixture[str]


def files_of(made: Offer, target: str) -> dict[str, bytes]:
    """Every file of a target that needs nothing but the offer."""
    return export.files_of(made, made_for(Supply(offer=made), target), target)


def text_of(made: Offer, target: str) -> str:
    """The target's own file."""
    return next(iter(files_of(made, target).values())).decode()


def samples(text: str) -> dict[tuple[str, str, str], float]:
    """(metric, action, bound) -> value, as the parser of OpenMetrics reads them."""
    return {
        (s.name, s.labels.get("action", ""), s.labels.get("bound", "")): s.value
        for family in openmetrics_parser.text_string_to_metric_families(text)
        for s in family.samples
    }


def test_what_is_not_identified_is_listed_and_never_a_number() -> None:
    """Kills: a refused contrast that goes out as 0, as a bound's midpoint, or not at all."""
    made = offered(GOOD, REFUSED)
    assert {row.decision_point for row in made.rows if row.kind == "effect"} == {"model"}
    left = [one for one in made.skipped if "verify" in one.about]
    assert {one.name for one in left} >= {"delta_quality", "delta_cost", "net_marginal_value"}
    assert {one.reason for one in left} == {"no overlap"}
    assert all(one.log_next for one in made.skipped)


def test_a_price_that_nobody_set_is_skipped_and_one_that_was_set_is_offered_without_interval() -> None:
    """Kills: an unset lambda exported as 0, and a user's number posing as an estimate."""
    unset = {one.name for one in offered(GOOD, config=UNPRICED).skipped}
    assert {"task_value", "latency_price", "risk_price"} <= unset
    (mine,) = (row for row in offered(GOOD).rows if row.name == "latency_price")
    assert (mine.value, mine.lower, mine.grade, mine.source) == (0.002, None, None, "user")


def test_openmetrics_and_the_older_text_format_read_the_same_numbers() -> None:
    """Kills: a number printed with too few digits, a unit that is no suffix, a missing end of file."""
    made = offered(GOOD, REFUSED)
    text = text_of(made, "openmetrics")
    read = samples(text)
    for row in made.rows:
        if row.name == "delta_cost":
            for bound, value in (("point", row.value), ("lower", row.lower), ("upper", row.upper)):
                assert read["shadowprice_delta_cost_usd", "frontier", bound] == value
    assert read["shadowprice_latency_price_usd_per_second", "", "point"] == 0.002
    assert read["shadowprice_skipped_rows", "", ""] == len(made.skipped)
    older = {s.name: s.value for f in parser.text_string_to_metric_families(text) for s in f.samples}
    assert older["shadowprice_latency_price_usd_per_second"] == 0.002
    assert "verify" not in text


def test_flagd_resolves_the_flag_to_the_prices() -> None:
    """Kills: a variant that the default does not name, metadata that is no scalar, another value."""
    made = offered(GOOD)
    core = FlagdCore()
    core.set_flags(text_of(made, "flagd"))
    found = core.resolve_object_value(FLAG, {})
    assert isinstance(found.value, dict)
    assert found.variant == "7f3a"
    assert found.value["prices"]["latency_price"]["all"]["value"] == 0.002
    effect = found.value["effects"]["delta_quality"]["router.model: frontier vs cheap, all"]
    (row,) = (row for row in made.rows if row.name == "delta_quality")
    assert (effect["value"], effect["lower"], effect["grade"]) == (row.value, row.lower, "C")


def otlp_points(text: str) -> dict[tuple[str, str, str], float]:
    """(metric, action, bound) -> value, as the protocol's own message reads them, unknown fields refused."""
    read = json_format.Parse(text, ExportMetricsServiceRequest())
    found: dict[tuple[str, str, str], float] = {}
    for metric in read.resource_metrics[0].scope_metrics[0].metrics:
        for point in metric.gauge.data_points:
            told = {a.key.removeprefix("shadowprice."): a.value.string_value for a in point.attributes}
            assert point.time_unix_nano == 1_795_305_600_000_000_000
            found[metric.name, told.get("action", ""), told.get("bound", "")] = point.as_double
    return found


def test_the_opentelemetry_protocol_reads_the_same_numbers() -> None:
    """Kills: a field that the protocol does not know, a point without a date, a name in gen_ai.*."""
    made = offered(GOOD, REFUSED)
    read = otlp_points(text_of(made, "otel"))
    (row,) = (row for row in made.rows if row.name == "delta_quality")
    assert read["shadowprice.effect.quality", "frontier", "point"] == row.value
    assert read["shadowprice.effect.quality", "frontier", "lower"] == row.lower
    assert read["shadowprice.price.latency", "", "point"] == 0.002
    assert all(name.startswith("shadowprice.") for name, _, _ in read)
    undated = replace(made, window=(None, None))
    with pytest.raises(ExportError, match="timestamps"):
        files_of(undated, "otel")


def test_a_break_even_value_that_means_the_opposite_says_so_everywhere() -> None:
    """Kills: 'pays only below V*' loaded as 'pays above V*'."""
    worse = Case(theta=(-0.05, -0.085, 0.0, 0.0), sd=(0.004, 0.002, 0.05, 0.0001))
    made = offered(worse)
    note = "frontier is worse in quality and pays only below this task value"
    assert f'reading="{note}"' in text_of(made, "openmetrics")
    prices = json.loads(text_of(made, "flagd"))["flags"][FLAG]["variants"]["7f3a"]["prices"]
    (entry,) = prices["break_even_task_value"].values()
    assert entry["reading"] == note


def test_units_of_fitted_prices_are_spelled_as_each_standard_wants() -> None:
    """Kills: a price per token that a dashboard shows without its unit, or a UNIT that is no suffix."""
    made = with_price(supplied(), "congestion_prefill_price", 2e-7, "USD/token").offer
    made = with_price(Supply(offer=made), "congestion_kv_price", 3e-9, "USD/(token*s)").offer
    read = samples(text_of(made, "openmetrics"))
    assert read["shadowprice_congestion_prefill_price_usd_per_token", "", "point"] == 2e-7
    assert read["shadowprice_congestion_kv_price_usd_per_token_second", "", "lower"] == 1.5e-9
    sent = json_format.Parse(text_of(made, "otel"), ExportMetricsServiceRequest())
    units = {m.name: m.unit for m in sent.resource_metrics[0].scope_metrics[0].metrics}
    assert units["shadowprice.price.congestion_prefill_price"] == "{USD}/{token}"
    assert units["shadowprice.price.congestion_kv_price"] == "{USD}/({token}.s)"
    assert units["shadowprice.effect.risk"] == "1"


def test_the_help_names_every_target() -> None:
    """Kills: a target that nobody hears of."""
    assert cli.EXPORT_TARGETS.replace(" or ", ", ").split(", ") == list(TARGETS)


def test_parquet_holds_every_row_with_its_types_and_the_run_in_its_metadata() -> None:
    """Kills: a column of nulls read as another type, and a table that no longer says where it is from."""
    made = offered(GOOD)
    content = next(iter(files_of(made, "parquet").values()))
    frame = pl.read_parquet(io.BytesIO(content))
    assert frame["value"].to_list() == [row.value for row in made.rows]
    assert frame.schema["note"] == pl.String
    meta = pq.read_schema(io.BytesIO(content)).metadata
    assert meta[b"shadowprice.run_id"] == b"7f3a"
    assert meta[b"shadowprice.valid_until"] == b"2026-12-22"
    empty = replace(made, rows=())
    bare = pl.read_parquet(io.BytesIO(next(iter(files_of(empty, "parquet").values()))))
    assert bare.schema == frame.schema


@pytest.mark.parametrize("target", ["openmetrics", "flagd", "json", "otel"])
def test_a_name_full_of_grammar_survives(target: str) -> None:
    """Kills: a quote, a backslash or a template from a log that ends the string it stands in."""
    made = offered(replace(GOOD, action=HOSTILE))
    text = text_of(made, target)
    if target == "openmetrics":
        assert ("shadowprice_delta_quality", HOSTILE, "point") in samples(text)
    elif target == "otel":
        assert ("shadowprice.effect.quality", HOSTILE, "point") in otlp_points(text)
    elif target == "flagd":
        effects = json.loads(text)["flags"][FLAG]["variants"]["7f3a"]["effects"]
        assert f"router.model: {HOSTILE} vs cheap, all" in effects["delta_quality"]
    else:
        assert HOSTILE in {row["action"] for row in json.loads(text)["rows"]}


@pytest.mark.parametrize("name", ["a\nb", "a\x1b[2Jb", "safe\u202egnp", "x" * (LONGEST_NAME + 1)])
def test_a_name_that_hides_something_is_left_out_and_listed(name: str) -> None:
    """Kills: a line break that starts a metric of its own, a name that reads as another."""
    made = offered(GOOD, replace(GOOD, action=name))
    assert {row.action for row in made.rows if row.kind == "effect"} == {"frontier"}
    assert any("its name" in one.reason for one in made.skipped)
    for target in ("openmetrics", "flagd"):
        assert name not in text_of(made, target)


def test_the_same_run_gives_the_same_bytes_and_each_file_its_record() -> None:
    """Kills: a clock or an unordered set in an artefact, and a number without its provenance."""
    for target in TABLES:
        first, again = files_of(offered(GOOD), target), files_of(offered(GOOD), target)
        assert first == again
        (kept,) = (text for name, text in first.items() if name.endswith("stamp.json") or target == "json")
        record = json.loads(kept)
        assert record["run_id"] == "7f3a"
        assert record["data_window"] == ["2026-11-01T00:00:00+00:00", "2026-11-22T00:00:00+00:00"]
        assert {row["value"] for row in record["rows"]} == {row.value for row in offered(GOOD).rows}


def test_too_many_rows_are_refused_with_the_cure() -> None:
    """Kills: a thousand slices that become a thousand time series without a word."""
    with pytest.raises(ExportError, match="--max-rows"):
        offered(GOOD, max_rows=3)


def test_a_difference_inside_the_new_interval_is_no_change(tmp_path: Path) -> None:
    """Kills: noise between two runs that is sold as a reason to change a config."""
    before = offered(GOOD, replace(GOOD, action="mid"))
    for name, content in files_of(before, "flagd").items():
        (tmp_path / name).write_bytes(content)
    near = replace(GOOD, theta=(0.052, 0.2, 0.5, 0.0))
    now = offered(near)
    in_use = tmp_path / "shadowprice.flagd.json"
    made = made_for(Supply(offer=now), "flagd")
    found = {d.key: d for d in export.differences(now, made, in_use, "flagd")}
    contrast = "router/model/frontier/cheap/all"
    assert found[f"delta_quality/{contrast}"].change == "kept"
    assert found[f"delta_cost/{contrast}"].change == "changed"
    assert found["delta_cost/router/model/mid/cheap/all"].change == "gone"
    assert {d.change for d in found.values() if d.key.startswith("latency_price")} == {"kept"}


def test_a_run_that_identifies_nothing_ends_with_three_and_still_counts_what_it_skipped() -> None:
    """Kills: prices that the user set, handed back as if the logs supported them."""
    made = offered(REFUSED)
    files = made_for(Supply(offer=made), "openmetrics")
    answer = summary.of_export(Exported(offer=made, made=files, files=()))
    assert (answer.exit_code, answer.status) == (3, "not_identified")
    assert samples(text_of(made, "openmetrics"))["shadowprice_skipped_rows", "", ""] == len(made.skipped) > 0


def test_a_caveat_of_an_effect_is_no_label() -> None:
    """Kills: a sentence per series in a metrics store; the record keeps it."""
    told = (replace(row, note="62% left out") if row.kind == "effect" else row for row in offered(GOOD).rows)
    made = replace(offered(GOOD), rows=tuple(told))
    assert "left out" not in text_of(made, "openmetrics") + text_of(made, "otel")
    assert "62% left out" in text_of(made, "json")


def test_the_verb_writes_says_what_it_left_out_and_compares(
    audited: Path, capfd: Capture, tmp_path: Path
) -> None:
    """Kills: an export without its files, one that overwrites what --diff is to judge, an unknown target."""
    said = knock(capfd, "export", audited, "--to", "openmetrics", "--out", tmp_path, "--json")
    assert said.code == 0
    assert {Path(name).name for name in said.json["data"]["files"]} == {
        "shadowprice.prom",
        "shadowprice.prom.stamp.json",
    }
    assert samples((tmp_path / "shadowprice.prom").read_text())
    files = sorted(tmp_path.iterdir())
    told = knock(capfd, "export", audited, "--to", "flagd", "--diff", tmp_path / "shadowprice.prom")
    assert told.out.startswith("0 changed, 0 new, 0 gone, ")
    assert sorted(tmp_path.iterdir()) == files
    wrong = knock(capfd, "export", audited, "--to", "excel", "--out", tmp_path)
    assert wrong.code == 2
    assert " or ".join(TARGETS) in wrong.err
    blind = knock(capfd, "export", audited, "--to", "json", "--diff", tmp_path / "none.json")
    assert blind.code == 2
    assert "none.json" in blind.err
