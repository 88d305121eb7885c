"""What changed between two runs, and which changes exceed noise: each change has an interval of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import polars as pl

from ..estimators.changes import Reported, Shift, paired_shift, separate_shift
from ..estimators.gains import GAIN_KEYS
from ..schemas.records import Finding
from .multiplicity import FALSE_DISCOVERY_RATE, benjamini_hochberg
from .names import mode_name
from .numbers import window_days
from .privacy import small_cells, without_small_segments
from .view import RunView

Row = dict[str, Any]
Key = tuple[str | None, ...]

_CONTRAST: Final = ("layer", "decision_point", "segment", "action", "baseline")
_PRICE: Final = ("name", *_CONTRAST)
_MIN_DAYS: Final = 0.5
"""Logs of under half a day say nothing of the volume of a day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One number in both runs. quantity: one of QUANTITIES, 'net', a gain per decision or a price's name.

    status: same | within_noise | changed | moved (the logs are the same, so by settings) | new | gone |
    in_neither (not identified in either run) | not_comparable.
    p_adjusted: over all rows that were tested. reason: why there is no test, or what limits it.
    """

    kind: str
    quantity: str
    layer: str | None
    decision_point: str | None
    segment: str
    action: str | None
    baseline: str | None
    before: float | None
    after: float | None
    grade_before: str | None
    grade_after: str | None
    status: str
    unit: str | None = None
    difference: float | None = None
    lower: float | None = None
    upper: float | None = None
    level: float | None = None
    p_value: float | None = None
    p_adjusted: float | None = None
    method: str | None = None
    shared_clusters: int | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """Decisions and spend of one decision point in both runs: counted, not estimated, so without a test."""

    layer: str
    decision_point: str
    decisions: tuple[int, int]
    spend_usd: tuple[float, float]
    unpriced_decisions: tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two runs side by side. settings: (name, before, after) of what differs. findings: (mode, place, status
    before, status after) where it differs. days: length of the windows, None where not known."""

    runs: tuple[str, str]
    same_logs: bool
    windows: tuple[tuple[str | None, str | None], tuple[str | None, str | None]]
    days: tuple[float | None, float | None]
    settings: tuple[tuple[str, Any, Any], ...]
    volumes: tuple[Volume, ...]
    changes: tuple[Change, ...]
    findings: tuple[tuple[str, str, str, str], ...]
    hidden: int

    @property
    def unchanged(self) -> bool:
        """Whether nothing at all differs."""
        return not (
            self.settings
            or self.findings
            or any(c.status != "same" for c in self.changes)
            or any(v.decisions[0] != v.decisions[1] or v.spend_usd[0] != v.spend_usd[1] for v in self.volumes)
        )

    @property
    def compared(self) -> int:
        """Rows that could be compared."""
        return sum(c.status in ("same", "within_noise", "changed", "moved") for c in self.changes)

    def to_dict(self) -> Row:
        """The comparison as plain values."""
        return {**asdict(self), "unchanged": self.unchanged, "compared": self.compared}


def compare(a: RunView, b: RunView) -> Comparison:
    """What changed from run `a` to run `b`. provenance of both: run_id, store, config, seed, versions.

    Contrasts and prices are compared as independent estimates: on the safe side where the runs share
    clusters. Gains of findings are paired by cluster. The false discovery rate is held at 10 % over all rows
    tested (Benjamini & Hochberg 1995). On the same logs nothing is noise: what moved, settings moved.
    """
    hidden = small_cells(a.est.contrasts) | small_cells(b.est.contrasts)
    a, b = (without_small_segments(view, hidden) for view in (a, b))
    same_logs = a.provenance["store"] == b.provenance["store"]
    settings = tuple(_settings(a.provenance, b.provenance))
    repriced = a.provenance["config"].get("prices") != b.provenance["config"].get("prices")
    shared = _shared_clusters(a, b)
    rows = [*_contrasts(a, b, shared), *_gains(a, b), *_fitted(a, b, shared)]
    if repriced:
        rows = [_unless_priced(change) for change in rows]
    if same_logs:
        rows = [_moved(change) for change in rows]
    return Comparison(
        runs=(a.provenance["run_id"], b.provenance["run_id"]),
        same_logs=same_logs,
        windows=(a.est.window, b.est.window),
        days=(_days(a), _days(b)),
        settings=settings,
        volumes=tuple(_volumes(a, b)),
        changes=_judged(rows),
        findings=tuple(_statuses(a.findings, b.findings)),
        hidden=len(hidden),
    )


def _days(view: RunView) -> float | None:
    days = window_days(*view.est.window)
    return days if days is not None and days >= _MIN_DAYS else None


