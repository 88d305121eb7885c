"""Worlds with known truth: logs in real formats, and apart from them what every action would have led to."""

from .knobs import USUAL_MODES, Knobs
from .simulate import SimulatedRun, simulate

__all__ = ["USUAL_MODES", "Knobs", "SimulatedRun", "simulate"]
