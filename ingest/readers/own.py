"""Readers that a user brings: found, checked and guarded, so that their mistakes refuse one file and say why.

They are given by name, never found: no installed package and no configuration file adds one by itself.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from ...errors import ConfigError, IngestError
from ...schemas.config import Config
from ..opening import printable
from ..seam import Ignored, Item, LogFile, Rejected, Row
from .mapping import MappingReader

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_CURE: Final = "See the documentation: writing a reader."


class OwnReader:
    """A user's reader: asked before the built-in ones, and its failures are errors of the file it reads."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader
        self.NAME: str = reader.NAME

    def sniff(self, head: bytes) -> bool:
        """What the user's reader says of the head.

        Raises: IngestError when it fails.
        """
        try:
            return bool(self._reader.sniff(head))
        except Exception as error:
            raise self._failed("sniff", error) from error

    def read(self, log: LogFile, config: Config) -> Iterator[Item]:
        """The items that the user's reader yields.

        Raises: IngestError when it fails, or yields what is no item.
        """
        try:
            for item in self._reader.read(log, config):
                if not isinstance(item, Row | Rejected | Ignored):
                    kind = type(item).__name__
                    raise IngestError(
                        f"the reader '{self.NAME}' yielded {kind}",
                        where=printable(log.name),
                        expected="Row, Rejected or Ignored",
                        cure=_CURE,
                    )
                yield item
        except (IngestError, OSError):
            raise
        except Exception as error:
            raise self._failed("read", error, log.name) from error

    def _failed(self, verb: str, error: Exception, name: str | None = None) -> IngestError:
        """The error that names the line of the user's code; what it says of the log's content stays out."""
        frames = traceback.extract_tb(error.__traceback__)
        place = f"{Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else "unknown place"
        return IngestError(
            f"the reader '{self.NAME}' failed in {verb}: {type(error).__name__} at {place}",
            where=printable(name) if name is not None else None,
            cure="Correct the reader; one bad record is a Rejected with its reason, not an exception.",
        )


def own_readers(given: Iterable[Any], *, taken: Iterable[str]) -> tuple[OwnReader, ...]:
    """The user's readers, checked: each has NAME, sniff and read, and no two formats share a name.

    Raises: ConfigError.
    """
    names = {*taken, MappingReader.NAME}
    found: list[OwnReader] = []
    for reader in given:
        absent = [part for part in ("NAME", "sniff", "read") if not hasattr(reader, part)]
        if absent:
            raise ConfigError(f"a reader without {absent[0]}", where="readers", cure=_CURE)
        name = reader.NAME
        if not isinstance(name, str) or _NAME.fullmatch(name) is None:
            raise ConfigError(
                f"a reader called {name!r}", where="readers", expected="lower-case letters, digits, _ and -"
            )
        if name in names:
            raise ConfigError(
                f"a second format called '{name}'", where="readers", cure="Give the reader another NAME."
            )
        names.add(name)
        found.append(OwnReader(reader))
    return tuple(found)


def load_reader(text: str) -> Any:
    """The reader that `text` names: FILE.py or a module that Python can import, with :NAME an object in it.

    Its code is run. Raises: ConfigError when it cannot be found or imported.
    """
    place, _, name = text.partition(":")
    where = f"--reader {printable(text)}"
    try:
        module = _from_file(Path(place)) if place.endswith(".py") else importlib.import_module(place)
    except Exception as error:
        told = (str(error).splitlines() or [""])[0]
        raise ConfigError(
            f"cannot be imported: {type(error).__name__}: {printable(told)}",
            where=where,
            expected="FILE.py or MODULE, with :NAME when the reader is an object in it",
        ) from error
    if name and not hasattr(module, name):
        raise ConfigError(f"has no '{printable(name)}'", where=where)
    return getattr(module, name) if name else module


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise FileNotFoundError("no such file")
    name = f"shadowprice_reader_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up there
    spec.loader.exec_module(module)
    return module
