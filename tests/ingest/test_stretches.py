"""A large log is read in stretches: what comes out is what reading it whole gives, wherever it is cut."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from otlp_logs import chat, logs, span, traces
from reading import log_of
from shadowprice.ingest import stretches
from shadowprice.ingest.lines import lines_start
from shadowprice.ingest.readers import (
    areal,
    litellm,
    litellm_spend,
    mooncake,
    otlp,
    semantic_router_samples,
    verl,
    vllm_requests_sglang,
)
from shadowprice.ingest.readers.registry import READERS
from shadowprice.ingest.seam import EntangledError, Item, LogFile, Row, Stretch
from shadowprice.ingest.stitching import splits
from shadowprice.ingest.stretches import survey
from shadowprice.schemas.config import Config

from tests.litellm_logs import payload

AGENT = {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "s\u00fcpport \u4e2d\U0001f600"}
PLAIN = {"http.request.method": "POST"}
_ENDS = (b"\n", b"\r\n", b"\n\n", b"\r\n \t\n")
_NOISE = (b"{damaged", b"[1]", b"\xff\xfe{}", b"", b'{"a": "\xe4\xb8', b"null", b"x" * 300)


def cut(log: LogFile) -> tuple[Stretch, ...]:
    """The stretches of a log of lines."""
    start = lines_start(log)
    assert start is not None
    return survey(log.path, log.path.stat().st_size, start=start)[1]


def apart(reader: Any, log: LogFile) -> list[Item]:
    """What `reader` yields for the stretches of `log`, and for what they carry."""
    found: list[Item] = []
    carried: list[dict[str, Any]] = []
    for stretch in cut(log):
        found += reader.read(replace(log, stretch=stretch, carry=carried.append), Config())
    told = json.loads(json.dumps(carried))
    return [*found, *reader.settle(told, Config())] if hasattr(reader, "settle") else found


def otlp_line(number: int, parent: int | None, kind: int) -> bytes:
    """A batch of one or two spans, some of them agents below others that stand anywhere."""
    given = (AGENT, PLAIN, chat(), {**AGENT, "shadowprice.x_": 1}, {"openinference.span.kind": "CHAIN"})[kind]
    spans = [span(number, given, parent=parent)]
    if kind == 1:
        spans.append(span(number + 100, AGENT, parent=number))
    return json.dumps(traces(*spans), ensure_ascii=False).encode()


def litellm_line(number: int, parent: int | None, kind: int) -> bytes:
    """A call, in one of several ways, or one that cannot be read."""
    fields = (
        {},
        {"startTime": None},
        {"status": "failure"},
        {"call_type": "moderation"},
        {"model": "\u4e2d"},
    )
    told = payload(id=f"c{number}", litellm_call_id=f"c{parent}", **fields[kind])
    return json.dumps(told, ensure_ascii=False).encode()


MAKERS = {"otlp": (otlp, otlp_line), "litellm": (litellm, litellm_line)}
LINES = st.lists(
    st.tuples(
        st.integers(1, 9),
        st.none() | st.integers(1, 9),
        st.integers(0, 4),
        st.sampled_from(_ENDS),
        st.none() | st.sampled_from(_NOISE),
    ),
    min_size=1,
    max_size=20,
)


@pytest.mark.parametrize("form", MAKERS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(given=LINES, size=st.integers(1, 4000), mark=st.booleans(), last=st.booleans())
def test_stretches_give_the_items_of_the_whole_log_in_its_order(
    form: str,
    given: list[tuple[int, int | None, int, bytes, bytes | None]],
    size: int,
    mark: bool,
    last: bool,
    tmp_path: Path,
) -> None:
    """Kills lines lost, doubled or numbered anew at a cut, a character cut in two, and an agent that is told
    by what lies in its own stretch only."""
    reader, line = MAKERS[form]
    body = b"".join(
        line(number, parent, kind) + end + (b"" if noise is None else noise + end)
        for number, parent, kind, end, noise in given
    )
    body = (b"\xef\xbb\xbf" if mark else b"") + (body if last else body.rstrip(b"\r\n \t"))
    log = log_of(body, tmp_path)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(stretches, "STRETCH_BYTES", size)
        assert apart(reader, log) == list(reader.read(log, Config()))


@given(given=st.lists(st.binary(max_size=9), max_size=30), size=st.integers(1, 40), chunk=st.integers(1, 50))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_stretches_are_whole_lines_that_tile_the_file(
    given: list[bytes], size: int, chunk: int, tmp_path: Path
) -> None:
    """Kills a cut within a line, a gap, and line numbers or digests of other bytes."""
    body = b"\n".join(given)
    path = tmp_path / "log"
    path.write_bytes(body + b"appended later")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(stretches, "STRETCH_BYTES", size)
        patched.setattr(stretches, "_CHUNK", chunk)
        whole, found = survey(path, len(body), start=0)
    pieces = [body[one.start : one.stop] for one in found]
    assert b"".join(pieces) == body
    assert whole == hashlib.sha256(body).hexdigest()
    assert [one.digest for one in found] == [hashlib.sha256(piece).hexdigest() for piece in pieces]
    assert [one.line for one in found] == [body[: one.start].count(b"\n") + 1 for one in found]
    for piece in pieces[:-1]:
        assert piece.endswith(b"\n")
        assert b"\n" not in piece[size - 1 : -1]
        assert len(piece) >= size


@pytest.mark.parametrize(
    "records",
    [
        [payload(), {"router_name": "r", "request_type": "t", "model_name": "m", "alpha": 1, "beta": 1}],
        [payload(), {"routers": [], "taken_at": 1}],
    ],
)
@pytest.mark.parametrize("reader", [litellm, litellm_spend])
def test_a_routers_state_makes_a_log_one_that_is_read_whole(
    reader: Any, records: Iterable[Any], tmp_path: Path
) -> None:
    """Kills odds that later stretches do not know of."""
    log = log_of("".join(json.dumps(record) + "\n" for record in records), tmp_path)
    with pytest.raises(EntangledError):
        apart(reader, log)


def test_the_phases_of_a_request_make_a_log_one_that_is_read_whole(tmp_path: Path) -> None:
    """Kills a queue time that is lost because a cut lies between a request and its phase."""
    log = log_of(json.dumps(traces(span(1, {}, parent=2, name="prefill_waiting"))), tmp_path)
    with pytest.raises(EntangledError):
        apart(otlp, log)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[\n{}\n]",
        b'{\n"a": 1\n}\n',
        b"\x1f\x8b{}\n",
        b"\x28\xb5\x2f\xfd{}\n",
        b"PAR1{}\n",
        b"a,b\n1,2\n",
        b"damaged\n{}\n",
    ],
)
def test_only_a_plain_file_of_json_lines_is_cut(body: bytes, tmp_path: Path) -> None:
    """Kills half an array, half an object, half a table or compressed bytes read as lines."""
    assert lines_start(log_of(body, tmp_path)) is None


def test_a_mark_before_the_first_line_belongs_to_no_stretch(tmp_path: Path) -> None:
    """Kills a first line that is refused because of the mark before it."""
    log = log_of(b"\xef\xbb\xbf" + json.dumps(logs()).encode() + b"\n{}\n", tmp_path)
    assert cut(log)[0].start == 3


RECORDS: list[tuple[Any, dict[str, Any]]] = [
    (
        areal,
        {
            "task_id": 1,
            "seqlen": 9,
            "prompt_len": 4,
            "head_version": 2,
            "tail_version": 2,
            "reward": 1.0,
            "prompt": "a",
        },
    ),
    (mooncake, {"timestamp": 5, "input_length": 10, "output_length": 2, "hash_ids": [1]}),
    (
        semantic_router_samples,
        {"timestamp": 1, "prompt_tokens": 5, "generated_tokens": 2, "selected_model": "\u4e2d"},
    ),
    (verl, {"input": "a", "output": "b", "gts": "c", "score": 1.0, "step": 3, "uid": 4, "acc": 0.5}),
    (vllm_requests_sglang, {"id": "r", "request_received_ts": 1790000000.5, "prompt_tokens": 5}),
]


def test_every_reader_that_says_so_is_tested_here() -> None:
    """Kills a reader that declares what no test holds it to."""
    declared = {reader.NAME for reader in READERS if splits(reader)}
    tested = [litellm, litellm_spend, otlp, *(reader for reader, _ in RECORDS)]
    assert declared == {reader.NAME for reader in tested}


@pytest.mark.parametrize(("reader", "record"), RECORDS, ids=lambda given: getattr(given, "NAME", ""))
@pytest.mark.parametrize("size", [1, 150, 400])
def test_readers_of_plain_lines_read_stretches_as_the_whole_log(
    reader: Any, record: dict[str, Any], size: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kills an id or a fallback that counts from the beginning of a stretch."""
    told = [record if n % 3 else {name: record[name] for name in sorted(record)[n % 2 :]} for n in range(12)]
    log = log_of("\r\n".join(json.dumps(one, ensure_ascii=False) for one in told), tmp_path)
    monkeypatch.setattr(stretches, "STRETCH_BYTES", size)
    whole = list(reader.read(log, Config()))
    assert apart(reader, log) == whole
    assert len(cut(log)) > 1
    assert sum(isinstance(item, Row) for item in whole) >= 8
