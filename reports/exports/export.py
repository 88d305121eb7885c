"""The files of one export target, and what they would change against those that are in use."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

from ...errors import ExportError
from .envoy import envoy, read_envoy
from .flagd import flagd
from .focus import focus, read_focus
from .langfuse import langfuse, read_langfuse
from .litellm import litellm, read_litellm
from .made import Evidence, Made
from .offer import Offer, Row
from .openmetrics import openmetrics
from .otel import otel
from .supply import Supply
from .tables import json_table, parquet_table
from .vllm_sr import read_vllm_sr, vllm_sr

Change = Literal["new", "changed", "kept", "gone"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Who loads the files. read: key -> value of a configuration in use in the target's own shape; None when
    every file is a table of all numbers, which is compared by the record beside it."""

    make: Callable[[Supply], Made]
    read: Callable[[str, str], Mapping[str, float]] | None = None

    @property
    def is_table(self) -> bool:
        """Whether the files hold all numbers of the offer, and nothing else of the run."""
        return self.read is None


def _table(write: Callable[[Offer], Mapping[str, str | bytes]]) -> Target:
    def make(supply: Supply) -> Made:
        return Made(files=write(supply.offer))

    return Target(make=make)


TARGETS: Final[Mapping[str, Target]] = {
    "json": _table(json_table),
    "parquet": _table(parquet_table),
    "openmetrics": _table(openmetrics),
    "flagd": _table(flagd),
    "otel": _table(otel),
    "litellm": Target(make=litellm, read=read_litellm),
    "vllm-sr": Target(make=vllm_sr, read=read_vllm_sr),
    "envoy": Target(make=envoy, read=read_envoy),
    "focus": Target(make=focus, read=read_focus),
    "langfuse": Target(make=langfuse, read=read_langfuse),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How one number moves. kept: the value in use lies inside the new interval, so nothing speaks for a
    change. gone: it was exported before and is not identified any more. why: how it was made."""

    key: str
    change: Change
    before: float | None
    after: float | None
    lower: float | None = None
    upper: float | None = None
    grade: str | None = None
    why: str = ""


def made_for(supply: Supply, target: str) -> Made:
    """What `target` gets of the run, with everything that was left out on the way.

    Raises: ExportError for an unknown target.
    """
    check_target(target)
    made = TARGETS[target].make(supply)
    left_out = supply.offer.skipped if TARGETS[target].is_table else (*supply.skipped, *made.skipped)
    return replace(made, skipped=left_out)


def files_of(offer: Offer, made: Made, target: str) -> dict[str, bytes]:
    """Every file of `target` by name: its own, and the full record beside it as NAME.stamp.json."""
    own = {name: text.encode() if isinstance(text, str) else text for name, text in made.files.items()}
    if target == "json":  # that file is the record
        return own
    text = json.dumps(record_of(offer, made), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    return own | {stamp_name(name): text.encode() for name in own}


def record_of(offer: Offer, made: Made) -> dict[str, Any]:
    """The full record: every number offered, the values in the files with their evidence; the gaps."""
    skipped = dict.fromkeys((*made.skipped, *offer.skipped))
    record = offer.record() | {"skipped": [asdict(one) for one in skipped]}
    if made.evidence or made.notes:
        record |= {"exported": [asdict(one) for one in made.evidence], "notes": list(made.notes)}
    return record


def check_target(target: str) -> None:
    """Refuse a target that nothing here writes for.

    Raises: ExportError naming the known ones.
    """
    if target not in TARGETS:
        raise ExportError(f"no target '{target}'", where="--to", expected=" or ".join(TARGETS))


def stamp_name(name: str) -> str:
    """The name of the full record beside the file `name`."""
    return f"{name}.stamp.json"


def differences(offer: Offer, made: Made, current: Path, target: str) -> list[Difference]:
    """What the export would change against `current`: for a table an earlier export with its record beside
    it, or a record; for the other targets a configuration in use, in their own shape.

    What a configuration in use holds beyond the export is not ours, and stays as it is.

    Raises: ExportError when `current` cannot be read as such.
    """
    read = TARGETS[target].read
    if read is not None:
        in_use = read(_text(current), str(current))
        return [_moved(one, in_use.get(one.key, in_use.get(one.against))) for one in made.evidence]
    before = _values(current)
    rows = {row.key: row for row in offer.rows}
    found = [_moved(_evidence(row), before.get(key)) for key, row in rows.items()]
    gone = [
        Difference(key=key, change="gone", before=value, after=None)
        for key, value in before.items()
        if key not in rows
    ]
    return [*found, *gone]


def _moved(now: Evidence, before: float | None) -> Difference:
    if before is None:
        change: Change = "new"
    elif before == now.value or (
        now.lower is not None and now.upper is not None and now.lower <= before <= now.upper
    ):
        change = "kept"
    else:
        change = "changed"
    return Difference(
        key=now.key,
        change=change,
        before=before,
        after=now.value,
        lower=now.lower,
        upper=now.upper,
        grade=now.grade,
        why=now.why,
    )


def _evidence(row: Row) -> Evidence:
    return Evidence(
        key=row.key, against=row.key, value=row.value, lower=row.lower, upper=row.upper, grade=row.grade
    )


def _text(current: Path) -> str:
    try:
        return current.read_text(encoding="utf-8")
    except OSError as error:
        raise ExportError(
            error.strerror or "unreadable", where=str(current), expected="the configuration in use"
        ) from error
    except UnicodeDecodeError as error:
        raise ExportError("not text", where=str(current), expected="the configuration in use") from error


def _values(current: Path) -> dict[str, float]:
    """Key -> value of the export that is in use, read from its record."""
    beside = current.with_name(stamp_name(current.name))
    stamp = beside if beside.is_file() else current
    try:
        rows = json.loads(stamp.read_text(encoding="utf-8"))["rows"]
        return {Row(**row).key: float(row["value"]) for row in rows}
    except OSError as error:
        raise ExportError(
            error.strerror or "unreadable", where=str(stamp), expected="an earlier export to compare with"
        ) from error
    except (ValueError, KeyError, TypeError) as error:
        raise ExportError(
            "no record of an export",
            where=str(stamp),
            expected="a file of export with its .stamp.json beside it",
            cure="Export once without --diff; what is in use now cannot be compared by hand.",
        ) from error
