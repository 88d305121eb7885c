"""The SQL of linking, as named steps. Names come from our schema or passed the check on x_* names, and are
quoted; values from logs never become SQL."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import pyarrow as pa

from ..schemas.columns import DECISIONS, OUTCOMES
from .batches import SEQUENCE, FeatureKind

SKIP: Final = "skip"
MAX_SEEN_ACTIONS: Final = 50
"""More actions than this at an optional point are no menu: candidates stay null."""

_ORDER: Final = f"source_file, source_row, {SEQUENCE}, filename"
_PROVENANCE: Final = ("source_format", "source_file", "source_row")
_CONSTANTS: Final = (
    *("session_id", "tenant_id", "policy_version", "keep_prob"),
    *("quality", "quality_source", "quality_observed", "judge_score", "value_usd", "incident", "loss_usd"),
)
"""Columns of an untaken decision that are the request's, where all its agent rows agree."""
_LINKED: Final = frozenset(
    {
        *("decision_id", "layer", "decision_point", "request_id", "ts", "step", "action", "candidates"),
        *("policy_version", "propensity_source", "cost_usd", "cost_source", "latency_s"),
        *("tok_input_uncached", "tok_cache_read", "tok_cache_write", "tok_output"),
        *_PROVENANCE,
        *_CONSTANTS,
    }
)
"""Columns of decisions that linking reads or fills; another that no log has is only there in the store."""
_TYPES: Final[dict[pa.DataType, str]] = {
    pa.string(): "VARCHAR",
    pa.float64(): "DOUBLE",
    pa.int64(): "BIGINT",
    pa.bool_(): "BOOLEAN",
    pa.timestamp("us", tz="UTC"): "TIMESTAMP WITH TIME ZONE",
    pa.list_(pa.string()): "VARCHAR[]",
    pa.list_(pa.float64()): "DOUBLE[]",
}
_ROLES: Final = {"judge_score": "judge_score", "loss_usd": "loss_usd", "value_usd": "value_usd"}

Features = Mapping[str, FeatureKind]
Present = Mapping[str, FeatureKind | None]
"""The columns that staged rows have, and of features their stored kind: None for text."""


def quoted(name: str) -> str:
    """`name` as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def empty_table(table: str, schema: pa.Schema) -> str:
    """Table `table` without rows."""
    return f"CREATE TABLE {table} ({_list(f'{quoted(field.name)} {_TYPES[field.type]}' for field in schema)})"


def _list(names: Iterable[str]) -> str:
    return ", ".join(names)


def _names(present: Present) -> list[str]:
    """The fixed columns of decisions while they are linked."""
    return [column.name for column in DECISIONS if column.name in present or column.name in _LINKED]


def _feature(name: str, kind: FeatureKind, present: Present) -> str:
    """The expression for one feature."""
    column = quoted(name)
    sql_type = "DOUBLE" if kind == "real" else "VARCHAR"
    if name not in present:
        return f"NULL::{sql_type} AS {column}"
    if kind == "text" and present[name] is None:
        return rf"regexp_replace({column}, '^(-?[0-9]+)\.0$', '\1') AS {column}"
    return f"{column}::{sql_type} AS {column}"


def decisions_view(features: Features, present: Present) -> str:
    """View d0: staged decisions with every feature in its final type."""
    types = {column.name: _TYPES[column.dtype] for column in DECISIONS}
    columns = [
        quoted(name) if name in present else f"NULL::{types[name]} AS {quoted(name)}"
        for name in _names(present)
    ]
    columns += [_feature(name, kind, present) for name, kind in features.items()]
    return f"CREATE VIEW d0 AS SELECT {_list(columns)}, {SEQUENCE}, filename FROM raw_decisions"


def contexts_table(features: Features, present: Present) -> str:
    """Table ctx: one row per request, each column from the first context that knows it, and the formats."""
    typed = _list(
        [
            *("request_id", "session_id", "tenant_id", "ts", "source_format"),
            *(_feature(name, kind, present) for name, kind in features.items()),
        ]
    )
    known = [f"arg_min({c}, ord) AS {c}" for c in ("session_id", "tenant_id", *map(quoted, features))]
    return (
        f"CREATE TABLE ctx AS WITH c AS (SELECT {typed}, row_number() OVER (ORDER BY {_ORDER}) AS ord"
        " FROM raw_contexts) SELECT request_id, min(ts) AS ts, list(DISTINCT source_format) AS formats,"
        f" {_list(known)} FROM c GROUP BY request_id"
    )


def dropped_table(features: Features, present: Present) -> str:
    """Table dropped: later rows of a decision_id, `same` where their content equals the first one's."""
    content = _list(quoted(name) for name in _names(present) if name not in _PROVENANCE)
    content = _list([content, *map(quoted, features)])
    return (
        "CREATE TABLE dropped AS WITH repeated AS"
        " (SELECT decision_id FROM d0 GROUP BY decision_id HAVING count(*) > 1),"
        f" r AS (SELECT decision_id, source_file, source_row, {SEQUENCE}, filename,"
        f" hash({content}) AS content"
        " FROM d0 SEMI JOIN repeated USING (decision_id)),"
        " w AS (SELECT *, row_number() OVER f AS k, first_value(source_file) OVER f AS first_file,"
        " first_value(source_row) OVER f AS first_row,"
        " first_value(content) OVER f = content AS same"
        f" FROM r WINDOW f AS (PARTITION BY decision_id ORDER BY {_ORDER}))"
        f" SELECT source_file, source_row, {SEQUENCE}, filename, first_file, first_row, same"
        " FROM w WHERE k > 1"
    )


