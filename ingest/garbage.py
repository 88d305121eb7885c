"""Python's garbage collector held back while logs are read: rows are many and new, and refer to no others."""

from __future__ import annotations

import gc
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

_YOUNG: Final = 50_000
"""Objects after which the youngest are looked through; the default 700 walks waiting rows all the time."""


@contextmanager
def rare_collections() -> Generator[None]:
    """A block in which garbage is looked for rarely; what is there already is not looked through."""
    before, freezing = gc.get_threshold(), gc.get_freeze_count() == 0
    if freezing:
        gc.freeze()
    gc.set_threshold(_YOUNG, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        if freezing:
            gc.unfreeze()
