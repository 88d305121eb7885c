"""A user's reader: the documented example reads its format, and mistakes refuse one file only."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest
import shadowprice as sp
from door import knock
from mapped import record, write_log, write_mapping
from paths import EXAMPLES
from shadowprice.errors import ConfigError, IngestError
from shadowprice.ingest.readers.own import load_reader
from shadowprice.reader import Row, each_record
from shadowprice.schemas.config import parse_config

EXAMPLE = EXAMPLES / "readers" / "acme_gateway.py"
LINES_ALLOWED = 30
"""Lines of code that a format of one's own may take, blank lines and docstrings aside."""

Capture = pytest.CaptureFixture[str]


def call(number: int, **fields: Any) -> dict[str, Any]:
    whole = {
        "call": f"c{number}",
        "ticket": f"t{number}",
        "customer": f"shop{number % 7}",
        "asked": "large" if number % 2 else "small",
        "served": "large" if number % 2 else "small",
        "options": ["small", "large"],
        "chance": 0.5,
        "when_ms": 1_790_000_000_000 + number,
        "took_ms": 1500,
        "usd": 0.002,
        "in": 1000,
        "cached": 600,
        "out": 50,
        "difficulty": 0.25,
        "solved": number % 2,
    }
    return {**whole, **fields}


def logs(folder: Path) -> Path:
    """Forty good calls and three bad ones in the made-up format, and a log of a known format beside them."""
    bad = [
        {**call(90), "cached": 5000},
        {k: v for k, v in call(91).items() if k != "asked"},
        call(92, usd="?"),
    ]
    write_log(folder / "acme.jsonl", [*(call(n) for n in range(40)), *bad])
    (folder / "azure.csv").write_text(
        "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03,10,2\n", encoding="utf-8"
    )
    return folder


def own(
    read: Callable[..., Any], name: str = "mine", sniff: Callable[[bytes], Any] = lambda head: True
) -> Any:
    return SimpleNamespace(NAME=name, sniff=sniff, read=read)


def test_the_example_reads_its_format_beside_the_known_ones(tmp_path: Path) -> None:
    """Kills an example that nobody can copy: units, tokens, propensity, outcome, provenance, quarantine."""
    config = parse_config({"quality": {"name": "solved"}}, where="here")
    reader = load_reader(str(EXAMPLE))
    store = sp.ingest(logs(tmp_path / "logs"), out=tmp_path / "out", config=config, readers=[reader])
    rows = store.decisions().collect()
    mine = rows.filter(pl.col("source_format") == "acme_gateway").sort("source_row")
    assert (mine.height, rows.height) == (40, 41)
    first = mine.row(1, named=True)
    assert (first["tok_input_uncached"], first["tok_cache_read"], first["tok_output"]) == (400, 600, 50)
    assert (first["latency_s"], first["cost_usd"], first["cost_source"]) == (1.5, 0.002, "logged")
    assert (first["propensity"], first["propensity_source"], first["x_difficulty"]) == (0.5, "logged", 0.25)
    assert (first["action"], first["request_id"], first["source_file"]) == ("large", "t1", "acme.jsonl")
    assert mine["quality"].to_list() == [float(n % 2) for n in range(40)]
    quarantined = [json.loads(x) for x in (store.path / "quarantine.jsonl").read_text().splitlines()]
    assert [entry["row"] for entry in quarantined] == [41, 42, 43]
    assert quarantined[1]["reason"] == "no field asked"


def test_the_example_is_short() -> None:
    """Kills a seam that takes more than a page to serve."""
    code = EXAMPLE.read_text(encoding="utf-8").splitlines()
    kept = [line for line in code if line.strip() and not line.strip().startswith(('"""', "#"))]
    assert len(kept) <= LINES_ALLOWED


