"""Parts on disk: row groups of one size, and bytes that do not depend on how the rows arrived."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from shadowprice.ingest import parts
from shadowprice.ingest.parts import write_part

SCHEMA = pa.schema([pa.field("n", pa.int64()), pa.field("t", pa.string())], metadata={b"k": b"v"})


def reader(rows: int, *, batch: int) -> pa.RecordBatchReader:
    table = pa.table({"n": range(rows), "t": [f"t{n % 7}" for n in range(rows)]})
    return pa.RecordBatchReader.from_batches(table.schema, table.to_batches(max_chunksize=batch))


def test_row_groups_have_one_size_and_no_row_is_lost_or_doubled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kills groups that follow the batches, and rows cut off or repeated at their edges."""
    monkeypatch.setattr(parts, "GROUP_ROWS", 100)
    path = tmp_path / "part"
    assert write_part(reader(250, batch=70), SCHEMA, path) == 250
    with pq.ParquetFile(path) as file:
        sizes = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
        assert sizes == [100, 100, 50]
        assert file.read().column("n").to_pylist() == list(range(250))


def test_bytes_do_not_depend_on_the_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kills files that differ with the memory or threads that the rows came through."""
    monkeypatch.setattr(parts, "GROUP_ROWS", 100)
    for batch in (13, 1000):
        write_part(reader(250, batch=batch), SCHEMA, tmp_path / str(batch))
    assert (tmp_path / "13").read_bytes() == (tmp_path / "1000").read_bytes()


def test_no_rows_make_no_file(tmp_path: Path) -> None:
    """Kills empty parts in the manifest."""
    assert write_part(reader(0, batch=10), SCHEMA, tmp_path / "part") == 0
    assert not (tmp_path / "part").exists()


def test_a_column_that_no_row_has_is_null_and_the_bytes_are_those_of_nulls(tmp_path: Path) -> None:
    """Kills a part whose bytes tell whether linking carried an empty column along."""
    table = pa.table({"n": range(9), "t": pa.nulls(9, pa.string())})
    for name, given in {"with": table, "without": table.drop_columns(["t"])}.items():
        batches = pa.RecordBatchReader.from_batches(given.schema, given.to_batches())
        assert write_part(batches, SCHEMA, tmp_path / name) == 9
    assert (tmp_path / "with").read_bytes() == (tmp_path / "without").read_bytes()
