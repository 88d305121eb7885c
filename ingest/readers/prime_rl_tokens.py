"""prime-rl token exports (`token_exports/step_N/rank_R.jsonl`): what each update did with its sequences.

The arrays per token stay out; their summary is x_*: how far the trained policy has moved from the one that
wrote the tokens, and the share masked for it. No key ties a sequence to its rollout, so these are decisions
`update`, not the `keep` of the traces once more; rewards, behaviour versions, ids and times are never here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Final, cast

from ...errors import IngestError
from ...schemas.config import Config
from ..convert import as_count, missing
from ..lines import json_records, printable
from ..seam import Item, LogFile, Rejected, Row
from .peek import top_keys
from .rollouts import score, update_name

NAME: Final = "prime_rl_tokens"
_FIELDS: Final = frozenset({"step", "rank", "loss_mask", "advantages", "inference_logprobs"})
_DONE: Final = "STABLE"


def sniff(head: bytes) -> bool:
    """Whether records hold the arrays that the trainer exports per token."""
    return any(keys >= _FIELDS for keys in top_keys(head))


def read(log: LogFile, config: Config) -> Iterator[Item]:
    """One trained sequence per record.

    Raises: IngestError when the step's folder is not marked as complete.
    """
    del config
    if not (log.path.parent / _DONE).is_file():
        raise IngestError(
            f"the step is not finished: there is no file {_DONE} beside this one",
            where=printable(log.name),
            cure="Ingest again when the step has ended; copy the whole folder of the step.",
        )
    for record in json_records(log):
        if isinstance(record, Rejected):
            yield record
            continue
        line, fields = record
        try:
            yield _row(line, fields, log)
        except ValueError as error:
            yield Rejected(line, str(error))


def _row(line: int, fields: dict[str, Any], log: LogFile) -> Row:
    step, own = as_count(fields.get("step"), "step"), f"{log.digest[:16]}:{line}"
    if step is None:
        raise ValueError("no field step")
    mask = _array(fields, "loss_mask", None)
    length = len(mask)
    trained = [flag is True for flag in mask]
    ratios = _trained(_array(fields, "log_importance_ratio", length), trained)
    masked = _trained(_array(fields, "is_masked", length), trained)
    advantages = _trained(_array(fields, "advantages", length), trained)
    values = {
        "decision_id": own,
        "request_id": own,
        "layer": "training",
        "decision_point": "update",
        "action": "train",
        "kept": True,
        "update_id": update_name(log, step, above=1),
        "version_trained": str(max(0, step - 1)),
        "advantage": _mean(advantages),
        "tok_output": sum(trained),
        "x_env": missing(fields.get("env_name")),
        "x_mean_log_ratio": _mean(ratios),
        "x_max_log_ratio": max(map(abs, ratios), default=None),
        "x_masked_share": _mean(masked),
    }
    return Row("decisions", line, values)


def _array(fields: dict[str, Any], name: str, length: int | None) -> list[Any]:
    """The array `name`, of `length` items; empty when it is absent."""
    value = fields.get(name)
    if value is None and length is not None:
        return []
    if not isinstance(value, list):
        raise ValueError(f"{name} is {type(value).__name__}, expected a list")
    items = cast("list[Any]", value)
    if length is not None and len(items) != length:
        raise ValueError(f"{name} has {len(items)} items, loss_mask has {length}")
    return items


def _trained(items: Sequence[Any], trained: Sequence[bool]) -> list[float]:
    """The numbers of the tokens that were trained on; arrays may be all null."""
    return [
        number
        for item, used in zip(items, trained, strict=False)
        if used and (number := score(item)) is not None
    ]


def _mean(numbers: Sequence[float]) -> float | None:
    return math.fsum(numbers) / len(numbers) if numbers else None
