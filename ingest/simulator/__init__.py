"""Worlds with known truth: logs in real formats, and apart from them what every action would have led to."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .simulate import SimulatedRun, simulate

__all__ = ["SimulatedRun", "simulate"]


def __getattr__(name: str) -> Any:
    """The four-layer world is imported on first use: a single decision point needs none of it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.simulate"), name)
