"""Worlds with known truth: logs in real formats, and apart from them what every action would have led to."""

from .simulate import SimulatedRun, simulate

__all__ = ["SimulatedRun", "simulate"]
