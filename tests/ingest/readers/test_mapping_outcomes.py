"""Tables with a row for each outcome, through a mapping: every row names its own."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from reading import log_of, reasons, rows, run
from shadowprice.errors import ConfigError, IngestError
from shadowprice.ingest.readers.mapping import MappingReader, load_mapping
from shadowprice.ingest.seam import Row
from shadowprice.schemas.config import Config

LONG = """\
format = "csv"
table = "outcomes"
[columns]
decision_id = "id"
[[outcomes]]
name_from = "metric"
from = "value"
source = "code"
key = "decision_id"
ts = {from = "at", unit = "iso", timezone = "UTC"}
"""


def mapped(text: str, folder: Path) -> MappingReader:
    path = folder / "map.toml"
    path.write_text(text, encoding="utf-8")
    return load_mapping(path)


def test_a_table_with_a_row_for_each_outcome_names_it_row_by_row(tmp_path: Path) -> None:
    """Kills one name for all, a lost label, and a row without a value or a name that counts."""
    body = "id,metric,value,at\nd1,score,0.5,2026-11-03\nd1,verdict,good,\nd2,score,,\nd2,,1,\n"
    found = run(mapped(LONG, tmp_path), body, tmp_path)
    assert rows(found, "outcomes") == [
        {
            "name": "score",
            "source": "code",
            "decision_id": "d1",
            "value": 0.5,
            "ts": datetime(2026, 11, 3, tzinfo=UTC),
        },
        {"name": "verdict", "source": "code", "decision_id": "d1", "label": "good"},
    ]
    assert reasons(found) == ["name from 'metric': None, expected the name of an outcome"]


def test_a_table_with_a_row_for_each_outcome_is_staged_whole(tmp_path: Path) -> None:
    """Kills reading by column, where all rows of an outcome have one name."""
    log = log_of("id,metric,value,at\nd1,a,1,\nd1,b,0,\n", tmp_path)
    told = list(mapped(LONG, tmp_path).read_columns(log, Config()))
    assert [item.values["name"] for item in told if isinstance(item, Row)] == ["a", "b"]
    with pytest.raises(IngestError, match="metric"):
        run(mapped(LONG, tmp_path), "id,value,at\nd1,1,\n", tmp_path)


@pytest.mark.parametrize("names", ["", 'name = "a"\nname_from = "metric"'])
def test_an_outcome_has_one_name(names: str, tmp_path: Path) -> None:
    """Kills a name that hides another, and an outcome without any."""
    with pytest.raises(ConfigError, match="an outcome needs a name"):
        mapped(LONG.replace('name_from = "metric"', names), tmp_path)
