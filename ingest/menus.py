"""Lists of candidates, kept beside the logs by policy version, brought to the decisions that they are for.

A list holds from its `valid_from` until the next one of the same version and point, or until its `valid_to`.
A decision keeps its own candidates, and takes none among which its action is not.
"""

from __future__ import annotations

from typing import Any, Final

import duckdb

from .batches import SEQUENCE

_EVER: Final = "'-infinity'::TIMESTAMPTZ"
_LISTED: Final = (
    "CREATE TABLE listed AS SELECT *, k > 1 AS repeated, candidates = first_candidates"
    " AND valid_to IS NOT DISTINCT FROM first_valid_to AS same FROM (SELECT *, row_number() OVER w AS k,"
    " first_value(candidates) OVER w AS first_candidates, first_value(valid_to) OVER w AS first_valid_to,"
    " first_value(source_file) OVER w AS first_file, first_value(source_row) OVER w AS first_row"
    " FROM raw_menus WINDOW w AS (PARTITION BY policy_version, decision_point, valid_from"
    f" ORDER BY source_file, source_row, {SEQUENCE}, filename))"
)
"""Table listed: every list, and whether another one of the same version, point and time stands before it."""
_MENUS: Final = (
    "CREATE TABLE menus AS SELECT policy_version, p.decision_point, m.decision_point IS NOT NULL AS named,"
    f" coalesce(valid_from, {_EVER}) AS since, valid_to, candidates"
    " FROM listed m JOIN (SELECT DISTINCT decision_point FROM base) p"
    " ON m.decision_point IS NULL OR m.decision_point = p.decision_point WHERE NOT repeated"
    " QUALIFY row_number() OVER (PARTITION BY policy_version, p.decision_point, valid_from"
    " ORDER BY m.decision_point NULLS LAST) = 1"
)
"""Table menus: per decision point its lists; one that names the point goes before one that names none."""
_OFFERED: Final = (
    "CREATE TABLE offered AS SELECT b.decision_id, b.decision_point, m.candidates, m.named,"
    " list_contains(m.candidates, b.action) AS fits"
    " FROM base b ASOF JOIN menus m ON b.policy_version = m.policy_version"
    f" AND b.decision_point = m.decision_point AND coalesce(b.ts, {_EVER}) >= m.since"
    " WHERE b.candidates IS NULL AND (m.valid_to IS NULL OR b.ts < m.valid_to)"
)
_FILL: Final = (
    "UPDATE base SET candidates = o.candidates FROM offered o"
    " WHERE o.fits AND base.decision_id = o.decision_id"
)
_COUNTS: Final = (
    "SELECT count(*) FILTER (fits), count(*) FILTER (NOT fits AND (named OR decision_point IN"
    " (SELECT decision_point FROM offered WHERE fits))) FROM offered"
)
_CONFLICTS: Final = (
    "SELECT source_file, source_row, first_file, first_row FROM listed WHERE repeated AND NOT same"
)


def fill_candidates(connection: duckdb.DuckDBPyConnection) -> dict[str, int]:
    """Give decisions in base the candidates of their list; the counts listed and unlisted, where lists are.

    unlisted: decisions at a point that lists are for, whose action is not in the list of their time.
    """
    run = connection.execute
    run(_LISTED)
    if not run("SELECT EXISTS (FROM listed)").fetchall()[0][0]:
        return {}
    run(_MENUS)
    run(_OFFERED)
    run(_FILL)
    return dict(zip(("listed", "unlisted"), run(_COUNTS).fetchall()[0], strict=True))


def conflicts(connection: duckdb.DuckDBPyConnection) -> list[tuple[Any, ...]]:
    """File and row of each list that contradicts another of its version, point and time; and the other's."""
    return connection.execute(_CONFLICTS).fetchall()
