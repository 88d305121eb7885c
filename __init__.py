"""Whether the tokens of AI agents are well spent, and at what prices they should be, read from logs.

Every public name is imported on first use, so that `import shadowprice` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from .errors import ShadowpriceError
    from .estimators.capital.frontier import frontier
    from .estimators.capital.hit_rates import hit_rates
    from .estimators.capital.production import production
    from .estimators.congestion.congestion import congestion
    from .estimators.congestion.fingerprint import congestion_fingerprint
    from .estimators.econml_learners import second_opinion
    from .estimators.estimate import estimate
    from .estimators.exploration_plan import plan_exploration
    from .estimators.policy_diagnostics import policy_diagnostics
    from .estimators.policy_distribution import policy_cvar, policy_distribution
    from .estimators.policy_surplus import policy_surplus
    from .estimators.policy_value import policy_value
    from .estimators.predictions.predictions import predictions
    from .estimators.prices.autonomy import autonomy_schedule
    from .estimators.prices.fit import fit_prices
    from .estimators.prices.layers import price_gaps
    from .estimators.prices.tier_menu import tier_menu
    from .estimators.regret.asked import regret
    from .estimators.risk_asked import decision_risk, risk
    from .estimators.risk_records import RiskSettings
    from .estimators.scrutiny import Scrutiny, scrutiny
    from .ingest.pipeline import ingest
    from .reports.diagnose import diagnose
    from .reports.inspection import inspect
    from .runs import audit, demo
    from .schemas.config import Config, load_config
    from .schemas.records import Estimate, Estimates, Finding, Prediction, Price, Prices
    from .schemas.store import Store, open_store

    __version__: str

_HOME: Final = {
    "Config": "schemas.config",
    "Estimate": "schemas.records",
    "Estimates": "schemas.records",
    "Finding": "schemas.records",
    "Prediction": "schemas.records",
    "Price": "schemas.records",
    "Prices": "schemas.records",
    "RiskSettings": "estimators.risk_records",
    "Scrutiny": "estimators.scrutiny",
    "ShadowpriceError": "errors",
    "Store": "schemas.store",
    "audit": "runs",
    "autonomy_schedule": "estimators.prices.autonomy",
    "congestion": "estimators.congestion.congestion",
    "congestion_fingerprint": "estimators.congestion.fingerprint",
    "decision_risk": "estimators.risk_asked",
    "demo": "runs",
    "diagnose": "reports.diagnose",
    "estimate": "estimators.estimate",
    "fit_prices": "estimators.prices.fit",
    "frontier": "estimators.capital.frontier",
    "hit_rates": "estimators.capital.hit_rates",
    "inspect": "reports.inspection",
    "load_config": "schemas.config",
    "open_store": "schemas.store",
    "plan_exploration": "estimators.exploration_plan",
    "policy_cvar": "estimators.policy_distribution",
    "policy_diagnostics": "estimators.policy_diagnostics",
    "policy_distribution": "estimators.policy_distribution",
    "policy_surplus": "estimators.policy_surplus",
    "policy_value": "estimators.policy_value",
    "predictions": "estimators.predictions.predictions",
    "price_gaps": "estimators.prices.layers",
    "production": "estimators.capital.production",
    "regret": "estimators.regret.asked",
    "risk": "estimators.risk_asked",
    "scrutiny": "estimators.scrutiny",
    "second_opinion": "estimators.econml_learners",
    "tier_menu": "estimators.prices.tier_menu",
}
"""Public name -> the module that holds it. `ingest` is not here: the room itself can be called."""

__all__ = [
    "Config",
    "Estimate",
    "Estimates",
    "Finding",
    "Prediction",
    "Price",
    "Prices",
    "RiskSettings",
    "Scrutiny",
    "ShadowpriceError",
    "Store",
    "__version__",
    "audit",
    "autonomy_schedule",
    "congestion",
    "congestion_fingerprint",
    "decision_risk",
    "demo",
    "diagnose",
    "estimate",
    "fit_prices",
    "frontier",
    "hit_rates",
    "ingest",
    "inspect",
    "load_config",
    "open_store",
    "plan_exploration",
    "policy_cvar",
    "policy_diagnostics",
    "policy_distribution",
    "policy_surplus",
    "policy_value",
    "predictions",
    "price_gaps",
    "production",
    "regret",
    "risk",
    "scrutiny",
    "second_opinion",
    "tier_menu",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("shadowprice")
    if name == "ingest":
        return import_module(".ingest", __name__)
    if name not in _HOME:
        raise AttributeError(f"module 'shadowprice' has no attribute '{name}'")
    return getattr(import_module(f".{_HOME[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted(__all__)
