"""Pictures of a report for the documentation: the first screen on a desk and on a phone, light and dark.

python tests/browser/screenshots.py RUN/report.html docs/screenshots
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from playwright.sync_api import Browser

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.browser.opened import DESKTOP, PHONE, SCHEMES, launched, opened

SIZES = {"desktop": DESKTOP, "phone": PHONE}
MAX_BYTES = 300_000


def take(browser: Browser, report: Path, folder: Path) -> list[Path]:
    """The files written, one PNG per window and colour scheme."""
    folder.mkdir(parents=True, exist_ok=True)
    taken: list[Path] = []
    for name, size in SIZES.items():
        for scheme in SCHEMES:
            file = folder / f"report-{name}-{scheme}.png"
            with opened(browser, report.resolve(), size=size, scheme=scheme) as (page, _):
                page.screenshot(path=file)
            taken.append(file)
    return taken


def main() -> int:
    """Take the pictures and print their sizes; 1 when one is too large to keep in a repository."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("report", type=Path, help="report.html of a run, for instance of `shadowprice demo`")
    parser.add_argument("folder", type=Path, nargs="?", default=Path("docs/screenshots"))
    asked = parser.parse_args()
    with launched() as browser:
        sizes = {file: file.stat().st_size for file in take(browser, asked.report, asked.folder)}
    for file, size in sizes.items():
        print(f"{size / 1000:6.0f} kB  {file}")
    return int(max(sizes.values()) > MAX_BYTES)


if __name__ == "__main__":
    raise SystemExit(main())
