"""The committed example logs: made by the checked-in command, small, and without the truth."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

from shadowprice import cli

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"

COMMAND = re.compile(r"`shadowprice simulate --out examples ([^`]+)`")
MAX_BYTES = 1_500_000


def content(path: Path) -> bytes:
    """The bytes of a log as a reader sees them; how well they are packed may differ between zlibs."""
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


def files(folder: Path) -> list[Path]:
    """What the simulator makes; an example reader lies beside it."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(path for path in found if path.parts[0] != "readers")


def test_the_command_in_the_readme_makes_the_committed_examples(tmp_path: Path) -> None:
    """Kills examples that were edited by hand, and a simulator change that leaves stale examples behind."""
    found = COMMAND.search((EXAMPLES / "README.md").read_text(encoding="utf-8"))
    assert found is not None
    assert cli.run(["simulate", "--out", str(tmp_path), *found[1].split(), "--quiet"]) == 0
    assert [*files(tmp_path), Path("README.md")] == sorted(
        files(EXAMPLES), key=lambda p: p == Path("README.md")
    )
    for name in files(tmp_path):
        assert content(tmp_path / name) == content(EXAMPLES / name), name


def test_the_examples_are_small_and_hold_no_truth() -> None:
    """Kills examples that bloat the repository or give the answer away."""
    assert sum((EXAMPLES / name).stat().st_size for name in files(EXAMPLES)) < MAX_BYTES
    assert not any("truth" in part for name in files(EXAMPLES) for part in name.parts)
