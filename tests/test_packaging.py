"""The wheel: every sub-package and data file is in it, tests are not, and it works unpacked elsewhere."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from paths import REPOSITORY

ROOMS = ("schemas", "ingest", "estimators", "reports")
OUTSIDE = ("tests", "benchmarks", "notebooks", "examples", "docs")


def shipped_files() -> set[str]:
    """Every file that the package needs, as the wheel should name it."""
    rooms = (path for room in ROOMS for path in (REPOSITORY / room).rglob("*"))
    files = [*REPOSITORY.glob("*.py"), REPOSITORY / "py.typed", *rooms]
    kept = (f for f in files if f.is_file() and "__pycache__" not in f.parts and not f.name.startswith("."))
    return {f"shadowprice/{f.relative_to(REPOSITORY).as_posix()}" for f in kept}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy of the tree, so that nothing is left behind in it."""
    tree = tmp_path_factory.mktemp("tree") / "source"
    ignored = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "out-*", "__pycache__")
    shutil.copytree(REPOSITORY, tree, ignore=ignored)
    out = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(tree)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return next(out.glob("*.whl"))


def test_the_wheel_ships_every_module_and_data_file(wheel: Path) -> None:
    """Kills: a new sub-package or template that pyproject.toml does not name."""
    assert shipped_files() <= set(zipfile.ZipFile(wheel).namelist())


def test_the_wheel_ships_nothing_else(wheel: Path) -> None:
    """Kills: tests, benchmarks or examples that slip into everybody's site-packages."""
    folders = {name.split("/")[1] for name in zipfile.ZipFile(wheel).namelist() if name.count("/") > 1}
    assert not folders & set(OUTSIDE)


def test_the_wheel_holds_the_licence(wheel: Path) -> None:
    """Kills: a wheel without its Apache-2.0 text."""
    names = zipfile.ZipFile(wheel).namelist()
    assert [name for name in names if name.endswith("LICENSE")]


def test_the_unpacked_wheel_answers(wheel: Path, tmp_path: Path) -> None:
    """Kills: code that only works beside the repository, for instance a data file read from the tree."""
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = (
        "import shadowprice, shadowprice.ingest.actions, shadowprice.reports.page;"
        "print(shadowprice.__file__, shadowprice.__version__)"
    )
    environment = {"PYTHONPATH": str(tmp_path), "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(tmp_path / "shadowprice"))
