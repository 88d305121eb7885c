"""A mapping followed by column stages what it stages record by record, whatever is in the log."""

from __future__ import annotations

import gzip
import io
import json
import re
import shutil
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reading import log_of
from shadowprice.errors import IngestError
from shadowprice.ingest import csv_columns, staging
from shadowprice.ingest.pipeline import ingest
from shadowprice.ingest.pseudonyms import Pseudonyms
from shadowprice.ingest.readers.mapping import MappingReader
from shadowprice.ingest.readers.mapping_spec import parse_mapping
from shadowprice.ingest.seam import Item, Row
from shadowprice.schemas.config import Config

PROPERTY = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
HEAD = 'layer = "router"\ndecision_point = "model"\n'
CELLS = {
    "decision_id": ['"id"', '{from = "id", null_values = ["7"]}'],
    "request_id": ['"req"'],
    "ts": [
        *(f'{{from = "at", unit = "{unit}", timezone = "UTC"}}' for unit in ("s", "ms", "us", "ns", "iso")),
        '{from = "at", unit = "iso", timezone = "Europe/Amsterdam"}',
    ],
    "candidates": ['{from = "menu", split = "|"}', '{value = ["a", "b"]}'],
    "propensities": ['{from = "shares", split = "|", source = "reconstructed"}'],
    "propensity": ['{from = "p", source = "logged"}'],
    "propensity_source": ['"kind"'],
    "cost_usd": [
        *(f'{{from = "cost", unit = "{unit}"}}' for unit in ("USD", "cents", "usd_micro")),
        '{from = "cost", unit = "USD", null_values = [0]}',
    ],
    "latency_s": [f'{{from = "took", unit = "{unit}"}}' for unit in ("s", "ms", "us", "ns")],
    "tok_input_uncached": [
        '{from = "in", convention = "inclusive", cache_read = "cached"}',
        '{from = "in", convention = "exclusive", cache_read = "cached", cache_write = "out"}',
        "{value = 5}",
    ],
    "tok_cache_read": ['"out"'],
    "tok_output": ['"out"', '{value = "many"}'],
    "quality": ['"p"'],
    "exploration": ['"flag"'],
    "reversible": ['"flag"', "{value = true}"],
    "cache_hit_kind": ['"kind"'],
    "x_auto": ['"hard"', "{value = 1.5}", '{value = "easy"}'],
    "x_real": ['{from = "hard", type = "real"}', '{from = "flag", type = "real"}'],
    "x_text": ['{from = "cost", type = "text"}', '{from = "hard", type = "text"}'],
}
ODD = [
    *(
        "",
        " ",
        "-",
        "None",
        "nULL",
        " none\x1c",
        "{}",
        "0",
        "-0",
        "00",
        "0.0",
        "-1",
        "1",
        "7",
        " 5",
        "5 ",
        "+5",
        "1_0",
    ),
    *(
        "5.0",
        "5.5",
        "1.",
        ".5",
        "1e3",
        "1E-3",
        "1e400",
        "1e-400",
        "1e-99999999999999999999",
        "nan",
        "inf",
        "0x10",
    ),
    *("9007199254740993", "9223372036854775807", "9223372036854775808", "0.1", "0.30000000000000004", "4983"),
    *(
        "123456789012345678901234567890",
        "5.00000000000000000001",
        "true",
        "No",
        "yes",
        "١٢",
        "é",
        "a",
        "b",
        "gpt-4o",
    ),
    *(
        "prefix",
        "logged",
        "a|b",
        "a| b",
        "b|a|a",
        "0.5|0.5",
        "0.2|0.8",
        "1700000000",
        "1700000000123",
        "x\ty",
    ),
    *(
        "1700000000.1234567",
        "1700000000123.999999999",
        "1700000000123456",
        "1700000000123456789",
        "-1700000000",
    ),
    *(
        "2026-11-03T14:05:06Z",
        "2026-11-03 14:05:06.789",
        "2026-10-25 02:30:00",
        "2026-03-29 02:30:00.1234567",
    ),
    *("2026-11-03T14:05:06+05:30", "2026-11-03T24:00:00Z", "2026-02-30T00:00:00Z", "1999-12-31T23:59:59Z"),
    *("2026-11-03", "2026-11-03T14:05:06 UTC", "2199-12-31T23:59:59.999999-00:01", "ｎｏｎｅ", "e", "K"),
]
NAMES = ("id", "req", "at", "chosen", "menu", "shares", "p", "kind", "cost", "took", "in", "cached", "out")
NAMES = (*NAMES, "flag", "hard", "label")
PLAIN = {
    "at": ["1700000000", "2026-11-03T14:05:06Z"],
    "chosen": ["a", "b"],
    "menu": ["a|b"],
    "shares": ["0.5|0.5"],
}
PLAIN |= {"p": ["0.5", "1"], "kind": ["none", "prefix"], "in": ["100"], "flag": ["true"], "req": ["r1", "r2"]}


