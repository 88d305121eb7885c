"""Files are whole or absent, and private."""

import subprocess
import sys

import pytest
from shadowprice.errors import ExportError
from shadowprice.schemas.files import atomic_path, exclusive, write_text


def test_a_failure_leaves_the_old_file_and_no_rubbish(tmp_path):
    """Kills: writing in place, or forgetting the temporary file."""
    target = tmp_path / "a.txt"
    write_text(target, "old")

    def fail_half_way() -> None:
        with atomic_path(target) as path:
            path.write_text("half")
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        fail_half_way()
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]


def test_only_the_owner_can_read_what_was_written(tmp_path):
    """Kills: results that other users of the machine can read."""
    target = tmp_path / "deep" / "a.txt"
    write_text(target, "x")
    assert target.stat().st_mode & 0o777 == 0o600


HOLD = """
import sys
from pathlib import Path
from shadowprice.schemas.files import exclusive
with exclusive(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_two_processes_cannot_write_to_one_folder_and_a_killed_one_lets_go(tmp_path):
    """Kills: no lock, a lock that a killed run leaves behind, or one that a process cannot enter twice."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(ExportError, match="another run is writing here"), exclusive(tmp_path):
            pass
        holder.kill()
    with exclusive(tmp_path), exclusive(tmp_path):
        pass