def base_table(features: Features, present: Present) -> str:
    """Table base: decisions without repeats, their gaps filled from the request's context."""
    filled = {"session_id", "tenant_id", *features}
    names = [*_names(present), *features]
    columns = [
        f"coalesce(d.{quoted(n)}, c.{quoted(n)}) AS {quoted(n)}" if n in filled else f"d.{quoted(n)}"
        for n in names
    ]
    return (
        f"CREATE TABLE base AS SELECT {_list(columns)}, d.{SEQUENCE}, d.filename"
        f" FROM d0 d ANTI JOIN dropped x USING (filename, {SEQUENCE})"
        " LEFT JOIN ctx c ON d.request_id = c.request_id"
    )


STEPS: Final = (
    "CREATE TABLE steps AS SELECT decision_id, row_number() OVER"
    f" (PARTITION BY request_id ORDER BY ts NULLS LAST, {_ORDER}) - 1 AS step"
    " FROM base WHERE layer = 'agent' AND request_id IS NOT NULL"
)
POINTS: Final = (
    "CREATE TABLE points AS SELECT decision_point,"
    f" list_append(list(DISTINCT action ORDER BY action) FILTER (action <> '{SKIP}'), '{SKIP}') AS candidates"
    " FROM base SEMI JOIN optional USING (decision_point) WHERE layer = 'agent' GROUP BY decision_point"
    f" HAVING count(*) FILTER (action <> '{SKIP}') > 0"
)
"""Table points: optional decision points that occur, with the actions seen there and 'skip'."""
CAP_CANDIDATES: Final = f"UPDATE points SET candidates = NULL WHERE len(candidates) > {MAX_SEEN_ACTIONS}"


def untaken_rows(features: Features) -> str:
    """Insert into base, for each request of an agent, the optional decisions that left no row: 'skip'.

    A request is an agent's when it has agent rows, or a context from a format that logs agent rows: an
    agent that took no step at all skipped everything.
    """
    agreed = [f"CASE WHEN min({c}) = max({c}) THEN min({c}) END AS {c}" for c in _CONSTANTS]
    agreed += [
        f"CASE WHEN count({c}) = count(*) AND min({c}) = max({c}) THEN min({c}) END AS {c}"
        for c in map(quoted, features)
    ]
    told = [*("request_id", "ts", "session_id", "tenant_id"), *map(quoted, features)]
    stated = {
        "decision_id": "sha256('untaken' || chr(31) || r.request_id || chr(31) || p.decision_point)[:32]",
        "layer": "'agent'",
        "decision_point": "p.decision_point",
        "request_id": "r.request_id",
        "ts": "coalesce(r.ts, c.ts)",
        "action": f"'{SKIP}'",
        "candidates": "p.candidates",
        "propensity_source": "'unknown'",
        "cost_usd": "0.0",
        "cost_source": "'logged'",
        "latency_s": "0.0",
        "source_format": "'linked'",
        **{name: f"r.{quoted(name)}" for name in (*_CONSTANTS, *features)},
    }
    return (
        f"WITH stepped AS (SELECT request_id, min(ts) AS ts, {_list(agreed)} FROM base"
        " WHERE layer = 'agent' AND request_id IS NOT NULL GROUP BY request_id),"
        " agents AS (SELECT list(DISTINCT source_format) AS formats FROM base WHERE layer = 'agent'),"
        f" r AS (FROM stepped UNION ALL BY NAME SELECT {_list(told)} FROM ctx"
        " WHERE list_has_any(formats, (SELECT formats FROM agents))"
        " AND request_id NOT IN (SELECT request_id FROM stepped)),"
        " seen AS (SELECT DISTINCT request_id, decision_point FROM base WHERE layer = 'agent')"
        f" INSERT INTO base BY NAME SELECT {_list(f'{v} AS {quoted(k)}' for k, v in stated.items())}"
        " FROM r CROSS JOIN points p LEFT JOIN ctx c ON r.request_id = c.request_id"
        " ANTI JOIN seen s ON r.request_id = s.request_id AND p.decision_point = s.decision_point"
    )