@st.composite
def mappings(draw: st.DrawFn, format: str) -> str:
    """A mapping of some of the columns, in any order."""
    names = draw(st.lists(st.sampled_from(sorted(CELLS)), unique=True, max_size=8))
    cells = [f"{name} = {draw(st.sampled_from(CELLS[name]))}" for name in names]
    more = ""
    if "request_id" in names and draw(st.booleans()):
        at = ', ts = "at"' if "ts" in names and draw(st.booleans()) else ""
        more += f'outcomes = [{{name = "s", from = "label", source = "code"{at}}}, '
        more += '{name = "q", from = "flag", source = "human", key = "decision_id", null_values = [1]}]\n'
    if draw(st.booleans()):
        rule = '{match = {chosen = "a|gpt.*", flag = "(?i)true|1"}, class = "commit", reversible = false}'
        more += f'action_class = [{rule}, {{match = {{hard = "[0-9.]+"}}, class = "read"}}]\n'
    return f'format = "{format}"\n{HEAD}{more}[columns]\naction = "chosen"\n' + "\n".join(cells) + "\n"


def cell(name: str) -> st.SearchStrategy[str]:
    """A value that mostly fits its column."""
    return st.one_of(st.sampled_from(PLAIN.get(name, ["1", "2", "25"])), st.sampled_from(ODD))


RECORDS = st.lists(st.fixed_dictionaries({name: cell(name) for name in NAMES}), min_size=1, max_size=12)


def quoted(text: str, always: bool) -> str:
    """A cell as CSV."""
    needed = always or any(char in text for char in ',"\r\n')
    return '"' + text.replace('"', '""') + '"' if needed else text


