"""The incentive constraints of a tier menu, from the log of the decision point that serves it."""

from __future__ import annotations

import polars as pl
from threadpoolctl import threadpool_limits

from ...schemas.config import Config
from ...schemas.store import Store
from ..problem import only_problem
from ..scores import score
from .menu import menu_incentives
from .values import task_values


def tier_menu(
    decisions: pl.DataFrame | pl.LazyFrame | Store,
    menu: pl.DataFrame,
    *,
    config: Config | None = None,
    seed: int = 0,
) -> pl.DataFrame:
    """Whether each bin of task value prefers the tier that is meant for it: rows of `menu_incentives`.

    decisions: one decision point. menu: `tier`, `price_usd` per task and the `action` that serves it. V is
    the config's, else the realised value of the log. Descriptive: another menu would change who asks.

    Raises: SchemaError for several decision points or a menu that is none, PriceError for a price that is
    none.
    Source: paper Eq. 5; METHODS E4.
    """
    settings = config or Config()
    with threadpool_limits(limits=1):
        problem = only_problem(decisions, settings)
        value = task_values(problem, settings, seed=seed).value
        return menu_incentives(score(problem, seed=seed), value, menu)
