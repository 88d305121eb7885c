"""`shadowprice explain`: one decision or one request from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from door import copy_of, knock
from shadowprice.schemas.store import open_store

Capture = pytest.CaptureFixture[str]
MAPPING = """
format = "jsonl"
layer = "router"
decision_point = "model"

[columns]
decision_id = "id"
tenant_id = "tenant"
action = "model"
quality = "score"
cost_usd = {from = "cost", unit = "USD"}
x_kind = "kind"
"""


def first(audited: Path, column: str, layer: str = "agent") -> str:
    rows = open_store(audited).decisions().filter(layer=layer, decision_point="verify").collect()
    return str(rows[column][0])


def test_a_decision_is_explained_with_its_terms_and_its_request(audited: Path, capfd: Capture) -> None:
    """Kills: a sum without its terms, and a decision without the layers before and after it."""
    said = knock(capfd, "explain", audited, first(audited, "decision_id"))
    assert said.code == 0
    assert all(mark in said.out for mark in ("V ΔQ", "− ΔC", "− λ ΔL", "− ρ ΔR", "net marginal value"))
    assert "also in this request:\n  router" in said.out


def test_a_request_is_explained_layer_by_layer(audited: Path, capfd: Capture) -> None:
    """Kills: a chain out of order, and a decision of the request that is left out."""
    request = first(audited, "request_id")
    said = knock(capfd, "explain", audited, request, "--json", "--quiet")
    assert (said.code, said.err) == (0, "")
    data = said.json["data"]
    rows = open_store(audited).decisions().filter(request_id=request).collect()
    layers = [d["layer"] for d in data["decisions"]]
    assert data["whole_request"]
    assert layers == sorted(layers, key=["router", "agent", "serving", "training"].index)
    assert {d["decision_id"] for d in data["decisions"]} == set(rows["decision_id"])
    ledger = pl.read_parquet(audited / "ledger.parquet").filter(request_id=request)
    assert sum(len(d["worths"]) for d in data["decisions"]) == ledger.height
    assert said.json["run_id"] == json.loads((audited / "run.json").read_text())["run_id"]


@pytest.mark.parametrize("wrong", ["last character", "first half", "nothing like it"])
def test_an_unknown_id_ends_with_two_and_a_cure(wrong: str, audited: Path, capfd: Capture) -> None:
    """Kills: an empty answer for an id that is not there, and an error that leaves the user alone."""
    known = first(audited, "decision_id")
    asked = {"last character": f"{known}x", "first half": known[: len(known) // 2], "nothing like it": "?"}
    said = knock(capfd, "explain", audited, asked[wrong])
    assert (said.code, said.out) == (2, "")
    assert (known if wrong == "last character" else "for instance" if wrong[0] == "n" else "mean") in said.err


def test_a_run_killed_before_its_prices_is_explained_without_them(
    audited: Path, tmp_path: Path, capfd: Capture
) -> None:
    """Kills: an explanation that needs stages which it only quotes."""
    copy = copy_of(audited, tmp_path)
    for name in ("prices.json", "findings.json", "run.json"):
        (copy / name).unlink()
    said = knock(capfd, "explain", copy, first(copy, "decision_id"), "--json")
    assert said.code == 0
    assert said.json["data"]["decisions"][0]["worths"]
    (copy / "ledger.parquet").unlink()
    said = knock(capfd, "explain", copy, first(copy, "decision_id"))
    assert said.code == 2
    assert "shadowprice estimate" in said.err


def test_ids_from_a_hostile_log_cannot_move_the_terminal(tmp_path: Path, capfd: Capture) -> None:
    """Kills: an escape sequence in an id, an action or a context that reaches the screen."""
    evil = "d\x1b[2J\x1b]0;owned\x07\u202e"
    rows = (
        {"id": f"{evil}{k}", "tenant": f"t{k % 40}", "model": f"m{k * 31 % 7 < 3}\x1b[1A"}
        | {"score": (k * 7919 % 13) / 12, "cost": 0.01 + k % 3 / 1000, "kind": f"k{k % 2}\r"}
        for k in range(400)
    )
    log, mapping, out = tmp_path / "log.jsonl", tmp_path / "m.toml", tmp_path / "run"
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    mapping.write_text(MAPPING)
    knock(capfd, "ingest", log, "--mapping", mapping, "--out", out)
    knock(capfd, "estimate", out)
    for asked in (f"{evil}7", f"{evil}7x"):
        said = knock(capfd, "explain", out, asked)
        assert said.code == (0 if asked.endswith("7") else 2)
        assert all(char.isprintable() for char in (said.out + said.err).replace("\n", ""))
        assert "U+001B" in said.out + said.err
