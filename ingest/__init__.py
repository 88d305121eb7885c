"""Foreign logs -> the shared tables: one reader per format, linking, pricing and the simulator."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..schemas.store import Store


class _Room(ModuleType):
    """The package `shadowprice.ingest`, which is also the public verb `sp.ingest(paths, out=...)`."""

    def __call__(self, paths: Any, **options: Any) -> Store:
        from .pipeline import ingest

        return ingest(paths, **options)


sys.modules[__name__].__class__ = _Room