def staged_both_ways(body: bytes, mapping: str, *, key: Pseudonyms | None = None) -> tuple[Any, Any]:
    """Every byte that is staged of a log, by column and by record, or why it is refused."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        reader = MappingReader(parse_mapping(mapping.encode(), folder / "m.toml"))
        log = log_of(body, folder)
        by_column = _staged(
            lambda: staging.stage(log, reader, Config(), folder / "c", **_rest(key)), folder / "c"
        )
        with mock.patch.object(MappingReader, "read_columns", MappingReader.read):
            by_row = _staged(
                lambda: staging.stage(log, reader, Config(), folder / "r", **_rest(key)), folder / "r"
            )
    return by_column, by_row


def _rest(key: Pseudonyms | None) -> dict[str, Any]:
    return {"pseudonyms": key, "on_batch": lambda _: None, "on_end": lambda: None}


def _staged(stage: Callable[[], Any], folder: Path) -> Any:
    try:
        stage()
    except IngestError as error:
        return str(error)
    finally:
        found = {path.name: path.read_bytes() for path in sorted(folder.glob("*"))}
        shutil.rmtree(folder, ignore_errors=True)
    return found


def assert_same(body: bytes, mapping: str, *, key: Pseudonyms | None = None) -> None:
    """Both ways stage the same bytes; a difference is told by its rows."""
    by_column, by_row = staged_both_ways(body, mapping, key=key)
    if by_column != by_row and isinstance(by_column, dict) and isinstance(by_row, dict):
        assert _told(by_column) == _told(by_row)
    assert by_column == by_row


def _told(files: dict[str, bytes]) -> dict[str, Any]:
    return {
        name: pq.read_table(io.BytesIO(body)).to_pylist() if name.endswith("parquet") else body.decode()
        for name, body in files.items()
    }


@PROPERTY
@given(mappings("csv"), RECORDS, st.booleans(), st.sampled_from(["\n", "\r\n"]))
def test_csv_by_column_is_csv_by_record(
    mapping: str, records: list[dict[str, str]], always: bool, newline: str
) -> None:
    """Kills any conversion by column that rounds, trims, refuses or accepts other than the one of a value."""
    lines = [",".join(NAMES), *(",".join(quoted(r[n], always) for n in NAMES) for r in records)]
    assert_same((newline.join(lines) + newline).encode(), mapping)


ARROW = {
    "int": (pa.int64(), st.one_of(st.integers(-2, 9), st.integers(-(2**63), 2**63 - 1))),
    "unsigned": (pa.uint64(), st.integers(0, 2**64 - 1)),
    "epoch": (pa.int64(), st.integers(1_600_000_000_000, 1_800_000_000_000)),
    "real": (pa.float64(), st.one_of(st.floats(0, 1), st.floats(), st.floats(1.6e9, 1.8e9), st.just(-0.0))),
    "small": (pa.float32(), st.floats(width=32)),
    "flag": (pa.bool_(), st.booleans()),
    "text": (pa.string(), st.sampled_from(ODD)),
    "names": (pa.list_(pa.string()), st.lists(st.sampled_from(["a", "b", ""]), max_size=3)),
    "shares": (pa.list_(pa.float64()), st.sampled_from([[0.5, 0.5], [1.0], [], [0.2, 0.8], [float("nan")]])),
    "time": (pa.timestamp("us", "UTC"), st.datetimes(datetime(1999, 12, 30), datetime(2201, 1, 1))),
    "naive": (pa.timestamp("ns"), st.datetimes(datetime(1999, 12, 30), datetime(2201, 1, 1))),
    "day": (pa.date32(), st.dates()),
    "money": (pa.decimal128(20, 4), st.decimals(0, 10**9, places=4)),
    "null": (pa.null(), st.none()),
}


def arrow_column(values: list[Any], kind: pa.DataType) -> pa.Array:
    """Drawn values in Arrow; times with a zone are in UTC."""
    zoned = pa.types.is_timestamp(kind) and kind.tz is not None
    return pa.array([at.replace(tzinfo=UTC) if zoned and at is not None else at for at in values], kind)


CLOCK = (
    r"\A20[0-9]{2}-[0-3][0-9]-[0-3][0-9][T ][0-2][0-9]:[0-6][0-9]:[0-6][0-9](\.[0-9]{1,9})?"
    r"(Z|[+-][0-2][0-9]:?[0-5][0-9])?\Z"
)
NUMBERS = st.one_of(
    st.integers(0, 10**5).map(str),
    st.integers(-(2**64), 2**64).map(str),
    st.floats(allow_nan=False).map(str),
    st.decimals(0, 10**6, places=3).map(str),
    st.decimals(1.6e9, 1.8e9, places=8).map(str),
    st.from_regex(r"\A[+-]?[0-9_]{1,20}(\.[0-9]{0,20})?([eE][+-]?[0-9]{1,4})?\Z"),
    st.from_regex(CLOCK),
)
SINGLE = [(name, told) for name, cells in CELLS.items() for told in cells]
SINGLE += [("outcome", '"label"'), ("outcome", '"label", null_values = [1, "a"]'), ("rule", '"label"')]
SOURCE = re.compile(r'"([a-z]+)"')


def column_read(told: str) -> str:
    """The log's column that a cell reads first; the label for a constant."""
    found = SOURCE.search(told)
    return found[1] if found and found[1] in NAMES else "label"


