"""TRL completions (`completions_*.parquet`): what GRPO generated in a step and trained on, with its rewards.

Fills advantage, update_id, one outcome per reward function, and reward where there is only one: their
weights are not logged. Versions, ids, tokens and times never are; stale drops leave no trace, so selection is
invisible.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from ...schemas.config import Config
from ..columnar import parquet_records
from ..convert import as_count
from ..lines import read_head
from ..opening import PARQUET_MAGIC
from ..seam import Item, LogFile, Rejected, Row
from .peek import top_keys
from .rollouts import KEEP, prompt_group, score, score_rows, update_name

NAME: Final = "trl"
_FIELDS: Final = frozenset({"step", "prompt", "completion", "advantage"})
_UNREAD: Final = "completion"
_HIDDEN: Final = "__"
"""How pandas begins the name of an index that it wrote as a column."""


def sniff(head: bytes) -> bool:
    """Whether it is Parquet with the columns of TRL's table of completions."""
    return head.startswith(PARQUET_MAGIC) and any(keys >= _FIELDS for keys in top_keys(head))


def read(log: LogFile, config: Config) -> Iterator[Item]:
    """One kept rollout per row, and an outcome per reward; the completions themselves are not read.

    Raises: IngestError when the file is not readable as Parquet.
    """
    del config
    names = frozenset[str]().union(*top_keys(read_head(log.path)))
    for record in parquet_records(log, columns=names - {_UNREAD}):
        if isinstance(record, Rejected):
            yield record
            continue
        number, fields = record
        try:
            yield from _rows(number, fields, log)
        except ValueError as error:
            yield Rejected(number, str(error))


def _rows(number: int, fields: dict[str, Any], log: LogFile) -> list[Row]:
    step = as_count(fields.get("step"), "step")
    if step is None:
        raise ValueError("step is null, expected the number of the update")
    own = f"{log.digest[:16]}:{number}"
    rewards = {
        name: raw for name, raw in fields.items() if name not in _FIELDS and not name.startswith(_HIDDEN)
    }
    scores = score_rows(number, {"decision_id": own}, rewards)
    values = {
        **KEEP,
        **prompt_group(fields.get("prompt"), f"step-{step}"),
        "decision_id": own,
        "request_id": own,
        "reward": scores[0].values["value"] if len(rewards) == len(scores) == 1 else None,
        "advantage": score(fields.get("advantage")),
        "update_id": update_name(log, step),
    }
    return [Row("decisions", number, values), *scores]
