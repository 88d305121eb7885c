"""What is in these logs, what they can identify, and what to log next; nothing is estimated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import polars as pl

from ..estimators.identification import identify
from ..schemas.config import Config
from ..schemas.records import Grade
from ..schemas.store import Store
from . import numbers as fmt
from .escape import short
from .ingested import refused_lines

_NEEDED: Final = (
    "propensity",
    "candidates",
    "quality",
    "cost_usd",
    "latency_s",
    "incident",
    "request_id",
    "session_id",
    "tenant_id",
    "ts",
)
"""Columns without which an estimate, its price or its interval is weaker or impossible."""
_MISSING: Final = 0.5
"""A column that this share of the rows lacks is named as missing."""
_MAX_LAYERS: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One decision point: the best grade it can reach, why, and what would raise it.

    missing: column -> share of rows that lack it, where that is more than half.
    """

    layer: str
    decision_point: str
    decisions: int
    actions: tuple[str, ...]
    spend_usd: float | None
    spend_share: float | None
    grade: Grade
    reason: str
    advice: str
    missing: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Joined:
    """Requests that are seen in exactly `layers` layers, as shares of all requests and of their spend."""

    layers: int
    requests: int
    request_share: float
    spend_share: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Inspection:
    """What the logs hold. formats: format -> rows. links: outcome counts.
    with_quality: decisions that have one, linked or their own. `to_dict` is the stable export."""

    formats: dict[str, int]
    layers: dict[str, int]
    window: tuple[str | None, str | None]
    joins: tuple[Joined, ...]
    without_request_id: int
    links: dict[str, Any]
    with_quality: int
    unpriced: dict[str, int]
    quarantined: int
    refused: tuple[dict[str, str], ...]
    points: tuple[Point, ...]

    def to_dict(self) -> dict[str, Any]:
        """The inspection as plain values."""
        return asdict(self)

    def __str__(self) -> str:
        return "\n".join([*_overview(self), "", *_points(self)])


def inspect(store: Store, config: Config | None = None) -> Inspection:
    """What `store` holds, how its layers join, and the evidence grade each decision point can reach."""
    frame = store.decisions().collect()
    manifest = store.manifest
    window = manifest.get("window") or [None, None]
    return Inspection(
        formats=_formats(manifest),
        layers={str(k): n for k, n in frame.group_by("layer").len().sort("layer").iter_rows()},
        window=(window[0], window[1]),
        joins=_joins(frame),
        without_request_id=frame["request_id"].null_count(),
        links=dict(manifest.get("links", {})),
        with_quality=frame.height - frame["quality"].null_count(),
        unpriced=dict(manifest.get("unpriced", {})),
        quarantined=int(manifest.get("counts", {}).get("quarantined") or 0),
        refused=tuple(manifest.get("refused", [])),
        points=_judged_points(frame, config),
    )


def _formats(manifest: Mapping[str, Any]) -> dict[str, int]:
    formats: dict[str, int] = {}
    for source in manifest.get("sources", []):
        rows = sum((source.get("rows") or {}).values())
        formats[str(source.get("format"))] = formats.get(str(source.get("format")), 0) + rows
    return dict(sorted(formats.items()))


def _joins(frame: pl.DataFrame) -> tuple[Joined, ...]:
    """Requests by the number of layers that saw them."""
    per_request = (
        frame.filter(pl.col("request_id").is_not_null())
        .group_by("request_id")
        .agg(layers=pl.col("layer").n_unique(), spend=pl.col("cost_usd").sum())
    )
    if per_request.is_empty():
        return ()
    whole, spend = per_request.height, float(per_request["spend"].sum())
    found: list[Joined] = []
    for k in range(1, _MAX_LAYERS + 1):
        mine = per_request.filter(pl.col("layers") == k)
        share = float(mine["spend"].sum()) / spend if spend > 0 else None
        found.append(
            Joined(layers=k, requests=mine.height, request_share=mine.height / whole, spend_share=share)
        )
    return tuple(found)


