"""The garbage collector is held back only for as long as logs are read."""

from __future__ import annotations

import gc

import pytest
from shadowprice.ingest.garbage import rare_collections


@pytest.mark.parametrize("fails", [True, False])
def test_the_collector_is_as_it_was_afterwards(fails: bool) -> None:
    """Kills a notebook whose garbage piles up after it has read logs once."""
    before = gc.get_threshold(), gc.get_freeze_count()
    try:
        with rare_collections():
            assert gc.get_threshold()[0] > before[0][0]
            assert gc.isenabled()
            if fails:
                raise ValueError
    except ValueError:
        assert fails
    assert (gc.get_threshold(), gc.get_freeze_count()) == before


def test_what_the_user_froze_stays_frozen() -> None:
    """Kills an unfreezing that is not ours."""
    gc.freeze()
    try:
        with rare_collections():
            pass
        assert gc.get_freeze_count() > 0
    finally:
        gc.unfreeze()
