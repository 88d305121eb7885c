"""All logs staged: local ones on all cores, large ones in stretches; then those that lie elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import IngestError
from . import cores, stretches
from .files import Place, Refused
from .garbage import rare_collections
from .intake import Intake, Objects
from .meter import Meter
from .opening import printable
from .seam import EntangledError
from .staging import Staged, staged
from .stitching import CutLog


def stage_all(intake: Intake, files: Sequence[tuple[str, Place]]) -> tuple[list[Staged], list[Refused]]:
    """Every readable log staged, in the order of names, and what was refused.

    Raises: ExportError when nothing can be written.
    """
    with rare_collections():
        return _stage_all(intake, files)


def _stage_all(intake: Intake, files: Sequence[tuple[str, Place]]) -> tuple[list[Staged], list[Refused]]:
    sizes = {name: _size(place) for name, place in files}
    told = _Told(
        meter=Meter(tell=intake.progress, total=sum(sizes.values())), sizes=sizes, sources=[], refused=[]
    )
    objects = Objects.of(intake.staging)
    apart = _apart(intake, files, told)
    for name, place in files:
        if name in apart:
            continue
        told.meter.start(printable(name))
        try:
            told.sources.append(intake.stage(name, place, meter=told.meter, objects=objects))
        except IngestError as error:
            told.refuse(name, str(error))
        told.meter.finish(sizes[name])
    objects.keep()
    intake.progress(told.meter.total, told.meter.total, "linking")
    return sorted(told.sources, key=lambda s: (s.name, s.digest, s.folder.name)), told.refused


@dataclass(slots=True, kw_only=True)
class _Told:
    """What staging came to so far."""

    meter: Meter
    sizes: dict[str, int]
    sources: list[Staged]
    refused: list[Refused]

    def refuse(self, name: str, error: str) -> None:
        self.refused.append(Refused(name, error.removeprefix(f"{printable(name)}: ")))


def _apart(intake: Intake, files: Sequence[tuple[str, Place]], told: _Told) -> set[str]:
    """The logs that processes of their own staged or refused; none where that is not worthwhile."""
    local = [(name, place) for name, place in files if isinstance(place, Path)]
    processes = 1 if intake.readers else _processes(intake, local, told.sizes)
    if processes < 2:
        return set()
    local.sort(key=lambda one: -told.sizes[one[0]])  # the largest first, so that none is left at the end
    work = _Work(intake, local, told)
    with cores.Crew(intake.to_spec(), work.tasks(), processes=processes) as crew:
        for answer in crew.answers():
            if answer.error is not None:
                raise cores.raised(answer.error)
            work.hear(answer, crew)
    return {name for name, _ in local}


def _processes(intake: Intake, local: Sequence[tuple[str, Path]], sizes: dict[str, int]) -> int:
    """The number of processes that have something to do."""
    tasks = 0
    for name, path in local:
        pieces = sizes[name] // stretches.STRETCH_BYTES
        tasks += max(1, pieces) if intake.first_line(name, path, sizes[name]) is not None else 1
    return cores.worthwhile(tasks, sum(sizes[name] for name, _ in local))


@dataclass(slots=True, kw_only=True)
class _Open:
    """A log in stretches, some of which are given away. spoilt: the others need not be read."""

    cut: CutLog
    out: int = 0
    given: bool = False
    refused: str | None = None
    entangled: bool = False

    @property
    def spoilt(self) -> bool:
        return self.entangled or self.refused is not None


class _Work:
    """What is given to the processes, and what they answer."""

    def __init__(self, intake: Intake, local: Sequence[tuple[str, Path]], told: _Told) -> None:
        self._intake, self._local, self._told = intake, local, told
        self._open: dict[str, _Open] = {}

    def tasks(self) -> Iterator[cores.Task]:
        """Whole logs, and stretches of logs that are cut; a log is looked at when its turn comes."""
        for name, path in self._local:
            try:
                cut = self._intake.cut(name, path)
            except IngestError:
                cut = None  # whoever reads it says why it cannot be read
            ready = staged(cut.folder) if cut is not None else None
            if cut is None:
                yield cores.Task(name=name, path=path)
            elif ready is not None:
                self._staged(name, ready)
            else:
                yield from self._stretches(cut)

    def _stretches(self, cut: CutLog) -> Iterator[cores.Task]:
        name = cut.log.name
        state = self._open[name] = _Open(cut=cut)
        for stretch in cut.stretches:
            if state.spoilt:
                break
            state.out += 1
            yield cores.Task(name=name, path=cut.log.path, cut=cut, stretch=stretch)
        state.given = True
        if not state.out:
            yield from self._close(name)

    def hear(self, answer: cores.Answer, crew: cores.Crew) -> None:
        """Take one answer down; `crew` may get more to do."""
        name, label = answer.name, printable(answer.name)
        if not answer.final:
            self._told.meter.heard(answer.heard or 0, of=label, at=answer.start, records=answer.records)
        elif answer.start is not None:
            self._hear_stretch(answer, crew)
        elif answer.refused is not None:
            self._told.refuse(name, answer.refused)
            self._told.meter.finish(self._told.sizes[name], of=label)
        else:
            found = staged(self._intake.staging / str(answer.staged))
            assert found is not None
            self._staged(name, found)

    def _staged(self, name: str, found: Staged) -> None:
        self._told.sources.append(found)
        self._told.meter.finish(self._told.sizes[name], of=printable(name))

    def _hear_stretch(self, answer: cores.Answer, crew: cores.Crew) -> None:
        state = self._open[answer.name]
        state.out -= 1
        state.refused = answer.refused or state.refused
        state.entangled |= answer.entangled
        if state.given and not state.out:
            crew.add(self._close(answer.name))

    def _close(self, name: str) -> Iterator[cores.Task]:
        """Put the stretches together; what is still to be done where that cannot be."""
        state = self._open.pop(name)
        cut = state.cut
        if not state.spoilt:
            try:
                self._staged(name, self._intake.stitch(cut))
                return
            except IngestError as error:
                state.refused = str(error)
            except EntangledError:
                state.entangled = True
        if state.refused is not None:
            self._told.refuse(name, state.refused)
            self._told.meter.finish(self._told.sizes[name], of=printable(name))
        else:
            yield cores.Task(name=name, path=cut.log.path, whole=True)


def _size(place: Place) -> int:
    """The bytes of a log, for progress; 0 when they cannot be told, which reading will report."""
    try:
        return place.stat().st_size if isinstance(place, Path) else place.size
    except OSError:
        return 0
