"""Input files: which ones the given paths mean, in a fixed order, and which are refused with a reason.

Folders are walked; hidden entries, links that leave the folder and everything that is no regular file are
recorded, never followed.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import IngestError
from .lines import printable
from .seam import LogFile


@dataclass(frozen=True, slots=True)
class Refused:
    """An input that was not read, and the error that says why."""

    name: str
    error: str


@dataclass(frozen=True, slots=True)
class Inputs:
    """The files to read, as (name, path) in the order of their names, and what was refused on the way."""

    files: tuple[tuple[str, Path], ...]
    refused: tuple[Refused, ...]


def find_inputs(paths: Iterable[Path], *, skip: Iterable[Path] = ()) -> Inputs:
    """The files that `paths` mean: files by themselves, folders with everything below, without `skip`.

    A name is the path below the given folder, or the file's own name; files that would share one are
    named by their path below the folder that holds everything given.
    Raises: IngestError when a path does not exist or nothing at all is found.
    """
    skipped = {path.resolve() for path in skip}
    files: dict[Path, tuple[str, Path]] = {}
    refused: list[Refused] = []
    given = [Path(path) for path in paths]
    for path in given:
        found = _below(path) if path.is_dir() else [_named(path)]
        for item in found:
            if isinstance(item, Refused):
                refused.append(item)
                continue
            name, file = item
            real = file.resolve()
            if real not in files and not any(real == s or s in real.parents for s in skipped):
                files[real] = name, file
    if not files and not refused:
        raise IngestError(
            "no files",
            where=", ".join(printable(str(path)) for path in given) or "the given paths",
            expected="at least one log file",
            cure="Check the path.",
        )
    return Inputs(_distinct(files, given), tuple(sorted(refused, key=lambda item: (item.name, item.error))))


def _distinct(files: dict[Path, tuple[str, Path]], given: list[Path]) -> tuple[tuple[str, Path], ...]:
    """The files in the order of their names, no name twice: a row's provenance must lead to one file."""
    count = Counter(name for name, _ in files.values())
    places = [(path if path.is_dir() else path.parent).absolute() for path in given]
    named: list[tuple[str, Path]] = []
    for real, (name, path) in files.items():
        if count[name] > 1:
            name = _relative(path.absolute(), Path(os.path.commonpath(places)))
        named.append((name, real))
    return tuple(sorted(named))


def digest(path: Path) -> str:
    """The SHA-256 of the file's bytes, in hex.

    Raises: IngestError when it cannot be read.
    """
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise IngestError(
            f"cannot be read: {error.strerror}", where=printable(path.name), cure="Check its permissions."
        ) from error


def log_file(name: str, path: Path) -> LogFile:
    """The LogFile at `path`; its bytes are read once for the digest.

    Raises: IngestError when it is no regular file or cannot be read.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise IngestError("not a regular file", where=printable(name))
    return LogFile(path, name, digest(path))


def _named(path: Path) -> tuple[str, Path]:
    if not path.exists():
        raise IngestError("no such file or folder", where=printable(str(path)), cure="Check the path.")
    return _text(path.name), path


def _below(root: Path) -> Iterator[tuple[str, Path] | Refused]:
    home = root.resolve()
    for folder, subfolders, names in os.walk(root):
        here = Path(folder)
        for name in sorted(subfolders):
            if name.startswith("."):
                yield Refused(_relative(here / name, root), "hidden folder; name it to read it")
            elif (here / name).is_symlink():
                yield Refused(_relative(here / name, root), "link to a folder; name the folder to read it")
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in sorted(names):
            yield _entry(here / name, root, home)


def _entry(path: Path, root: Path, home: Path) -> tuple[str, Path] | Refused:
    name = _relative(path, root)
    if path.name.startswith("."):
        return Refused(name, "hidden file; name it to read it")
    if path.is_symlink():
        if not path.exists():
            return Refused(name, "link to nothing, or to itself")
        if home not in path.resolve().parents:
            return Refused(name, "link that leaves the folder; name its target to read it")
    if not path.is_file():
        return Refused(name, "not a regular file")
    return name, path


def _relative(path: Path, root: Path) -> str:
    return _text(path.relative_to(root).as_posix())


def _text(name: str) -> str:
    """`name` with bytes that are not UTF-8 escaped, so that it can be stored."""
    return name.encode("utf-8", "backslashreplace").decode()