def single(format: str, action: str, name: str, told: str) -> str:
    """A mapping of one column beside the action, or with one outcome or one rule."""
    outcome = f'outcomes = [{{name = "s", source = "code", key = "decision_id", from = {told}}}]\n'
    rule = f'action_class = [{{match = {{{told} = "[0-9a]+|true"}}, class = "read"}}]\n'
    more = {"outcome": outcome, "rule": rule}
    column = "" if name in more else f"{name} = {told}\n"
    return f'format = "{format}"\n{HEAD}{more.get(name, "")}[columns]\naction = {action}\n{column}'


@pytest.mark.parametrize(("name", "told"), SINGLE)
@settings(PROPERTY, max_examples=5)
@given(numbers=st.lists(NUMBERS, min_size=30, max_size=60))
def test_each_odd_value_is_converted_as_by_itself(name: str, told: str, numbers: list[str]) -> None:
    """Kills a conversion by column that rounds, trims or accepts other than that of a value alone."""
    read = column_read(told)
    rows = [
        {**dict.fromkeys(NAMES, "1"), "menu": "a", "chosen": "a", read: text} for text in (*ODD, *numbers)
    ]
    lines = [",".join(quoted(row[column], always=False) for column in NAMES) for row in rows]
    body = "\n".join([",".join(NAMES), *lines, ""]).encode()
    assert_same(body, single("csv", '"chosen"', name, told))


@pytest.mark.parametrize("kind", sorted(ARROW))
@pytest.mark.parametrize(("name", "told"), SINGLE)
@settings(PROPERTY, max_examples=2)
@given(data=st.data())
def test_each_type_of_parquet_is_converted_as_by_itself(
    kind: str, name: str, told: str, data: st.DataObject
) -> None:
    """Kills a conversion of numbers, times, flags or lists of the log's own that differs from that of one."""
    arrow, values = ARROW[kind]
    drawn = data.draw(st.lists(st.one_of(values, st.none()), min_size=20, max_size=40))
    table = pa.table(
        {**dict.fromkeys(NAMES, ["a"] * len(drawn)), column_read(told): arrow_column(drawn, arrow)}
    )
    target = io.BytesIO()
    pq.write_table(table, target)
    assert_same(target.getvalue(), single("parquet", '{value = "a"}', name, told))


@pytest.mark.parametrize("swapped", [False, True])
def test_the_last_cell_of_a_column_has_the_last_word(swapped: bool) -> None:
    """Kills tokens of an input that overwrite a column mapped after it, or that nothing overwrites."""
    cells = [
        'tok_input_uncached = {from = "n", convention = "inclusive", cache_read = "c"}',
        'tok_cache_read = "r"',
    ]
    mapping = f'format = "csv"\n{HEAD}[columns]\naction = "a"\n' + "\n".join(
        reversed(cells) if swapped else cells
    )
    assert_same(b"a,n,c,r\nx,9,3,4\nx,9,,4\nx,9,3,\nx,,3,4\nx,9,10,1\nx,9,-,-\n", mapping + "\n")


PIECES = [
    "1",
    "a",
    ",",
    '"',
    '""',
    "\n",
    "\r\n",
    "\r",
    "\n\n",
    "\0",
    "é",
    "\udcff",
    "1,a\n",
    '2,"x\ny"\n',
    "3,b,c\n",
]


@PROPERTY
@given(st.lists(st.sampled_from(PIECES), max_size=40), st.integers(1, 60))
def test_records_of_damaged_csv_are_those_of_pythons_reader(pieces: list[str], chunk: int) -> None:
    """Kills a record that ends elsewhere, a cell with other text, a wrong line, and a record cut in two."""
    body = ("n,chosen\n" + "".join(pieces)).encode("utf-8", "surrogateescape")
    mapping = f'format = "csv"\n{HEAD}[columns]\naction = "chosen"\ntok_output = "n"\n'
    with mock.patch.multiple(csv_columns, _CHUNK=chunk, _LOOK=chunk, _BATCH_ROWS=3, _WORTHWHILE=2):
        assert_same(body, mapping)


