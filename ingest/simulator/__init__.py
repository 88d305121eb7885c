"""Worlds with known truth, written as logs in real formats."""
