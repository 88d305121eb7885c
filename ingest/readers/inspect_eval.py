"""Inspect logs, `.eval` (zip) or one JSON object: router decisions for model calls, agent ones for tools.

Before version 0.3.184 some providers counted cached tokens inside `input_tokens`: a row's `total_tokens`
tells which; since then they come on top. Epochs of a sample met the same situation (x_context_id). Model
calls of scorers and graders are overhead. Filled: models, tokens, latency, tool time, hits of Inspect's own
cache, approvals, scores, errors; cost where a price list was configured, else it is priced. Never: first
token, queue, propensity, tenant. Logs older than 0.3.58 stamp a model call with its end. Samples without
events give scores only. Scores that are NaN are read from archives; in the JSON form they are no JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, Final

import orjson

from ...errors import IngestError
from ...schemas.config import Config
from ..actions import StepRules, step_rules
from ..lines import json_records, printable
from ..seam import Ignored, Item, LogFile, Rejected
from .agent_logs import as_object, as_text, why
from .inspect_eval_archive import MAGIC, Archive, opened_archive
from .inspect_eval_sample import Eval, sample_items
from .peek import top_keys

NAME: Final = "inspect_eval"
_HEADER: Final = "header.json"
_START: Final = "_journal/start.json"
_INDEX: Final = re.compile(r"_journal/.*|(header|summaries|reductions)\.json")
_SAMPLE: Final = re.compile(r"samples/.+\.json", re.DOTALL)
_VERSION: Final = re.compile(r"(\d{1,6})\.(\d{1,6})\.(\d{1,6})(.*)", re.DOTALL)
_EXCLUSIVE_SINCE: Final = (0, 3, 184)
_KEYS: Final = (frozenset({"eval", "plan"}), frozenset({"version", "status", "eval"}))
_NAME_AT: Final = 30
"""Bytes in front of the name in an entry's header."""


def sniff(head: bytes) -> bool:
    """Whether it is an archive that starts like a log's, or an object with an evaluation's spec and plan."""
    if head.startswith(MAGIC):
        return any(name in (_HEADER, _START) for name in _names(head))
    return any(wanted <= keys for wanted in _KEYS for keys in top_keys(head))


def read(log: LogFile, config: Config) -> Iterator[Item]:
    """Per sample and epoch its context, model calls, tool calls, approvals and scores."""
    rules = step_rules(config)
    if _is_archive(log):
        with opened_archive(log) as archive:
            yield from _archived(archive, rules, log)
        return
    for record in json_records(log):
        if isinstance(record, Rejected):
            yield record
            continue
        line, told = record
        try:
            run = _eval(told, log)
            samples = told.get("samples")
            if not isinstance(samples, list):
                yield Ignored(line, "log without samples")
                continue
        except ValueError as error:
            yield Rejected(line, why(error))
            continue
        for number, sample in enumerate(samples, start=1):
            yield from _sample(number, sample, run, rules)


def _names(head: bytes) -> Iterator[str]:
    """The names of the entries whose headers lie in the head."""
    at = head.find(MAGIC)
    while 0 <= at <= len(head) - _NAME_AT:
        length = int.from_bytes(head[at + 26 : at + 28], "little")
        yield head[at + _NAME_AT : at + _NAME_AT + length].decode("utf-8", errors="replace")
        at = head.find(MAGIC, at + len(MAGIC))


def _is_archive(log: LogFile) -> bool:
    try:
        with log.path.open("rb") as stream:
            return stream.read(len(MAGIC)) == MAGIC
    except OSError as error:
        raise IngestError(
            f"cannot be opened: {error.strerror}", where=printable(log.name), cure="Check its permissions."
        ) from error


def _archived(archive: Archive, rules: StepRules, log: LogFile) -> Iterator[Item]:
    run = _archived_eval(archive, log)
    entries = archive.entries()
    counts = {entry.name: entry.number for entry in entries}
    for entry in entries:
        if entry.escapes:
            yield Rejected(entry.number, "an entry whose name means a place outside of the archive")
        elif counts[entry.name] != entry.number:
            yield Ignored(entry.number, "entry that a later one replaces")
        elif _SAMPLE.fullmatch(entry.name):
            try:
                told = _parsed(archive.body(entry))
            except ValueError as error:
                yield Rejected(entry.number, why(error))
                continue
            yield from _sample(entry.number, told, run, rules)
        else:
            kind = "index of the archive" if _INDEX.fullmatch(entry.name) else "entry of another kind"
            yield Ignored(entry.number, kind)


def _archived_eval(archive: Archive, log: LogFile) -> Eval:
    """What the header says of the evaluation; an unfinished run has only the journal's start.

    Raises: IngestError when neither can be read: without it the tokens of no call can be told apart.
    """
    entry = archive.last(_HEADER) or archive.last(_START)
    try:
        if entry is None:
            raise ValueError(f"neither {_HEADER} nor {_START}")
        return _eval(_parsed(archive.body(entry)), log)
    except ValueError as error:
        raise IngestError(
            f"the header cannot be read: {printable(why(error))}",
            where=printable(log.name),
            expected="an Inspect log",
            cure="Convert it with 'inspect log convert', or copy the file again.",
        ) from error


def _parsed(body: bytes) -> dict[str, Any]:
    """The object in `body`; Inspect spells a missing score NaN, which only the standard parser reads.

    Raises: ValueError when it is no JSON object.
    """
    try:
        value: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        try:
            value = json.loads(body)
        except json.JSONDecodeError as error:
            raise ValueError(f"not JSON: {error.msg} at character {error.pos + 1}") from error
        except RecursionError as error:
            raise ValueError("nested too deep") from error
    if not isinstance(value, dict):
        raise ValueError(f"a JSON {type(value).__name__}, expected an object")
    return value


def _sample(number: int, told: Any, run: Eval, rules: StepRules) -> list[Item]:
    """The items of one sample; a malformed one is Rejected whole: its lost steps would count as not taken."""
    try:
        if not isinstance(told, dict):
            raise ValueError(f"a sample is {type(told).__name__}, expected an object")
        return sample_items(number, told, run, rules)
    except ValueError as error:
        return [Rejected(number, why(error))]


def _eval(told: dict[str, Any], log: LogFile) -> Eval:
    spec = as_object(told.get("eval"), "eval")
    if not spec:
        raise ValueError("no field eval")
    parts = [as_text(spec, "eval_id") or as_text(spec, "run_id"), as_text(spec, "task_id")]
    version = as_text(as_object(spec.get("packages"), "packages"), "inspect_ai") or ""
    return Eval(
        name=":".join(part for part in parts if part) or log.digest[:16],
        task=as_text(spec, "task") or "task",
        commit=as_text(as_object(spec.get("revision"), "revision"), "commit"),
        exclusive=_is_exclusive(version),
    )


def _is_exclusive(version: str) -> bool:
    """Whether the version surely counts cached tokens on top; builds between two releases may or may not."""
    found = _VERSION.match(version)
    if found is None:
        return False
    released = tuple(int(part) for part in found.groups()[:3])
    between = found.group(4).startswith(".dev")
    return released > _EXCLUSIVE_SINCE or (released == _EXCLUSIVE_SINCE and not between)
