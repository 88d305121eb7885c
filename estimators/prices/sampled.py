"""A bounded sample of the decisions of each point, whole requests at a time, for what is solved over rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import polars as pl

from ...schemas.config import Config
from ...schemas.store import Store
from ..problem import Problem, check_frame, problems

MOST: Final = 5_000
"""Decisions per point that a programme with a bootstrap can hold within seconds."""
SESSIONS: Final = ("session_id", "request_id", "decision_id")
"""What is kept or left whole: sessions, and without their ids requests, or single decisions."""
REQUESTS: Final = SESSIONS[1:]
"""The same by requests: where sessions are few and long, a sample of them would leave too few clusters."""
_STEPS: Final = 1 << 32


def sampled_problems(
    decisions: pl.DataFrame | pl.LazyFrame | Store, config: Config, *, seed: int, most: int = MOST
) -> Iterator[Problem]:
    """Each decision point with about `most` decisions at most, in order of layer and name.

    Sessions are kept or left whole by a hash of their id, so that a request keeps all its steps, and
    keep_prob carries the share that was kept. Points with fewer decisions are not sampled.

    Raises: SchemaError for a frame that is not in the layout.
    """
    lazy = decisions.decisions() if isinstance(decisions, Store) else decisions.lazy()
    names = lazy.collect_schema().names()
    counts = lazy.group_by("layer", "decision_point").len().collect(engine="streaming")
    shares = {
        (str(layer), str(point)): min(1.0, most / count) for layer, point, count in sorted(counts.iter_rows())
    }
    frames: dict[float, pl.DataFrame] = {}
    for (layer, point), share in shares.items():
        if share not in frames:
            frames = {share: _kept(lazy, names, share, seed)}  # one at a time: a frame may be large
            check_frame(frames[share])
        for problem in problems(frames[share], config):
            if (problem.layer, problem.decision_point) == (layer, point):
                yield problem


def sampled_frame(
    decisions: pl.DataFrame | pl.LazyFrame | Store,
    *,
    seed: int,
    most: int,
    together: tuple[str, ...] = SESSIONS,
) -> pl.DataFrame:
    """About `most` decisions at most, whole sessions of all layers, with the share kept in keep_prob.

    together: SESSIONS or REQUESTS, what is kept or left whole.

    Raises: SchemaError for a frame that is not in the layout.
    """
    lazy = decisions.decisions() if isinstance(decisions, Store) else decisions.lazy()
    count = int(lazy.select(pl.len()).collect(engine="streaming").item())
    names = lazy.collect_schema().names()
    frame = _kept(lazy, names, min(1.0, most / max(count, 1)), seed, together)
    check_frame(frame)
    return frame


def _kept(
    lazy: pl.LazyFrame, names: list[str], share: float, seed: int, together: tuple[str, ...] = SESSIONS
) -> pl.DataFrame:
    if share == 1.0:
        return lazy.collect()
    keys = [pl.col(name).cast(pl.String) for name in together if name in names]
    kept_before = pl.col("keep_prob").fill_null(1.0) if "keep_prob" in names else pl.lit(1.0)
    own = pl.coalesce(keys).hash(seed) % _STEPS < int(share * _STEPS)
    return lazy.filter(own).with_columns(keep_prob=kept_before * share).collect(engine="streaming")
