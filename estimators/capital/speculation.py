"""Speculative decoding, make or buy: per batch and context, whether drafts pay back the steps they cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...schemas.config import Config
from ...schemas.records import Grade, Price
from ..problem import check_frame
from .acceptance import acceptance_of, censored_acceptance
from .leave_out import LeftOut, Span, leave_one_out, totals
from .records import THRESHOLD, fitted, refused
from .spec_rows import Rounds, read_rounds
from .spec_times import CellTimes, step_times

Array = NDArray[np.float64]
Verdict = Literal["buy", "do not buy", "undecided"]

MIN_CLUSTERS: Final = 10
"""Clusters that drafted, and that decoded without drafts, from which a cell has an interval."""
_NO_TIMES: Final = (
    "times of a step without drafts are not known here: log decode_s and tok_output for a share of requests "
    "with speculation off, or state the times of the cell"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeculationCell:
    """One cell. draft: mean tokens drafted per round. acceptance: alpha, the chance that a drafted token is
    accepted. yielded: tokens per round. needed: tokens that pay for a round. threshold: alpha*, None where no
    acceptance would pay. saved: share of decode time that drafting saves, negative where it costs. wrong_tok,
    wrong_s: tokens that decoded the wrong way and the seconds lost by it; 0 while undecided."""

    segment: str
    verdict: Verdict
    draft: float
    acceptance: Span
    yielded: Span
    needed: Span
    threshold: Span | None
    saved: Span
    wrong_tok: float
    wrong_s: float
    n: int
    grade: Grade
    method: str


def speculation_cells(
    rounds: Rounds, *, times: Mapping[str, CellTimes] | None = None
) -> dict[str, SpeculationCell | str]:
    """Every cell in which tokens were drafted, or in words why it cannot be judged.

    Drafting pays in a cell when E T1 > Tv + g Td, E the tokens that a round yields (METHODS G1). times: per
    cell; elsewhere they are read off the decode seconds per round of decisions with and without drafts. The
    verdict rests on the t interval of log(E T1 / (Tv + g Td)), with every cluster left out in turn.
    """
    names = np.unique(rounds.cell[rounds.drafted > 0.0]).tolist()
    return {name: _cell(name, rounds.at(rounds.cell == name), (times or {}).get(name)) for name in names}


def speculation_prices(
    decisions: pl.DataFrame,
    *,
    config: Config,
    times: Mapping[str, CellTimes] | None = None,
    steps: pl.DataFrame | None = None,
) -> tuple[Price, ...]:
    """alpha*, the acceptance above which drafting pays, per batch and context; unit 1.

    decisions: the decisions layout; serving rows with spec_drafted, spec_accepted, tok_output, decode_s, and
    batch_size and prompt tokens for the cells. steps: the engine_steps layout, from which the times of cells
    that `times` does not state are read. Not identified in a cell that never decoded without drafts, unless
    one of them says what a step takes there.

    Raises: SchemaError for a frame that is not in the layout or counts that cannot be.
    """
    check_frame(decisions)
    rounds = read_rounds(decisions, config)
    if isinstance(rounds, str):
        return (refused(THRESHOLD, rounds),)
    known = ({} if steps is None else step_times(steps, rounds)) | dict(times or {})
    cells = speculation_cells(rounds, times=known)
    return tuple(_price(name, cell) for name, cell in cells.items())


def _cell(name: str, rows: Rounds, times: CellTimes | None) -> SpeculationCell | str:
    drafting = rows.drafted > 0.0
    spec, plain = rows.at(drafting), rows.at(~drafting & np.isfinite(rows.seconds))
    if times is None:
        spec = spec.at(np.isfinite(spec.seconds))
        if not spec.rounds.size or not plain.rounds.size:
            return _NO_TIMES
        fewest = min(np.unique(spec.cluster).size, np.unique(plain.cluster).size)
    else:
        fewest = np.unique(spec.cluster).size
    if fewest < MIN_CLUSTERS:
        return f"{fewest} clusters decoded with and without drafts here; {MIN_CLUSTERS} are needed"
    draft = float(spec.drafted.sum() / spec.rounds.sum())
    found = _logs(rows, drafting, times, draft)
    if found.fault:
        return found.fault
    yielded, needed, gain = (found.span(j) for j in range(3))
    return _judged(name, rows, draft, yielded.mapped(_exp), needed.mapped(_exp), gain, times)


def _logs(rows: Rounds, drafting: NDArray[np.bool_], times: CellTimes | None, draft: float) -> LeftOut:
    """(3,) logs of tokens per round, of tokens needed and of their ratio."""
    plain = ~drafting & np.isfinite(rows.seconds)
    spec = drafting if times else drafting & np.isfinite(rows.seconds)
    seconds = np.nan_to_num(rows.seconds)
    columns = (
        spec * (rows.accepted + rows.rounds),
        spec * rows.rounds,
        spec * seconds,
        plain * seconds,
        plain * rows.rounds,
    )
    sums = totals(np.column_stack(columns), rows.cluster)

    def of(t: Array) -> Array:
        yielded = np.log(t[:, 0] / t[:, 1])
        if times is not None:
            needed = np.full(t.shape[0], np.log(times.needed(draft)))
        else:
            needed = np.log(t[:, 2] / t[:, 1]) - np.log(t[:, 3] / t[:, 4])
        return np.column_stack([yielded, needed, yielded - needed])

    weight = sums[:, 1] + (0.0 if times else sums[:, 4])
    found = leave_one_out(sums[weight > 0.0], of, weight=weight[weight > 0.0])
    if times is None:
        return found
    moved = np.array([0.0, 1.0, -1.0])
    return replace(found, cov=found.cov + times.log_se**2 * np.outer(moved, moved))


def _judged(
    name: str, rows: Rounds, draft: float, yielded: Span, needed: Span, gain: Span, times: CellTimes | None
) -> SpeculationCell:
    verdict: Verdict = "buy" if gain.lower > 0.0 else "do not buy" if gain.upper < 0.0 else "undecided"
    spec = rows.drafted > 0.0
    single = bool((rows.rounds[spec] == 1.0).all())
    exact = (
        censored_acceptance(rows.accepted[spec], rows.drafted[spec], rows.cluster[spec]) if single else None
    )
    tok, seconds = _misallocated(rows, verdict, float(np.exp(gain.value)), times)
    counted = "single rounds, censored geometric likelihood" if exact else "tokens per round"
    timed = times.note if times else "decode seconds per round with and without drafts"
    return SpeculationCell(
        segment=name,
        verdict=verdict,
        draft=draft,
        acceptance=exact or yielded.mapped(lambda x: acceptance_of(x, draft)),
        yielded=yielded,
        needed=needed,
        threshold=_threshold(needed, draft),
        saved=gain.mapped(lambda x: 1.0 - float(np.exp(-x))),
        wrong_tok=tok,
        wrong_s=seconds,
        n=int(rows.rounds.size),
        grade="C",
        method=f"acceptance from {counted}; {timed}; leave-one-cluster-out t intervals",
    )


def _threshold(needed: Span, draft: float) -> Span | None:
    """alpha* at the tokens needed; None where no acceptance of this draft yields them."""
    if needed.value >= draft + 1.0:
        return None
    return needed.mapped(lambda x: acceptance_of(x, draft))


def _misallocated(
    rows: Rounds, verdict: Verdict, ratio: float, times: CellTimes | None
) -> tuple[float, float]:
    """Tokens decoded the wrong way in a cell and the seconds lost. ratio: E T1 / (Tv + g Td)."""
    spec = rows.drafted > 0.0
    wrong = spec if verdict == "do not buy" else ~spec if verdict == "buy" else np.zeros_like(spec)
    spent = rows.seconds[wrong]
    if times is not None:
        unit = np.where(spec, times.verify_s, times.step_s) * rows.rounds + times.draft_s * rows.drafted
        spent = unit[wrong]
    kept = ratio if verdict == "do not buy" else 1.0 / ratio
    tokens = float((rows.accepted + rows.rounds)[wrong].sum())
    return tokens, float(np.nansum(spent)) * (1.0 - kept)


def _price(name: str, cell: SpeculationCell | str) -> Price:
    if isinstance(cell, str):
        return refused(THRESHOLD, cell, segment=name)
    a = cell.acceptance
    saved = f"{cell.saved.value:.0%} [{cell.saved.lower:.0%}, {cell.saved.upper:.0%}]"
    reading = (
        f"{cell.verdict}: acceptance {a.value:.2f} [{a.lower:.2f}, {a.upper:.2f}] at {cell.draft:.1f} drafts "
        f"a round saves {saved} of the decode time"
    )
    if cell.wrong_tok:
        reading += f"; {cell.wrong_tok:,.0f} tokens went the other way, {cell.wrong_s:,.1f} s lost"
    if cell.threshold is None:
        never = (
            f"a round takes {cell.needed.value:.2f} plain steps: more than {cell.draft:.1f} drafts can yield"
        )
        return refused(THRESHOLD, f"{never}; {reading}", segment=name, n=cell.n, method=cell.method)
    return fitted(
        THRESHOLD,
        cell.threshold,
        n=cell.n,
        grade=cell.grade,
        method=cell.method,
        segment=name,
        action="speculate",
        baseline="decode",
        reason=reading,
    )


def _exp(x: float) -> float:
    return float(np.exp(x))
