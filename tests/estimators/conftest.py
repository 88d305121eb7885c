"""One thread inside each small problem, as in `estimate`: on a busy machine more wait for each other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from threadpoolctl import threadpool_limits


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Linear algebra and trees on one thread."""
    with threadpool_limits(limits=1):
        yield
