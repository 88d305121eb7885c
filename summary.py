"""The answers of the verbs: a compact text for a terminal, and the same facts as data for --json."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import polars as pl

from . import exits
from .errors import SchemaError
from .runs import Run
from .schemas.records import Estimate, Estimates, Finding, Prices
from .schemas.store import Store
from .schemas.tables import TABLES
from .settings import Setting
from .terminal import Answer, visible

_NOT_IDENTIFIED: Final = "not_identified"


def of_estimates(est: Estimates, run_id: str) -> Answer:
    """One line per contrast and quantity of the whole, and every row as data."""
    rows = list(est.contrasts.iter_rows(named=True))
    lines = [visible(str(Estimate(**row))) for row in rows if row["segment"] == "all"]
    identified = any(row["estimand"] != _NOT_IDENTIFIED for row in rows)
    return Answer(
        data={"estimates": rows, "notes": list(est.notes)},
        text="\n".join(lines) or "no decision point has two actions to compare",
        run_id=run_id,
        **_ending(identified=identified, gate_closed=False),
        warnings=est.notes,
    )


def of_prices(prices: Prices) -> Answer:
    """One line per price, and every price as data."""
    return Answer(
        data={"prices": [price.to_dict() for price in prices.prices]},
        text="\n".join(visible(str(price)) for price in prices.prices),
        run_id=prices.run_id,
    )


def of_findings(findings: Sequence[Finding], run_id: str, gate: exits.Gate) -> Answer:
    """The findings table, and every finding as data."""
    return Answer(
        data={"findings": [finding.to_dict() for finding in findings]},
        text="\n".join(visible(str(finding)) for finding in findings),
        run_id=run_id,
        **_ending(identified=True, gate_closed=gate.closes(findings)),
    )


def of_schema(table: str | None) -> Answer:
    """Every column of one shared table, or of all.

    Raises: SchemaError for a table that does not exist.
    """
    if table is not None and table not in TABLES:
        raise SchemaError(f"no table '{table}'", where="schema show", expected=" or ".join(TABLES))
    names = [table] if table else list(TABLES)
    rows = [
        {"table": name, "column": col.name, "type": str(col.dtype), "unit": col.unit, "meaning": col.meaning}
        for name in names
        for col in TABLES[name]
    ]
    lines = [
        f"{r['table']}.{r['column']:<20} {r['type']:<20} {r['unit'] or '':<12} {r['meaning']}" for r in rows
    ]
    return Answer(data={"columns": rows}, text="\n".join(lines))


def of_settings(settings: Iterable[Setting]) -> Answer:
    """Each setting with its origin."""
    listed = list(settings)
    data = {s.name: {"value": _jsonable(s.value), "origin": s.origin} for s in listed}
    return Answer(data={"settings": data}, text="\n".join(map(str, listed)))


def _jsonable(value: Any) -> Any:
    return value if isinstance(value, str | int | float | bool | list | dict | None) else str(value)


def _ending(*, identified: bool, gate_closed: bool) -> dict[str, Any]:
    """Status and exit code: no support for any claim outranks a finding at the gate."""
    if not identified:
        return {"status": _NOT_IDENTIFIED, "exit_code": exits.UNSUPPORTED}
    if gate_closed:
        return {"status": "findings", "exit_code": exits.FINDINGS}
    return {}
