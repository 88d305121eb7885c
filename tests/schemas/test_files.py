"""Files are whole or absent, and private."""

import pytest
from shadowprice.schemas.files import atomic_path, write_text


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
