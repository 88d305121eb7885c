"""Choosing a reader: by content, one and only one, and with a cure when there is none."""

from __future__ import annotations

import io
import pickle
import re
import zipfile
from types import SimpleNamespace

import pytest
from paths import REPOSITORY, shared_data
from shadowprice.errors import ConfigError, IngestError
from shadowprice.ingest.readers import registry
from shadowprice.ingest.readers.registry import READERS, find_reader

AZURE = b"TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,4808,10\n"


def test_a_file_is_recognised_by_its_fields() -> None:
    """Kills recognition by name: the name here says something else."""
    assert find_reader(AZURE, name="litellm.jsonl").NAME == "azure_llm"


def test_reader_names_are_unique() -> None:
    """Kills a second reader that --format can never choose."""
    names = [reader.NAME for reader in READERS]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"\x7fELF\x02\x01\x01\0\0\0", "binary data"),
        (bytes(range(128, 256)) * 10, "binary data"),
        (b"PAR1\x15\x04", "a Parquet file"),
        (b"", "the file is empty"),
        (b"just some text\n", "not a known format"),
        ("é".encode() * 100, "not a known format"),
        (b'{"a": 1}\n', "not a known format"),
    ],
)
def test_an_unknown_file_is_one_clear_error_with_a_cure(head: bytes, words: str) -> None:
    """Kills a binary file read as a thousand bad lines, and an error without a way out."""
    with pytest.raises(IngestError, match=words) as caught:
        find_reader(head, name="logs/a\x1b[31m.jsonl")
    assert "--mapping FILE" in str(caught.value)
    assert "--reader FILE.py" in str(caught.value)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize("key", ["openinference.span.kind", "gen_ai.operation.name"])
def test_bare_attributes_of_a_span_are_refused_by_what_they_lack(key: str) -> None:
    """Kills an answer that lists thirty formats to someone whose spans lost their envelope on the way."""
    for head in (
        b'{"%s": "LLM", "llm.model_name": "m"}\n' % key.encode(),
        b'{\n "%s": "chat"\n}' % key.encode(),
    ):
        with pytest.raises(IngestError, match="attributes of spans without ids and times") as caught:
            find_reader(head, name="span.json")
        assert "Export them as OTLP" in str(caught.value)
        assert "--mapping FILE" in str(caught.value)


def test_public_samples_of_bare_attributes_get_that_answer() -> None:
    """Kills a rule that knows only the attributes that it was written for."""
    for path in sorted((shared_data("formats") / "openinference").glob("*.json")):
        with pytest.raises(IngestError, match="attributes of spans without ids and times"):
            find_reader(path.read_bytes(), name=path.name)


def _torch_save() -> bytes:
    """What torch.save writes, as far as its head goes."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("rollout_7/data.pkl", pickle.dumps({"reward": 1.0}))
        archive.writestr("rollout_7/version", "3\n")
    return target.getvalue()


@pytest.mark.parametrize("protocol", [2, 3, 4, 5, None])
def test_a_pickle_is_refused_by_its_first_bytes_and_asks_for_a_conversion(protocol: int | None) -> None:
    """Kills unpickling a trainer's dump, which runs its code, and a cure by mapping that cannot work."""
    head = _torch_save() if protocol is None else pickle.dumps([{"reward": 1.0}], protocol=protocol)
    with pytest.raises(IngestError, match="a Python pickle, which can run code") as caught:
        find_reader(head, name="rollouts.pt")
    assert "Convert it to JSON Lines" in str(caught.value)


def test_no_module_of_ingest_can_unpickle() -> None:
    """Kills an import of pickle, or a loader that unpickles, anywhere between a file and the store."""
    sources = sorted((REPOSITORY / "ingest").rglob("*.py"))
    assert len(sources) > 80
    loaders = re.compile(
        r"^\s*(?:import|from)\s+(?:pickle|shelve|marshal|dill|joblib|torch)\b|allow_pickle", re.M
    )
    assert [path.name for path in sources if loaders.search(path.read_text(encoding="utf-8"))] == []


def test_two_readers_that_match_ask_for_the_format(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kills taking the first reader that matches."""
    twin = SimpleNamespace(NAME="twin", sniff=lambda head: True, read=None)
    monkeypatch.setattr(registry, "READERS", (*READERS, twin))
    with pytest.raises(IngestError, match=r"several formats: azure_llm, twin.*--format"):
        find_reader(AZURE, name="a.csv")
    assert find_reader(AZURE, name="a.csv", format="twin").NAME == "twin"


def test_an_unknown_format_names_the_nearest_one() -> None:
    """Kills a silent fall-back to sniffing."""
    with pytest.raises(ConfigError, match="Did you mean 'azure_llm'"):
        find_reader(AZURE, name="a.csv", format="azure_lm")
