"""Settings: who wins, where a value came from, and that a recorded configuration reads back."""

from __future__ import annotations

from pathlib import Path

import pytest
from shadowprice.errors import ConfigError
from shadowprice.schemas.config import parse_config
from shadowprice.settings import config_dict, resolve

FILE = """
cluster = "session_id"
[prices]
latency = "0.12 USD/min"
risk = "1e-7 USD/event"
[prices.task_value_by_class]
refund = "3 USD/task"
[[rules]]
match = "lint"
kind = "verify"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "shadowprice.toml"
    path.write_text(FILE)
    return path


def origins(file: Path, environment: dict[str, str]) -> dict[str, str]:
    return {setting.name: setting.origin for setting in resolve(file, environment=environment).origins}


def test_the_environment_beats_the_file(file: Path) -> None:
    """Kills: the two sources merged in the wrong order."""
    settings = resolve(file, environment={"SHADOWPRICE__PRICES__RISK": "40 USD/event"})
    assert settings.config.prices.risk is not None
    assert settings.config.prices.risk.value == 40.0
    assert settings.config.cluster == "session_id"


def test_every_value_names_its_origin(file: Path) -> None:
    """Kills: an origin that is guessed from the value instead of from who stated it."""
    found = origins(file, {"SHADOWPRICE__PRICES__RISK": "40 USD/event"})
    assert found["prices.risk"] == "environment SHADOWPRICE__PRICES__RISK"
    assert found["prices.latency"] == f"file {file}"
    assert found["prices.task_value"] == "default"


def test_a_recorded_configuration_reads_back_equal(file: Path) -> None:
    """Kills: an amount written with fewer digits than it has, or without its unit."""
    config = resolve(file, environment={}).config
    assert parse_config(config_dict(config)) == config


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("SHADOWPRICE__PRICES__LATENCI", "Did you mean 'latency'?"),
        ("SHADOWPRICE__PRICE__LATENCY", "Did you mean 'prices'?"),
        ("SHADOWPRICE__CLUSTER__KEY", "no keys below it"),
    ],
)
def test_an_unknown_variable_is_refused(file: Path, name: str, told: str) -> None:
    """Kills: a mistyped variable that silently does nothing."""
    with pytest.raises(ConfigError, match="environment") as error:
        resolve(file, environment={name: "1 USD/s"})
    assert told in str(error.value)


def test_other_variables_are_not_ours(file: Path) -> None:
    """Kills: a prefix so short that SHADOWPRICE_SEED or another tool's variable is read as a key."""
    assert resolve(file, environment={"SHADOWPRICE_SEED": "3"}).config == resolve(file, environment={}).config
