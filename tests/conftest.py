"""What holds for every test: no network, and one small audited world that they share."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any, NoReturn

import pytest
from door import audit_command
from hypothesis import settings
from shadowprice.cli import run
from shadowprice.ingest.simulator import Knobs, SimulatedRun, simulate

settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any attempt to look up or reach another machine fails the test."""

    def refuse(*args: Any, **kwargs: Any) -> NoReturn:
        raise AssertionError(f"a test tried to use the network: {args[1:]}")

    for name in ("connect", "connect_ex", "sendto", "bind"):
        monkeypatch.setattr(socket.socket, name, refuse)
    for name in ("getaddrinfo", "gethostbyname", "create_connection"):
        monkeypatch.setattr(socket, name, refuse)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> SimulatedRun:
    """Logs of a small four-layer world."""
    return simulate(tmp_path_factory.mktemp("world"), seed=1, knobs=Knobs(requests=1000, tenants=30))


@pytest.fixture(scope="session")
def audited(world: SimulatedRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a complete run over that world; tests read it and leave it as it is."""
    out = tmp_path_factory.mktemp("audited") / "run"
    assert run([*audit_command(world, out), "--quiet"]) == 0
    return out
