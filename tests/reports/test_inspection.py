"""Inspection of a store: joins, links, gaps and grades, with nothing estimated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from shadowprice.reports.ingested import refused_lines
from shadowprice.reports.inspection import Inspection, inspect
from shadowprice.schemas.store import Store, write_manifest
from shadowprice.schemas.tables import arrow_schema

N = 240


def store(folder: Path, frame: pl.DataFrame, **manifest: Any) -> Store:
    schema = arrow_schema("decisions", {n: pl.Series([0.0]).to_arrow().type for n in _features(frame)})
    lacking = [f.name for f in schema if f.name not in frame.columns]
    whole = frame.with_columns(pl.lit(None).alias(name) for name in lacking).select(schema.names)
    table = whole.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(schema)
    import pyarrow.parquet as pq

    pq.write_table(table, folder / "decisions.parquet")
    base: dict[str, Any] = {
        "tables": {"decisions": ["decisions.parquet"]},
        "features": dict.fromkeys(_features(frame), "real"),
        "sources": [{"name": "a", "format": "litellm", "rows": {"decisions": frame.height}}],
        "links": {},
    }
    return write_manifest(folder, {**base, **manifest})


def _features(frame: pl.DataFrame) -> list[str]:
    return [c for c in frame.columns if c.startswith("x_")]


def router(n: int = N, *, propensity: bool) -> pl.DataFrame:
    rng = np.random.default_rng(1)
    taken = rng.random(n) < 0.5
    return pl.DataFrame(
        {
            "decision_id": [f"r{i}" for i in range(n)],
            "layer": "router",
            "decision_point": "model",
            "request_id": [f"q{i}" for i in range(n)],
            "session_id": [f"s{i // 4}" for i in range(n)],
            "action": np.where(taken, "big", "small").tolist(),
            "cost_usd": 0.03,
            "quality": rng.random(n),
            "x_length": rng.normal(size=n),
            **(
                {
                    "candidates": [["big", "small"]] * n,
                    "propensity": 0.5,
                    "propensities": [[0.5, 0.5]] * n,
                    "propensity_source": "logged",
                }
                if propensity
                else {}
            ),
        }
    )


def agent(n: int = N // 2) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "decision_id": [f"a{i}" for i in range(n)],
            "layer": "agent",
            "decision_point": "verify",
            "request_id": [f"q{i}" for i in range(n)],
            "session_id": [f"s{i // 4}" for i in range(n)],
            "action": "verify",
            "cost_usd": 0.01,
            "x_length": np.random.default_rng(2).normal(size=n),
        }
    )


@pytest.fixture
def seen(tmp_path: Path) -> Inspection:
    frame = pl.concat([router(propensity=True), agent()], how="diagonal")
    links = {"quality_name": "resolved", "linked": 90, "unlinked": 10, "outcomes": 100}
    return inspect(store(tmp_path, frame, links=links, counts={"quarantined": 3}))


def test_requests_are_counted_by_the_layers_that_saw_them(seen: Inspection) -> None:
    """Kills a join that counts rows instead of requests, or spend of one layer only."""
    assert [j.requests for j in seen.joins] == [N // 2, N // 2, 0, 0]
    assert seen.joins[1].request_share == 0.5
    assert seen.joins[1].spend_share == pytest.approx(0.04 / 0.07)
    assert seen.without_request_id == 0


def test_each_decision_point_has_its_grade_share_and_gaps(seen: Inspection) -> None:
    """Kills a grade that ignores logged propensities, and a gap that is not named."""
    agent_point, router_point = seen.points
    assert (router_point.grade, agent_point.grade) == ("A", "N")
    assert router_point.spend_share == pytest.approx(7.2 / 8.4)
    assert agent_point.missing["propensity"] == 1.0
    assert "cost_usd" not in agent_point.missing
    assert "propensity" not in router_point.missing


def test_the_text_says_what_is_there_and_what_to_log_next(seen: Inspection) -> None:
    """Kills a table without advice."""
    text = str(seen)
    for part in (
        "litellm 360 rows",
        "90 of 100 linked (90 %)",
        "[A] router.model",
        "[N] agent.verify",
        "next",
    ):
        assert part in text
    assert "3 bad rows" in text
    assert seen.to_dict()["points"][1]["grade"] == "A"


def test_a_log_without_outcomes_or_ids_is_told_what_it_can_still_learn(tmp_path: Path) -> None:
    """Kills an inspection that is empty where it is needed most."""
    bare = router(propensity=False).drop("quality", "request_id")
    text = str(inspect(store(tmp_path, bare)))
    assert "no request_id" in text
    assert "quality effects cannot be learned" in text


def test_hostile_names_reach_a_terminal_inert(tmp_path: Path) -> None:
    """Kills an escape code in a file name that moves the cursor."""
    refused = [{"name": "\x1b[2Jx", "error": "\u202ebad"}]
    text = str(inspect(store(tmp_path, router(propensity=True), refused=refused)))
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_files_refused_for_one_reason_share_a_line() -> None:
    """Kills: a screen of forty lines that say the same, or a reason that goes missing."""
    many = [{"name": f"{n}.bin", "error": "binary data"} for n in "abcde"]
    assert refused_lines([*many, {"name": "z.csv", "error": "empty"}]) == [
        "a.bin, b.bin, c.bin and 2 more not read: binary data",
        "z.csv not read: empty",
    ]
