"""Mooncake trace (JSON Lines): requests with the hashes of their 512-token prefix blocks, one `admit` each.

The clock is relative, and cache reuse is not logged: it is only known after a replay against a cache
of a stated size, so tok_input_uncached stays null.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from ...schemas.config import Config
from ..convert import as_count, utc_from_offset
from ..each import each_record
from ..seam import Item, LogFile, Row
from .peek import top_keys

NAME: Final = "mooncake"
SPLITS: Final = True
"""See seam.SplittingReader."""
_FIELDS: Final = frozenset({"timestamp", "input_length", "output_length", "hash_ids"})


def sniff(head: bytes) -> bool:
    """Whether records have input lengths and block hashes, but no chat ids (that would be Qwen-Bailian)."""
    return any(keys >= _FIELDS and "chat_id" not in keys for keys in top_keys(head))


def read(log: LogFile, config: Config) -> Iterator[Item]:
    """One serving decision per request, on a relative clock."""
    del config
    return each_record(log, lambda line, fields: [_row(line, fields, log)], required=_FIELDS)


def _row(line: int, fields: dict[str, Any], log: LogFile) -> Row:
    blocks = fields["hash_ids"]
    if not isinstance(blocks, list):
        raise ValueError(f"hash_ids is {blocks!r}, expected a list")
    request = f"{log.digest[:16]}:{line}"
    values = {
        "decision_id": request,
        "request_id": request,
        "layer": "serving",
        "decision_point": "admit",
        "action": "admit",
        "ts": utc_from_offset(fields["timestamp"], "ms"),
        "tok_output": as_count(fields["output_length"], "output_length"),
        "x_prompt_tokens": as_count(fields["input_length"], "input_length"),
        "x_prefix_blocks": len(blocks),
        "x_clock": "relative",
    }
    return Row("decisions", line, values)
