"""What a decode step takes with drafts and without, per batch and context, from the steps of an engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...errors import SchemaError
from .spec_rows import Rounds, cell_names

Array = NDArray[np.float64]

MIN_STEPS: Final = 100
"""Steps of each kind in a cell from which their mean is used."""
BLOCKS: Final = 20
"""Stretches of consecutive steps whose means show the error."""
_NEEDED: Final = ("replica", "ts", "step_s", "prefill_tok", "decode_seqs", "kv_tok")


@dataclass(frozen=True, slots=True, kw_only=True)
class CellTimes:
    """Seconds in one cell: step_s (T1) of a step without drafts, verify_s (Tv) of a verification, draft_s
    (Td) per drafted token, 0 where verify_s holds the drafting too. log_se: standard error of the log of
    `needed`, 0 for times taken as known. note: where they come from."""

    step_s: float
    verify_s: float
    draft_s: float = 0.0
    log_se: float = 0.0
    note: str = "times as stated"

    def __post_init__(self) -> None:
        times = (self.step_s, self.verify_s)
        rest = (self.draft_s, self.log_se)
        if not (all(0.0 < x < np.inf for x in times) and all(0.0 <= x < np.inf for x in rest)):
            found = f"step_s, verify_s {times}, draft_s, log_se {rest}"
            raise SchemaError(found, where="CellTimes", expected="positive seconds (draft_s may be 0)")

    def needed(self, draft: float) -> float:
        """Tokens that a round must yield to pay, (Tv + g Td) / T1."""
        return (self.verify_s + draft * self.draft_s) / self.step_s


def step_times(steps: pl.DataFrame, rounds: Rounds) -> dict[str, CellTimes]:
    """Mean seconds of a decode step per cell, on replicas that never draft and on those that always do.

    steps: the engine_steps layout. Steps that process prompts, and replicas that do both, tell nothing of the
    difference and are left out, as is a cell with fewer than MIN_STEPS steps of either kind.

    Raises: SchemaError for a missing column or a step that takes no time.
    """
    for name in _NEEDED:
        if name not in steps.columns:
            raise SchemaError(
                f"column '{name}' is missing", where="engine_steps", expected=", ".join(_NEEDED)
            )
    alone = steps.drop_nulls(list(_NEEDED)).filter((pl.col("prefill_tok") == 0) & (pl.col("decode_seqs") > 0))
    if alone.filter(pl.col("step_s") <= 0).height:
        raise SchemaError("step_s of 0 or less", where="engine_steps", expected="positive seconds")
    drafts = _drafts(rounds)
    batch, held = (alone[name].cast(pl.Float64).to_numpy() for name in ("decode_seqs", "kv_tok"))
    of_replica = alone["replica"].replace_strict(drafts, default=None, return_dtype=pl.Boolean)
    told = alone.with_columns(cell=pl.Series(cell_names(batch, held / batch)), drafts=of_replica)
    found: dict[str, CellTimes] = {}
    for (cell,), rows in (
        told.drop_nulls("drafts").sort("cell", "replica", "ts").group_by("cell", maintain_order=True)
    ):
        plain, drafting = (rows.filter(pl.col("drafts") == d)["step_s"].to_numpy() for d in (False, True))
        if min(plain.size, drafting.size) >= MIN_STEPS:
            found[str(cell)] = _times(plain, drafting)
    return found


def _times(plain: Array, drafting: Array) -> CellTimes:
    """The mean times of the two kinds of steps, each in order of time, with the error of their log ratio.

    Steps follow on each other, so the error is that between the means of BLOCKS stretches of each kind.
    """
    errors = [_block_means(x) for x in (plain, drafting)]
    return CellTimes(
        step_s=float(plain.mean()),
        verify_s=float(drafting.mean()),
        log_se=float(np.sqrt(sum(m.var(ddof=1) / m.size / m.mean() ** 2 for m in errors))),
        note="times from engine steps without prompts, on replicas that draft and that do not",
    )


def _block_means(x: Array) -> Array:
    return np.array([block.mean() for block in np.array_split(x, BLOCKS)])


def _drafts(rounds: Rounds) -> dict[str, bool]:
    """Whether each replica drafts, for those that always or never do."""
    drafting = rounds.drafted > 0.0
    found: dict[str, bool] = {}
    for name in np.unique(rounds.replica).tolist():
        share = float(drafting[rounds.replica == name].mean())
        if name and share in (0.0, 1.0):
            found[name] = share == 1.0
    return found
