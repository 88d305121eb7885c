"""A simulated world written in every form that readers know gives the same decisions and outcomes."""

from __future__ import annotations

import functools
import io
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from unittest import mock

import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from log_forms import (
    ANY,
    CALLS,
    MAPPED,
    OTLP,
    Records,
    lines_of,
    outcome_sheet,
    parquet,
    records_of,
    sheet,
    span_by_span,
    spend_rows,
)
from polars.testing import assert_frame_equal
from reading import log_of
from shadowprice.ingest.checks import problem
from shadowprice.ingest.opening import read_head
from shadowprice.ingest.pipeline import ingest
from shadowprice.ingest.readers.mapping import MappingReader
from shadowprice.ingest.readers.mapping_spec import parse_mapping
from shadowprice.ingest.readers.registry import find_reader
from shadowprice.ingest.seam import Row
from shadowprice.ingest.simulator import Knobs, simulate
from shadowprice.schemas.config import Config, load_config
from shadowprice.schemas.store import Store

Said = list[tuple[str, list[tuple[str, Any]]]]
EXAMPLES = settings(
    max_examples=4,
    phases=(Phase.explicit, Phase.generate),  # a smaller seed is no simpler world
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
SEEDS = st.integers(0, 11)
PROVENANCE = ("source_format", "source_file", "source_row")
SPENT = (
    *("ts", "session_id", "tenant_id", "action", "action_executed", "candidates", "propensity"),
    *("propensities", "propensity_source", "policy_version", "tok_input_uncached", "tok_cache_read"),
    *("tok_output", "cost_usd", "cost_source", "latency_s", "ttft_s", "decode_s", "x_difficulty"),
)
"""What a payload and a row of the spend table both tell."""


@functools.cache
def _world(seed: int) -> tuple[dict[str, Records], Config, str]:
    """The logs of a small world, its configuration and the mapping of its rollouts."""
    with tempfile.TemporaryDirectory() as folder:
        knobs = Knobs(requests=60, tenants=6, keep_share=0.8 if seed % 2 else 1.0)
        run = simulate(Path(folder) / "world", seed=seed, knobs=knobs)
        logs = {path.stem: records_of(path) for path in sorted(run.logs.glob("*.jsonl"))}
        config, _ = load_config(run.config)
        return logs, config, (run.logs / f"{MAPPED}.mapping.toml").read_text(encoding="utf-8")


def _said(bodies: Iterable[bytes], folder: Path, config: Config, mapping: str | None = None) -> Said:
    """What the logs say, recognised by content or read by the mapping: the rows, but for order and place."""
    found: Said = []
    for body in bodies:
        log = log_of(body, folder)
        own = None if mapping is None else MappingReader(parse_mapping(mapping.encode(), folder / "m.toml"))
        for item in (own or find_reader(read_head(log.path), name=log.name)).read(log, config):
            if isinstance(item, Row):
                assert problem(item.table, _stored(item.values)) is None
                found.append((item.table, sorted((k, v) for k, v in item.values.items() if v is not None)))
            else:
                assert type(item).__name__ == "Ignored", item
    assert found
    return sorted(found, key=repr)


def _stored(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if not name.startswith("_")}


@pytest.mark.parametrize("form", ANY)
@EXAMPLES
@given(seed=SEEDS)
def test_every_log_says_the_same_in_this_form(form: str, seed: int, tmp_path: Path) -> None:
    """Kills a number, null, list or time that one form spells otherwise, in any of four readers."""
    logs, config, mapping = _world(seed)
    for name, records in logs.items():
        own = mapping if name == MAPPED else None
        other = own and own.replace('"jsonl"', '"parquet"' if form == "parquet" else '"jsonl"')
        expected = _said([lines_of(records)], tmp_path, config, own)
        assert _said([ANY[form](records)], tmp_path, config, other) == expected, name


@pytest.mark.parametrize("form", OTLP)
@EXAMPLES
@given(seed=SEEDS)
def test_spans_and_labels_say_the_same_in_this_form(form: str, seed: int, tmp_path: Path) -> None:
    """Kills an id in base64, a time in ms, an attribute's type and any framing in OTLP's binary twin."""
    logs, config, _ = _world(seed)
    for name in logs.keys() - {CALLS, MAPPED}:
        expected = _said([lines_of(logs[name])], tmp_path, config)
        assert _said([OTLP[form](logs[name])], tmp_path, config) == expected, name


@pytest.mark.parametrize("format", ["jsonl", "json", "csv", "parquet"])
@EXAMPLES
@given(seed=SEEDS)
def test_rollouts_and_labels_say_the_same_through_mappings(format: str, seed: int, tmp_path: Path) -> None:
    """Kills a flag, null, time or number that a mapping reads otherwise out of another kind of file."""
    logs, config, mapping = _world(seed)
    form = {"jsonl": lines_of, "json": ANY["array"], "csv": sheet, "parquet": parquet}[format]
    own = mapping.replace('"jsonl"', f'"{format}"')
    assert _said([form(logs[MAPPED])], tmp_path, config, own) == _said(
        [lines_of(logs[MAPPED])], tmp_path, config, mapping
    )
    table, labels = outcome_sheet(logs["outcomes"])
    expected = _said([lines_of(logs["outcomes"])], tmp_path, config)
    assert _said([form(table)], tmp_path, config, f'format = "{format}"\n{labels}') == expected


@EXAMPLES
@given(seed=SEEDS, cut=st.floats(0.05, 0.95))
def test_files_cut_in_two_and_read_in_another_order_say_the_same(
    seed: int, cut: float, tmp_path: Path
) -> None:
    """Kills rows that depend on what stood above them in their file."""
    logs, config, mapping = _world(seed)
    for name, whole in logs.items():
        records = whole if name in (CALLS, MAPPED) else span_by_span(whole)
        at = min(max(1, int(cut * len(records))), len(records) - 1)
        own = mapping if name == MAPPED else None
        halves = [lines_of(records[at:]), lines_of(records[:at])]
        assert _said(halves, tmp_path, config, own) == _said([lines_of(records)], tmp_path, config, own)


@EXAMPLES
@given(seed=SEEDS)
def test_a_spend_table_says_the_same_in_every_form_and_what_the_payload_says(
    seed: int, tmp_path: Path
) -> None:
    """Kills a cell of CSV or a type of Parquet read otherwise, and meanings that differ between two logs."""
    logs, config, _ = _world(seed)
    table = spend_rows(logs[CALLS])
    expected = _said([lines_of(table)], tmp_path, config)
    for form in (ANY["array"], ANY["zstd"], sheet, parquet):
        assert _said([form(table)], tmp_path, config) == expected
    both = (_shared(expected), _shared(_said([lines_of(logs[CALLS])], tmp_path, config)))
    assert both[0] == both[1]


def _shared(said: Said) -> list[str]:
    return sorted(
        repr([(k, v) for k, v in values if k in SPENT]) for table, values in said if table == "decisions"
    )


def _tables(folder: Path, files: dict[str, bytes], config: Config, *mappings: str) -> list[pl.DataFrame]:
    """Decisions and outcomes of a store of `files`, given in this order, without their provenance."""
    folder.mkdir()
    own = [folder / f"{number}.mapping.toml" for number in range(len(mappings))]
    for path, text in zip(own, mappings, strict=True):
        path.write_text(text, encoding="utf-8")
    for name, body in files.items():
        if name != "-":
            (folder / name).write_bytes(body)
    paths = [name if name == "-" else folder / name for name in files]
    with mock.patch.object(sys, "stdin", io.TextIOWrapper(io.BytesIO(files.get("-", b"")))):
        store = ingest(paths, out=folder / "out", config=config, mapping=own)
    assert store.manifest["refused"] == []
    assert store.manifest["counts"]["quarantined"] == 0
    return _without_provenance(store)


def _without_provenance(store: Store) -> list[pl.DataFrame]:
    decisions = store.decisions().drop(*PROVENANCE).sort("decision_id").collect()
    outcomes = store.scan("outcomes").drop(*PROVENANCE).sort("request_id", "decision_id", "name").collect()
    return [decisions, outcomes]


@pytest.mark.slow
@pytest.mark.parametrize("mix", ["packed", "columns", "binary", "cut", "piped"])
@settings(EXAMPLES, max_examples=2)
@given(seed=SEEDS)
def test_a_store_of_other_forms_is_the_same_store(
    mix: str, seed: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Kills linking, labels, untaken steps or prices that depend on form, file or order of the logs."""
    logs, config, mapping = _world(seed)
    plain = {f"{name}.jsonl": lines_of(records) for name, records in logs.items()}
    spans = [name for name in logs if name not in (CALLS, MAPPED)]
    own = [mapping.replace("rollouts.jsonl*", "rollouts*")]
    if mix == "packed":
        files = {f"{name}.log": ANY["zstd"](records) for name, records in reversed(logs.items())}
    elif mix == "columns":
        table, labels = outcome_sheet(logs["outcomes"])
        own = [own[0].replace('"jsonl"', '"parquet"'), f'format = "csv"\n{labels}']
        files = {name: parquet(logs[name]) for name in (MAPPED, CALLS)}
        files["outcomes.csv"] = sheet(table)
        files |= {name: ANY["pretty array"](logs[name]) for name in spans if name != "outcomes"}
    elif mix == "binary":
        files = plain | {f"{name}.jsonl": OTLP["protobuf, framed"](logs[name]) for name in spans}
    elif mix == "cut":
        apart = logs | {name: span_by_span(logs[name]) for name in spans}
        cut = {name: len(records) // 3 for name, records in apart.items()}
        files = {f"{name}.0": lines_of(apart[name][at:]) for name, at in cut.items()}
        files |= {f"{name}.1": lines_of(apart[name][:at]) for name, at in reversed(cut.items())}
    else:
        piped = "agent-spans.jsonl"
        files = {name: body for name, body in plain.items() if name != piped}
        files["-"] = ANY["gzip"](logs["agent-spans"])
    folder = tmp_path_factory.mktemp("stores")
    expected = _tables(folder / "plain", plain, config, mapping)
    for found, wanted in zip(_tables(folder / "other", files, config, *own), expected, strict=True):
        assert wanted.height > 0
        assert_frame_equal(found, wanted, check_exact=True, check_column_order=False)
