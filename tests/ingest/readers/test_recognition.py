"""Which reader claims which file: each of its own formats, and none of anyone else's."""

from __future__ import annotations

from typing import Final

import pytest
from paths import shared_data
from shadowprice.ingest.opening import read_head
from shadowprice.ingest.readers.peek import top_keys
from shadowprice.ingest.readers.registry import READERS

OWN: Final = {
    "claude_code_jsonl": "claude_code",
    "inspect_eval": "inspect_eval",
    "litellm": "litellm",
    "mooncake": "mooncake",
    "openhands_events": "openhands",
    "otlp_json": "otlp",
    "semantic_router": "semantic_router_samples",
    "swe_agent_traj": "swe_agent",
    "tau_bench": "tau_bench",
}
"""Folder of the samples -> the reader of every log in it, but for SPEND."""
SPEND: Final = "litellm/spend_logs_payload.json"


def _claims(head: bytes) -> list[str]:
    return [reader.NAME for reader in READERS if reader.sniff(head)]


def test_every_public_sample_is_claimed_by_its_reader_and_by_no_other() -> None:
    """Kills a sniff by one common field: the samples hold a dozen formats that share names."""
    root = shared_data("formats")
    for path in sorted(p for p in root.rglob("*") if p.is_file()):
        name = path.relative_to(root).as_posix()
        own = "litellm_spend" if name == SPEND else OWN.get(name.partition("/")[0])
        no_log = own is None or path.name == "LICENSE"
        assert _claims(read_head(path)) == ([] if no_log else [own]), name


@pytest.mark.parametrize(
    ("folder", "pattern", "reader"),
    [
        ("azure_llm_2023", "*.csv", ["azure_llm"]),
        ("mooncake_fast25", "*.jsonl", ["mooncake"]),
        ("tau_bench", "*/*.json", ["tau_bench"]),
        ("routellm", "*.csv", []),
        ("open_bandit", "*/*/*.csv", []),
        ("rl_format_specimens", "areal/**/*.jsonl", ["areal"]),
        ("rl_format_specimens", "prime_rl/token_exports/**/*.jsonl", ["prime_rl_tokens"]),
        ("rl_format_specimens", "trl/**/*.parquet", ["trl"]),
        ("rl_format_specimens", "verl*/rollout_data/*.jsonl", ["verl"]),
        ("rl_format_specimens", "opentinker/**/*.jsonl", []),
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
    assert top_keys(head) == (frozenset({"items"}),)
