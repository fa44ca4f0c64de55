"""Above the calendar, and on a night's page: which model scored what."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from nocturne.config import Loaded
from nocturne.operate.reigns import reigns
from nocturne.operate.status import statuses
from page.reading import page_of
from pipeline.conftest import DAYS, night_of
from pipeline.test_arms import NEVER, canary, register, sharing

Make = Callable[..., Loaded]


def test_stretches_of_nights_have_their_models(project: Make, client: Any) -> None:
    loaded = project()
    night_of(loaded, DAYS[0])
    night_of(loaded, DAYS[1])
    register(loaded)
    loaded = sharing(loaded, canary=canary(5, stop_on=NEVER | {"failed": 0.5}))
    night_of(loaded, DAYS[2])
    register(loaded, alias="champion")
    loaded = sharing(loaded)
    night_of(loaded, DAYS[4])
    found = reigns(statuses(loaded))
    told = [
        f"small version 1: {DAYS[0]} to {DAYS[1]}, 2 nights",
        f"small version 1, and 2 (5 %): {DAYS[2]}, 1 night",
        f"small version 3: {DAYS[4]}, 1 night",
    ]
    assert [reign.told for reign in found] == told
    shown = page_of(client, "/p")
    assert shown.all(".//table[@class='reigns']//span[@class='hidden']") == told
    assert "style=" not in shown.source  # the page's policy would drop it
    assert "canary" in page_of(client, f"/p/{DAYS[2]}").text.lower()