def _settings(a: Row, b: Row) -> Iterator[tuple[str, Any, Any]]:
    """Every setting, seed and version that differs, prices and segments first."""
    told = bool(a.get("versions") and b.get("versions"))  # a run without a report does not know them
    flat = [
        {
            **_flat(one["config"]),
            "seed": one["seed"],
            **(_flat(one["versions"], "version of ") if told else {}),
        }
        for one in (a, b)
    ]
    names = sorted({*flat[0], *flat[1]}, key=lambda n: (not n.startswith("prices"), n != "segments", n))
    for name in names:
        before, after = (one.get(name) for one in flat)
        if before != after:
            yield name, before, after


def _flat(data: Row, prefix: str = "") -> Row:
    out: Row = {}
    for name, value in data.items():
        out |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return out


def _shared_clusters(a: RunView, b: RunView) -> int | None:
    """Clusters that both runs have; None where no gain names a cluster."""
    names = [set(view.est.gains["cluster"]) for view in (a, b)]
    return len(names[0] & names[1]) if all(names) else None


def _volumes(a: RunView, b: RunView) -> Iterator[Volume]:
    sums = [
        view.est.coverage.group_by("layer", "decision_point").agg(
            pl.col("decisions", "unpriced_decisions", "spend_usd").sum()
        )
        for view in (a, b)
    ]
    both = sums[0].join(sums[1], on=["layer", "decision_point"], how="full", coalesce=True, suffix="_b")
    for row in both.fill_null(0).sort("layer", "decision_point").iter_rows(named=True):
        yield Volume(
            layer=row["layer"],
            decision_point=row["decision_point"],
            decisions=(row["decisions"], row["decisions_b"]),
            spend_usd=(row["spend_usd"], row["spend_usd_b"]),
            unpriced_decisions=(row["unpriced_decisions"], row["unpriced_decisions_b"]),
        )


def _contrasts(a: RunView, b: RunView, shared: int | None) -> Iterator[Change]:
    """Every contrast of either run by its headline number; one that is stated in reverse is turned round."""
    first, second = (_headlines(view) for view in (a, b))
    second = {key if key in first else _reversed_key(key, first): row for key, row in second.items()}
    for key in dict.fromkeys([*first, *second]):
        before, after = first.get(key), second.get(key)
        if after is not None and (after["action"], after["baseline"]) != key[3:5]:
            after = _turned(after)
        yield _change("contrast", str(key[5]), key[:5], before, after, shared)


def _headlines(view: RunView) -> dict[Key, Row]:
    """One row per contrast, segment and quantity: the overlap-weighted effect where there is one."""
    df = {tuple(r[c] for c in _CONTRAST): r["df"] for r in view.est.joint.iter_rows(named=True)}
    rank = (pl.col("value").is_null()).cast(pl.Int8) * 2 + (pl.col("estimand") != "ATO").cast(pl.Int8)
    best = view.est.contrasts.sort(rank, maintain_order=True).unique(
        [*_CONTRAST, "quantity"], keep="first", maintain_order=True
    )
    return {
        (*(r[c] for c in _CONTRAST), r["quantity"]): {
            **r,
            "df": df.get(tuple(r[c] for c in _CONTRAST)) or max(1.0, r["clusters"] - 1.0),
        }
        for r in best.sort(*_CONTRAST, "quantity").iter_rows(named=True)
    }


def _reversed_key(key: Key, known: dict[Key, Row]) -> Key:
    layer, point, segment, action, baseline, quantity = key
    turned = (layer, point, segment, baseline, action, quantity)
    return turned if turned in known else key


def _turned(row: Row) -> Row:
    ends = {"value": row["value"], "lower": row["upper"], "upper": row["lower"]}
    flipped = {name: None if x is None else -x for name, x in ends.items()}
    return {**row, **flipped, "action": row["baseline"], "baseline": row["action"]}


def _fitted(a: RunView, b: RunView, shared: int | None) -> Iterator[Change]:
    """Every price that was not set by the user."""
    first, second = (
        {
            tuple(getattr(p, c) for c in _PRICE): {
                **p.to_dict(),
                "df": max(1.0, p.clusters - 1.0) if p.clusters else math.inf,
            }
            for p in view.prices.prices
            if p.source != "user"
        }
        for view in (a, b)
    )
    for key in dict.fromkeys([*first, *second]):
        yield _change("price", str(key[0]), key[1:], first.get(key), second.get(key), shared)


def _gains(a: RunView, b: RunView) -> Iterator[Change]:
    """Dollars per moved decision of every move that a finding of either run names."""
    named = {
        tuple(getattr(f, c) for c in GAIN_KEYS): f
        for view in (b, a)
        for f in view.findings
        if f.p_value is not None
    }
    for key in sorted(named, key=str):
        sides = [
            view.est.gains.filter(pl.col(c) == v for c, v in zip(GAIN_KEYS, key, strict=True))
            for view in (a, b)
        ]
        rows = [
            None if side.is_empty() else {"grade": named[key].grade, "value": _ratio(side)} for side in sides
        ]
        head = f"gain per decision, {'to ' + str(key[4] if key[5] == 'over' else key[3])}"

        def test(sides: list[pl.DataFrame] = sides) -> Shift | str:
            return paired_shift(*sides) or "one side has a single cluster, so the change has no interval"

        yield _change("gain", head, key[:5], rows[0], rows[1], None, test)


