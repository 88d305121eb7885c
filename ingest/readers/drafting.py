"""Draft a mapping file from a sample of a log: guesses beside their reasons, tried on the sample itself.

The draft is a beginning for a person to check. It holds names of columns, never values of the log.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, cast

from ...errors import IngestError
from ...schemas.config import Config
from ..checks import problem
from ..columnar import parquet_records
from ..lines import csv_records, json_records
from ..opening import PARQUET_MAGIC, printable, read_head
from ..pricing import without_hints
from ..seam import LogFile, Rejected, Row
from . import draft_rules as rules
from .draft_rules import Guess, Seen
from .mapping import MappingReader
from .mapping_spec import parse_mapping

MAX_RECORDS: Final = 500
"""Records that are looked at: enough for units and conventions, few enough to answer at once."""
_MAX_PATHS: Final = 400
_MAX_LEVELS: Final = 4
_MAX_REFUSED_SHARE: Final = 0.2
"""A guess that refuses more of the sample than this is written as a comment instead."""
_DELIMITERS: Final = ",;\t|"
_TEXT: Final = ("decision_id", "request_id", "session_id", "tenant_id", "action", "action_executed",
                "policy_version", "replica", "version_behaviour", "version_trained", "update_id")  # fmt: skip
_COLUMN_OF_REASON: Final = re.compile(r"(?:an item of )?([a-z_0-9]+)[ :]")

Kind = Literal["csv", "jsonl", "parquet"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A mapping file as text, and what it came to on the sample: records looked at, rows made, refusals."""

    text: str
    records: int
    rows: int
    refused: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Sample:
    kind: Kind
    delimiter: str
    columns: tuple[Seen, ...]
    records: int


def draft_mapping(path: str | Path) -> Draft:
    """A mapping for logs like the one at `path`, which `ingest --mapping` accepts.

    What the names and values do not tell is marked CHECK; a column that refuses the sample is a comment.
    Not drafted: propensities that may be a classifier's confidence, texts, and features, which only a
    person can tell from what happened after the choice.
    Raises: IngestError when the file cannot be read or holds no record.
    """
    log = LogFile(Path(path), Path(path).name, "0" * 64)
    sample = _sampled(log)
    dropped: dict[str, str] = {}
    while True:
        text = _rendered(sample, log.name, dropped)
        rows, refused = _tried(text, log)
        culprit = _culprit(refused, sample.records)
        if culprit is None or culprit in dropped:
            break
        dropped[culprit] = _short(next(reason for reason in refused if _column_of(reason) == culprit))
    head = _heading(log.name, sample, rows, refused)
    return Draft(text=head + text, records=sample.records, rows=rows, refused=tuple(refused))


def _sampled(log: LogFile) -> _Sample:
    head = read_head(log.path).removeprefix(b"\xef\xbb\xbf").lstrip()
    kind: Kind = "csv"
    if head.startswith(PARQUET_MAGIC):
        kind = "parquet"
    elif head[:1] in (b"{", b"["):
        kind = "jsonl"
    first = head.partition(b"\n")[0].decode("utf-8", "replace")
    delimiter = max(_DELIMITERS, key=first.count)
    found: Iterable[Any] = (
        parquet_records(log)
        if kind == "parquet"
        else json_records(log)
        if kind == "jsonl"
        else csv_records(log, delimiter=delimiter)
    )
    records = [
        dict(_flat(item[1]))
        for item in itertools.islice(found, MAX_RECORDS)
        if not isinstance(item, Rejected)
    ]
    if not records:
        raise IngestError(
            "no record to draft from", where=printable(log.name), expected="CSV, JSON or Parquet"
        )
    paths = list(dict.fromkeys(path for record in records for path in record))[:_MAX_PATHS]
    columns = tuple(Seen(path=p, cells=tuple(record.get(p) for record in records)) for p in paths)
    return _Sample(kind, delimiter, columns, len(records))