def _judged_points(frame: pl.DataFrame, config: Config | None) -> tuple[Point, ...]:
    spend = float(frame["cost_usd"].sum())
    points: list[Point] = []
    for judged in identify(frame, config):
        rows = frame.filter(layer=judged.layer, decision_point=judged.decision_point)
        priced = rows["cost_usd"].is_not_null().any()
        own = float(rows["cost_usd"].sum()) if priced else None
        points.append(
            Point(
                layer=judged.layer,
                decision_point=judged.decision_point,
                decisions=rows.height,
                actions=judged.actions,
                spend_usd=own,
                spend_share=own / spend if own is not None and spend > 0 else None,
                grade=judged.grade,
                reason=judged.reason,
                advice=judged.advice,
                missing=_missing(rows),
            )
        )
    return tuple(points)


def _missing(rows: pl.DataFrame) -> dict[str, float]:
    shares = {name: rows[name].null_count() / rows.height for name in _NEEDED}
    return {name: share for name, share in shares.items() if share > _MISSING}


def _overview(i: Inspection) -> list[str]:
    formats = ", ".join(f"{short(name)} {fmt.count(n)} rows" for name, n in i.formats.items()) or "none"
    layers = ", ".join(f"{name} {fmt.count(n)}" for name, n in i.layers.items()) or "none"
    lines = [
        f"Formats    {formats}",
        f"Window     {fmt.date_range(*i.window)}",
        f"Decisions  {layers}",
        f"Joins      {_joined(i)}",
        f"Outcomes   {_linked(i)}",
        f"Unpriced   {fmt.count(i.unpriced.get('tokens', 0))} tokens in "
        f"{fmt.count(i.unpriced.get('decisions', 0))} decisions",
    ]
    lines += [f"Quarantine {fmt.count(i.quarantined)} bad rows"] if i.quarantined else []
    return lines + [f"Refused    {short(text, longest=400)}" for text in refused_lines(i.refused)]


def _joined(i: Inspection) -> str:
    parts = [
        f"{fmt.share(j.request_share)} of requests in {j.layers} {'layer' if j.layers == 1 else 'layers'}"
        + (f" ({fmt.share(j.spend_share)} of spend)" if j.spend_share is not None else "")
        for j in i.joins
        if j.requests
    ]
    if i.without_request_id:
        parts.append(f"{fmt.count(i.without_request_id)} decisions have no request_id")
    return ", ".join(parts) or "no request_id, so layers cannot be joined"


def _linked(i: Inspection) -> str:
    links = i.links
    linked, unlinked = links.get("linked") or 0, links.get("unlinked") or 0
    if not linked + unlinked and i.with_quality:
        return f"none to link: {fmt.count(i.with_quality)} decisions carry their own quality"
    if not linked + unlinked:
        return "none: tokens can be priced, quality effects cannot be learned"
    name = links.get("quality_name")
    quality = f", quality is '{short(str(name))}'" if name else ", none of them names the quality"
    part = fmt.share(linked / (linked + unlinked))
    return f"{fmt.count(linked)} of {fmt.count(linked + unlinked)} linked ({part}){quality}"


def _points(i: Inspection) -> list[str]:
    """One block per decision point, best evidence first."""
    if not i.points:
        return ["No decisions, so nothing can be identified."]
    lines: list[str] = []
    for p in sorted(i.points, key=lambda p: (p.grade, p.layer, p.decision_point)):
        spend = f", {fmt.share(p.spend_share)} of spend" if p.spend_share is not None else ", no cost logged"
        head = f"{short(p.layer)}.{short(p.decision_point)}"
        lines.append(f"[{p.grade}] {head}  {fmt.count(p.decisions)} decisions{spend}")
        lines.append(f"    why      {short(p.reason, longest=300)}")
        if p.missing and p.advice:
            gaps = ", ".join(f"{n} ({fmt.share(s)})" for n, s in p.missing.items())
            lines.append(f"    missing  {gaps}")
        if p.advice:
            lines.append(f"    next     {short(p.advice, longest=300)}")
    return lines
