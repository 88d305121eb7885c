"""Which reader claims which file: each of its own formats, and none of anyone else's."""

from __future__ import annotations

from typing import Final

import pytest
from paths import shared_data
from shadowprice.ingest.lines import read_head
from shadowprice.ingest.readers import azure_llm, litellm, litellm_spend, mooncake, otlp, tau_bench
from shadowprice.ingest.readers.peek import top_keys

READERS: Final = (otlp, litellm, litellm_spend, tau_bench, azure_llm, mooncake)
OWN: Final = {
    "otlp_json/events.json": "otlp",
    "otlp_json/logs.json": "otlp",
    "otlp_json/metrics.json": "otlp",
    "otlp_json/trace.json": "otlp",
    "litellm/standard_logging_payload.generated.jsonl": "litellm",
    "litellm/standard_logging_payload.2025.json": "litellm",
    "litellm/spend_logs_payload.json": "litellm_spend",
    "tau_bench/gpt-4o-airline.head3.json": "tau_bench",
    "mooncake/conversation_trace.jsonl": "mooncake",
    "mooncake/synthetic_trace.jsonl": "mooncake",
}


def _claims(head: bytes) -> list[str]:
    return [reader.NAME for reader in READERS if reader.sniff(head)]


def test_every_public_sample_is_claimed_by_its_reader_and_by_no_other() -> None:
    """Kills a sniff by one common field: the samples hold a dozen formats that share names."""
    root = shared_data("formats")
    found = {
        path.relative_to(root).as_posix(): _claims(read_head(path))
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }
    assert {name: claims for name, claims in found.items() if claims} == {
        name: [reader] for name, reader in OWN.items()
    }


@pytest.mark.parametrize(
    ("folder", "pattern", "reader"),
    [
        ("azure_llm_2023", "*.csv", ["azure_llm"]),
        ("mooncake_fast25", "*.jsonl", ["mooncake"]),
        ("tau_bench", "*/*.json", ["tau_bench"]),
        ("routellm", "*.csv", []),
        ("open_bandit", "*/*/*.csv", []),
        ("rl_format_specimens", "**/*.jsonl", []),
        ("splitwise_perf_model", "*.csv", []),
    ],
)
def test_the_public_data_sets_are_recognised(folder: str, pattern: str, reader: list[str]) -> None:
    """Kills a first record longer than the head going unrecognised, and training logs taken for agents'."""
    paths = sorted(shared_data(folder).glob(pattern))
    assert paths
    assert [_claims(read_head(path)) for path in paths] == [reader] * len(paths)


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b'{"resourceSpans": [{"resour', ["otlp"]),
        (b'\xef\xbb\xbf{"resource_logs": []}', ["otlp"]),
        (b'[{"resource": {}, "scopeSpans": []}]', ["otlp"]),
        (b'{"broken\n{"resourceSpans": []}\n', ["otlp"]),
        (b'{\n  "id": "a",\n  "litellm_call_id": "b",\n  "metadata": {"spe', ["litellm"]),
        (b'[{"id": "a", "litellm_call_id": "b"}, {"id', ["litellm"]),
        (b"request_id,call_type,spend,model\r\na,completion,0.1,m\r\n", ["litellm_spend"]),
        (b'"request_id","call_type","spend"\n', ["litellm_spend"]),
        (b"\xef\xbb\xbfTIMESTAMP,ContextTokens,GeneratedTokens\n", ["azure_llm"]),
        (b'{"timestamp": 1, "input_length": 2, "output_length": 3, "hash_ids": [], "chat_id": 4}\n', []),
        (b'{"message": "resourceSpans litellm_call_id hash_ids"}\n', []),
        (b'{"data": {"resourceSpans": []}}\n', []),
        (b"\x89PNG\r\n\x1a\n\x00\x00", []),
        (b"\xff\xfe{\x00", []),
        (b"", []),
        (b"[[[[[[[[", []),
        (b"null\n", []),
        (b"resourceSpans,spend\n", []),
    ],
)
def test_heads_are_judged_by_their_top_level_fields(head: bytes, expected: list[str]) -> None:
    """Kills searching the text: a message that quotes a field name is no such log."""
    assert _claims(head) == expected


def test_a_nested_object_on_a_line_of_its_own_is_no_record() -> None:
    """Kills reading pretty-printed JSON line by line, where the last element of a list parses alone."""
    head = b'{\n "items": [\n{"litellm_call_id": "x"}\n]}\n'
    assert top_keys(head) == [frozenset({"items"})]
