"""AReaL rollout dump (JSON Lines, one file a task): rollouts as they ended, before they were accepted.

Fills version_behaviour (tail_version), reward and tok_output. Whether a rollout was kept, the version that
was trained, the lag and times are never logged, so the action is 'unlogged'.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from ...schemas.config import Config
from ..convert import as_count, as_real, missing
from ..each import each_record
from ..seam import Item, LogFile, Row
from .peek import top_keys
from .rollouts import prompt_group

NAME: Final = "areal"
SPLITS: Final = True
"""See seam.SplittingReader."""
_FIELDS: Final = frozenset({"task_id", "seqlen", "prompt_len", "head_version", "tail_version", "reward"})
_NO_VERSION: Final = -1
"""What AReaL writes for tokens that no policy wrote, such as the prompt's."""


def sniff(head: bytes) -> bool:
    """Whether records have the versions of AReaL's trajectories."""
    return any(keys >= _FIELDS for keys in top_keys(head))


def read(log: LogFile, config: Config) -> Iterator[Item]:
    """One rollout per record."""
    del config
    return each_record(log, lambda line, fields: [_row(line, fields, log)], required=_FIELDS)


def _row(line: int, fields: dict[str, Any], log: LogFile) -> Row:
    length, prompt = as_count(fields["seqlen"], "seqlen"), as_count(fields["prompt_len"], "prompt_len")
    if length is not None and prompt is not None and prompt > length:
        raise ValueError(f"prompt_len {prompt} is more than seqlen {length}")
    task = missing(fields["task_id"])
    if task is None:
        raise ValueError("no field task_id")
    head, own = _version(fields, "head_version"), f"{log.digest[:16]}:{line}"
    values = {
        **(prompt_group(fields.get("prompt"), f"task-{task}") or {"session_id": f"task-{task}"}),
        "decision_id": own,
        "request_id": own,
        "layer": "training",
        "decision_point": "keep",
        "action": "unlogged",
        "version_behaviour": _version(fields, "tail_version"),
        "reward": as_real(fields["reward"], "reward"),
        "tok_output": None if length is None or prompt is None else length - prompt,
        "x_prompt_tokens": prompt,
        # -1 whenever there is a prompt: no version, and not the oldest policy
        "x_head_version": None if head is None else int(head),
    }
    return Row("decisions", line, values)


def _version(fields: dict[str, Any], name: str) -> str | None:
    raw = fields[name]
    if raw == _NO_VERSION:
        return None
    number = as_count(raw, name)
    return None if number is None else str(number)
