"""What a person sees in a terminal: text from logs made harmless, progress on stderr, results on stdout."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from .reports.escape import visible

ENVELOPE_VERSION: Final = "1"
PLAIN_LINE_EVERY_S: Final = 10.0
"""Seconds between progress lines where there is no terminal, so that CI logs stay short."""
_IN_BYTES: Final = frozenset({"ingest"})
"""Stages whose units are bytes."""
_LEAST_S: Final = 1.0
"""Seconds before a rate is told: an earlier one is chance."""


class Progress(Protocol):
    """What a stage calls as it goes: units done, units in all (0 when unknown), and what is being done."""

    def __call__(self, stage: str, done: int, total: int, what: str) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a verb hands to the door: data for --json, text for people, and the exit code."""

    data: dict[str, Any]
    text: str
    run_id: str | None = None
    status: str = "ok"
    exit_code: int = 0
    warnings: tuple[str, ...] = field(default=())


def envelope(verb: str | None, answer: Answer) -> str:
    """The one JSON line of --json; ASCII only, so nothing in it can move a cursor."""
    body = {
        "schema_version": ENVELOPE_VERSION,
        "verb": verb,
        "run_id": answer.run_id,
        "status": answer.status,
        "data": answer.data,
        "warnings": list(answer.warnings),
    }
    return json.dumps(body, allow_nan=False)


def say(text: str) -> None:
    """Print a result on stdout."""
    sys.stdout.write(_lines(text) + "\n")
    sys.stdout.flush()


def note(text: str) -> None:
    """Print a remark on stderr; a reader that went away is no reason to stop the work."""
    with contextlib.suppress(BrokenPipeError):
        sys.stderr.write(_lines(text) + "\n")
        sys.stderr.flush()


def _lines(text: str) -> str:
    """`text` with nothing but newlines left that could move the cursor."""
    return "\n".join(visible(line) for line in text.split("\n"))


def abandon_stdout() -> None:
    """Send what is left for stdout nowhere, so that the interpreter does not complain about a broken pipe."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


@contextlib.contextmanager
def reporting(*, quiet: bool) -> Generator[Progress | None]:
    """The progress that fits the terminal: a bar, a line now and then, or none with `quiet`."""
    if quiet:
        yield None
    elif sys.stderr.isatty():
        with _bar() as progress:
            yield progress
    else:
        yield _Lines()


class _Lines:
    """A plain line at most every ten seconds: `estimate 3/12 router.model  41 s`."""

    def __init__(self) -> None:
        self._began = self._spoke = time.monotonic()
        self._stages: dict[str, float] = {}

    def __call__(self, stage: str, done: int, total: int, what: str) -> None:
        now = time.monotonic()
        since = self._stages.setdefault(stage, now)
        if now - self._spoke >= PLAIN_LINE_EVERY_S:
            self._spoke = now
            share = _share(stage, done, total)
            told = pace(stage, done, total, now - since) if stage in _IN_BYTES else ""
            words = f"{stage} {share}, {told} " if told else f"{stage} {share}"
            note(f"{words} {visible(what)}  {now - self._began:.0f} s")


@contextlib.contextmanager
def _bar() -> Generator[Progress]:
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[pace]}"),
        TimeElapsedColumn(),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        tasks: dict[str, Any] = {}
        began: dict[str, float] = {}

        def progress(stage: str, done: int, total: int, what: str) -> None:
            now = time.monotonic()
            if stage not in tasks:
                tasks[stage], began[stage] = bar.add_task(stage, total=None, pace=""), now
            label = escape(f"{stage} {visible(what)}")
            told = pace(stage, done, total, now - began[stage])
            bar.update(tasks[stage], description=label, completed=done, total=total or None, pace=told)

        yield progress


def pace(stage: str, done: int, total: int, seconds: float) -> str:
    """How fast `stage` goes since it began, in MB/s where it counts bytes, and the time left at that rate.

    Empty where nothing is done yet, so that no rate is made up.
    """
    if done <= 0 or seconds < _LEAST_S:
        return ""
    parts = [f"{done / seconds / 1e6:.1f} MB/s"] if stage in _IN_BYTES else []
    if total > done:
        parts.append(f"{_clock((total - done) * seconds / done)} left")
    return ", ".join(parts)


def _share(stage: str, done: int, total: int) -> str:
    if stage in _IN_BYTES and total:
        return f"{done / total:.0%} of {total / 1e6:,.1f} MB"
    return f"{done}/{total}" if total else str(done)


def _clock(seconds: float) -> str:
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    hours, rest = divmod(whole, 3600)
    return f"{hours} h {rest // 60:02d} min" if hours else f"{rest // 60} min {rest % 60:02d} s"