def _ratio(gains: pl.DataFrame) -> float:
    return float(gains["usd"].sum()) / float(gains["decisions"].sum())


def _change(
    kind: str,
    quantity: str,
    place: Key,
    before: Row | None,
    after: Row | None,
    shared: int | None,
    test: Callable[[], Shift | str] | None = None,
) -> Change:
    """One number in both runs, tested where it has an interval in both."""
    layer, point, segment, action, baseline = place
    values = [None if row is None else row["value"] for row in (before, after)]
    grades = [None if row is None else row.get("grade") for row in (before, after)]
    blank = Change(
        kind=kind,
        quantity=quantity,
        layer=layer,
        decision_point=point,
        segment=str(segment),
        action=action,
        baseline=baseline,
        before=values[0],
        after=values[1],
        grade_before=grades[0],
        grade_after=grades[1],
        status="not_comparable",
        unit=next((row.get("unit") for row in (before, after) if row is not None), None),
    )
    if before is None or after is None:
        there, which = ("gone", "the second") if after is None else ("new", "the first")
        return replace(blank, status=there, reason=f"not among the rows of {which} run")
    if values == [None, None]:
        same = all(before.get(k) == after.get(k) for k in ("reason", "lower", "upper"))
        return replace(blank, status="same" if same else "in_neither", reason=after.get("reason"))
    if None in values:
        there, row = ("gone", after) if values[1] is None else ("new", before)
        return replace(blank, status=there, reason=row.get("reason"))
    if test is None and all(before.get(k) == after.get(k) for k in ("value", "lower", "upper", "estimand")):
        return replace(blank, status="same", difference=0.0)
    found = test() if test else _tested(before, after, shared)
    if isinstance(found, str):
        return replace(blank, reason=found)
    if found.value == 0.0 and found.lower == found.upper:
        return replace(blank, status="same", difference=0.0)
    return replace(
        blank,
        status="within_noise",
        difference=found.value,
        lower=found.lower,
        upper=found.upper,
        level=found.level,
        p_value=found.p_value,
        method=found.method,
        shared_clusters=found.shared,
    )


def _tested(before: Row, after: Row, shared: int | None) -> Shift | str:
    if before.get("estimand") != after.get("estimand"):
        return f"{before['estimand']} and {after['estimand']} describe different decisions"
    if None in (before["lower"], before["upper"], after["lower"], after["upper"], before["level"]):
        return "an interval without an end, so the change has none"
    if before["level"] != after["level"]:
        return "intervals of different levels"
    ends = [
        Reported(value=r["value"], lower=r["lower"], upper=r["upper"], df=r["df"]) for r in (before, after)
    ]
    return separate_shift(*ends, level=before["level"], shared=shared)


def _unless_priced(change: Change) -> Change:
    """Dollars at other prices are not the same quantity."""
    if change.status != "within_noise" or not (change.quantity == "net" or change.kind in ("gain", "price")):
        return change
    return replace(
        change,
        status="not_comparable",
        p_value=None,
        reason="the prices of the two runs differ, so these dollars answer different questions",
    )


def _moved(change: Change) -> Change:
    """On the same logs a difference is no chance."""
    if change.status != "within_noise":
        return change
    return replace(
        change,
        status="moved",
        lower=None,
        upper=None,
        p_value=None,
        reason="the logs are the same, so the settings moved it and not chance",
    )


def _judged(rows: Iterable[Change]) -> tuple[Change, ...]:
    """The rows with adjusted p-values; those at most at the false discovery rate have changed."""
    every = list(rows)
    tested = [k for k, c in enumerate(every) if c.p_value is not None]
    adjusted = benjamini_hochberg([every[k].p_value or 0.0 for k in tested])
    for k, q in zip(tested, adjusted, strict=True):
        status = "changed" if q <= FALSE_DISCOVERY_RATE else "within_noise"
        every[k] = replace(every[k], p_adjusted=q, status=status)
    return tuple(every)


def _statuses(a: tuple[Finding, ...], b: tuple[Finding, ...]) -> Iterator[tuple[str, str, str, str]]:
    first, second = ({_finding_key(f): f.status for f in findings} for findings in (a, b))
    for key in dict.fromkeys([*first, *second]):
        before, after = first.get(key, "absent"), second.get(key, "absent")
        if before != after:
            mode, layer, point, segment, action, baseline, direction = (part or "" for part in key)
            arms = (action, baseline) if direction == "over" else (baseline, action)
            move = f" · {arms[0]} → {arms[1]}" if action else ""
            yield mode_name(mode), f"{layer} · {segment or point}{move}", before, after


def _finding_key(f: Finding) -> Key:
    return f.mode, f.layer, f.decision_point, f.segment, f.action, f.baseline, f.direction
