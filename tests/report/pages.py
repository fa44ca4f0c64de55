"""A report as a browser reads it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, sync_playwright

from nocturne.drift import METRICS
from nocturne.report import night_html

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless browser: ``BROWSER``; without one the test is skipped."""
    if BROWSER is None:
        pytest.skip("no Chromium or Chrome on this machine")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


def html_of(night: Any, *, location: str = "/data/scores", **more: Any) -> str:
    """A night's report, as the pipeline makes it."""
    given = (night.plan, night.judgement, night.profile, night.baseline, night.history)
    return night_html(*given, metrics=METRICS, location=Path(location), **more)


class Page(HTMLParser):
    """The page as a browser reads it: visible text, scripts, and attributes that load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.scripts: list[str] = []
        self.loads: list[str] = []
        self.ids: list[str] = []
        self._inside = ""
        self.feed(text)
        self.text = re.sub(r"\s+", " ", " ".join(self.words))
        self.charts: list[dict[str, Any]] = json.loads(self.scripts[0])

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag
        if tag == "script":
            self.scripts.append("")
        for name, value in attrs:
            if name in ("src", "href", "data", "action", "srcset", "poster"):
                self.loads.append(f"{tag} {name}={value}")
            if name == "id" and value:
                self.ids.append(value)

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside != "style":
            self.words.append(data)


def check_in_browser(text: str, folder: Path, scheme: str) -> None:
    """Every chart is drawn, and nothing is said on the console; there is no network."""
    file = folder / "report.html"
    file.write_text(text, encoding="utf-8")
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run "
    flags += "--disable-background-networking --disable-component-update --disable-sync "
    flags += f"--blink-settings=preferredColorScheme={1 if scheme == 'light' else 0} "
    flags += "--virtual-time-budget=20000 --enable-logging=stderr --dump-dom"
    command = [str(BROWSER), *flags.split(), f"--user-data-dir={folder / 'profile'}"]
    done = subprocess.run(
        [*command, file.as_uri()], capture_output=True, text=True, timeout=120, check=True
    )
    assert 'data-drawn="yes"' in done.stdout
    drawn = done.stdout[: done.stdout.index('<script type="application/json"')]
    assert drawn.count("<svg") == len(Page(text).charts)
    assert "could not be drawn" not in drawn
    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []
