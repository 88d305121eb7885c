"""Where tests find files that are not part of a test: the repository, and public data beside it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[1]
EXAMPLES = REPOSITORY / "examples"


def shared_data(name: str) -> Path:
    """The folder of the public data set `name`; the test is skipped, with the reason, when it is absent."""
    root = Path(os.environ.get("SHADOWPRICE_DATA", REPOSITORY.parent / "shared" / "data"))
    folder = root / name
    if not folder.is_dir():
        pytest.skip(f"public data set '{name}' is absent: set SHADOWPRICE_DATA to the folder that holds it")
    return folder
