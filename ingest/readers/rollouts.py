"""What the trainers' rollout logs share: the kept rollout, its prompt's group, its scores as outcomes.

Trainers log neither propensities nor costs; a dump of what entered an update does not say what was dropped.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, Final

import orjson

from ...schemas.columns import REPEATED_CONTEXT
from ..convert import as_real
from ..seam import LogFile, Row

KEEP: Final = {"layer": "training", "decision_point": "keep", "action": "keep", "kept": True}
"""A rollout that entered an update."""
MAX_SCORES: Final = 100
"""Scores of one rollout; more come from a log that turns values into names."""


def update_name(log: LogFile, step: int, *, above: int = 0) -> str:
    """The update `step` of the run in whose folder the file lies, `above` levels up: runs count alike."""
    folders = PurePosixPath(log.name).parents
    folder = folders[min(above, len(folders) - 1)].as_posix()
    return f"step-{step}" if folder == "." else f"{folder}:step-{step}"


def prompt_group(prompt: Any, within: str) -> dict[str, str]:
    """The columns that tie the rollouts of one prompt: the cluster, and the situation within one round.

    Only a fingerprint of the prompt is kept. Empty when there is no prompt.
    """
    if prompt in (None, "", []):
        return {}
    body = prompt if isinstance(prompt, str) else orjson.dumps(prompt, default=str)
    data = body.encode("utf-8", "surrogatepass") if isinstance(body, str) else body
    group = f"prompt-{hashlib.sha256(data).hexdigest()[:16]}"
    return {"session_id": group, REPEATED_CONTEXT: f"{within}:{group}"}


def score_rows(line: int, ids: Mapping[str, str], scores: Mapping[str, Any]) -> list[Row]:
    """One outcome per score that is a number or a flag; texts are contents and NaN is no score.

    Raises: ValueError when there are more than MAX_SCORES.
    """
    known = {name: number for name, raw in scores.items() if (number := score(raw)) is not None}
    if len(known) > MAX_SCORES:
        raise ValueError(f"{len(known)} scores, expected at most {MAX_SCORES}")
    return [
        Row("outcomes", line, {**ids, "name": name, "value": number, "source": "code"})
        for name, number in known.items()
        if name
    ]


def score(raw: Any) -> float | None:
    """`raw` as a number; None for what is none."""
    if isinstance(raw, bool):
        return float(raw)
    if not isinstance(raw, int | float) or (isinstance(raw, float) and not math.isfinite(raw)):
        return None
    return as_real(raw)
