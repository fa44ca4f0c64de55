"""The page as Airflow mounts it, with a database of its own; only who asks is left out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.orm import Session

__all__ = ["page_client"]


class Manager:
    """Airflow's, as far as the first page asks it: everybody may see every DAG."""

    def get_authorized_dag_ids(self, user: object) -> set[str]:
        from nocturne import config

        return set(config.names(config.home()))


@contextmanager
def page_client() -> Iterator[tuple[Any, Session]]:
    """A client of the page, and the session of its database."""
    from airflow.models import import_all_models
    from airflow.models.base import Base
    from fastapi import FastAPI
    from fastapi.testclient import TestClient

    from nocturne_airflow.page import app as page
    from nocturne_airflow.page import overview

    import_all_models()
    engine = sa.create_engine(
        "sqlite://", connect_args={"check_same_thread": False}, poolclass=sa.StaticPool
    )
    Base.metadata.create_all(engine)
    app = page.build()
    outer = FastAPI()
    outer.mount("/nocturne", app)
    with Session(engine) as session, pytest.MonkeyPatch.context() as patched:
        for route in app.routes:
            for needed in getattr(route, "dependant", app).__dict__.get("dependencies", []):
                of_database = "_get_session" in needed.call.__qualname__
                app.dependency_overrides[needed.call] = (
                    (lambda: session) if of_database else (lambda: None)
                )
        patched.setattr(overview, "get_auth_manager", Manager)
        client = TestClient(outer, raise_server_exceptions=True, base_url="http://test/nocturne")
        client.headers |= {"accept": "text/html", "cache-control": "no-cache"}
        yield client, session
