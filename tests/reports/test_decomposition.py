"""What is recoverable, part by part: sums to the cent, honest rests, nothing counted twice."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl
import pytest
import shadowprice as sp
from shadowprice.estimators.prices.fit import fit_prices
from shadowprice.reports.decomposition import Decomposition, Part, decomposition, spend_split
from shadowprice.reports.diagnose import diagnose
from shadowprice.reports.headline import headline, recoverable
from shadowprice.reports.waterfall import waterfall
from shadowprice.schemas.config import parse_config
from shadowprice.schemas.records import REGRET, Estimates, Finding, Price, Prices

from tests.reports.factory import PRICED, Case, estimates

CACHE = Case(
    layer="serving",
    decision_point="reuse",
    action="reuse",
    baseline="recompute",
    theta=(-0.05, -0.02, -0.5, 0.0),
    sd=(0.004, 0.001, 0.05, 0.0001),
    moved=900.0,
)


def regret(*rows: tuple[str, str, float | None, float, float], **more: Any) -> pl.DataFrame:
    """Rows of REGRET from (layer, decision point, value, lower, upper), and their total."""
    made: list[dict[str, Any]] = []
    for layer, point, value, lower, upper in rows:
        known = {"value_usd": value, "lower_usd": lower, "upper_usd": upper, "level": 0.95, "reason": None}
        about = {"layer": layer, "decision_point": point, "decisions": 1000.0, "left_out": 0.0, **more}
        unknown = {"reason": "a rule makes the choice"}
        made.append(dict.fromkeys(REGRET) | about | (known if value is not None else unknown))
    sums = {n: sum(r[n] or 0.0 for r in made) for n in ("value_usd", "lower_usd", "upper_usd")}
    made.append(dict.fromkeys(REGRET) | {"layer": "all", "decision_point": "all", "level": 0.95} | sums)
    return pl.DataFrame(made, schema=REGRET, orient="row")


def found(est: Estimates) -> tuple[tuple[Finding, ...], Prices]:
    prices = fit_prices(est, PRICED, run_id="7f3a")
    return diagnose(est, prices, PRICED), prices


def split_of(est: Estimates) -> Decomposition:
    findings, prices = found(est)
    made = decomposition(est, prices, findings)
    assert made is not None
    return made


def cents(part: Part) -> int:
    """Whole cents; fails where the dollars are not."""
    assert part.usd is not None
    assert round(100 * part.usd) == pytest.approx(100 * part.usd, abs=1e-6)
    return round(100 * part.usd)


@pytest.mark.parametrize("seed", range(100))
def test_the_parts_add_up_to_the_total_to_the_cent(seed: int) -> None:
    """Kills parts that are rounded one by one, a finding twice in the sum, and a rest without its sign."""
    rng = np.random.default_rng(seed)
    slices = [f"x_task_class={name}" for name in "abcd"[: rng.integers(1, 5)]]
    cases = [
        Case(
            segment=segment,
            theta=(rng.normal(0, 0.01), rng.uniform(0.01, 0.2), rng.uniform(0, 2), 0.0),
            moved=float(rng.uniform(200, 4000)),
        )
        for segment in slices
    ]
    cases.append(replace(CACHE, moved=float(rng.uniform(200, 4000))))
    values = rng.normal(100, 200, size=3)
    spans = rng.uniform(1, 300, size=(3, 2))
    places = (("router", "model"), ("serving", "reuse"), ("agent", "verify"))
    known = rng.random(3) < 0.8
    rows = [
        (*place, float(v) if k else None, float(v - a), float(v + b))
        for place, v, (a, b), k in zip(places, values, spans.tolist(), known.tolist(), strict=True)
    ]
    est = replace(estimates(*cases), regret=regret(*rows))
    findings, prices = found(est)
    split = decomposition(est, prices, findings)
    if split is None:
        assert not known.any()
        assert recoverable(est, prices, findings) is None
        return
    parts = [p for p in split.parts if p.usd is not None]
    assert sum(cents(p) for p in parts) == cents(split.total)
    assert split.frame()["usd"].sum() == pytest.approx(2 * (split.total.usd or 0.0), abs=1e-6)
    counted = {f"{f.mode} {f.segment} {f.action}" for f in findings if f.status == "found" and f.counted}
    assert {f"{p.mode} {p.segment} {p.action}" for p in split.parts if p.part == "finding"} == counted
    for p in (*parts, split.total):
        assert p.lower is not None
        assert p.upper is not None
        assert p.lower - 0.01 <= (p.usd or 0.0) <= p.upper + 0.01
    for (layer, point), value, k in zip(places, values.tolist(), known.tolist(), strict=True):
        mine = [p for p in parts if (p.layer, p.decision_point) == (layer, point)]
        if k:
            assert sum(cents(p) for p in mine) == round(100 * value)


def test_the_rest_of_a_point_lies_between_its_bounds_less_its_findings() -> None:
    """Kills a rest whose ends are those of the point, or that takes the same end of both."""
    est = replace(estimates(Case()), regret=regret(("router", "model", 300.0, 100.0, 900.0)))
    findings, prices = found(est)
    total = recoverable(est, prices, findings)
    assert total is not None
    (rest,) = (p for p in split_of(est).parts if p.part == "rest")
    assert rest.usd == pytest.approx(300.0 - round(total.usd, 2), abs=0.005)
    assert rest.lower == pytest.approx(100.0 - total.upper)
    assert rest.upper == pytest.approx(900.0 - total.lower)


def test_a_point_without_a_value_keeps_its_findings_and_says_why_it_has_no_rest() -> None:
    """Kills a finding that falls out of the total, and an unknown rest of 0."""
    est = replace(estimates(Case()), regret=regret(("router", "model", None, 0.0, 0.0)))
    findings, prices = found(est)
    total = recoverable(est, prices, findings)
    split = split_of(est)
    (rest,) = (p for p in split.parts if p.part == "rest")
    assert total is not None
    assert rest.usd is None
    assert rest.reason == "a rule makes the choice"
    assert split.total.usd == pytest.approx(total.usd, abs=0.005)
    assert split.total.lower == pytest.approx(total.lower, abs=0.01)


def test_nothing_known_is_no_decomposition() -> None:
    """Kills a waterfall of nothing."""
    est = estimates(Case(grade="N"))
    findings, prices = found(est)
    assert decomposition(est, prices, findings) is None
    assert waterfall(est, None) is None


def test_spending_better_and_spending_more_add_up() -> None:
    """Kills a split in dollars per decision, and one whose parts overlap."""
    rows = (("router", "model", 300.0, 100.0, 900.0), ("agent", "verify", 50.0, 0.0, 80.0))
    est = replace(estimates(Case()), regret=regret(*rows, spend_usd=-12.0))
    price = Price(
        name="reallocation_value",
        symbol="ΔW",
        unit="USD/decision",
        source="implied",
        layer="router",
        decision_point="model",
        value=0.2,
        lower=0.1,
        upper=0.25,
        grade="C",
    )
    known, unknown = spend_split(est, Prices(prices=(price,), run_id="r")).to_dicts()
    assert known["better_usd"] == pytest.approx(200.0)
    assert known["better_usd"] + known["more_usd"] == pytest.approx(known["total_usd"])
    assert (known["more_lower"], known["more_upper"]) == pytest.approx((-150.0, 800.0))
    assert known["spend_usd"] == -12.0
    assert unknown["better_usd"] is None
    assert unknown["reason"] == "no reallocation value was fitted"


def test_the_headline_says_at_least_and_at_most() -> None:
    """Kills ends that change places, a level left out, and a bound below 0 that reads like a gain."""
    sure = replace(estimates(Case()), regret=regret(("router", "model", 300.0, 100.0, 900.0)))
    findings, prices = found(sure)
    said = headline(sure, prices, findings).sentence()
    assert (
        "at least $100 and at most $900 (each end 95 % sure) could have been recovered over the window"
        in said
    )
    open_ = replace(sure, regret=regret(("router", "model", 300.0, -20.0, 900.0)))
    said = headline(open_, prices, findings).bounds
    assert "at most $900 could have been recovered over the window, and perhaps nothing" in said
    assert "the lower end is −$20.00, so 0 is not excluded" in said
    assert headline(estimates(Case()), prices, findings).bounds == ""


def test_the_waterfall_ends_where_its_parts_do() -> None:
    """Kills a drawing whose bars are not those of its table, and a rest drawn as a finding."""
    est = replace(estimates(Case(), CACHE), regret=regret(("router", "model", 300.0, 100.0, 900.0)))
    split = split_of(est)
    chart = waterfall(est, split)
    assert chart is not None
    names = [row[0] for row in chart.table.rows]
    assert names[0].startswith(("over-routing", "cache misuse"))
    assert "router · model: no check explains it" in names
    assert names[-1] == "total"
    assert f"add up to ${split.total.usd:,.0f} of net value" in chart.title
    less = replace(est, regret=regret(("router", "model", 10.0, 0.0, 900.0)))
    gone = split_of(less)
    found_usd = sum(p.usd or 0.0 for p in gone.parts if p.part == "finding")
    title = getattr(waterfall(less, gone), "title", "")
    assert f"add up to ${found_usd:,.0f}, ${found_usd - (gone.total.usd or 0.0):,.0f} beyond" in title
    for name in names[:-2]:
        assert name.split(" · ")[0] in chart.svg


def requests(*, misused: bool, seed: int = 0, n: int = 1200) -> tuple[pl.DataFrame, float, float]:
    """Decisions of n requests, each routed and looked up in a cache, and the exact dollars of both cures.

    The dear model costs 5 cents more and is no better. A reused answer saves 2 cents and, if `misused`, loses
    a tenth of the quality, on the same requests. The cures are worth V dQ - dC of the decisions they move.
    """
    rng = np.random.default_rng(seed)
    dear, reused = rng.random((2, n)) < 0.5
    ids = [f"r{i:05d}" for i in range(n)]
    quality = 0.6 + rng.uniform(-0.01, 0.01, n) - (0.1 * reused if misused else 0.0)
    shared: dict[str, Any] = {
        "request_id": ids,
        "tenant_id": [f"t{i % 60}" for i in range(n)],
        "ts": pl.Series(1_793_577_600_000_000 + 60_000_000 * np.arange(n)).cast(pl.Datetime("us", "UTC")),
        "propensity": [0.5] * n,
        "propensity_source": ["logged"] * n,
        "quality": quality,
        "latency_s": rng.uniform(1.0, 1.1, n),
        "incident": [False] * n,
        "x_length": rng.normal(size=n),
    }
    router: dict[str, Any] = {
        "decision_id": [f"{i}-model" for i in ids],
        "layer": ["router"] * n,
        "decision_point": ["model"] * n,
        "action": np.where(dear, "frontier", "cheap"),
        "cost_usd": 0.01 + 0.05 * dear + rng.uniform(0, 0.002, n),
    }
    cache: dict[str, Any] = {
        "decision_id": [f"{i}-reuse" for i in ids],
        "layer": ["serving"] * n,
        "decision_point": ["reuse"] * n,
        "action": np.where(reused, "reuse", "recompute"),
        "cost_usd": 0.03 - 0.02 * reused + rng.uniform(0, 0.002, n),
    }
    frame = pl.concat([pl.DataFrame({**own, **shared}) for own in (router, cache)])
    back = (0.1 - 0.02) * reused.sum() if misused else 0.02 * (~reused).sum()
    return frame, float(0.05 * dear.sum()), float(back)


def test_routing_and_cache_on_the_same_requests_are_not_counted_twice() -> None:
    """Kills a saving of the cache that is counted again as one of routing, or parts that do not add up to
    the dollars of both changes made together."""
    config = parse_config({"prices": {"task_value": "1 USD/task"}})
    routing: list[float] = []
    for misused in (False, True):
        frame, of_routing, of_cache = requests(misused=misused)
        est = sp.estimate(frame, config=config)
        prices = fit_prices(est, config)
        split = decomposition(est, prices, diagnose(est, prices, config))
        assert split is not None
        by_layer = dict(
            split.frame()
            .filter(pl.col("part") != "total")
            .group_by("layer")
            .agg(pl.col("usd").sum())
            .iter_rows()
        )
        assert by_layer["router"] == pytest.approx(of_routing, rel=0.06)
        assert by_layer["serving"] == pytest.approx(of_cache, rel=0.06)
        assert split.total.usd == pytest.approx(of_routing + of_cache, rel=0.05)
        routing.append(by_layer["router"])
        assert ("cache_misuse" in {p.mode for p in split.parts}) is misused
    assert routing[1] == pytest.approx(routing[0], rel=0.06)
