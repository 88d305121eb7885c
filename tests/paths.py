"""Where tests find the public data sets, which are never part of this repository."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def shared_data(name: str) -> Path:
    """The folder of the public data set `name`; skips the test when it is not on this machine."""
    base = Path(os.environ.get("SHADOWPRICE_DATA", ROOT.parent / "shared" / "data"))
    folder = base / name
    if not folder.is_dir():
        pytest.skip(f"data set '{name}' is absent: set SHADOWPRICE_DATA to the folder that holds it")
    return folder
