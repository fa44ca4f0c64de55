"""Windows of a real browser on the running Airflow."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, FrameLocator, Page, expect

from e2e.helpers import Local
from report.pages import BROWSER

__all__ = ["Window", "faults", "needs_browser"]

needs_browser = pytest.mark.skipif(
    BROWSER is None, reason="no Chromium; README says how to install it"
)
expect.set_options(timeout=60_000)  # a slow machine's first page takes longer than 5 s


class Window:
    """A logged-in window on Airflow, which remembers what went wrong."""

    def __init__(self, browser: Browser, local: Local, user: str, **context: Any) -> None:
        self.local, self.wrong, self.outside = local, list[str](), list[str]()
        size = {"width": 1400, "height": 1000}
        self.page: Page = browser.new_context(**{"viewport": size} | context).new_page()
        self.page.on("request", self._requested)
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.goto(local.url)
        self.page.fill("input[name=username]", user)
        self.page.fill("input[type=password]", local.passwords[user])
        self.page.keyboard.press("Enter")
        expect(self.page.get_by_role("button", name=re.compile("Browse"))).to_be_visible()

    def _requested(self, request: Any) -> None:
        """Airflow's own pages may ask others; those of the page must not."""
        if "/nocturne/" in request.frame.url and urlsplit(request.url).hostname not in (
            "localhost",
            "127.0.0.1",
            None,
        ):
            self.outside.append(request.url)

    def _console(self, message: object) -> None:
        if message.type == "error" and "/nocturne/" in message.location["url"]:  # type: ignore[attr-defined]
            self.wrong.append(message.text)  # type: ignore[attr-defined]

    def scoring(self) -> FrameLocator:
        """The page, as one comes to it from the menu."""
        self.page.get_by_role("button", name=re.compile("Browse")).click()
        self.page.get_by_role("menuitem", name="Scoring").click()
        return self.page.frame_locator("iframe")


def faults(page: Page) -> list[str]:
    """What axe-core finds on a page, and in no frame of it."""
    found = Axe().run(page).response["violations"]
    return [f"{v['impact']} {v['id']}: {v['nodes'][0]['html'][:200]}" for v in found]
