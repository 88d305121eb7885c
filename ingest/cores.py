"""Local logs staged on all cores: each core runs a process that is given one log or stretch at a time.

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
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from itertools import chain
from pathlib import Path
from typing import IO, Any, Final

from .. import errors
from .seam import LogFile, Stretch
from .stitching import CutLog

MIN_BYTES: Final = 32 * 1024 * 1024
"""Bytes of logs below which starting processes takes longer than they save."""
MAX_PROCESSES: Final = 8
"""Each holds a batch of rows; more of them would wait for the disk."""
_MODULE: Final = f"{__name__.rpartition('.')[0]}.core"


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A log for a process to stage: all of it, or one stretch of a log that is cut.

    whole: it is not to be cut.
    """

    name: str
    path: Path
    whole: bool = False
    cut: CutLog | None = None
    stretch: Stretch | None = None

    def to_line(self) -> bytes:
        """The task as a line of JSON."""
        told: dict[str, Any] = {"name": self.name, "path": os.fsencode(self.path).hex(), "whole": self.whole}
        if self.cut is not None and self.stretch is not None:
            told["cut"] = {
                "digest": self.cut.log.digest,
                "folder": self.cut.folder.name,
                "status": self.cut.status,
                "stretch": astuple(self.stretch),
            }
        return json.dumps(told).encode() + b"\n"

    @classmethod
    def of_line(cls, line: bytes, *, staging: Path) -> Task:
        """The task that `to_line` tells, for logs that are staged in `staging`."""
        told = json.loads(line)
        path, cut = Path(os.fsdecode(bytes.fromhex(told["path"]))), told.get("cut")
        if cut is None:
            return cls(name=told["name"], path=path, whole=told["whole"])
        stretch, status = Stretch(*cut["stretch"]), tuple(cut["status"])
        log = LogFile(path, told["name"], cut["digest"], status[2])
        found = CutLog(log=log, stretches=(stretch,), folder=staging / cut["folder"], status=status)
        return cls(name=told["name"], path=path, cut=found, stretch=stretch)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a process says of a log or stretch: the bytes read so far, or how it ended.

    start: where the stretch begins, None for a log. staged: name of the log's folder. refused: why the log
    was. entangled: it must be read whole. error: class, found, where, expected and cure of an error that ends
    the run.
    """

    name: str
    start: int | None = None
    heard: int | None = None
    records: int | None = None
    staged: str | None = None
    refused: str | None = None
    entangled: bool = False
    error: list[str] | None = None

    @property
    def final(self) -> bool:
        """Whether the log is done."""
        return self.heard is None and self.records is None


def worthwhile(tasks: int, size: int) -> int:
    """The number of processes for logs and stretches of `size` bytes in all; below 2, one is as fast."""
    if size < MIN_BYTES or not sys.executable:
        return 1
    return min(tasks, _cores(), MAX_PROCESSES)


def _cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Crew:
    """Processes that stage logs, told by `spec`; they are gone when the block ends, however it ends."""

    def __init__(self, spec: dict[str, Any], tasks: Iterator[Task], *, processes: int) -> None:
        self._spec = json.dumps(spec).encode() + b"\n"
        self._tasks = tasks
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

    def add(self, tasks: Iterator[Task]) -> None:
        """More to do, before what is still waiting."""
        self._tasks = chain(tasks, self._tasks)

    def answers(self) -> Iterator[Answer]:
        """Every answer, as it comes; the last one of each log or stretch is final.

        Raises: RuntimeError when a process ends before its work does.
        """
        idle = set(range(len(self._members)))
        while True:
            while idle and (task := next(self._tasks, None)) is not None:
                self._tell(idle.pop(), task.to_line())
            if len(idle) == len(self._members):
                return
            number, line = self._heard.get()
            if not line:
                raise RuntimeError("a process that reads logs ended before its work did")
            answer = Answer(**json.loads(line))
            yield answer
            if answer.final:
                idle.add(number)

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
