"""Input files: which ones the given paths, patterns and URLs mean, in a fixed order, and which are refused.

Folders are walked; hidden entries, links that leave the folder and everything that is no regular file are
recorded, never followed.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import IngestError
from ..schemas.files import LOCK
from ..schemas.store import MANIFEST, QUARANTINE
from .elsewhere import STDIN, Elsewhere, StandardInput, is_url, stored_objects
from .opening import printable
from .patterns import has_wildcard, matcher

Place = Path | Elsewhere


@dataclass(frozen=True, slots=True)
class Refused:
    """An input that was not read, and the error that says why."""

    name: str
    error: str


@dataclass(frozen=True, slots=True)
class Inputs:
    """The logs to read, as (name, place) in the order of their names, and what was refused on the way."""

    files: tuple[tuple[str, Place], ...]
    refused: tuple[Refused, ...]


_Found = Iterator[tuple[str, Place] | Refused]


def find_inputs(paths: Iterable[str | Path], *, skip: Iterable[Path] = ()) -> Inputs:
    """The logs that `paths` mean: files by themselves, folders with everything below, without `skip`.

    A pattern (`*`, `?`, `[...]`, `**` for any depth) means what matches it; `-` is standard input; a URL of
    an object store means the object, or everything below it. A name is the path below the given folder or
    the pattern's fixed beginning, or the file's own name; files that would share one are named by their
    path below the folder that holds everything given.

    Raises: IngestError when a path does not exist or nothing at all is found; ConfigError for a URL that
    cannot be followed.
    """
    skipped = {path.resolve() for path in skip}
    files: dict[Place, tuple[str, Place]] = {}
    refused: set[Refused] = set()
    given = [str(path) for path in paths]
    for text in given:
        for item in _meant(text):
            if isinstance(item, Refused):
                refused.add(item)
                continue
            name, place = item
            real = place.resolve() if isinstance(place, Path) else place
            if isinstance(real, Path) and any(real == s or s in real.parents for s in skipped):
                continue
            files.setdefault(real, (name, place))
    if not files and not refused:
        raise IngestError(
            "no files",
            where=", ".join(map(printable, given)) or "the given paths",
            expected="at least one log file",
            cure="Check the path.",
        )
    local = [Path(text) for text in given if text != STDIN and not is_url(text)]
    return Inputs(_distinct(files, local), tuple(sorted(refused, key=lambda item: (item.name, item.error))))


def _meant(text: str) -> _Found:
    if text == STDIN:
        return iter([("stdin", StandardInput())])
    if is_url(text):
        return _stored(text)
    path = Path(text)
    if path.is_dir():
        return _below(path)
    if not os.path.lexists(path) and has_wildcard(text):
        return _matching(path)
    return iter([_named(path)])


def _matching(pattern: Path) -> _Found:
    """Everything below the pattern's fixed beginning that matches, found as in a folder that was given."""
    fixed = next(n for n, part in enumerate(pattern.parts) if has_wildcard(part))
    root = Path(*pattern.parts[:fixed])
    matches = matcher("/".join(pattern.parts[fixed:]))
    found = False
    for item in _below(root) if root.is_dir() else ():
        if matches(item.name if isinstance(item, Refused) else item[0]):
            found = True
            yield item
    if not found:
        raise IngestError("no file matches", where=printable(str(pattern)), cure="Check the pattern.")


def _stored(url: str) -> _Found:
    """The objects that a URL means; keys with hidden parts are recorded, as in a folder."""
    beginning, objects = stored_objects(url)
    pattern = url.rstrip("/").removeprefix(beginning).lstrip("/")
    matches = matcher(pattern) if pattern else None
    found = False
    for key, place in objects:
        if matches is not None and not matches(key):
            continue
        found = True
        hidden = any(part.startswith(".") for part in key.split("/")) and len(objects) > 1
        yield Refused(_text(key), "hidden object; name it to read it") if hidden else (_text(key), place)
    if not found:
        raise IngestError("no object there", where=printable(url), cure="Check the bucket and the prefix.")


def _distinct(files: dict[Place, tuple[str, Place]], given: list[Path]) -> tuple[tuple[str, Place], ...]:
    """The logs in the order of their names, no name twice: a row's provenance must lead to one of them."""
    count = Counter(name for name, _ in files.values())
    places = [(path if path.is_dir() else _holder(path)).absolute() for path in given]
    named: list[tuple[str, Place]] = []
    for real, (name, place) in files.items():
        if count[name] > 1:
            name = (
                _relative(place.absolute(), Path(os.path.commonpath(places)))
                if isinstance(place, Path)
                else _text(place.whole_name)
            )
        named.append((name, real))
    return tuple(sorted(named, key=lambda item: item[0]))


def _holder(path: Path) -> Path:
    """The nearest folder above `path` that is there: of a pattern, where its fixed beginning ends."""
    return next(folder for folder in path.absolute().parents if folder.is_dir())


def _named(path: Path) -> tuple[str, Path]:
    if not path.exists():
        raise IngestError("no such file or folder", where=printable(str(path)), cure="Check the path.")
    return _text(path.name), path


def _below(root: Path) -> _Found:
    home = root.resolve()
    for folder, subfolders, names in os.walk(root):
        here = Path(folder)
        for name in sorted(subfolders):
            if name.startswith("."):
                yield Refused(_relative(here / name, root), "hidden folder; name it to read it")
            elif (here / name).is_symlink():
                yield Refused(_relative(here / name, root), "link to a folder; name the folder to read it")
        subfolders[:] = sorted(n for n in subfolders if not n.startswith(".") and not _is_run(here / n))
        for name in sorted({*names} - {LOCK}):
            yield _entry(here / name, root, home)


def _is_run(folder: Path) -> bool:
    """Whether `folder` is a store or holds one: what came out of logs is no log, wherever it lies."""
    return (folder / "store" / MANIFEST).is_file() or all(
        (folder / name).is_file() for name in (MANIFEST, QUARANTINE)
    )


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
