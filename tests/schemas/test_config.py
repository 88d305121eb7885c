"""The configuration file: found, parsed, or refused with one clear sentence."""

import pytest
from shadowprice.errors import ConfigError
from shadowprice.schemas.config import Config, load_config, parse_config


def test_every_documented_key_is_read():
    """Kills: a key that is accepted and then ignored by the parser."""
    config = parse_config(
        {
            "prices": {
                "task_value": "12 USD/task",
                "task_value_by_class": {"triage": "2 USD/task"},
                "latency": "0.12 USD/min",
                "risk": "40 USD/event",
                "learning_signal": "0.5 USD/signal",
                "rollout": "0.3 USD/rollout",
            },
            "caps": {"cost": "0.05 USD/decision"},
            "rules": [{"match": "pay_.*", "kind": "act", "action_class": "commit", "reversible": False}],
            "quality": {"name": "stars", "low": 1, "high": 5},
            "cluster": "tenant_id",
            "segments": ["x_tier"],
            "points": [{"name": "model", "identification": "U"}],
        }
    )
    assert config.prices.task_value is not None
    assert config.prices.task_value.value == 12.0
    assert config.prices.task_value_by_class["triage"].value == 2.0
    assert config.prices.latency is not None
    assert config.prices.latency.value == pytest.approx(0.002)
    assert config.prices.learning_signal is not None
    assert config.prices.learning_signal.value == 0.5
    assert config.prices.rollout is not None
    assert config.prices.rollout.value == 0.3
    assert config.rules[0].reversible is False
    assert (config.declared("model"), config.declared("plan")) == ("U", None)
    assert config.quality is not None
    assert (config.quality.low, config.quality.high) == (1.0, 5.0)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"prics": {}}, "unknown key 'prics'. Did you mean 'prices'"),
        ({"prices": {"task_vale": "1 USD/task"}}, "unknown key 'task_vale'. Did you mean 'task_value'"),
        ({"rules": [{"match": "a", "kind": "act", "revesible": True}]}, "Did you mean 'reversible'"),
        ({"prices": {"task_value": 12}}, "no unit"),
        ({"rules": [{"match": "a", "kind": "fly"}]}, "rules.0.kind is 'fly'"),
        ({"points": [{"name": "model", "identifcation": "U"}]}, "Did you mean 'identification'"),
        ({"points": [{"name": "model", "identification": "X"}]}, "points.0.identification is 'X'"),
        ({"points": [{"name": "model"}]}, "points.0.identification is missing"),
        ({"points": [{"name": "a", "identification": "U"}] * 2}, "points names 'a' twice"),
        ({"cluster": "model"}, "cluster is 'model'"),
        ({"prices": {"rollout": "0 USD/rollout"}}, "0 USD/rollout. Expected more than 0"),
        ({"prices": {"learning_signal": "1 USD/rollout"}}, "unit 'USD/rollout'"),
    ],
)
def test_a_bad_key_or_value_is_one_sentence_that_names_it(data, message):
    """Kills: silently ignored keys, and pydantic's own page of text."""
    with pytest.raises(ConfigError, match=message) as caught:
        parse_config(data, where="shadowprice.toml")
    assert str(caught.value).startswith("shadowprice.toml: ")
    assert "\n" not in str(caught.value)


def test_the_file_is_found_by_walking_up_and_pyproject_counts_only_with_our_table(tmp_path):
    """Kills: stopping at the first pyproject.toml, or not walking up."""
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / "a" / "pyproject.toml").write_text('[project]\nname = "other"\n')
    (tmp_path / "shadowprice.toml").write_text('task_class = "x_kind"\n')
    config, path = load_config(start=inner)
    assert (config.task_class, path) == ("x_kind", tmp_path / "shadowprice.toml")
    (tmp_path / "a" / "pyproject.toml").write_text('[tool.shadowprice]\ntask_class = "x_near"\n')
    assert load_config(start=inner)[0].task_class == "x_near"


def test_without_a_file_every_price_is_unknown(tmp_path):
    """Kills: an invented default value of a task."""
    config, path = load_config(start=tmp_path)
    assert path is None
    assert config == Config()
    assert config.prices.task_value is None
    assert config.prices.risk is None


def test_a_file_that_is_not_toml_or_absent_is_a_config_error(tmp_path):
    """Kills: a traceback for a typing error in the file."""
    bad = tmp_path / "shadowprice.toml"
    bad.write_text("[prices\n")
    with pytest.raises(ConfigError, match="not TOML"):
        load_config(bad)
    with pytest.raises(ConfigError, match="No such file"):
        load_config(tmp_path / "absent.toml")
