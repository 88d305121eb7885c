"""The worlds of the coverage benchmark: what makes each hard, and whether a claim can be made in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import polars as pl
from shadowprice.ingest.simulator.regime import Regime

Change = Callable[[pl.DataFrame], pl.DataFrame]


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """A regime with what is done to its log. identified: whether intervals are owed (else: refusals).

    easy: whether a refusal would be a failure. share: part of the replications that is run, less than 1 where
    boosted trees make each take seconds.
    """

    name: str
    regime: Regime
    identified: bool = True
    easy: bool = False
    change: Change | None = None
    share: float = 1.0


def _without_context(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.drop(c for c in frame.columns if c.startswith("x_"))


def _ten_of_the_last(frame: pl.DataFrame) -> pl.DataFrame:
    last = frame["action"].max()
    return frame.filter((pl.col("action") != last) | ((pl.col("action") == last).cum_sum() <= 10))


def _without_the_first(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.filter(pl.col("action") != "a0")


def _world(name: str, *, easy: bool = False, share: float = 1.0, **knobs: object) -> World:
    return World(name=name, regime=Regime(**knobs), easy=easy, share=share)  # pyright: ignore[reportArgumentType]


def _hopeless(name: str, *, change: Change | None = None, **knobs: object) -> World:
    return World(name=name, regime=Regime(**knobs), identified=False, change=change)  # pyright: ignore[reportArgumentType]


IDENTIFIED: Final = (
    _world("R easy, n 1000", easy=True),
    _world("R easy, n 300", easy=True, n=300),
    _world("R easy, n 3000", easy=True, n=3000, share=0.3),
    _world("R no effect, n 600", easy=True, n=600, effect=0.0, spread=0.0),
    _world("R graded, n 500", easy=True, n=500, graded=True),
    _world("R wrong model, n 300", easy=True, n=300, shape="interaction"),
    _world("R wrong model, n 1000", easy=True, shape="interaction"),
    _world("R weak overlap .4", overlap=0.4),
    _world("R weak overlap .3", overlap=0.3),
    _world("R weak overlap .4, wrong model, n 500", n=500, overlap=0.4, shape="interaction"),
    _world("R rare 10 %", easy=True, event_rate=0.1),
    _world("R rare 4 %, n 800", n=800, event_rate=0.04),
    _world("R 40 clusters", easy=True, clusters=40, icc=0.1),
    _world("R 20 clusters, n 600", n=600, clusters=20, icc=0.1),
    _world("R 12 clusters, n 600", n=600, clusters=12, icc=0.2),
    _world("R 4 actions", easy=True, actions=4),
    _world("R 6 actions, n 1500", n=1500, actions=6),
    _world("R 6 actions, overlap .6, n 2000", n=2000, actions=6, overlap=0.6),
    _world("R rare, weak, 40 clusters", n=1500, event_rate=0.08, overlap=0.5, clusters=40, icc=0.05),
    _world("R log keeps 30 % of successes", easy=True, n=2000, keep_share=0.3),
    _world("R 30 % labelled", easy=True, n=2000, label_share=0.3),
    _world("R judge biased, 20 % labelled", n=2000, label_share=0.2, label_by_judge=True, judge_bias=0.1),
    _world("R adaptive policy", adaptive=True),
    _world("U easy, n 500", easy=True, identification="U", n=500),
    _world("U wrong model, weak .5", identification="U", overlap=0.5, shape="interaction"),
    _world("O easy, n 1000", easy=True, identification="O"),
    _world("O easy, n 300", easy=True, identification="O", n=300),
    _world("O weak overlap .5", identification="O", overlap=0.5),
    _world("O wrong model, n 600", identification="O", n=600, shape="interaction"),
    _world("O rare 10 %", identification="O", event_rate=0.1),
    _world("O 30 clusters", identification="O", clusters=30, icc=0.1),
    _world("O 4 actions", easy=True, identification="O", actions=4),
    _world("O log keeps 40 % of successes", identification="O", n=1500, keep_share=0.4),
    _world("R propensities of another policy", corrupt=1.0),
)

UNIDENTIFIABLE: Final = (
    _hopeless("no overlap", overlap=0.02),
    _hopeless("no overlap, 6 actions", overlap=0.05, actions=6, identification="O"),
    _hopeless("one cluster", clusters=1),
    _hopeless("6 clusters", clusters=6, icc=0.3),
    _hopeless("2 events", n=400, event_rate=0.004, effect=0.0, spread=0.0),
    _hopeless("10 rows of an action", n=600, change=_ten_of_the_last),
    _hopeless("baseline never taken", change=_without_the_first),
    _hopeless("a rule without its inputs", identification="D", change=_without_context),
    _hopeless("a wrong propensity log without context", corrupt=1.0, change=_without_context),
)

WORLDS: Final = (*IDENTIFIED, *UNIDENTIFIABLE)
