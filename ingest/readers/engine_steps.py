"""Log lines of vLLM and SGLang engines (text): steps and load for the table engine_steps, no decisions.

vLLM's `Iteration(...)` lines are one step each (step_s, prefill_tok, decode_seqs); its stats lines and
SGLang's batch lines are load seen in passing (running, waiting, kv_tok). ts is the line's own time: an ISO
date at its beginning, naive text being UTC. vLLM stamps no year, and then ts stays null, as no year is
guessed. Tenants, requests and costs are never here.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from ...schemas.config import Config
from ..convert import as_count, as_real, as_seconds, utc_from_text
from ..seam import Ignored, Item, LogFile, Rejected, Row
from .engine_steps_lines import replica_name, text_lines

NAME: Final = "engine_steps"
_STEP: Final = re.compile(
    r"Iteration\(\d+\): (\d+) context requests, (\d+) context tokens, (\d+) generation requests, "
    r"(\d+) generation tokens, iteration elapsed time: ([\d.]+) ms"
)
_STEP_BEGINS: Final = re.compile(r"Iteration\(\d+\): \d+ context requests")
_STATS: Final = "Avg generation throughput: "
_BATCHES: Final = ("Prefill batch", "Decode batch")
_RUNNING: Final = re.compile(r"(?:\bRunning: |#running-req: )(\d+)")
_WAITING: Final = re.compile(r"(?:\b(?:Waiting|Pending): |#queue-req: )(\d+)")
_USAGE: Final = re.compile(r"\bGPU KV cache usage: ([\d.]+)%")
_SIZE: Final = re.compile(r"\bGPU KV cache size: ([\d,]+) tokens")
_HELD: Final = re.compile(r"#token: (\d+)")
_NEW: Final = re.compile(r"#new-token: (\d+)")
_ENGINE: Final = re.compile(r"\bEngine(?:Core_DP| )(\d{1,6})\b|\bDP(\d{1,6})\b")
_TIME: Final = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:\d\d)?(?= |\]|\t|$)", re.ASCII
)
_TIME_WITHIN: Final = 80
"""Characters in which a line's own time begins; a later one is quoted."""
_DUMMY: Final = " (dummy)"
_SNIFFED_LINES: Final = 400


@dataclass(slots=True)
class _Engine:
    """What earlier lines of an engine said: the tokens that its KV cache holds, and the time of the last."""

    size: int | None = None
    stamp: datetime | None = None
    repeats: int = 0

    def at(self, stamp: datetime | None) -> datetime | None:
        """`stamp`, a microsecond later with each line that repeats it, so that steps keep their order."""
        self.repeats = self.repeats + 1 if stamp == self.stamp else 0
        self.stamp = stamp
        return None if stamp is None else stamp + timedelta(microseconds=self.repeats)


def sniff(head: bytes) -> bool:
    """Whether a line is one of engine load, and the file is no JSON that quotes one."""
    body = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if body[:1] == b"{" or (body[:1] == b"[" and not body[1:2].isdigit()):
        return False  # SGLang's own lines begin with a time in brackets
    lines = body.decode("utf-8", "replace").splitlines()[:_SNIFFED_LINES]
    return any(_STEP_BEGINS.search(line) or _is_load(line) for line in lines)


def read(log: LogFile, config: Config) -> Iterator[Item]:
    """One row per step or report of load; other lines are Ignored.

    Raises: IngestError when the file cannot be opened.
    """
    del config
    engines: dict[str, _Engine] = defaultdict(_Engine)
    for numbered in text_lines(log):
        if isinstance(numbered, Rejected):
            yield numbered
            continue
        number, line = numbered
        try:
            yield _item(number, line, log, engines)
        except ValueError as error:
            yield Rejected(number, str(error))


def _is_load(line: str) -> bool:
    reports = _STATS in line or any(batch in line for batch in _BATCHES)
    return reports and _RUNNING.search(line) is not None


def _item(number: int, line: str, log: LogFile, engines: dict[str, _Engine]) -> Item:
    is_step = _STEP_BEGINS.search(line) is not None
    size = None if is_step else _SIZE.search(line)
    if not is_step and size is None and not _is_load(line):
        return Ignored(number, "other log line")
    told = _ENGINE.search(line)
    replica = replica_name(log, (told[1] or told[2]) if told else "")
    engine = engines[replica]
    if size is not None:
        engine.size = as_count(size[1].replace(",", ""), "GPU KV cache size") or None
        return Ignored(number, "size of the KV cache")
    if not is_step:
        values = {"replica": replica, "ts": engine.at(_time(line)), **_load(line)}
        return Row("engine_steps", number, {**values, **_held(line, engine.size)})
    return _step(number, line, replica, engine)


def _step(number: int, line: str, replica: str, engine: _Engine) -> Item:
    if line.rstrip().endswith(_DUMMY):
        return Ignored(number, "dummy iteration")
    told = _STEP.search(line)
    if told is None:
        raise ValueError("an iteration line that is cut or of an unknown layout")
    context, prefill, decode, _, spent = told.groups()
    if context == decode == "0":
        return Ignored(number, "empty iteration")
    values = {
        "replica": replica,
        "ts": engine.at(_time(line)),
        "step_s": as_seconds(spent, "ms"),
        "prefill_tok": as_count(prefill, "context tokens"),
        "decode_seqs": as_count(decode, "generation requests"),
        **_held(line, engine.size),
    }
    return Row("engine_steps", number, values)


def _load(line: str) -> dict[str, Any]:
    """Requests by label: others may stand between, and labels are missing in some versions."""
    labels = {"running": _RUNNING, "waiting": _WAITING, "prefill_tok": _NEW}
    found = {name: label.search(line) for name, label in labels.items()}
    return {name: as_count(hit[1], name) for name, hit in found.items() if hit is not None}


def _held(line: str, size: int | None) -> dict[str, int | None]:
    """Tokens in the KV cache: counted, or the share in use of the size that the engine told at its start."""
    told, usage = _HELD.search(line), _USAGE.search(line)
    if told is not None:
        return {"kv_tok": as_count(told[1], "#token")}
    if usage is None or size is None:
        return {}
    share = as_real(usage[1], "GPU KV cache usage")
    return {} if share is None else {"kv_tok": round(size * share / 100)}


def _time(line: str) -> datetime | None:
    found = _TIME.search(line, 0, _TIME_WITHIN + 40)
    if found is None or found.start() > _TIME_WITHIN:
        return None
    return utc_from_text(found[0].replace(",", "."))
