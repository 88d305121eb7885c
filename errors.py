"""The exception tree: bad input says what was found, where, what was expected and what to do.

ShadowpriceError
 |- ConfigError    configuration or usage: unknown key, bad unit, unreadable path     (exit 2)
 |- SchemaError    a table or store that does not match the shared schema             (exit 2)
 |- IngestError    a log that cannot be read at all; bad rows are quarantined instead (exit 2)
 |- OverlapError   the caller demanded an estimate that the data cannot support       (exit 3)
 |- PriceError     a price that is missing or has another unit                        (exit 2)
 |- ExportError    an artefact that cannot be written                                 (exit 2)
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ShadowpriceError(Exception):
    """The root of every error that shadowprice raises on purpose."""

    exit_code = 2

    def __init__(
        self,
        found: str,
        *,
        where: str | None = None,
        expected: str | None = None,
        cure: str | None = None,
    ) -> None:
        self.found, self.where, self.expected, self.cure = found, where, expected, cure
        head = f"{where}: {found}" if where else found
        tail = [f"Expected {expected}." if expected else "", cure or ""]
        super().__init__(" ".join([head.rstrip(".") + ".", *filter(None, tail)]))


class ConfigError(ShadowpriceError):
    """Configuration or usage that cannot be followed."""

    @classmethod
    def unknown_key(cls, key: str, *, where: str, known: Iterable[str]) -> ConfigError:
        """The error for a key that no one reads, with the nearest known key as the cure."""
        names = sorted(known)
        close = difflib.get_close_matches(key, names, n=1)
        cure = f"Did you mean '{close[0]}'?" if close else f"Known keys: {', '.join(names)}."
        return cls(f"unknown key '{key}'", where=where, cure=cure)


class SchemaError(ShadowpriceError):
    """A table or store that does not match the shared schema."""


class IngestError(ShadowpriceError):
    """A log that cannot be read at all."""


class OverlapError(ShadowpriceError):
    """The data cannot support the estimate that the caller demanded."""

    exit_code = 3


class PriceError(ShadowpriceError):
    """A price that is missing or has another unit."""


class ExportError(ShadowpriceError):
    """An artefact that cannot be written."""
