"""How tests knock at the command line, and compare what it left behind."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from shadowprice import cli
from shadowprice.ingest.simulator import SimulatedRun


@dataclass(frozen=True, slots=True)
class Said:
    """What a command printed and how it ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        """The envelope, which must be all of stdout."""
        return json.loads(self.out)


def knock(capfd: pytest.CaptureFixture[str], *args: str | Path) -> Said:
    """Run a command line in this process."""
    capfd.readouterr()
    code = cli.run([str(arg) for arg in args])
    return Said(code, *capfd.readouterr())


def start(*args: str | Path, **options: Any) -> subprocess.Popen[str]:
    """Start a command line in a process of its own."""
    command = [sys.executable, "-m", "shadowprice", *map(str, args)]
    return subprocess.Popen(command, text=True, **options)


def mappings(world: SimulatedRun) -> list[str]:
    """The options that name every mapping file beside the logs of a world."""
    files = sorted(world.logs.glob("*.mapping.toml"))
    return [part for file in files for part in ("--mapping", str(file))]


def audit_command(world: SimulatedRun, out: Path) -> list[str]:
    """The command line that audits a world."""
    return ["audit", str(world.logs), "--config", str(world.config), *mappings(world), "--out", str(out)]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a run but run.json, which alone holds times, and what only speeds up the next ingest."""
    files = (path for path in folder.rglob("*") if path.is_file())
    names = {path.relative_to(folder).as_posix(): path for path in files}
    kept = {name: path for name, path in names.items() if name != "run.json" and ".staging" not in name}
    return {name: path.read_bytes() for name, path in kept.items()}


def copy_of(run: Path, folder: Path) -> Path:
    """A copy of a run that a test may change."""
    return Path(shutil.copytree(run, folder / "run"))
