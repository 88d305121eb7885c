"""What the targets need of a run: models and their facts, levels of success, usage, losses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import polars as pl

from ...estimators.policy_value import policy_value
from ...schemas.config import Config
from ...schemas.store import Store
from .list_prices import COLUMNS, TokenPrices, solved_prices
from .losses import decision_losses
from .offer import Offer, Skipped, unspeakable
from .usage import usage_rows

ROUTER_MODEL: Final = (pl.col("layer") == "router") & (pl.col("decision_point") == "model")
"""Where a model is chosen."""
FORECAST: Final = "x_classifier_p_solve"
"""The raw forecast of LiteLLM's capability router, as the reader of its logs names it."""
SAMPLED: Final = 100_000
"""Decisions from which levels and forecasts are computed; of more, about as many, chosen with the seed."""
_NEEDS_LEVELS: Final = ("litellm", "vllm-sr")
_NEEDS_LOSSES: Final = ("focus", "langfuse")
_NAME_LOG_NEXT: Final = "a plain, short name"
_POINT_LOG_NEXT: Final = "which model each request was sent to, as decisions of the router"


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model that the router took, with its facts. Means are over its decisions, None if one has none."""

    name: str
    decisions: int
    prices: TokenPrices | None
    why_not: str | None
    ttft_s: float | None = None
    tpot_s: float | None = None
    tok_output: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """The share of tasks that succeed when `action` is always taken in `segment`, or why it is unknown."""

    action: str
    segment: str
    value: float | None
    lower: float | None
    upper: float | None
    n: int
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Supply:
    """Everything that an exporter may read. forecasts: (action, segment, forecast, quality) per decision."""

    offer: Offer
    models: tuple[Model, ...] = ()
    levels: tuple[Level, ...] = ()
    forecasts: pl.DataFrame | None = None
    usage: pl.DataFrame = field(default_factory=pl.DataFrame)
    losses: pl.DataFrame = field(default_factory=pl.DataFrame)
    skipped: tuple[Skipped, ...] = ()

    def level(self, action: str, segment: str) -> Level | None:
        """The level of one model in one segment, if it was asked for."""
        return next((v for v in self.levels if (v.action, v.segment) == (action, segment)), None)


def supply(
    offer: Offer,
    store: Store,
    ledger: pl.LazyFrame,
    *,
    target: str,
    config: Config,
    seed: int,
    book: dict[str, TokenPrices] | None = None,
) -> Supply:
    """What `target` needs of the run. book: prices that the user gave, which go before those in the logs."""
    decisions = store.decisions()
    routed = decisions.filter(ROUTER_MODEL).with_columns(model_name().alias("model"))
    models, skipped = _models(routed, book or {})
    if target in _NEEDS_LEVELS:
        sample = _sample(routed, seed)
        names = sorted({m.name for m in models} & set(sample["action"]))
        segments = _valued_segments(offer)
        levels = tuple(_level(sample, name, s, config, seed) for s in segments for name in names)
        forecasts = _forecasts(sample)
        return Supply(offer=offer, models=models, levels=levels, forecasts=forecasts, skipped=skipped)
    if target in _NEEDS_LOSSES:
        losses = decision_losses(ledger, decisions)
        usage, left_out = usage_rows(decisions, ledger, losses) if target == "focus" else (pl.DataFrame(), ())
        return Supply(offer=offer, models=models, usage=usage, losses=losses, skipped=(*skipped, *left_out))
    return Supply(offer=offer, models=models, skipped=skipped)


def model_name() -> pl.Expr:
    """The model that ran, else the one that was chosen."""
    return pl.coalesce("action_executed", "action")


def in_segment(frame: pl.DataFrame, segment: str) -> pl.DataFrame:
    """The rows of a segment, 'all' or column=value; none where the log has no such column."""
    column, equals, value = segment.partition("=")
    if not equals:
        return frame
    return frame.filter(pl.col(column).cast(pl.String) == value) if column in frame.columns else frame.clear()


def _models(
    routed: pl.LazyFrame, book: dict[str, TokenPrices]
) -> tuple[tuple[Model, ...], tuple[Skipped, ...]]:
    """Every model that the router took, by name, and those that cannot be named."""
    columns = ("model", "cost_usd", "ttft_s", "decode_s", *COLUMNS.values())
    rows = routed.filter(pl.col("model").is_not_null()).select(columns).collect().sort("model")
    parts = {str(name): own for (name,), own in rows.group_by("model", maintain_order=True)}
    faults = {name: fault for name in parts if (fault := unspeakable(name))}
    models = tuple(_model(name, own, book.get(name)) for name, own in parts.items() if name not in faults)
    skipped = tuple(
        Skipped.of(name="model", about=name, reason=fault, log_next=_NAME_LOG_NEXT)
        for name, fault in faults.items()
    )
    if not parts:
        reason = "the logs hold no decision of a router on a model"
        skipped = (Skipped.of(name="model", about="router.model", reason=reason, log_next=_POINT_LOG_NEXT),)
    return models, skipped


def _model(name: str, rows: pl.DataFrame, listed: TokenPrices | None) -> Model:
    known = listed or solved_prices(rows)
    per_token = pl.col("decode_s") / pl.when(pl.col("tok_output") > 0).then("tok_output")
    return Model(
        name=name,
        decisions=rows.height,
        prices=None if isinstance(known, str) else known,
        why_not=known if isinstance(known, str) else None,
        ttft_s=_mean(rows, pl.col("ttft_s")),
        tpot_s=_mean(rows, per_token),
        tok_output=_mean(rows, pl.col("tok_output")),
    )


def _mean(rows: pl.DataFrame, values: pl.Expr) -> float | None:
    """The mean where every row has a value: over the rows that happen to have one it is another thing."""
    complete = values.is_not_null().all() & (pl.len() > 0)
    return rows.select(pl.when(complete).then(values.cast(pl.Float64).mean())).item()


def _sample(frame: pl.LazyFrame, seed: int) -> pl.DataFrame:
    """All rows, or of a large log about SAMPLED of them, chosen by their id."""
    rows = frame.select(pl.len()).collect().item()
    if rows > SAMPLED:
        frame = frame.filter(pl.col("decision_id").hash(seed) < int(SAMPLED / rows * 2**64))
    return frame.collect()


def _valued_segments(offer: Offer) -> tuple[str, ...]:
    """'all' and every segment with a task value of its own."""
    own = [row.segment for row in offer.rows if row.name == "task_value" and row.source == "user"]
    return tuple(dict.fromkeys(["all", *own]))


def _level(sample: pl.DataFrame, action: str, segment: str, config: Config, seed: int) -> Level:
    rows = in_segment(sample, segment).drop("model")
    value = lower = upper = None
    if not rows.is_empty() and rows["quality"].null_count() < rows.height:
        found = policy_value(rows, pl.lit(action), "quality", seed, config=config)
        row = found.row(by_predicate=pl.col("estimator") == "DR", named=True)
        value, lower, upper, reason = (row[k] for k in ("value", "lower", "upper", "reason"))
    else:
        reason = f"no labelled decision in {segment}"
    return Level(
        action=action,
        segment=segment,
        value=None if value is None else min(max(value, 0.0), 1.0),
        lower=None if lower is None else min(max(lower, 0.0), 1.0),
        upper=None if upper is None else min(max(upper, 0.0), 1.0),
        n=rows.height,
        reason=reason if value is None else None,
    )


def _forecasts(sample: pl.DataFrame) -> pl.DataFrame | None:
    if FORECAST not in sample.columns:
        return None
    return sample.filter(pl.col(FORECAST).is_not_null() & pl.col("quality").is_not_null())