def test_the_command_line_takes_a_reader_by_file_and_by_module(
    capfd: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kills a reader that only Python can use; the module is the same code under another name."""
    folder = logs(tmp_path / "logs")
    monkeypatch.syspath_prepend(str(EXAMPLE.parent))
    for number, name in enumerate((str(EXAMPLE), "acme_gateway")):
        out = tmp_path / f"out{number}"
        assert knock(capfd, "ingest", folder, "--reader", name, "--out", out, "--quiet").code == 0
    stores = [(tmp_path / f"out{n}/store/manifest.json").read_bytes() for n in range(2)]
    assert stores[0] == stores[1]
    assert b'"acme_gateway"' in stores[0]
    sys.modules.pop("acme_gateway", None)


def test_without_the_reader_the_log_is_refused_and_the_cure_named(capfd: Capture, tmp_path: Path) -> None:
    """Kills a reader that is found although nobody asked for it."""
    folder = tmp_path / "logs"
    write_log(folder / "acme.jsonl", [call(1)])
    said = knock(capfd, "ingest", folder, "--out", tmp_path / "out", "--quiet")
    assert said.code == 2
    assert "not a known format" in said.err


def test_changed_code_is_read_anew_and_equal_rows_change_nothing(tmp_path: Path) -> None:
    """Kills parts staged by the code of yesterday, and a store that is new although nothing is."""

    def reading(action: str) -> Any:
        def rows(line: int, fields: dict[str, Any]) -> Iterator[Row]:
            base = {"decision_id": fields["id"], "request_id": fields["id"], "layer": "router"}
            yield Row("decisions", line, {**base, "decision_point": "model", "action": action})

        return own(lambda log, config: each_record(log, rows))

    log = write_log(tmp_path / "a.jsonl", [record(n) for n in range(3)])
    stores = [sp.ingest(log, out=tmp_path / "out", readers=[reading(a)]) for a in ("one", "one", "two")]
    generations = [store.manifest["generation"] for store in stores]
    assert generations[0] == generations[1] != generations[2]
    assert stores[2].decisions().collect()["action"].to_list() == ["two"] * 3


def test_a_reader_is_asked_before_the_known_ones_and_by_its_name(tmp_path: Path) -> None:
    """Kills a known format that cannot be read better by who knows it, and a --format that ignores it."""
    azure = logs(tmp_path / "logs") / "azure.csv"
    for sniff, format in ((lambda head: True, None), (lambda head: False, "mine")):
        reader = own(lambda log, config: iter(()), sniff=sniff)
        store = sp.ingest(azure, out=tmp_path / f"out-{format}", readers=[reader], format=format)
        assert [source["format"] for source in store.manifest["sources"]] == ["mine"]


def _raising(log: Any, config: Any) -> Iterator[Row]:
    raise KeyError("a secret prompt")
    yield


@pytest.mark.parametrize(
    ("reader", "words"),
    [
        (own(_raising), "'mine' failed in read: KeyError at test_own.py, line"),
        (
            own(lambda log, config: iter([{"decision_id": "a"}])),
            "yielded dict. Expected Row, Rejected or Ignored",
        ),
        (own(lambda log, config: None), "failed in read: TypeError"),
        (own(_raising, sniff=lambda head: head.nothing), "failed in sniff: AttributeError"),  # type: ignore[attr-defined]
    ],
)
def test_a_failing_reader_refuses_its_file_and_not_the_others(
    reader: Any, words: str, tmp_path: Path
) -> None:
    """Kills an internal error, a file that silently vanishes, and content of the log in the message."""
    write_log(tmp_path / "logs" / "a.jsonl", [call(1)])
    write_log(tmp_path / "logs" / "known.jsonl", [record(n) for n in range(3)])
    mapping = tmp_path / "known.toml"
    mapping.write_text('files = "known.jsonl"\n' + write_mapping(tmp_path).read_text(), encoding="utf-8")
    store = sp.ingest(tmp_path / "logs", out=tmp_path / "out", readers=[reader], mapping=mapping)
    (refused,) = store.manifest["refused"]
    assert refused["name"] == "a.jsonl"
    assert words in refused["error"]
    assert "secret" not in refused["error"]
    assert store.decisions().collect().height == 3


@pytest.mark.parametrize(
    ("readers", "words"),
    [
        ([SimpleNamespace(NAME="x", sniff=len)], "a reader without read"),
        ([own(len, name="Not a name")], "lower-case letters"),
        ([own(len, name="litellm")], "a second format called 'litellm'"),
        ([own(len), own(len)], "a second format called 'mine'"),
    ],
)
def test_what_is_no_reader_is_refused_before_anything_is_read(
    readers: list[Any], words: str, tmp_path: Path
) -> None:
    """Kills a format name that means two things, and a traceback half-way through the logs."""
    with pytest.raises(ConfigError, match=words):
        sp.ingest(logs(tmp_path / "logs"), out=tmp_path / "out", readers=readers)
    assert not (tmp_path / "out" / "store").exists()


def test_two_own_readers_that_match_ask_for_the_format(tmp_path: Path) -> None:
    """Kills taking the first of two."""
    log = write_log(tmp_path / "a.jsonl", [call(1)])
    with pytest.raises(IngestError, match=r"several formats: one, two.*--format"):
        sp.ingest(log, out=tmp_path / "out", readers=[own(len, "one"), own(len, "two")])


@pytest.mark.parametrize("name", ["absent.py", "no_such_module_here", f"{EXAMPLE}:absent", "broken.py"])
def test_a_reader_that_cannot_be_had_is_a_usage_error(
    name: str, capfd: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kills a traceback for a typing error on the command line."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.py").write_text("NAME = \n", encoding="utf-8")
    said = knock(capfd, "inspect", logs(tmp_path / "logs"), "--reader", name)
    assert said.code == 2
    assert "--reader" in said.err
    assert "Traceback" not in said.err