def unique_outcomes() -> str:
    """Table o1: staged outcomes without exact repeats."""
    content = _list(quoted(c.name) for c in OUTCOMES if c.name not in _PROVENANCE)
    return (
        f"CREATE TABLE o1 AS SELECT * EXCLUDE (k) FROM (SELECT *, row_number() OVER (PARTITION BY {content}"
        f" ORDER BY {_ORDER}) AS k FROM raw_outcomes) WHERE k = 1"
    )


UNIQUE_STEPS: Final = (
    "CREATE TABLE e1 AS SELECT * EXCLUDE (k) FROM (SELECT *, row_number() OVER (PARTITION BY replica, ts,"
    " step_s, prefill_tok, decode_seqs, kv_tok, running, waiting"
    f" ORDER BY {_ORDER}) AS k FROM raw_engine_steps) WHERE k = 1 OR ts IS NULL"
)
TARGETS: Final = (
    "CREATE TABLE targets AS SELECT o.name, o.value, o.source,"
    " b.decision_id AS by_decision,"
    " CASE WHEN b.decision_id IS NULL THEN r.request_id END AS by_request,"
    f" row_number() OVER (ORDER BY o.ts NULLS FIRST, {_ORDER}) AS ord"
    " FROM o1 o LEFT JOIN (SELECT decision_id FROM base) b ON o.decision_id = b.decision_id"
    " LEFT JOIN (SELECT DISTINCT request_id FROM base WHERE request_id IS NOT NULL) r"
    " ON o.request_id = r.request_id"
)
"""Table targets: every outcome with the decision it names, else the request, else neither."""


def labels_table(target: str) -> str:
    """Table of the last value by time of each role, per decision or per request (`target`)."""
    chosen = "name = (SELECT name FROM rule) AND value IS NOT NULL"
    last = [
        "arg_max(((value - (SELECT low FROM rule)) / (SELECT high - low FROM rule)), ord)"
        f" FILTER ({chosen}) AS quality",
        f"arg_max(coalesce(source, ''), ord) FILTER ({chosen}) AS quality_source",
    ]
    last += [
        f"arg_max(value, ord) FILTER (name = '{n}' AND value IS NOT NULL) AS {c}" for n, c in _ROLES.items()
    ]
    last.append("bool_or(value > 0) FILTER (name = 'incident' AND value IS NOT NULL) AS incident")
    return (
        f"CREATE TABLE {target} AS SELECT {target} AS id, {_list(last)} FROM targets"
        f" WHERE {target} IS NOT NULL GROUP BY {target}"
    )


def final_decisions(features: Features, present: Present, *, layer: str, labelled: bool) -> str:
    """The rows of one layer in the order of the store; `labelled`: any row of the store is.

    A request's outcome is no outcome of keeping its rollout for training: that was decided afterwards.
    """
    observed = f"coalesce(b.quality_observed, {'b.quality IS NOT NULL' if labelled else 'NULL'})"
    computed = {
        "step": "coalesce(b.step, s.step)",
        "candidates": "coalesce(b.candidates, p.candidates)",
        "quality": "coalesce(b.quality, d.quality, r.quality)",
        "quality_source": "CASE WHEN b.quality IS NOT NULL THEN b.quality_source WHEN d.quality IS NOT NULL"
        " THEN nullif(d.quality_source, '') ELSE nullif(r.quality_source, '') END",
        "quality_observed": "CASE WHEN b.quality IS NULL AND coalesce(d.quality, r.quality) IS NOT NULL"
        f" THEN true ELSE {observed} END",
        **{
            name: f"coalesce(b.{name}, d.{name}, r.{name})"
            for name in ("judge_score", "value_usd", "loss_usd", "incident")
        },
    }
    names = [*_names(present), *features]
    columns = [f"{computed.get(n, f'b.{quoted(n)}')} AS {quoted(n)}" for n in names]
    return (
        f"SELECT {_list(columns)} FROM base b"
        " LEFT JOIN steps s ON b.decision_id = s.decision_id"
        " LEFT JOIN points p ON b.decision_point = p.decision_point AND b.layer = 'agent'"
        " LEFT JOIN by_decision d ON b.decision_id = d.id LEFT JOIN by_request r ON b.request_id = r.id"
        " AND b.layer <> 'training'"
        f" WHERE b.layer = '{layer}' ORDER BY b.ts NULLS LAST, b.decision_id"
    )


LABELLED: Final = (
    "SELECT EXISTS (FROM base WHERE quality IS NOT NULL)"
    " OR EXISTS (FROM by_decision WHERE quality IS NOT NULL)"
    " OR EXISTS (FROM by_request WHERE quality IS NOT NULL)"
)
"""Whether any decision of the store has a quality."""
FINAL_OUTCOMES: Final = (
    f"SELECT {_list(quoted(c.name) for c in OUTCOMES)} FROM o1"
    f" ORDER BY ts NULLS LAST, request_id, decision_id, name, {_ORDER}"
)
FINAL_STEPS: Final = (
    f"SELECT * EXCLUDE ({SEQUENCE}, filename) FROM e1 ORDER BY replica, ts NULLS LAST, {_ORDER}"
)
