"""Logs that are no local files: standard input, and objects under a URL (s3://, gs://, az://) through fsspec.

Nothing is reached unless such a URL is given; an object is copied beside the store, read there and removed.
"""

from __future__ import annotations

import hashlib
import importlib
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import IO, Any, Final

from ..errors import ConfigError, IngestError
from .opening import HEAD_BYTES, printable

STDIN: Final = "-"
SCHEMES: Final = ("s3", "s3a", "gs", "gcs", "az", "abfs", "abfss")
"""Object stores: lists of immutable objects with a version. Not http, and none that runs a shell."""
_EXTRA: Final = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs"}
_CHUNK: Final = 1024 * 1024
_WILD: Final = "*?["


@dataclass(frozen=True, slots=True)
class StandardInput:
    """What is piped in; it can be read once."""

    size: int = 0
    version: str | None = None
    whole_name: str = STDIN


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object: its URL without options, its bytes, and what changes when it is written again."""

    url: str
    size: int
    version: str | None

    @property
    def whole_name(self) -> str:
        """Bucket and key."""
        return self.url.partition("://")[2]


Elsewhere = StandardInput | StoredObject


def is_url(text: str) -> bool:
    """Whether `text` is a URL rather than a path."""
    return "://" in text


def stored_objects(url: str) -> tuple[str, list[tuple[str, StoredObject]]]:
    """The fixed beginning of `url`, and the objects below it as (key below the beginning, object).

    With a pattern in `url`, the beginning is what stands before the first segment with one.
    Raises: ConfigError for a URL that cannot be followed; IngestError when the store does not answer.
    """
    scheme, _, rest = url.partition("://")
    _check(scheme, rest, url)
    segments = rest.rstrip("/").split("/")
    fixed = next((n for n, part in enumerate(segments) if any(c in part for c in _WILD)), len(segments))
    if fixed == 0:
        raise ConfigError("a pattern for the bucket", where=printable(url), expected="one bucket by its name")
    beginning = "/".join(segments[:fixed])
    system = _system(scheme)
    with _answering(url):
        system.invalidate_cache()
        found: dict[str, dict[str, Any]] = system.find(beginning, detail=True)
    objects: list[tuple[str, StoredObject]] = []
    for key, info in sorted(found.items()):
        if info.get("type", "file") != "file" or key.endswith("/"):
            continue
        below = key.removeprefix(beginning).lstrip("/") or key.rpartition("/")[2]
        objects.append((below, StoredObject(f"{scheme}://{key}", int(info.get("size") or 0), _version(info))))
    return f"{scheme}://{beginning}", objects


def head_bytes(place: StoredObject) -> bytes:
    """The first raw bytes of the object, enough to recognise its format.

    Raises: IngestError when the store does not answer.
    """
    scheme, _, key = place.url.partition("://")
    with _answering(place.url):
        return bytes(_system(scheme).cat_file(key, start=0, end=min(HEAD_BYTES, place.size)))


def copy(place: Elsewhere, target: Path, *, heard: Callable[[int], None]) -> str:
    """Copy the bytes of `place` to `target`, private to the owner; their SHA-256 in hex.

    heard: told the bytes copied so far.
    Raises: IngestError when they cannot be had, or the object changes meanwhile; OSError when `target`
    cannot be written.
    """
    sha, done = hashlib.sha256(), 0
    target.touch(mode=0o600)
    with target.open("wb") as copied:
        for chunk in _chunks(place):
            sha.update(chunk)
            copied.write(chunk)
            done += len(chunk)
            heard(done)
    if isinstance(place, StoredObject) and (done != place.size or _now(place) != place.version):
        raise IngestError("changed while it was read", where=printable(place.url), cure="Ingest again.")
    return sha.hexdigest()


def _chunks(place: Elsewhere) -> Iterator[bytes]:
    if isinstance(place, StandardInput):
        if sys.stdin is None or sys.stdin.isatty():
            raise ConfigError("standard input is a terminal", where=STDIN, expected="a log piped in")
        yield from _pieces(sys.stdin.buffer)
        return
    scheme, _, key = place.url.partition("://")
    with _answering(place.url), _system(scheme).open(key, "rb") as stream:
        yield from _pieces(stream)


def _pieces(stream: IO[bytes]) -> Iterator[bytes]:
    while chunk := stream.read(_CHUNK):
        yield chunk


def _now(place: StoredObject) -> str | None:
    scheme, _, key = place.url.partition("://")
    system = _system(scheme)
    with _answering(place.url):
        system.invalidate_cache()
        return _version(system.info(key))


def _version(info: dict[str, Any]) -> str | None:
    """What the store says of this state of an object; None when it says nothing that would change."""
    told = info.get("ETag") or info.get("etag") or info.get("md5Hash")
    return None if told is None else str(told).strip('"')


def _check(scheme: str, rest: str, url: str) -> None:
    # an answer repeats the URL only where it cannot hold a password
    if scheme not in SCHEMES or "::" in url:
        raise ConfigError(
            f"URLs of kind '{printable(scheme)}' are not read",
            where="the given paths",
            expected=f"a path, - for standard input, or one of {', '.join(f'{s}://' for s in SCHEMES)}",
            cure="Download it first, or pipe it in.",
        )
    bucket = rest.partition("/")[0]
    if "@" in bucket and not scheme.startswith("abfs"):
        raise ConfigError(
            "a URL with credentials in it",
            where="the given paths",
            expected="them in the environment, where they are not logged",
        )
    if not bucket:
        raise ConfigError(
            "a URL without a bucket", where=printable(url), expected=f"{scheme}://BUCKET/PREFIX"
        )


@cache
def _system(scheme: str) -> Any:
    package = _EXTRA.get(scheme, "adlfs")
    try:
        fsspec: Any = importlib.import_module("fsspec")
        importlib.import_module(package)
    except ImportError as error:
        extra = "'shadowprice[s3]'" if package == "s3fs" else package
        raise ConfigError(
            f"package {package} is not installed", where=f"{scheme}://", cure=f"pip install {extra}."
        ) from error
    return fsspec.filesystem(scheme)


@contextmanager
def _answering(url: str) -> Generator[None]:
    """What a store's client raises, each its own kind, as one error that names the URL."""
    try:
        yield
    except Exception as error:
        told = str(error).strip().splitlines() or ["no reason given"]
        raise IngestError(
            f"the store does not give it: {type(error).__name__}: {printable(told[0])}",
            where=printable(url),
            cure="Check the URL, the credentials in the environment and the connection.",
        ) from error
