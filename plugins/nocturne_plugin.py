"""The Airflow plugin with the page Scoring. The operators are in the package nocturne_airflow.

This file is imported in every task process, so it must stay light: the page's modules are imported
when the page is first opened.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from functools import cache
from typing import Any
from urllib.parse import urlsplit

from airflow.plugins_manager import AirflowPlugin
from airflow.sdk.configuration import conf

from nocturne_airflow.slo import Due

__all__ = ["NocturnePlugin"]

Message = MutableMapping[str, Any]


@cache
def _page() -> Any:
    from nocturne_airflow.page.app import build

    return build()


async def page(
    scope: Message,
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    """The page's ASGI application, created at the first request."""
    await _page()(scope, receive, send)


class NocturnePlugin(AirflowPlugin):  # type: ignore[misc,unused-ignore]
    """Adds the page to the menu Browse, and registers the deadline reference of ``slo``."""

    name = "nocturne"
    deadline_references = [Due]  # noqa: RUF012
    fastapi_apps = [{"app": page, "url_prefix": "/nocturne", "name": "Nocturne"}]  # noqa: RUF012
    external_views = [  # noqa: RUF012
        {
            "name": "Scoring",
            # Airflow may be served below a path.
            "href": urlsplit(conf.get("api", "base_url", fallback="")).path.rstrip("/")
            + "/nocturne/",
            "destination": "nav",
            "url_route": "scoring",
            "category": "browse",
        }
    ]
