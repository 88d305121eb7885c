"""BurstGPT trace (CSV): requests to ChatGPT and GPT-4, one `admit` each, on a relative clock.

Fills session_id and latency_s (the whole response) where the file has them; older files do not. Caches, first
tokens, queues, costs and tenants are never logged, so tok_input_uncached stays null.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from ...schemas.config import Config
from ..convert import as_count, as_real, missing, utc_from_offset
from ..lines import csv_records
from ..seam import Item, LogFile, Rejected, Row
from .peek import csv_header

NAME: Final = "burstgpt"
_HEADER: Final = frozenset({"Timestamp", "Model", "Request tokens", "Response tokens", "Log Type"})


def sniff(head: bytes) -> bool:
    """Whether the header is that of a BurstGPT trace, of either age."""
    return set(csv_header(head)) >= _HEADER


def read(log: LogFile, config: Config) -> Iterator[Item]:
    """One serving decision per request; a failed one has an outcome 'error' and no output."""
    del config
    for record in csv_records(log):
        if isinstance(record, Rejected):
            yield record
            continue
        line, cells = record
        try:
            yield from _rows(line, cells, log)
        except KeyError as error:
            yield Rejected(line, f"no column {error.args[0]}")
        except ValueError as error:
            yield Rejected(line, str(error))


def _rows(line: int, cells: dict[str, str], log: LogFile) -> list[Row]:
    request = f"{log.digest[:16]}:{line}"
    output = as_count(cells["Response tokens"], "Response tokens")
    values = {
        "decision_id": request,
        "request_id": request,
        "session_id": missing(cells.get("Session ID")),
        "layer": "serving",
        "decision_point": "admit",
        "action": "admit",
        "ts": utc_from_offset(cells["Timestamp"], "s"),
        "latency_s": as_real(missing(cells.get("Elapsed time")), "Elapsed time"),
        "tok_output": output or None,
        "x_prompt_tokens": as_count(cells["Request tokens"], "Request tokens"),
        "x_model": missing(cells["Model"]),
        "x_log_type": missing(cells["Log Type"]),
        "x_clock": "relative",
    }
    rows = [Row("decisions", line, values)]
    if output == 0:  # the trace's own sign of a failure
        error = {"decision_id": request, "name": "error", "label": "no response", "source": "code"}
        rows.append(Row("outcomes", line, error))
    return rows
