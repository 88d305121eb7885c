"""Pseudonyms for ids: a keyed hash, so that equal ids stay equal and links hold, and only the key leads back.

One domain for all id columns, because linking compares them with each other. The key is never written.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import polars as pl

from ..errors import ConfigError
from .opening import printable

ID_COLUMNS: Final = (
    *("decision_id", "request_id", "parent_id", "session_id", "tenant_id", "source_request_id"),
)
"""What names a person, a customer, a conversation or a request; in every table that has it.

File names and x_* columns stay: the ones lead back to a row, the others are what a choice is explained by.
"""
MIN_KEY_BYTES: Final = 32
"""As many as the hash has: a shorter key, or a password, can be guessed from one known id."""
_MAX_KEY_BYTES: Final = 4096
_MIN_KINDS: Final = 8
"""Different bytes in a key; 32 random hexadecimal digits have about 14."""
_PSEUDONYM_DIGITS: Final = 32
"""Hexadecimal digits, 128 bits: two of 10^12 ids share one with odds of one in 10^14."""
_MARK: Final = "p-"
_QUOTED: Final = re.compile(r"'(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"")


@dataclass(frozen=True, slots=True)
class Pseudonyms:
    """The keyed hash of one key."""

    _key: bytes = field(repr=False)

    @property
    def key_id(self) -> str:
        """A name for the key, which says whether two stores can be compared and does not lead back to it."""
        return self._hash("shadowprice pseudonym key")[:16]

    def of(self, text: str) -> str:
        """The pseudonym of one id."""
        return _MARK + self._hash(f"id:{text}")[:_PSEUDONYM_DIGITS]

    def applied(self, values: dict[str, Any]) -> dict[str, Any] | str:
        """`values` with pseudonyms for ids, or why not: an id that is no text, without repeating it."""
        hidden: dict[str, Any] = {}
        for name in ID_COLUMNS:
            value = values.get(name)
            if value is None or value == "":
                continue
            if not isinstance(value, str):
                return f"{name} is {type(value).__name__}, expected text"
            hidden[name] = self.of(value)
        return {**values, **hidden}

    def applied_to(self, frame: pl.DataFrame) -> pl.DataFrame:
        """`frame`, in which ids are text, with pseudonyms for them."""
        hidden = [
            pl.Series(
                name, [None if text is None else self.of(text) for text in frame[name].to_list()], pl.String()
            )
            for name in ID_COLUMNS
            if name in frame.columns
        ]
        return frame.with_columns(hidden)

    def to_hex(self) -> str:
        """The key itself, for another process of the same run; never for a file or a message."""
        return self._key.hex()

    @classmethod
    def of_hex(cls, key: str) -> Pseudonyms:
        """The pseudonyms of a key that `to_hex` told."""
        return cls(bytes.fromhex(key))

    def _hash(self, text: str) -> str:
        return hmac.new(self._key, text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


def without_quotes(reason: str) -> str:
    """The reason without the values that it quotes from the log: one of them may be an id."""
    return _QUOTED.sub("'…'", reason)


def read_key(path: str | Path) -> Pseudonyms:
    """The pseudonyms of the key in the file at `path`: its bytes, without white space at the ends.

    Raises: ConfigError when it cannot be read or is too short or too plain to be a random key; the message
    does not repeat it.
    """
    where = printable(str(path))
    cure = "Make one with: openssl rand -hex 32 > KEYFILE; and keep it: without it no log can be added."
    try:
        with Path(path).open("rb") as file:
            key = file.read(_MAX_KEY_BYTES + 1).strip()
    except OSError as error:
        raise ConfigError(error.strerror or "cannot be read", where=where, cure=cure) from error
    if len(key) < MIN_KEY_BYTES or len(set(key)) < _MIN_KINDS or len(key) > _MAX_KEY_BYTES:
        expected = f"{MIN_KEY_BYTES} to {_MAX_KEY_BYTES} random bytes"
        raise ConfigError(f"no random key ({len(key)} bytes)", where=where, expected=expected, cure=cure)
    return Pseudonyms(key)
