"""What ingest counted, as tables: files, refused files, rows, links and unpriced tokens."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from . import numbers as fmt
from .tables import Table, table

_NAMED: Final = 3
"""Refused files that are named where many have the same reason; the page and --json name all."""


def refused_lines(refused: Iterable[Mapping[str, str]]) -> list[str]:
    """One line per reason: the first files that it refused, how many more, and why."""
    names: dict[str, list[str]] = {}
    for item in refused:
        names.setdefault(item["error"], []).append(item["name"])
    return [f"{_some(files)} not read: {error}" for error, files in names.items()]


def _some(files: list[str]) -> str:
    more = len(files) - _NAMED
    return ", ".join(files[:_NAMED]) + (f" and {fmt.count(more)} more" if more > 0 else "")


def ingest_tables(manifest: Mapping[str, Any]) -> tuple[Table, ...]:
    """The tables that `manifest` has content for; what it lacks is left out."""
    return tuple(t for t in (_sources(manifest), _refused(manifest), _counts(manifest)) if t.rows)


def _sources(manifest: Mapping[str, Any]) -> Table:
    rows = [
        (
            source.get("name"),
            source.get("format"),
            _counted(source.get("rows")),
            fmt.count(source.get("quarantined", 0)),
            _counted(source.get("ignored")),
            str(source.get("digest", ""))[:16],
        )
        for source in manifest.get("sources", [])
    ]
    return table("Files read", "file|format|rows|#quarantined|not decisions|SHA-256", rows)


def _counted(counts: object) -> str:
    if not isinstance(counts, Mapping):
        return ""
    return ", ".join(f"{fmt.count(n)} {name}" for name, n in sorted(counts.items()) if n)


def _refused(manifest: Mapping[str, Any]) -> Table:
    rows = [(r.get("name"), r.get("error")) for r in manifest.get("refused", [])]
    return table("Files refused", "file|why", rows)


def _counts(manifest: Mapping[str, Any]) -> Table:
    rows: list[tuple[str, str]] = [
        (name.replace("_", " "), fmt.count(n))
        for name, n in manifest.get("counts", {}).items()
        if n is not None
    ]
    links = manifest.get("links", {})
    linked, unlinked = links.get("linked"), links.get("unlinked")
    if linked is not None and unlinked is not None:
        whole = linked + unlinked
        part = f" ({fmt.share(linked / whole)})" if whole else ""
        rows.append(("outcomes linked to a decision", f"{fmt.count(linked)} of {fmt.count(whole)}{part}"))
    if links.get("quality_name"):
        rows.append(("outcome that is the quality", str(links["quality_name"])))
    unpriced = manifest.get("unpriced", {})
    if unpriced.get("decisions") is not None:
        rows.append(("unpriced decisions", fmt.count(unpriced["decisions"])))
        rows.append(("unpriced tokens", fmt.count(unpriced.get("tokens"))))
    return table("What came in", "what|#count", rows)
