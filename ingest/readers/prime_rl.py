"""prime-rl episodes (`rollouts/step_N/{train,eval}/{all,effective}/traces.jsonl`): traces kept or dropped.

The one trainer's log that tells the decision. Update and subset are the file's place, not its content:
`effective` of step N is what entered update N; what `all` of step N has beyond it did not (it may enter a
later one, which is a decision of its own). Fills versions, lag, reward, kept, update_id, tokens (cache reads
come on top) and outcomes; has no propensities, advantages, costs of training, queues or tenants.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from ...errors import IngestError
from ...schemas.config import Config
from ..lines import json_records, printable
from ..seam import Ignored, Item, LogFile, Rejected
from .peek import top_keys
from .prime_rl_rows import Window, episode_rows, list_of, text

NAME: Final = "prime_rl"
_FIELDS: Final = frozenset({"id", "env", "task", "traces"})
_PLACE: Final = re.compile(r"(?:^|/)step_(\d{1,15})/(train|eval)/(all|effective)/[^/]+$")
MAX_KEPT: Final = 2_000_000
"""Traces of one update whose ids are held to tell the dropped ones apart."""


@dataclass(frozen=True, slots=True)
class _Place:
    step: int
    kind: str
    subset: str


def sniff(head: bytes) -> bool:
    """Whether records are episodes of verifiers as prime-rl stores them."""
    return any(keys >= _FIELDS and keys & {"run", "group"} for keys in top_keys(head))


def read(log: LogFile, config: Config) -> Iterator[Item]:
    """A kept rollout per trace of `effective`, a dropped one per trace that only `all` has.

    Raises: IngestError when the file's place does not tell the step, or the step is not finished.
    """
    del config
    place = _place(log)
    kept = _kept(log) if place.kind == "train" and place.subset == "all" else None
    window = Window(step=place.step, kept=kept)
    for record in json_records(log):
        if isinstance(record, Rejected):
            yield record
            continue
        line, episode = record
        if place.kind == "eval":
            yield Ignored(line, "evaluation episode")
            continue
        try:
            yield from episode_rows(line, episode, window)
        except ValueError as error:
            yield Rejected(line, str(error))


def _place(log: LogFile) -> _Place:
    found = _PLACE.search(log.name)
    if found is None:
        raise IngestError(
            "the file's place does not tell which update this is and whether the rollouts were kept",
            where=printable(log.name),
            expected="a path like step_3/train/effective/traces.jsonl",
            cure="Give the folder that holds the step_N folders, not the file itself.",
        )
    return _Place(int(found[1]), found[2], found[3])


def _kept(log: LogFile) -> frozenset[str]:
    """The ids of the traces that entered the update, from the file beside this one.

    That file is written at once when a step ends; until then nothing of the step is decided.
    """
    beside = log.path.parent.parent / "effective" / log.path.name
    if not beside.is_file() or beside.is_symlink() or beside.parent.is_symlink():
        raise IngestError(
            "the step is not finished: there is no effective/ file beside this one",
            where=printable(log.name),
            cure="Ingest again when the step has ended.",
        )
    found: set[str] = set()
    for record in json_records(LogFile(beside, beside.name, "")):
        if isinstance(record, Rejected):
            continue  # it is quarantined where the file itself is read
        found.update(_trace_ids(record[1]))
        if len(found) > MAX_KEPT:
            raise IngestError(f"more than {MAX_KEPT} traces in one update", where=printable(log.name))
    return frozenset(found)


def _trace_ids(episode: dict[str, Any]) -> Iterator[str]:
    try:
        for trace in list_of(episode.get("traces"), "traces"):
            told = text(trace, "id")
            if told is not None:
                yield told
    except ValueError:
        return  # the same: the file itself says why
