"""Langfuse export (JSON, CSV, Parquet): observations to decisions, traces to contexts, scores to outcomes.

Tokens: disjoint keys (cached ones apart) unless a row's own total proves otherwise. `latency` is s or ms by
export path and never read. Fills ids, session, tenant, tokens, cost, first token, policy version, scores;
never candidates, propensity, queue or retries, unless metadata carries the recipe (see recipe.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from ...schemas.config import Config
from ..actions import StepRules, step_rules
from ..lines import any_records
from ..seam import Item, LogFile, Rejected
from .langfuse_agents import AgentBook
from .langfuse_observation import observation_items
from .langfuse_rows import score_items, snake_names, trace_items
from .peek import csv_header, top_keys

NAME: Final = "langfuse"
_OBSERVATION: Final = frozenset({"id", "trace_id", "type", "start_time", "parent_observation_id"})
_TRACE: Final = frozenset({"id", "timestamp", "session_id", "user_id", "release", "tags"})
_PAGE: Final = frozenset({"data", "meta"})
_MARKS: Final = (b'"parentObservationId"', b'"observationId"', b'"htmlPath"')
"""Fields inside of a page of the API that tell whose page it is."""
_SCORE: Final = frozenset({"id", "name", "trace_id", "observation_id", "data_type", "source"})


def sniff(head: bytes) -> bool:
    """Whether records or columns are those of an exported observation, trace or score, in either spelling."""
    found = top_keys(head) or [frozenset(csv_header(head))]
    marked = any(mark in head for mark in _MARKS)
    return any(
        _kind(snake_names(dict.fromkeys(keys)).keys()) is not None or (marked and keys == _PAGE)
        for keys in found
    )


def read(log: LogFile, config: Config) -> Iterator[Item]:
    """Per observation a decision or why it is none, per trace its context, per score an outcome."""
    rules, agents = step_rules(config), AgentBook()
    for record in any_records(log):
        if isinstance(record, Rejected):
            yield record
            continue
        line, fields = record
        page = fields.get("data") if fields.keys() == _PAGE else None
        for one in page if isinstance(page, list) else [fields]:
            yield from _items(line, snake_names(one) if isinstance(one, dict) else {}, rules, agents)
    yield from agents.settle()


def _items(line: int, fields: dict[str, Any], rules: StepRules, agents: AgentBook) -> Iterator[Item]:
    try:
        kind = _kind(fields.keys())
        if kind == "observation":
            yield from observation_items(line, fields, rules, agents)
        elif kind == "score":
            yield from score_items(line, fields)
        elif kind == "trace":
            yield from trace_items(line, fields)
            yield from _nested(line, fields, rules, agents)
        else:
            yield Rejected(line, "neither an observation, a trace nor a score of Langfuse")
    except ValueError as error:
        yield Rejected(line, str(error))


def _nested(line: int, trace: dict[str, Any], rules: StepRules, agents: AgentBook) -> Iterator[Item]:
    """The observations and scores that the API's answer for one trace holds inside."""
    for name in ("observations", "scores"):
        inside = trace.get(name)
        for fields in inside if isinstance(inside, list) else []:
            if isinstance(fields, dict):  # a list of traces holds ids only
                yield from _items(line, snake_names(fields), rules, agents)


def _kind(names: Any) -> str | None:
    if names >= _OBSERVATION:
        return "observation"
    if names >= _SCORE:
        return "score"
    return "trace" if names >= _TRACE else None
