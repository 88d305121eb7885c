"""The public names: what is promised is there, documented, and cheap to import."""

from __future__ import annotations

import ast
import subprocess
import sys
import types

import pytest
import shadowprice as sp
from paths import REPOSITORY

PROMISED = {
    *("Config", "Estimate", "Estimates", "Finding", "Price", "Prices", "ShadowpriceError", "Store"),
    *("audit", "demo", "diagnose", "estimate", "fit_prices", "ingest", "inspect"),
    *("load_config", "open_store", "__version__", "scrutiny", "Scrutiny", "risk", "RiskSettings"),
    *("congestion_fingerprint", "frontier", "hit_rates", "production", "regret", "tier_menu"),
    *("autonomy_schedule", "congestion", "decision_risk", "price_gaps", "second_opinion"),
    *("predictions", "Prediction"),
    *("policy_value", "policy_diagnostics", "policy_surplus", "policy_distribution", "policy_cvar"),
    "plan_exploration",
}
HEAVY = ("polars", "numpy", "duckdb", "sklearn", "pydantic", "typer", "rich", "altair", "scipy", "pyarrow")


def test_all_is_what_is_promised() -> None:
    """Kills: a public name added, dropped or renamed without a decision."""
    assert set(sp.__all__) == PROMISED
    assert list(sp.__all__) == sorted(sp.__all__)
    assert set(dir(sp)) == PROMISED


@pytest.mark.parametrize("name", sorted(PROMISED))
def test_every_public_name_exists(name: str) -> None:
    """Kills: an entry of __all__ whose module or attribute is gone."""
    assert getattr(sp, name) is not None


@pytest.mark.parametrize("name", sorted(PROMISED - {"__version__"}))
def test_every_public_name_has_a_docstring(name: str) -> None:
    """Kills: a public name that nobody explains."""
    assert (getattr(sp, name).__doc__ or "").strip()


def test_type_checkers_see_the_same_names() -> None:
    """Kills: a lazy name that is missing under TYPE_CHECKING, so editors do not know it."""
    tree = ast.parse((REPOSITORY / "__init__.py").read_text(encoding="utf-8"))
    block = next(node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.name for node in ast.walk(block) if isinstance(node, ast.ImportFrom) for alias in node.names
    }
    assert seen | {"__version__"} == PROMISED


def test_an_unknown_name_is_an_attribute_error() -> None:
    """Kills: a lazy loader that raises KeyError, which hasattr and tab completion do not expect."""
    assert not hasattr(sp, "estimat")


def test_ingest_is_both_a_verb_and_a_room() -> None:
    """Kills: the function shadowed by the package of the same name once a submodule is imported."""
    import shadowprice.ingest.seam

    assert callable(sp.ingest)
    assert isinstance(shadowprice.ingest.seam, types.ModuleType)


def test_importing_the_package_loads_nothing_heavy() -> None:
    """Kills: an eager import that makes `import shadowprice` and --help slow."""
    code = f"import sys, shadowprice, shadowprice.cli; print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['typer']"
