"""Local logs staged on all cores: each core runs a process of its own and is given one log at a time.

The processes are plain ones that read requests from standard input, so that a script or notebook that ingests
is not run a second time in each of them. What they stage does not depend on how many there are.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from .. import errors

MIN_BYTES: Final = 32 * 1024 * 1024
"""Bytes of logs below which starting processes takes longer than they save."""
MAX_PROCESSES: Final = 8
"""Each holds a batch of rows; more of them would wait for the disk."""
_MODULE: Final = f"{__name__.rpartition('.')[0]}.core"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a process says of a log: the bytes read so far, or how it ended.

    staged: name of the folder. refused: why the log was. error: class, found, where, expected and cure of an
    error that ends the run.
    """

    name: str
    heard: int | None = None
    records: int | None = None
    staged: str | None = None
    refused: str | None = None
    error: list[str] | None = None

    @property
    def final(self) -> bool:
        """Whether the log is done."""
        return self.heard is None and self.records is None


def worthwhile(sizes: Sequence[int]) -> int:
    """The number of processes for local logs of these sizes; below 2, one process is as fast."""
    if len(sizes) < 2 or sum(sizes) < MIN_BYTES or not sys.executable:
        return 1
    return min(len(sizes), _cores(), MAX_PROCESSES)


def _cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Crew:
    """Processes that stage logs, told by `spec`; they are gone when the block ends, however it ends."""

    def __init__(self, spec: dict[str, Any], logs: Sequence[tuple[str, Path]], *, processes: int) -> None:
        self._spec = json.dumps(spec).encode() + b"\n"
        self._waiting = list(reversed(logs))
        self._heard: queue.SimpleQueue[tuple[int, bytes]] = queue.SimpleQueue()
        self._members: list[subprocess.Popen[bytes]] = []
        self._processes = processes

    def __enter__(self) -> Crew:
        try:
            for number in range(self._processes):
                self._start(number)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for member in self._members:
            member.kill()
        for member in self._members:
            member.wait()
            for pipe in (member.stdin, member.stdout):
                if pipe is not None:
                    with contextlib.suppress(BrokenPipeError):  # what it was still to be told
                        pipe.close()

    def answers(self) -> Iterator[Answer]:
        """Every answer, as it comes; the last one of each log is final.

        Raises: RuntimeError when a process ends before its work does.
        """
        open_ = sum(self._next(number) for number in range(len(self._members)))
        while open_:
            number, line = self._heard.get()
            if not line:
                raise RuntimeError("a process that reads logs ended before its work did")
            answer = Answer(**json.loads(line))
            yield answer
            if answer.final:
                open_ += self._next(number) - 1

    def _next(self, number: int) -> int:
        """1 when the process was given another log, 0 when there is none."""
        if not self._waiting:
            return 0
        name, path = self._waiting.pop()
        self._tell(number, json.dumps({"name": name, "path": os.fsencode(path).hex()}).encode() + b"\n")
        return 1

    def _tell(self, number: int, line: bytes) -> None:
        pipe = self._members[number].stdin
        assert pipe is not None
        with contextlib.suppress(BrokenPipeError):  # its end of output is heard next, and says so
            pipe.write(line)
            pipe.flush()

    def _start(self, number: int) -> None:
        # -P: a folder of logs is not to be trusted, so nothing is imported from the present one
        command = [sys.executable, "-P", "-m", _MODULE]
        member = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert member.stdout is not None
        self._members.append(member)
        self._tell(number, self._spec)
        threading.Thread(target=self._listen, args=(number, member.stdout), daemon=True).start()

    def _listen(self, number: int, output: IO[bytes]) -> None:
        try:
            for line in output:
                self._heard.put((number, line))
        except ValueError:
            return  # closed by the end of the block
        self._heard.put((number, b""))


def raised(error: list[str]) -> Exception:
    """The error that a process met, to be raised here."""
    name, found, where, expected, cure = error
    known = getattr(errors, name, None)
    if isinstance(known, type) and issubclass(known, errors.ShadowpriceError):
        return known(found, where=where or None, expected=expected or None, cure=cure or None)
    return RuntimeError(f"{name}: {found}")
