"""How a command ends: the exit codes, the answer to each kind of error, and the gate of --fail-on."""

from __future__ import annotations

import os
import tempfile
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import typer

from .errors import ConfigError, ShadowpriceError
from .terminal import Answer

if TYPE_CHECKING:
    from .schemas.records import Finding

OK: Final = 0
FINDINGS: Final = 1
USAGE: Final = 2
UNSUPPORTED: Final = 3
INTERNAL: Final = 4
INTERRUPTED: Final = 130
BROKEN_PIPE: Final = 141
"""130 and 141 are the shell's convention: 128 plus the number of SIGINT and SIGPIPE."""

_GRADES: Final = "ABCDN"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """The findings that make a command end with 1: at least `usd` dollars, or of `grade` or better."""

    usd: float | None = None
    grade: str | None = None

    def closes(self, findings: Sequence[Finding]) -> bool:
        """Whether any established finding is at or above the gate."""
        found = [f for f in findings if f.status == "found"]
        by_usd = self.usd is not None and any((f.usd or 0.0) >= self.usd for f in found)
        by_grade = self.grade is not None and any(f.grade <= self.grade for f in found)
        return by_usd or by_grade


def parse_gate(text: str) -> Gate:
    """The gate that --fail-on states.

    Raises: ConfigError for anything but 'none', 'usd=NUMBER' and 'grade=A' to 'grade=D'.
    """
    key, _, value = text.partition("=")
    if text == "none":
        return Gate()
    if key == "grade" and len(value) == 1 and value in _GRADES[:-1]:
        return Gate(grade=value)
    if key == "usd" and value.replace(".", "", 1).isdecimal():
        return Gate(usd=float(value))
    raise ConfigError(f"{text!r}", where="--fail-on", expected="none, usd=500 or grade=B")


def answer_to(error: BaseException) -> Answer:
    """The answer, for people and for --json, to a command that did not end well."""
    if isinstance(error, typer.TyperException):
        return _failure("UsageError", _usage(error), USAGE)
    if isinstance(error, ShadowpriceError):
        facts = {"found": error.found, "where": error.where, "expected": error.expected, "cure": error.cure}
        return _failure(type(error).__name__, str(error), error.exit_code, **facts)
    if isinstance(error, OSError):
        place = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        return _failure(type(error).__name__, f"{place}{error.strerror or type(error).__name__}", USAGE)
    if isinstance(error, KeyboardInterrupt):
        return interrupted()
    path = _write_traceback(error)
    message = f"{type(error).__name__}; the traceback, without log content, is in {path}"
    return _failure("InternalError", message, INTERNAL, traceback=path)


def interrupted() -> Answer:
    """The answer to Ctrl-C."""
    return _failure("Interrupted", "run the same command again to finish", INTERRUPTED)


def _failure(kind: str, message: str, code: int, **facts: str | None) -> Answer:
    status = {INTERRUPTED: "interrupted", UNSUPPORTED: "unsupported"}.get(code, "error")
    data: dict[str, Any] = {"error": {"type": kind, "message": message, **facts}}
    return Answer(data=data, text=f"{kind}: {message}", status=status, exit_code=code)


def _usage(error: typer.TyperException) -> str:
    options = getattr(error, "possibilities", None)
    if options:
        return f"{error.message}. Did you mean {' or '.join(sorted(options))}?"
    return error.format_message()


def _write_traceback(error: BaseException) -> str:
    """The path of a file with the frames and exception types; messages may quote a log and stay out."""
    lines: list[str] = []
    link: BaseException | None = error
    while link is not None:
        frames = traceback.extract_tb(link.__traceback__)
        lines += [f"{type(link).__module__}.{type(link).__qualname__}"]
        lines += [f"  {frame.filename}:{frame.lineno} in {frame.name}" for frame in frames]
        link = link.__cause__ or link.__context__
    handle, path = tempfile.mkstemp(prefix="shadowprice-traceback-", suffix=".txt")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")
    return path
