"""Whether the layers of a log put the same price on a second, a risk and a solved task."""

from __future__ import annotations

import polars as pl
from threadpoolctl import threadpool_limits

from ...schemas.config import Config
from ..scores import score
from .behaviour import Behaviour, behaviour
from .from_decisions import Decisions, no_choice
from .gaps import revealed_gaps
from .sampled import sampled_problems


def price_gaps(decisions: Decisions, *, config: Config | None = None, seed: int = 0) -> pl.DataFrame:
    """Rows of `GAPS`: revealed prices of each pair of decision points, their ratio, and tests of equality.

    Only points whose choices reveal a price take part; with fewer than two there are no rows.

    Raises: SchemaError for a frame that is not in the layout.
    Source: see `revealed_gaps`.
    """
    settings = config or Config()
    found: list[Behaviour] = []
    with threadpool_limits(limits=1):
        for problem in sampled_problems(decisions, settings, seed=seed):
            if no_choice(problem) is not None:
                continue
            fit = behaviour(score(problem, seed=seed), config=settings, seed=seed)
            if isinstance(fit, Behaviour):
                found.append(fit)
    return revealed_gaps(found)
