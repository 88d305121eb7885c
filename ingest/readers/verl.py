"""verl rollout dump (JSON Lines, one file a step): rollouts that entered the update of their step.

Fills reward, update_id, request_id and outcomes; has no versions, tokens, times, costs or dropped rollouts.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from ...schemas.config import Config
from ..convert import as_count, as_real, missing
from ..each import each_record
from ..seam import Item, LogFile, Row
from .peek import top_keys
from .rollouts import KEEP, prompt_group, score_rows, update_name

NAME: Final = "verl"
SPLITS: Final = True
"""See seam.SplittingReader."""
_FIELDS: Final = frozenset({"input", "output", "gts", "score", "step"})
_IDS: Final = ("request_id", "uid")
"""The id of the rollout; `uid`, in the v1 layout, counts anew in every step."""


def sniff(head: bytes) -> bool:
    """Whether records have what verl dumps of every rollout."""
    return any(keys >= _FIELDS for keys in top_keys(head))


def read(log: LogFile, config: Config) -> Iterator[Item]:
    """One kept rollout per record, and an outcome for each extra score of the reward function."""
    del config
    return each_record(log, lambda line, fields: _rows(line, fields, log), required=_FIELDS)


def _rows(line: int, fields: dict[str, Any], log: LogFile) -> list[Row]:
    step = as_count(fields["step"], "step")
    if step is None:
        raise ValueError("step is null, expected the number of the update")
    own = f"{log.digest[:16]}:{line}"
    update, uid = update_name(log, step), missing(fields.get("uid"))
    told = missing(fields.get("request_id")) or (own if uid is None else f"{update}:{uid}")
    values = {
        **KEEP,
        **prompt_group(fields["input"], f"step-{step}"),
        "decision_id": own,
        "request_id": told,
        "reward": as_real(fields["score"], "score"),
        "update_id": update,
    }
    extras = {name: raw for name, raw in fields.items() if name not in _FIELDS and name not in _IDS}
    return [Row("decisions", line, values), *score_rows(line, {"decision_id": own}, extras)]
