"""What linking came to, for the manifest: rows, repeats, links, unpriced decisions and the window of time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import duckdb

from .batches import FeatureKind

_TOKENS: Final = ("tok_input_uncached", "tok_cache_read", "tok_cache_write", "tok_output")
_COUNTS: Final = {
    "decisions": "SELECT count(*) FROM base",
    "outcomes": "SELECT count(*) FROM o1",
    "engine_steps": "SELECT count(*) FROM e1",
    "untaken": "SELECT count(*) FROM base WHERE source_format = 'linked'",
    "duplicates": "SELECT (SELECT count(*) FROM dropped WHERE same)"
    " + (SELECT count(*) FROM raw_engine_steps) - (SELECT count(*) FROM e1)",
}


def linked_facts(
    connection: duckdb.DuckDBPyConnection,
    *,
    quality_name: str | None,
    features: dict[str, FeatureKind],
    repeated_outcomes: int,
) -> dict[str, Any]:
    """The entries counts, links, unpriced and window of the manifest."""
    counts = {name: int(_row(connection, query)[0]) for name, query in _COUNTS.items()}
    counts["duplicates"] += repeated_outcomes
    return {
        "counts": counts,
        "links": _links(connection, quality_name),
        "unpriced": _unpriced(connection),
        "window": _window(connection, features),
    }


def _links(connection: duckdb.DuckDBPyConnection, quality_name: str | None) -> dict[str, Any]:
    found = connection.execute(
        "SELECT name, count(*), count(coalesce(by_decision, by_request)) FROM targets"
        " GROUP BY name ORDER BY name"
    ).fetchall()
    total, linked = sum(row[1] for row in found), sum(row[2] for row in found)
    return {
        "quality_name": quality_name,
        "outcomes": total,
        "linked": linked,
        "unlinked": total - linked,
        "by_name": {name: {"total": n, "linked": k} for name, n, k in found},
    }


def _unpriced(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    tokens = " + ".join(f"coalesce({name}, 0)" for name in _TOKENS)
    rows, total = _row(connection, f"SELECT count(*), sum({tokens}) FROM base WHERE cost_source = 'unpriced'")
    return {"decisions": int(rows), "tokens": int(total or 0)}


def _window(connection: duckdb.DuckDBPyConnection, features: dict[str, FeatureKind]) -> list[str | None]:
    """First and last time as ISO text; clocks that only count from a start of their own stay out."""
    wall = "WHERE x_clock IS DISTINCT FROM 'relative'" if "x_clock" in features else ""
    first, last = _row(connection, f"SELECT epoch_us(min(ts)), epoch_us(max(ts)) FROM base {wall}")
    return [None if at is None else _iso(int(at)) for at in (first, last)]


def _iso(micros: int) -> str:
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)).isoformat()


def _row(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    return connection.execute(query).fetchall()[0]
