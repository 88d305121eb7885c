"""A commented configuration drafted from what the logs contain; no price is ever made up."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

import polars as pl

from ..schemas.config import Config
from ..schemas.store import Store
from . import numbers as fmt
from .escape import short

_CLUSTERS: Final = {"tenant_id": "tenants", "session_id": "sessions", "request_id": "requests"}
_MIN_CLUSTERS: Final = 30
"""Tenants from which a tenant is a good cluster; with fewer, sessions (METHODS A1)."""
_MOST_LEVELS: Final = 30
"""Levels of a text feature that may be a class of tasks; with more it is a name or an id."""
_MOST_CLASSES: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Starter:
    """text: the file. classes: level of the class column -> decisions. outcomes: name -> linked. clusters:
    column -> distinct values."""

    text: str
    class_column: str | None
    classes: dict[str, int]
    outcomes: dict[str, int]
    quality: str | None
    clusters: dict[str, int]
    cluster: str | None

    def to_dict(self) -> dict[str, Any]:
        """The draft as plain values."""
        return asdict(self)


def starter(store: Store) -> Starter:
    """The configuration that fits `store`: what the logs tell is set, what only the user knows is not."""
    decisions = store.decisions()
    counts = decisions.select(pl.col(n).drop_nulls().n_unique().alias(n) for n in _CLUSTERS)
    clusters = {n: int(v) for n, v in counts.collect(engine="streaming").row(0, named=True).items() if v}
    cluster = _cluster(clusters)
    features = _class_columns(store)
    column = next((c for c in (Config().task_class, *features) if c in features), None)
    classes = _levels(decisions, column) if column else {}
    links = store.manifest.get("links", {})
    outcomes = {str(k): int(v["linked"]) for k, v in links.get("by_name", {}).items()}
    quality = links.get("quality_name")
    parts = [
        _head(store),
        *_clusters(clusters, cluster),
        *_classes(column, features),
        *_quality(quality, outcomes),
        *_prices(column, classes),
        *_points(decisions),
    ]
    return Starter(
        text="\n".join(parts) + "\n",
        class_column=column,
        classes=classes,
        outcomes=outcomes,
        quality=quality,
        clusters=clusters,
        cluster=cluster,
    )


def quoted(text: str) -> str:
    """`text` as a TOML string; what draws nothing, or could end the string, is escaped."""
    escaped = "".join(f"\\{c}" if c in '\\"' else c if c.isprintable() else f"\\U{ord(c):08X}" for c in text)
    return f'"{escaped}"'


def _cluster(clusters: dict[str, int]) -> str | None:
    if clusters.get("tenant_id", 0) >= _MIN_CLUSTERS:
        return "tenant_id"
    return next((name for name in ("session_id", "request_id") if clusters.get(name, 0) > 1), None)


def _class_columns(store: Store) -> list[str]:
    """Text features with few levels, the coarsest first."""
    texts = [name for name, kind in store.features().items() if kind == "text"]
    if not texts:
        return []
    sizes = store.decisions().select(pl.col(n).drop_nulls().n_unique() for n in texts)
    levels = sizes.collect(engine="streaming").row(0, named=True)
    return sorted((n for n in texts if 2 <= levels[n] <= _MOST_LEVELS), key=lambda n: (levels[n], n))


def _levels(decisions: pl.LazyFrame, column: str) -> dict[str, int]:
    sizes = decisions.group_by(pl.col(column).cast(pl.String)).len().drop_nulls(column)
    ranked = sizes.sort(["len", column], descending=[True, False]).collect(engine="streaming")
    return {str(name): int(n) for name, n in ranked.iter_rows()}


def _head(store: Store) -> str:
    window = store.manifest.get("window") or (None, None)
    count = fmt.count(store.manifest["counts"]["decisions"])
    return (
        f"# Drafted from {count} decisions, {fmt.date_range(*window)}. A line that starts with # is not in "
        "force:\n# it is yours to decide. 'shadowprice audit LOGS --show-config' prints what is used."
    )


def _clusters(clusters: dict[str, int], cluster: str | None) -> list[str]:
    told = ", ".join(f"{fmt.count(n)} {_CLUSTERS[name]}" for name, n in clusters.items()) or "no ids at all"
    lines = ["", f"# Decisions of one cluster are not independent. In these logs: {told}."]
    if cluster is None:
        return [*lines, '# cluster = "tenant_id"     # tenant_id, session_id, request_id or decision_id']
    return [*lines, f"cluster = {quoted(cluster)}"]


def _classes(column: str | None, features: list[str]) -> list[str]:
    lines = ["", "# The feature that says what kind of task it is; V may differ by its levels."]
    if column is None:
        return [
            *lines,
            '# task_class = "x_task_class"     # no text feature with 2 to 30 levels is in these logs',
        ]
    others = [f for f in features if f != column]
    also = f"     # or {', '.join(map(short, others))}" if others else ""
    return [
        *lines,
        f"task_class = {quoted(column)}{also}",
        "# Slices in which every contrast is estimated on its own, fixed before anything is seen.",
        f"segments = [{quoted(column)}]",
    ]


def _quality(quality: str | None, outcomes: dict[str, int]) -> list[str]:
    lines = ["", "# The outcome that says how good it was; low and high are mapped to 0 and 1."]
    found = ", ".join(f"{short(name)} ({fmt.count(n)} linked)" for name, n in outcomes.items())
    lines.append(
        f"# Outcomes in these logs: {found or 'none; without one no effect on quality is identified'}."
    )
    if quality is None:
        some = next(iter(outcomes), "resolved")
        return [*lines, "# [quality]", f"# name = {quoted(some)}", "# low = 0.0", "# high = 1.0"]
    return [*lines, "[quality]", f"name = {quoted(quality)}", "# low = 0.0", "# high = 1.0"]


def _prices(column: str | None, classes: dict[str, int]) -> list[str]:
    """What only the user knows; the unit stands, the number does not."""
    lines = [
        "",
        "# What things are worth to you. No log tells it, so nothing is assumed: without a task value the",
        "# report gives the value from which each change pays (V*); unpriced, waiting and incidents count 0.",
        "[prices]",
        '# task_value = "... USD/task"     # V: a solved task',
        '# latency = "... USD/s"           # λ: a second of waiting',
        '# risk = "... USD/event"          # ρ: an incident; "... USD/USD" weighs logged losses instead',
    ]
    if not classes:
        return lines
    lines += ["", f"# V by {short(column or '')}, where classes differ.", "# [prices.task_value_by_class]"]
    shown = list(classes.items())[:_MOST_CLASSES]
    lines += [f'# {quoted(name)} = "... USD/task"     # {fmt.count(n)} decisions' for name, n in shown]
    more = len(classes) - len(shown)
    return [*lines, *([f"# and {more} more"] if more else [])]


def _points(decisions: pl.LazyFrame) -> list[str]:
    found = decisions.group_by("layer", "decision_point").agg(pl.col("action").n_unique(), pl.len())
    rows = found.filter(pl.col("action") > 1).sort("layer", "decision_point").collect(engine="streaming")
    lines = [
        "",
        "# How the choices came about, where you know it: R randomised with logged propensities, U a known",
        "# function of logged features, O possibly from other causes, D a fixed rule. Tested, not believed.",
    ]
    for row in rows.iter_rows(named=True):
        where = f"{row['layer']}, {row['action']} actions, {fmt.count(row['len'])} decisions"
        lines += [
            "# [[points]]",
            f"# name = {quoted(row['decision_point'])}     # {where}",
            '# identification = "O"',
        ]
    return lines if rows.height else []
