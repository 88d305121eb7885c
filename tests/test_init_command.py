"""`shadowprice init`: a configuration from what the logs contain, in which no price is made up."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest
from door import knock, mappings
from shadowprice.ingest.simulator import SimulatedRun
from shadowprice.reports.starter import quoted
from shadowprice.schemas.config import load_config
from shadowprice.schemas.store import open_store

Capture = pytest.CaptureFixture[str]
EVIL = 'a"\n[prices]\ntask_value = "9 USD/task"\n\x1b[2J\u202e'
MAPPING = """
format = "jsonl"
layer = "router"
decision_point = "model"
[columns]
decision_id = "id"
tenant_id = "tenant"
action = "model"
x_kind = "kind"
"""


def uncommented(text: str) -> str:
    """The draft with every commented setting switched on, its number filled in."""
    setting = re.compile(r"^# (?=\[|\"|\w+ = )", flags=re.MULTILINE)
    return setting.sub("", text).replace("... USD", "1 USD")


def test_the_draft_of_a_run_is_valid_and_holds_what_the_logs_contain(
    audited: Path, tmp_path: Path, capfd: Capture
) -> None:
    """Kills: a draft that the program refuses, a price that nobody set, a class that is left out."""
    out = tmp_path / "shadowprice.toml"
    said = knock(capfd, "init", audited, "--out", out)
    assert said.code == 0
    assert Path(said.out.splitlines()[-1]) == out
    config, _ = load_config(out)
    assert (config.cluster, config.segments) == ("tenant_id", ("x_task_class",))
    assert config.quality is not None
    assert config.quality.name == "resolved"
    assert config.prices.task_value is None
    assert config.prices.task_value_by_class == {}
    text = out.read_text()
    assert all(f'# "{name}" = "... USD/task"' in text for name in ("coding", "refunds", "research", "triage"))
    assert "incident" in text


def test_every_commented_setting_is_one_that_the_program_reads(
    audited: Path, tmp_path: Path, capfd: Capture
) -> None:
    """Kills: a key or a unit in a comment that fails once it is switched on."""
    out = tmp_path / "shadowprice.toml"
    knock(capfd, "init", audited, "--out", out)
    out.write_text(uncommented(out.read_text()))
    config, _ = load_config(out)
    assert str(config.prices.task_value) == "1 USD/task"
    assert len(config.prices.task_value_by_class) == 4
    assert {p.name for p in config.points} >= {"model", "verify"}


def test_logs_are_read_without_leaving_a_store(world: SimulatedRun, tmp_path: Path, capfd: Capture) -> None:
    """Kills: a draft that needs a run first, or that starts one."""
    out = tmp_path / "there" / "my.toml"
    said = knock(capfd, "init", world.logs, *mappings(world), "--out", out, "--json", "--quiet")
    assert (said.code, said.err) == (0, "")
    assert said.json["data"]["clusters"]["tenant_id"] == 30
    assert set(said.json["data"]["outcomes"]) >= {"resolved", "incident"}
    assert [path.name for path in out.parent.iterdir()] == ["my.toml"]


def test_a_file_that_is_there_is_kept(audited: Path, tmp_path: Path, capfd: Capture) -> None:
    """Kills: a configuration that took a week, overwritten by a draft."""
    out = tmp_path / "shadowprice.toml"
    out.write_text("mine")
    said = knock(capfd, "init", audited, "--out", out)
    assert (said.code, out.read_text()) == (2, "mine")
    assert "--force" in said.err
    assert knock(capfd, "init", audited, "--out", out, "--force").code == 0


def test_names_from_a_hostile_log_stay_names(tmp_path: Path, capfd: Capture) -> None:
    """Kills: a task class that closes its string and sets a price, and one that moves the terminal."""
    log, mapping, out = tmp_path / "log.jsonl", tmp_path / "m.toml", tmp_path / "c.toml"
    rows = [
        {"id": f"d{k}", "tenant": f"t{k}", "model": f"m{k % 2}", "kind": EVIL * (k % 2) + "b"}
        for k in range(60)
    ]
    log.write_text("".join(json.dumps(row) + "\n" for row in rows))
    mapping.write_text(MAPPING)
    said = knock(capfd, "init", log, "--mapping", mapping, "--out", out)
    assert said.code == 0
    assert all(char.isprintable() for char in (said.out + out.read_text()).replace("\n", ""))
    config, _ = load_config(out)
    assert config.prices.task_value is None
    switched = tomllib.loads(uncommented(out.read_text()))
    assert set(switched["prices"]["task_value_by_class"]) == {f"{EVIL}b", "b"}


def test_a_quoted_name_reads_back_as_itself() -> None:
    """Kills: an escape that TOML does not know."""
    for name in (EVIL, "\\", "é漢", "\x7f\x00", "𝒳\U000e0001"):
        assert tomllib.loads(f"x = {quoted(name)}")["x"] == name


def test_an_audit_can_pseudonymise(world: SimulatedRun, tmp_path: Path, capfd: Capture) -> None:
    """Kills: an option of ingest that the one command for everything lacks, and ids that stay as they are."""
    key, out = tmp_path / "key", tmp_path / "run"
    key.write_text("0123456789abcdef" * 4)
    log = world.logs / "litellm.jsonl"
    said = knock(capfd, "audit", log, "--out", out, "--pseudonymise", key, "--quiet", "--json")
    assert said.code in (0, 3)
    ids = set(open_store(out).decisions().collect()["decision_id"])
    logged = log.read_text()
    assert ids
    assert not [one for one in ids if one in logged]
    asked = knock(capfd, "explain", out, "chatcmpl-0000")
    assert asked.code == 2
    assert "pseudonyms" in asked.err
