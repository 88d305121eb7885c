"""The store: complete or refused, never half."""

import json

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from shadowprice.errors import SchemaError
from shadowprice.schemas.columns import DECISIONS
from shadowprice.schemas.store import open_store, write_manifest
from shadowprice.schemas.tables import SCHEMA_VERSION, TABLES, VERSION_KEY, arrow_schema

NAME = "decisions/layer=router/part-0.parquet"


def make_store(folder, *, schema=None):
    """A store with one decision."""
    schema = schema or arrow_schema("decisions", {"x_level": pa.float64()})
    row = {"decision_id": "d1", "layer": "router", "decision_point": "model", "action": "a", "x_level": 1.0}
    target = folder / NAME
    target.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist([row], schema=schema), target)
    return write_manifest(folder, {"tables": {"decisions": [NAME]}, "features": {"x_level": "real"}})


def test_a_store_reads_back_with_every_column_of_the_schema(tmp_path):
    """Kills: losing x_* columns or fixed columns that no file holds."""
    make_store(tmp_path)
    store = open_store(tmp_path)
    frame = store.decisions().collect()
    assert frame["x_level"].to_list() == [1.0]
    assert {c.name for c in DECISIONS} <= set(frame.columns)
    assert store.scan("outcomes").collect().height == 0


def test_the_folder_of_a_run_opens_its_store(tmp_path):
    """Kills: requiring users to name DIR/store themselves."""
    make_store(tmp_path / "store")
    assert open_store(tmp_path).path == tmp_path / "store"


def test_files_of_a_killed_run_that_no_manifest_names_are_invisible(tmp_path):
    """Kills: reading the folder instead of the manifest."""
    make_store(tmp_path)
    orphan = tmp_path / "decisions/layer=router/part-1.parquet"
    orphan.write_bytes((tmp_path / NAME).read_bytes())
    assert open_store(tmp_path).decisions().collect().height == 1


def test_a_store_without_manifest_is_refused_with_the_command_to_run(tmp_path):
    """Kills: treating a half-written store as an empty one."""
    with pytest.raises(SchemaError, match="shadowprice ingest"):
        open_store(tmp_path)


def test_an_unknown_version_is_refused_in_manifest_and_in_files(tmp_path):
    """Kills: reading a future layout as if it were ours."""
    make_store(tmp_path / "one")
    manifest = json.loads((tmp_path / "one" / "manifest.json").read_text())
    (tmp_path / "one" / "manifest.json").write_text(json.dumps({**manifest, "schema_version": "99"}))
    with pytest.raises(SchemaError, match="schema version 99"):
        open_store(tmp_path / "one")
    make_store(tmp_path / "two", schema=arrow_schema("decisions").with_metadata({VERSION_KEY: b"7"}))
    with pytest.raises(SchemaError, match="schema version 7"):
        open_store(tmp_path / "two")
    make_store(tmp_path / "three", schema=arrow_schema("decisions").remove_metadata())
    with pytest.raises(SchemaError, match="no schema version"):
        open_store(tmp_path / "three")


def test_a_missing_file_and_a_broken_manifest_are_named(tmp_path):
    """Kills: a raw FileNotFoundError or KeyError."""
    make_store(tmp_path)
    (tmp_path / NAME).unlink()
    with pytest.raises(SchemaError, match="listed in the manifest but missing"):
        open_store(tmp_path)
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(SchemaError, match="not a manifest"):
        open_store(tmp_path)


@pytest.mark.parametrize("table", sorted(TABLES))
def test_every_table_has_unique_columns_and_a_stamp(table):
    """Kills: a column defined twice, or a table without version."""
    schema = arrow_schema(table)
    assert len(set(schema.names)) == len(schema.names)
    assert schema.metadata[VERSION_KEY] == SCHEMA_VERSION.encode()
    for column in TABLES[table]:
        numeric = pa.types.is_floating(column.dtype) or pa.types.is_integer(column.dtype)
        assert (column.unit is not None) or not numeric, f"{column.name} has no unit"
        assert column.meaning


def test_an_empty_table_has_polars_types():
    """Kills: null-typed columns that break joins on an empty store."""
    empty = pl.from_arrow(arrow_schema("decisions").empty_table())
    assert empty.schema["ts"] == pl.Datetime("us", "UTC")
    assert empty.schema["candidates"] == pl.List(pl.String)
