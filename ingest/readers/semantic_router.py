"""vLLM semantic-router replay records (JSON): the router's choice among candidates, its cache, its outcomes.

prompt_tokens include cached ones. Fills candidates, propensities (rebuilt where the sampler's posterior
follows from the verdicts in the same file), policy_version, tokens, cost in USD, latency and outcomes; has no
tenant, queue, first token or retries. Fields are left out when false, 0 or empty: absent is not unknown.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, cast

from ...schemas.config import Config
from ..lines import JsonRecord, json_records
from ..seam import Item, LogFile, Rejected
from .peek import top_keys
from .semantic_router_history import Beliefs, History
from .semantic_router_rows import record_rows

NAME: Final = "semantic_router"
_FIELDS: Final = frozenset({"original_model", "selected_model"})
_EVENT: Final = frozenset({"event", "reason_code"})
"""Fields of log events that name the same models; they are another reader's."""
_LIST: Final = frozenset({"object", "count", "total", "offset", "data"})
_LIST_NAME: Final = "router_replay.list"


def sniff(head: bytes) -> bool:
    """Whether records are replay records, or the answer of the replay API that lists them."""
    return any(keys >= _LIST or (keys >= _FIELDS and not keys & _EVENT) for keys in top_keys(head))


def read(log: LogFile, config: Config) -> Iterator[Item]:
    """Per record a router decision, a cache decision where the cache was asked, and outcomes.

    The file is read three times: verdicts first, then whether they explain the posteriors, then the rows.
    """
    del config
    history = History()
    for record in _records(log):
        if not isinstance(record, Rejected):
            history.note(record[1])
    beliefs = Beliefs(history)
    for record in _records(log) if beliefs.needed else ():
        if not isinstance(record, Rejected):
            beliefs.test(record[1])
    for record in _records(log):
        if isinstance(record, Rejected):
            yield record
            continue
        line, fields = record
        try:
            yield from record_rows(line, fields, beliefs)
        except ValueError as error:
            yield Rejected(line, str(error))


def _records(log: LogFile) -> Iterator[JsonRecord | Rejected]:
    """The records one by one, also out of the API's list, numbered within it."""
    for record in json_records(log):
        if isinstance(record, Rejected) or record[1].get("object") != _LIST_NAME:
            yield record
            continue
        line, answer = record
        data = answer.get("data")
        if not isinstance(data, list):
            yield Rejected(line, f"data is {type(data).__name__}, expected a list")
            continue
        for number, item in enumerate(cast("list[Any]", data), start=1):
            if isinstance(item, dict):
                yield number, cast("dict[str, Any]", item)
            else:
                yield Rejected(number, f"a {type(item).__name__}, expected an object")