@PROPERTY
@given(st.integers(1, 400), st.sampled_from([",", ";", "\t", " ", "é"]), st.integers(1, 60))
def test_a_packed_csv_that_is_cut_off_ends_at_the_same_line(kept: int, delimiter: str, chunk: int) -> None:
    """Kills the lines before the damage, the damage itself, or a delimiter that Arrow sees otherwise."""
    lines = [f'{n % 9}{delimiter}"a{n}"{delimiter}{n * 7919 % 1000}' for n in range(90)]
    body = gzip.compress("\n".join([f"n{delimiter}chosen{delimiter}more", *lines]).encode())
    mapping = (
        f'format = "csv"\ndelimiter = "{delimiter}"\n{HEAD}[columns]\naction = "chosen"\ntok_output = "n"\n'
    )
    with mock.patch.multiple(csv_columns, _CHUNK=chunk, _LOOK=chunk, _BATCH_ROWS=3, _WORTHWHILE=2):
        assert_same(body[:kept], mapping)


@st.composite
def tables(draw: st.DrawFn) -> bytes:
    """A Parquet file whose columns have any types, most of them such as fit."""
    rows = draw(st.integers(0, 6))
    fitting = {
        "at": ("epoch", "time", "naive"),
        "chosen": ("text",),
        "menu": ("names",),
        "shares": ("shares",),
    }
    columns: dict[str, pa.Array] = {}
    for name in NAMES:
        kinds = fitting.get(name, ("int", "real", "text", "flag"))
        kind, values = ARROW[draw(st.one_of(st.sampled_from(kinds), st.sampled_from(sorted(ARROW))))]
        told = draw(st.lists(st.one_of(values, st.none()), min_size=rows, max_size=rows))
        columns[name] = arrow_column(told, kind)
    target = io.BytesIO()
    pq.write_table(pa.table(columns), target)
    return target.getvalue()


@PROPERTY
@given(mappings("parquet"), tables(), st.booleans())
def test_parquet_by_column_is_parquet_by_record(mapping: str, body: bytes, hide: bool) -> None:
    """Kills a wrong conversion of any Arrow type, and one that a pseudonym hides."""
    assert_same(body, mapping, key=Pseudonyms(bytes(range(32))) if hide else None)


def test_objects_and_bad_text_in_parquet_are_read_by_column_too(tmp_path: Path) -> None:
    """Kills a path into an object, list or map that finds something else, and text that is no UTF-8."""
    bad = pa.Array.from_buffers(
        pa.string(), 2, [*pa.array(["ab", "cd"]).buffers()[:2], pa.py_buffer(b"a\xffcd")]
    )
    table = pa.table(
        {
            "a": ["x", "y"],
            "f": [{"d": 1, "l": [5, 6], "at": datetime(2026, 1, 1)}, None],
            "m": pa.array([[("k", 1)], []], pa.map_(pa.string(), pa.int64())),
            "f.d": [3.5, None],
        }
    )
    mapping = f'format = "parquet"\n{HEAD}[columns]\naction = "a"\nx_d = "f.d"\nx_l = "f.l.1"\nx_m = "m.k"\n'
    mapping += 'x_q = "f.q"\nts = {from = "f.at", unit = "iso", timezone = "UTC"}\n'
    for whole in (table, table.drop_columns(["f.d"]), table.set_column(0, "a", bad)):
        pq.write_table(whole, tmp_path / "t")
        assert_same((tmp_path / "t").read_bytes(), mapping)


