"""LiteLLM_SpendLogs, as dumped from the proxy's table: JSON, CSV or Parquet, with JSON inside of text.

Tokens: cached ones inside of prompt_tokens unless a row proves otherwise. Fills ids, tenant, asked and run
model, tokens, cost, first token where observed, cache, routing facts, evaluations as outcomes; candidates and
propensity only by the recipe; never queue.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from ...schemas.config import Config
from ..convert import as_real, missing
from ..lines import any_records
from ..seam import Item, LogFile
from .litellm_calls import items_of
from .litellm_rows import Call, first_token, section, tenant, text, time_of
from .peek import csv_header, top_keys

NAME: Final = "litellm_spend"
SPLITS: Final = True
"""See seam.SplittingReader."""
_FIELDS: Final = frozenset({"spend", "call_type"})


def sniff(head: bytes) -> bool:
    """Whether records or columns are those of the spend log, not of the logging payload."""
    found = top_keys(head) or [frozenset(csv_header(head))]
    return any(keys >= _FIELDS and "litellm_call_id" not in keys for keys in found)


def read(log: LogFile, config: Config) -> Iterator[Item]:
    """Per row a router decision, a cache decision where the response cache was asked, and outcomes."""
    yield from items_of(any_records(log), config, call_of, apart=log.stretch is not None)


def call_of(fields: dict[str, Any], config: Config) -> Call:
    """The call that a row of the spend log is of.

    Raises: ValueError when it has no id or start, or a field has the wrong type.
    """
    metadata = section(fields, "metadata")
    own = text(fields, "request_id")
    start, end = time_of(fields, "startTime"), time_of(fields, "endTime")
    if own is None or start is None:
        raise ValueError("no field request_id" if own is None else "no field startTime")
    return Call(
        decision_id=own,
        request_id=own,
        session_id=text(fields, "session_id"),
        tenant_id=tenant(config, fields, metadata)
        or (text(fields, "api_key") if config.tenant == "key" else None),
        start=start,
        end=end,
        first_token=first_token(fields, end),
        cost=as_real(missing(fields.get("spend")), "spend"),
        usage=section(metadata, "usage_object"),
        fields=fields,
        metadata=metadata,
    )
