"""One of several processes that stage local logs: `python -m shadowprice.ingest.core`, started by `cores`.

The first line of standard input says how logs are read, each further one names a log or a stretch of one;
every answer is a line of JSON on standard output. When standard input ends, because whoever started it is
gone, it ends at once.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
import time
import traceback
from typing import IO, Any, Final

from ..errors import IngestError, ShadowpriceError
from .cores import Task
from .garbage import rare_collections
from .intake import Intake
from .meter import Meter
from .seam import EntangledError

_EVERY_S: Final = 0.2
"""Progress more often than this is for nobody."""


def main() -> None:
    """Stage logs until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started this one
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever else prints goes to standard error
    intake = Intake.of_spec(json.loads(sys.stdin.buffer.readline()))
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(sys.stdin.buffer, requests), daemon=True).start()
    with rare_collections():
        while True:
            task = Task.of_line(requests.get(), staging=intake.staging)
            _say(answers, task, **_staged(intake, task, answers))


def _listen(given: IO[bytes], requests: queue.SimpleQueue[bytes]) -> None:
    for line in given:
        requests.put(line)
    os._exit(0)


def _staged(intake: Intake, task: Task, answers: IO[bytes]) -> dict[str, Any]:
    """How the log or stretch ended."""
    last = 0.0

    def tell(position: int, _total: int, _label: str) -> None:
        nonlocal last
        if time.monotonic() - last >= _EVERY_S:
            last = time.monotonic()
            _say(answers, task, heard=position, records=meter.counted())

    meter = Meter(tell=tell, total=sys.maxsize, label=task.name)
    try:
        if task.cut is None or task.stretch is None:
            found = intake.stage_local(task.name, task.path, meter=meter, whole=task.whole)
            return {"staged": found.folder.name}
        intake.stage_stretch(task.cut, task.stretch, heard=meter.heard, on_batch=meter.count)
        return {"staged": task.cut.folder.name}
    except EntangledError:
        return {"entangled": True}
    except IngestError as error:
        return {"refused": str(error)}
    except ShadowpriceError as error:
        told = (error.found, error.where, error.expected, error.cure)
        return {"error": [type(error).__name__, *(text or "" for text in told)]}
    except Exception as error:  # noqa: BLE001  a mistake of ours, told where it can be heard
        frames = "".join(traceback.format_tb(error.__traceback__))  # the message might quote the log
        return {"error": [type(error).__name__, f"in a process that reads logs\n{frames}", "", "", ""]}


def _say(answers: IO[bytes], task: Task, **told: Any) -> None:
    start = None if task.stretch is None else task.stretch.start
    answers.write(json.dumps({"name": task.name, "start": start, **told}).encode() + b"\n")
    answers.flush()


if __name__ == "__main__":
    main()