def _flat(record: dict[str, Any], prefix: str = "", level: int = 1) -> Iterator[tuple[str, Any]]:
    """The paths of a record as a mapping spells them; names with dots below the top cannot be spelled."""
    for key, value in record.items():
        if prefix and "." in key:
            continue
        path = f"{prefix}{key}"
        if isinstance(value, dict) and level < _MAX_LEVELS:
            yield from _flat(cast("dict[str, Any]", value), f"{path}.", level + 1)
        else:
            yield path, None if value == "" else value


def _tried(text: str, log: LogFile) -> tuple[int, list[str]]:
    """The rows that the mapping makes of the sample, and why it refuses others."""
    reader = MappingReader(parse_mapping(text.encode(), log.path))
    rows, refused = 0, list[str]()
    for item in reader.read(log, Config()):
        if item.line > MAX_RECORDS:
            break
        if isinstance(item, Rejected):
            refused.append(item.reason)
        elif isinstance(item, Row):
            reason = problem(item.table, without_hints(item.values))
            rows += reason is None and item.table == "decisions"
            refused += [] if reason is None else [reason]
    return rows, refused


def _culprit(refused: list[str], records: int) -> str | None:
    """The column that refuses too much of the sample."""
    counts = Counter(map(_column_of, refused))
    name, count = max(counts.items(), key=lambda item: item[1], default=("", 0))
    return name if name and count > _MAX_REFUSED_SHARE * records else None


def _column_of(reason: str) -> str:
    found = _COLUMN_OF_REASON.match(reason)
    return found[1] if found else ""


def _rendered(sample: _Sample, name: str, dropped: dict[str, str]) -> str:
    taken = rules.claims(sample.columns)
    layer, point = _layer(taken)
    own_mark = sample.kind == "csv" and sample.delimiter != ","
    files = _toml(re.sub(r"[*?[]", "?", name))
    lines = [
        f"format = {_toml(sample.kind)}",
        *([f"delimiter = {_toml(sample.delimiter)}"] if own_mark else []),
        f"files = {files}  # CHECK: a pattern of file names; without it, every file of no known format",
        f"layer = {_toml(layer)}  # CHECK: router, agent, serving or training",
        f"decision_point = {_toml(point)}  # CHECK: the question that each row answers",
        "",
        "[columns]",
        *_columns(taken, dropped),
        *_features(sample, taken),
    ]
    key = "request_id" if "request_id" in taken and "request_id" not in dropped else "decision_id"
    for seen in _outcomes(sample, taken):
        lines += _outcome(seen, key)
    return "\n".join(lines) + "\n"


def _columns(taken: dict[str, Seen], dropped: dict[str, str]) -> Iterator[str]:
    for column, seen in taken.items():
        if column in ("cache_read", "cache_write"):
            continue
        guess = Guess(None, dropped[column]) if column in dropped else _guess(column, taken)
        if guess.options is None:
            yield f"# {column} = {_toml(seen.path)}  # not mapped: {_comment(guess.why or '')}"
            continue
        cell = _toml(seen.path)
        if guess.options:
            options = ", ".join(f"{key} = {_toml(value)}" for key, value in guess.options.items())
            cell = f"{{from = {cell}, {options}}}"
        yield f"{column} = {cell}" + (f"  # CHECK: {_comment(guess.why)}" if guess.why else "")
    if "action" not in taken or "action" in dropped:
        yield 'action = {value = "unknown"}  # CHECK: no column looks like a choice, so nothing is compared'


def _guess(column: str, taken: dict[str, Seen]) -> Guess:
    seen = taken[column]
    if column == "ts":
        return rules.time_options(seen)
    if column == "tok_input_uncached":
        return rules.token_options(seen, taken.get("cache_read"), taken.get("cache_write"))
    if column in ("candidates", "propensities"):
        told = rules.list_options(seen)
        if column == "candidates" or told.options is None:
            return told
        return Guess({**told.options, "source": "logged"}, "fixed before the draw?")
    if column == "propensity":
        return Guess(
            {"source": "logged"}, "the chance of this choice, fixed before the draw? never a confidence"
        )
    if column.endswith("_s"):
        return rules.duration_options(seen)
    if column == "cost_usd":
        return rules.money_options(seen)
    if column in _TEXT or column in ("exploration", "reversible", "kept"):
        return Guess({}) if not seen.is_list else Guess(None, "a list")
    return Guess({}) if seen.numbers else Guess(None, "no numbers")


