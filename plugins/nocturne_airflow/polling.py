"""A trigger that looks at something of a pipeline again and again, and tells what is new.

What was seen last is stored with the asset in Airflow's database, so a change that is made while
the triggerer is down is noticed when it is back.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, ClassVar

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from nocturne.config import Loaded, load

__all__ = ["PollingTrigger"]

_STORED_WITHIN_S = 5.0


class PollingTrigger(BaseEventTrigger):  # type: ignore[misc,unused-ignore]
    """Polls, and sends an event if there is something new.

    Events are delivered at least once: the last event before the triggerer ended may be repeated.

    Args:
        pipeline: the pipeline's name.
        home: the project's folder.
        every: seconds between two polls.
    """

    what: ClassVar[str]
    """What is looked at, in words; also the name under which it is stored."""

    def __init__(self, pipeline: str, home: str, every: float) -> None:
        super().__init__()
        self.pipeline, self.home, self.every = pipeline, home, every
        self._last_error = ""

    def serialize(self) -> tuple[str, dict[str, Any]]:
        data = {"pipeline": self.pipeline, "home": self.home, "every": self.every}
        return f"{type(self).__module__}.{type(self).__qualname__}", data

    def look(self, loaded: Loaded) -> Any:
        """What there is now, as JSON; None: nothing to remember."""
        raise NotImplementedError

    def news(self, last: Any, seen: Any) -> dict[str, Any] | None:
        """The payload of an event; None if nothing is new. ``last``: None at the first time."""
        raise NotImplementedError

    async def run(self) -> AsyncIterator[TriggerEvent]:
        while True:
            seen = await asyncio.to_thread(self._seen)
            if seen is not None:
                last = await self.asset_state_store.aget(self.what)
                if (payload := self.news(last, seen)) is not None:
                    yield TriggerEvent(payload)
                    # The triggerer stores events about once a second, but what was seen at once.
                    await asyncio.sleep(max(self.every, _STORED_WITHIN_S))
                if last != seen:
                    await self.asset_state_store.aset(self.what, seen)
            await asyncio.sleep(self.every)

    def _seen(self) -> Any:
        """What there is now; None if it can't be looked at, which is logged once."""
        try:
            seen = self.look(load(self.pipeline, root=Path(self.home)))
        except Exception as error:  # a trigger that raises would be restarted at once, forever
            if str(error) != self._last_error:
                self.log.warning("%s: can't look at its %s: %s", self.pipeline, self.what, error)
            self._last_error = str(error)
            return None
        self._last_error = ""
        return seen
