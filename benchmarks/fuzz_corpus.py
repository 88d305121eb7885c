"""Seeds for the fuzzer, one folder per target: every log that a test gives to a reader, and public samples.

A pytest plugin notes what the readers are given while their tests run, so a new test is a new seed.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from fuzz_mutations import ENVELOPES, LOG_FOLLOWS, enveloped
from shadowprice.errors import ShadowpriceError
from shadowprice.ingest.files import find_inputs
from shadowprice.ingest.opening import read_head
from shadowprice.ingest.readers import drafting, mapping, mapping_spec
from shadowprice.ingest.readers.registry import READERS, find_reader
from shadowprice.ingest.seam import Item, LogFile
from shadowprice.schemas.config import Config

_REPOSITORY: Final = Path(__file__).resolve().parents[1]
SAMPLES: Final = Path(os.environ.get("SHADOWPRICE_DATA", _REPOSITORY.parent / "shared" / "data")) / "formats"
MAX_SEED: Final = 6 * 1024
SEEDS: Final = 60
"""Seeds per reader: the tests with a hypothesis strategy would bring thousands of one kind."""
SHARED_SEEDS: Final = 8
"""Seeds of each reader for the targets that take every format."""
_FOLDER: Final = "SHADOWPRICE_FUZZ_CORPUS"


def collect(folder: Path, *, quiet: bool = False) -> None:
    """Fill `folder` with a folder of seeds per reader, `mapping`, `mapping_file`, `draft` and `every`.

    Raises: CalledProcessError when the tests do not pass.
    """
    environment = {
        **os.environ,
        _FOLDER: str(folder),
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]),
    }
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "fuzz_corpus",
        "-p",
        "no:randomly",
        "-p",
        "no:xdist",
    ]
    subprocess.run(
        [*command, "tests/ingest/readers", "tests/ingest/test_columnar.py", "tests/ingest/test_lines.py"],
        cwd=_REPOSITORY,
        env=environment,
        check=True,
        stdout=subprocess.DEVNULL if quiet else None,
    )
    for name, body in _samples():
        note(folder, name, body)
    for reader in READERS:
        seeds = sorted((folder / reader.NAME).glob("*"))[:SHARED_SEEDS]
        for seed in seeds:
            note(folder, "every", seed.read_bytes(), limit=len(READERS) * SHARED_SEEDS)


def note(folder: Path, target: str, body: bytes, *, limit: int = SEEDS) -> None:
    """Keep `body` as a seed of `target`: cut to MAX_SEED, each once, Parquet and zip in envelopes too."""
    own = folder / target
    own.mkdir(parents=True, exist_ok=True)
    for seed in (body[:MAX_SEED], enveloped(body)):
        if seed is not None and len(seed) <= MAX_SEED and len(list(own.iterdir())) < limit:
            (own / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)


def _samples() -> Iterator[tuple[str, bytes]]:
    """Every public sample, by the reader that recognises it."""
    if not SAMPLES.is_dir():
        return
    for name, path in find_inputs([SAMPLES]).files:
        assert isinstance(path, Path)
        try:
            reader = find_reader(read_head(path), name=name).NAME
        except ShadowpriceError:
            continue
        yield reader, path.read_bytes()
        if path.suffix == ".jsonl":
            yield reader, ENVELOPES[2] + path.read_bytes()[: MAX_SEED // 2]


def pytest_configure() -> None:
    """Called by pytest before it imports a test: from here on the readers note what they are given."""
    folder = Path(os.environ[_FOLDER])

    def noting(target: str, read: Callable[..., Iterator[Item]]) -> Callable[..., Iterator[Item]]:
        def noted(log: LogFile, config: Config) -> Iterator[Item]:
            _note_log(folder, target, log.path)
            return read(log, config)

        return noted

    for reader in READERS:
        reader.read = noting(reader.NAME, reader.read)
    _note_mappings(folder)


def _note_log(folder: Path, target: str, path: Path) -> None:
    if path.is_file() and path.stat().st_size <= 64 * MAX_SEED:
        note(folder, target, path.read_bytes())


def _note_mappings(folder: Path) -> None:
    own: Any = mapping.MappingReader
    read, parse, draft = own.read, mapping_spec.parse_mapping, drafting.draft_mapping
    texts: dict[str, bytes] = {}

    def noted_read(self: Any, log: LogFile, config: Config) -> Iterator[Item]:
        text = texts.get(self.fingerprint)
        if text is not None and log.path.stat().st_size <= MAX_SEED:
            packed = enveloped(log.path.read_bytes())
            note(folder, "mapping", text + LOG_FOLLOWS + (packed or log.path.read_bytes()), limit=2 * SEEDS)
        return read(self, log, config)

    def noted_parse(text: bytes, path: Path) -> Any:
        note(folder, "mapping_file", text)
        texts[hashlib.sha256(text).hexdigest()] = text
        return parse(text, path)

    def noted_draft(path: str | Path) -> Any:
        _note_log(folder, "draft", Path(path))
        return draft(path)

    own.read, drafting.draft_mapping = noted_read, noted_draft
    mapping_spec.parse_mapping = drafting.parse_mapping = noted_parse
