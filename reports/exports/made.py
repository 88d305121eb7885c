"""What an exporter hands back: files, what it could not say and why, and the evidence behind each value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .offer import Offer, Skipped


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One value of an exported file. key: what it is about; `against`: its key in a configuration in use.

    Without an interval it is a fact, or a number that the user set. why: how it was made, in a line.
    """

    key: str
    against: str
    value: float
    lower: float | None = None
    upper: float | None = None
    grade: str | None = None
    why: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """The files of one target by name; `notes` are warnings that a person should read before loading them."""

    files: Mapping[str, str | bytes]
    evidence: tuple[Evidence, ...] = ()
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = field(default=())


def facts(about: str, numbers: Mapping[str, float], why: str) -> list[Evidence]:
    """Numbers that are no estimates, each under `about` and its own name."""
    keyed = {f"{about}/{name}": value for name, value in numbers.items()}
    return [Evidence(key=key, against=key, value=value, why=why) for key, value in keyed.items()]


def joined(*parts: Made) -> Made:
    """Everything that `parts` made, in order."""
    return Made(
        files={name: text for part in parts for name, text in part.files.items()},
        evidence=tuple(e for part in parts for e in part.evidence),
        skipped=tuple(s for part in parts for s in part.skipped),
        notes=tuple(dict.fromkeys(note for part in parts for note in part.notes)),
    )


def stamp_lines(offer: Offer) -> list[str]:
    """The stamp of the run as comment lines, for a target that forbids keys of ours."""
    start, end, until = (at or "unknown" for at in (*offer.window, offer.valid_until))
    return [
        f"shadowprice run {offer.run_id}, data {start} to {end}, valid until {until}",
        "List prices are facts, all else is estimated; the full record is in the .stamp.json beside this.",
    ]


def flat_stamp(offer: Offer) -> dict[str, Any]:
    """The stamp of the run as texts, for a target's free metadata."""
    stamp = offer.stamp()
    start, end = (str(at or "") for at in stamp["data_window"])
    return {
        "run_id": offer.run_id,
        "data_from": start,
        "data_to": end,
        "valid_until": stamp["valid_until"] or "",
    }