@pytest.mark.parametrize("table", ["contexts", "engine_steps", "outcomes"])
def test_other_tables_are_read_by_column_too(table: str) -> None:
    """Kills a block for the wrong table, and an outcome without its ids."""
    columns = {
        "contexts": 'request_id = "r"\nx_k = "k"\n',
        "engine_steps": 'replica = "r"\nrunning = "k"\nstep_s = {from = "k", unit = "ms"}\n',
        "outcomes": 'request_id = "r"\ndecision_id = "k"\n',
    }
    more = 'outcomes = [{name = "s", from = "k", source = "code"}]\n' if table == "outcomes" else ""
    body = "r,k\na,1\n,2\nb,x\nc,\n,\n"
    assert_same(body.encode(), f'format = "csv"\ntable = "{table}"\n{more}[columns]\n{columns[table]}')


def test_parts_end_after_the_same_item(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kills a part that is cut elsewhere when a record's outcome, a block or a reject meets its end."""
    monkeypatch.setattr(staging, "BATCH_ROWS", 5)
    monkeypatch.setattr(csv_columns, "_CHUNK", 40)
    monkeypatch.setattr(csv_columns, "_BATCH_ROWS", 3)
    mapping = f'format = "csv"\n{HEAD}outcomes = [{{name = "s", from = "l", source = "code"}}]\n'
    mapping += '[columns]\naction = "a"\nrequest_id = "r"\ntok_output = "n"\nx_k = "k"\n'
    lines = [f"a,r{n},{'-1' if n % 7 == 3 else n},{n % 3 or ''},{'w' if n > 20 else n}" for n in range(40)]
    body = "a,r,n,l,k\n" + "\n".join(lines) + "\n3\n"
    by_column, by_row = staged_both_ways(body.encode(), mapping)
    assert by_column == by_row
    assert len([name for name in by_row if name.startswith("decisions")]) > 5


def test_plain_rows_come_in_blocks_and_only_the_others_by_themselves(tmp_path: Path) -> None:
    """Kills a way by column that is right because it sends every row by itself."""
    mapping = f'format = "csv"\n{HEAD}[columns]\naction = "a"\ntok_output = "n"\n'
    reader = MappingReader(parse_mapping(mapping.encode(), tmp_path / "m.toml"))
    body = "a,n\n" + "x,1\n" * 50 + "x,-1\n" + 'x"y,2\n' + "x,3\n" * 50
    items: list[Item] = []
    rows = 0
    for found in reader.read_columns(log_of(body, tmp_path), Config()):
        items += [] if isinstance(found, Row) else [item for _, item in getattr(found, "others", [])]
        rows += sum(frame.height for frame in getattr(found, "frames", {}).values())
    assert (rows, len(items)) == (100, 2)


def test_a_store_read_by_column_is_the_store_read_by_record(tmp_path: Path) -> None:
    """Kills a difference that shows only after linking: prices, duplicates, features that turn to text."""
    mapping = f'format = "csv"\n{HEAD}[columns]\naction = "a"\ndecision_id = "d"\nx_k = "k"\n'
    mapping += 'ts = {from = "t", unit = "s"}\ntok_output = "n"\ncost_usd = {from = "c", unit = "USD"}\n'
    mapping += 'tok_input_uncached = {from = "n", convention = "exclusive"}\n'
    rows = [
        f"gpt-5-mini,d{n // 2},{n % 4 or 'deep'},{1_790_000_000 + n % 3},{n % 5},{n % 2 or ''}"
        for n in range(99)
    ]
    (tmp_path / "log.csv").write_text("a,d,k,t,n,c\n" + "\n".join(rows) + "\n", encoding="utf-8")
    (tmp_path / "m.toml").write_text(mapping, encoding="utf-8")
    ingest(tmp_path / "log.csv", out=tmp_path / "c", mapping=tmp_path / "m.toml")
    with mock.patch.object(MappingReader, "read_columns", MappingReader.read):
        ingest(tmp_path / "log.csv", out=tmp_path / "r", mapping=tmp_path / "m.toml")
    found = [
        {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
        for root in (tmp_path / "c", tmp_path / "r")
    ]
    assert found[0] == found[1]
    assert json.loads(found[0]["store/manifest.json"])["counts"]["quarantined"] > 0
