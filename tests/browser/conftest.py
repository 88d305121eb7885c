"""One browser for all tests of a worker, or the reason why there is none."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.browser.opened import browser_path, launched


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A running headless Chromium."""
    if browser_path() is None:
        pytest.skip("no Chromium on this machine: install the package chromium to run the browser tests")
    with launched() as running:
        yield running
