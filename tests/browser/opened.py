"""A page opened in headless Chromium, and everything that it complained about, asked for or ran."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Browser, Page, sync_playwright

NAMES: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS: Final = (
    "--no-sandbox",  # containers run as root
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)
SCHEMES: Final = ("light", "dark")
DESKTOP: Final = (1440, 900)
PHONE: Final = (360, 780)


@dataclass(slots=True)
class Heard:
    """What a page did that a report must not do: messages, requests beyond its own file, dialogs."""

    url: str
    messages: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)

    def everything(self) -> list[str]:
        """All of it; empty for a page that only shows itself."""
        return [*self.messages, *self.requests, *self.dialogs]


def browser_path() -> str | None:
    """Where a Chromium is on this machine, or None."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


@contextmanager
def launched() -> Iterator[Browser]:
    """A running headless browser.

    Raises: LookupError when this machine has none.
    """
    path = browser_path()
    if path is None:
        raise LookupError("no Chromium on this machine: install the package chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def opened(
    browser: Browser, file: Path, *, size: tuple[int, int] = DESKTOP, scheme: str = "light", **context: Any
) -> Iterator[tuple[Page, Heard]]:
    """`file` opened from disk in a window of `size` (px), with what was heard from it."""
    room = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme=scheme,
        **context,  # pyright: ignore[reportArgumentType]
    )
    page = room.new_page()
    heard = Heard(url=file.as_uri())
    page.on("console", lambda message: heard.messages.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: heard.messages.append(str(error)))
    page.on("request", lambda asked: heard.requests.append(asked.url) if asked.url != heard.url else None)

    def dismissed(dialog: Any) -> None:
        heard.dialogs.append(dialog.message)
        dialog.dismiss()

    page.on("dialog", dismissed)
    page.goto(heard.url)
    try:
        yield page, heard
    finally:
        room.close()


def unfold(page: Page) -> None:
    """Open every fold of the page."""
    page.evaluate("document.querySelectorAll('details').forEach(fold => fold.open = true)")