def _layer(taken: dict[str, Seen]) -> tuple[str, str]:
    if taken.keys() & {"version_behaviour", "version_lag", "advantage", "kept"}:
        return "training", "keep"
    action = taken["action"].name if "action" in taken else ""
    if "tool" in action:
        return "agent", "act"
    if "model" in action or "cost_usd" in taken:
        return "router", "model"
    return ("serving", "admit") if taken.keys() & {"queue_s", "ttft_s", "replica"} else ("agent", "act")


def _features(sample: _Sample, taken: dict[str, Seen]) -> Iterator[str]:
    used = {seen.path for seen in (*taken.values(), *_outcomes(sample, taken))}
    names: set[str] = set()
    rest = [seen for seen in sample.columns if seen.path not in used and seen.values]
    told = [seen for seen in rest if not rules.is_content(seen) and not seen.is_list]
    if told:
        yield "# Remove the # before what was known before the choice, and only there:"
    for seen in told:
        if rules.FORBIDDEN_PROBABILITIES.fullmatch(seen.name):
            yield f"# x_{seen.name} = {_toml(seen.path)}  # if it is the chance of the choice: propensity"
            continue
        name = f"x_{rules.simple(seen.path)[:70] or 'column'}"
        numbered = (f"{name}_{number}" for number in itertools.count(2))
        name = next(n for n in itertools.chain((name,), numbered) if n not in names)
        names.add(name)
        yield f"# {name} = {_toml(seen.path)}"
    texts = [_comment(seen.path) for seen in rest if rules.is_content(seen) or seen.is_list]
    if texts:
        yield f"# Not read (texts and lists): {', '.join(texts)}"


def _outcomes(sample: _Sample, taken: dict[str, Seen]) -> list[Seen]:
    used = {seen.path for seen in taken.values()}
    return [
        seen
        for seen in sample.columns
        if seen.path not in used and seen.values and not seen.is_list
        if rules.OUTCOME_NAMES.fullmatch(seen.name)
    ]


def _outcome(seen: Seen, key: str) -> list[str]:
    source = rules.outcome_source(seen.name)
    return [
        "",
        "[[outcomes]]  # CHECK: how it went, and who says so: human, llm_judge, code or env",
        f"name = {_toml(seen.name)}",
        f"from = {_toml(seen.path)}",
        f"source = {_toml(source)}",
        f"key = {_toml(key)}",
    ]


def _heading(name: str, sample: _Sample, rows: int, refused: list[str]) -> str:
    lines = [
        f"# Drafted from {_comment(name)}: {sample.records} records looked at. Read every line marked CHECK.",
        f"# Tried on them: {rows} decisions, {len(refused)} refused.",
        *(f"#   {n} times: {_comment(reason)}" for reason, n in Counter(map(_short, refused)).most_common(3)),
    ]
    return "\n".join(lines) + "\n"


def _short(reason: str) -> str:
    """The reason without values of the log, so that equal ones count together."""
    return re.sub(r"'[^']*'|\b\d[\d.]*\b", "…", reason)


def _comment(text: str) -> str:
    return printable(text)[:200]


def _toml(value: Any) -> str:
    """`value` as TOML: text, numbers and lists of them."""
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, cast('list[Any]', value)))}]"
    if not isinstance(value, str):
        return str(value)
    safe = (
        char
        if char.isprintable() and char not in '"\\'
        else f"\\{char}"
        if char in '"\\'
        else f"\\U{ord(char):08X}"
        for char in value
    )
    return f'"{"".join(safe)}"'
