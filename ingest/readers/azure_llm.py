"""Azure LLM inference trace (CSV): arrivals and token counts of a service, one `admit` per request.

No ids, latencies, caches or models are logged; times are naive with 100 ns digits and taken as UTC.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ...schemas.config import Config
from ..convert import as_count, utc_from_text
from ..lines import csv_records
from ..seam import Item, LogFile, Rejected, Row
from .peek import csv_header

NAME: Final = "azure_llm"
_HEADER: Final = ["TIMESTAMP", "ContextTokens", "GeneratedTokens"]


def sniff(head: bytes) -> bool:
    """Whether the header is that of the Azure LLM trace."""
    return csv_header(head)[: len(_HEADER)] == _HEADER


def read(log: LogFile, config: Config) -> Iterator[Item]:
    """One serving decision per request; the trace says nothing about caches, so the prompt is a feature."""
    del config
    for record in csv_records(log):
        if isinstance(record, Rejected):
            yield record
            continue
        line, cells = record
        try:
            yield _row(line, cells, log)
        except (ValueError, KeyError) as error:
            yield Rejected(line, _why(error))


def _row(line: int, cells: dict[str, str], log: LogFile) -> Row:
    request = f"{log.digest[:16]}:{line}"
    values = {
        "decision_id": request,
        "request_id": request,
        "layer": "serving",
        "decision_point": "admit",
        "action": "admit",
        "ts": utc_from_text(cells["TIMESTAMP"]),
        "tok_output": as_count(cells["GeneratedTokens"], "GeneratedTokens"),
        "x_prompt_tokens": as_count(cells["ContextTokens"], "ContextTokens"),
    }
    return Row("decisions", line, values)


def _why(error: ValueError | KeyError) -> str:
    return f"no column {error.args[0]}" if isinstance(error, KeyError) else str(error)
