"""Small hand-made Estimates: numbers chosen in the test, shaped like the estimators' output."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from shadowprice.estimators.gains import TERMS
from shadowprice.schemas.config import Config, parse_config
from shadowprice.schemas.records import QUANTITIES, Estimates, Grade
from shadowprice.schemas.tables import arrow_schema

NAN = math.nan
PRICED = parse_config(
    {"prices": {"task_value": "12 USD/task", "latency": "0.002 USD/s", "risk": "40 USD/event"}}
)
UNPRICED = Config()


@dataclass(frozen=True, kw_only=True)
class Case:
    """One contrast in one segment; theta is (dQ, dC, dL, dR), sd the standard errors of its means."""

    layer: str = "router"
    decision_point: str = "model"
    segment: str = "all"
    action: str = "frontier"
    baseline: str = "cheap"
    theta: tuple[float, float, float, float] = (0.001, 0.085, 0.5, 0.0)
    sd: tuple[float, float, float, float] = (0.001, 0.002, 0.05, 0.0001)
    n: int = 4000
    clusters: int = 40
    grade: Grade = "C"
    moved: float = 2000.0
    reason: str | None = None

    @property
    def identified(self) -> bool:
        return self.grade not in ("D", "N")


def estimates(*cases: Case, config: Config = PRICED, seed: int = 7, spend_usd: float = 400.0) -> Estimates:
    """Estimates made of `cases`; gains exist where the case is identified and V is set."""
    return Estimates(
        contrasts=_contrasts(cases, config),
        ledger=_ledger(cases),
        joint=_joint(cases),
        gains=_gains(cases, config, seed),
        coverage=_coverage(cases, spend_usd),
        overlap=_overlap(cases),
        level=0.95,
        seed=seed,
        window=("2026-11-01T00:00:00+00:00", "2026-11-22T00:00:00+00:00"),
    )


def _texts(*names: str) -> dict[str, type[pl.DataType]]:
    return dict.fromkeys(names, pl.String)


def without(est: Estimates, **frames: pl.DataFrame) -> Estimates:
    """`est` with some frames replaced."""
    return replace(est, **frames)


def _prices(config: Config) -> tuple[float | None, float, float]:
    p = config.prices
    return (
        p.task_value.value if p.task_value else None,
        p.latency.value if p.latency else 0.0,
        p.risk.value if p.risk else 0.0,
    )


def _net(case: Case, config: Config) -> tuple[float, float] | None:
    value, latency, risk = _prices(config)
    if value is None or not case.identified:
        return None
    weights = np.array([value, -1.0, -latency, -risk])
    return float(weights @ np.array(case.theta)), float(np.sqrt((weights**2) @ (np.array(case.sd) ** 2)))


def _contrasts(cases: tuple[Case, ...], config: Config) -> pl.DataFrame:
    rows = []
    for c in cases:
        numbers = dict(zip(QUANTITIES, zip(c.theta, c.sd, strict=True), strict=True))
        net = _net(c, config)
        for quantity in (*QUANTITIES, "net"):
            value, sd = numbers.get(quantity, net or (NAN, NAN))
            known = c.identified and not math.isnan(value)
            refused = "no task value is set" if quantity == "net" and c.identified else "arms do not overlap"
            rows.append(
                {
                    "layer": c.layer,
                    "decision_point": c.decision_point,
                    "segment": c.segment,
                    "action": c.action,
                    "baseline": c.baseline,
                    "quantity": quantity,
                    "estimand": "ATO" if known else "not_identified",
                    "value": value if known else None,
                    "lower": value - 1.96 * sd if known else None,
                    "upper": value + 1.96 * sd if known else None,
                    "level": 0.95,
                    "n": c.n,
                    "clusters": c.clusters,
                    "ess": c.n / 2 if known else None,
                    "grade": c.grade if known else "N",
                    "method": "AIPW, CR3" if known else "gate",
                    "reason": None if known else (c.reason or refused),
                }
            )
    return pl.DataFrame(rows, schema=pl.from_arrow(arrow_schema("estimates").empty_table()).schema)


def _joint(cases: tuple[Case, ...]) -> pl.DataFrame:
    rows = [
        {
            "layer": c.layer,
            "decision_point": c.decision_point,
            "segment": c.segment,
            "action": c.action,
            "baseline": c.baseline,
            "estimand": "ATO",
            "grade": c.grade,
            "theta": list(c.theta),
            "cov": np.diag(np.array(c.sd) ** 2).ravel().tolist(),
            "df": c.clusters - 1.0,
            "n": c.n,
            "clusters": c.clusters,
            "ess": c.n / 2,
            "reason": c.reason,
        }
        for c in cases
        if c.identified
    ]
    kinds = {
        **_texts("layer", "decision_point", "segment", "action", "baseline", "estimand", "grade"),
        "theta": pl.List(pl.Float64),
        "cov": pl.List(pl.Float64),
        "df": pl.Float64,
        "n": pl.Int64,
        "clusters": pl.Int64,
        "ess": pl.Float64,
        "reason": pl.String,
    }
    return pl.DataFrame(rows, schema=kinds)


def _gains(cases: tuple[Case, ...], config: Config, seed: int) -> pl.DataFrame:
    rows = []
    for c in cases:
        net = _net(c, config)
        if net is None:
            continue
        rng = np.random.default_rng(seed)
        noise = rng.normal(size=c.clusters)
        noise = (noise - noise.mean()) / noise.std()
        per_decision = net[0] + noise * net[1] * math.sqrt(c.clusters)
        for direction, sign in (("over", -1.0), ("under", 1.0)):
            for g in range(c.clusters):
                moved = c.moved / c.clusters
                rows.append(
                    {
                        "layer": c.layer,
                        "decision_point": c.decision_point,
                        "segment": c.segment,
                        "action": c.action,
                        "baseline": c.baseline,
                        "direction": direction,
                        "cluster": f"tenant-{g:03d}",
                        **_terms(c, config, float(sign * per_decision[g] * moved), sign * moved),
                        "decisions": moved,
                    }
                )
    kinds = {
        **_texts("layer", "decision_point", "segment", "action", "baseline", "direction", "cluster"),
        **dict.fromkeys(("usd", *TERMS, "decisions"), pl.Float64),
    }
    return pl.DataFrame(rows, schema=kinds)


def _terms(case: Case, config: Config, usd: float, moved: float) -> dict[str, float]:
    """Dollars by term of Eq. 1: cost, latency and risk at their means, the noise of a cluster in quality."""
    _, latency, risk = _prices(config)
    rest = [-moved * case.theta[1], -moved * latency * case.theta[2], -moved * risk * case.theta[3]]
    return {"usd": usd, **dict(zip(TERMS, (usd - sum(rest), *rest), strict=True))}


def _coverage(cases: tuple[Case, ...], spend_usd: float) -> pl.DataFrame:
    points = sorted({(c.layer, c.decision_point, c.grade) for c in cases})
    rows = [
        {
            "layer": layer,
            "decision_point": point,
            "grade": grade,
            "decisions": 10_000,
            "spend_usd": spend_usd,
            "unpriced_decisions": 100,
            "unpriced_tokens": 21_000,
            "reason": None if grade != "N" else "the router is deterministic",
            "advice": "log the propensity of every candidate" if grade != "A" else None,
        }
        for layer, point, grade in points
    ]
    kinds = {
        **_texts("layer", "decision_point", "grade"),
        "decisions": pl.Int64,
        "spend_usd": pl.Float64,
        "unpriced_decisions": pl.Int64,
        "unpriced_tokens": pl.Int64,
        "reason": pl.String,
        "advice": pl.String,
    }
    return pl.DataFrame(rows, schema=kinds)


def _overlap(cases: tuple[Case, ...]) -> pl.DataFrame:
    rows = [
        {
            "layer": c.layer,
            "decision_point": c.decision_point,
            "action": c.action,
            "baseline": c.baseline,
            "arm": arm,
            "bin_left": i / 20,
            "count": int(200 * math.exp(-((i / 20 - centre) ** 2) * 8)),
        }
        for c in {(c.layer, c.decision_point, c.action, c.baseline): c for c in cases}.values()
        for arm, centre in ((c.action, 0.65), (c.baseline, 0.4))
        for i in range(20)
    ]
    kinds = {
        **_texts("layer", "decision_point", "action", "baseline", "arm"),
        "bin_left": pl.Float64,
        "count": pl.Int64,
    }
    return pl.DataFrame(rows, schema=kinds)


def _ledger(cases: tuple[Case, ...]) -> pl.DataFrame:
    rows = [
        {
            "decision_id": f"{c.layer}-{c.segment}-{i}",
            "request_id": f"req-{i}",
            "layer": c.layer,
            "decision_point": c.decision_point,
            "action": c.action,
            "baseline": c.baseline,
            "grade": c.grade,
            "segment": c.segment,
        }
        for c in cases
        for i in range(8)
    ]
    return pl.DataFrame(rows, schema=pl.from_arrow(arrow_schema("ledger").empty_table()).schema)
