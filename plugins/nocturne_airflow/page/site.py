"""What the views of the page share: templates, headers, and the pipeline of a request."""

from __future__ import annotations

import datetime as dt
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from airflow.models.dag import DagModel
from fastapi import HTTPException, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import BeforeValidator
from sqlalchemy.orm import Session

from nocturne import config
from nocturne.config import Loaded
from nocturne.errors import ConfigError
from nocturne.operate.status import PartitionStatus
from nocturne.records.partition import Partition
from nocturne.records.texts import in_utc
from nocturne_airflow.page import charts

__all__ = ["HEADERS", "HERE", "default", "html", "is_paused", "load", "partition_of", "pipeline"]

HERE = Path(__file__).parent

HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; "
    "img-src 'self'; connect-src 'self'; frame-src 'self'; frame-ancestors 'self'; "
    "base-uri 'none'; form-action 'self'",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}


def html(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """A view: the template with the values, and where the page is mounted."""
    base = str(request.scope.get("root_path", "")).rstrip("/")
    read = in_utc(dt.datetime.now(dt.UTC))
    root = base.removesuffix("/nocturne")
    values |= {"base": base, "root": root, "charts": charts, "read": read}
    text = _templates().get_template(template).render(**values)
    return HTMLResponse(text, status, headers=HEADERS)


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["description"] = _description
    environment.filters["in_utc"] = in_utc
    return environment


def _description(status: PartitionStatus) -> str:
    """The description of a partition, for people who can't see its colour."""
    parts = [f"{status.key}: {status.shown}"]
    run = status.unfinished
    if status.state == "running" and run is not None and run.rows:
        parts.append(f"{run.rows_done / run.rows:.0%} scored")
    if status.state == "published" and status.manifest is not None:
        parts.append(f"{status.manifest.rows_published:,} rows")
    if status.remark:
        parts.append(status.remark)
    return ", ".join(parts)


def pipeline(dag_id: str) -> Loaded:
    """The pipeline of a request. Raises: HTTPException 404 if there is none of that name."""
    if dag_id not in config.names(config.home()):
        raise HTTPException(404, f"{dag_id} is no pipeline of {config.home()}")
    return load(dag_id)


def load(name: str) -> Loaded:
    """A pipeline that exists; it is read again if a layer of its configuration has changed."""
    conf = config.home() / "conf"
    layers = [conf / "base.yaml", conf / "pipelines" / f"{name}.yaml", *(conf / "env").glob("*")]
    return _loaded(name, tuple(path.stat().st_mtime_ns for path in layers if path.exists()))


@lru_cache(maxsize=512)
def _loaded(name: str, written: tuple[int, ...]) -> Loaded:
    return config.load(name)


def partition_of(loaded: Loaded, key: str) -> Partition:
    """The partition of a request. Raises: HTTPException 404 if the key is not one."""
    key_formats = loaded.pipeline.input.partition
    if not key_formats:
        return Partition("all")
    try:
        return config.partition(key_formats, key)
    except ConfigError as error:
        raise HTTPException(404, str(error)) from None


def default(value: Any) -> BeforeValidator:
    """A parameter of a form: an emptied field means ``value``."""
    return BeforeValidator(lambda given: value if given == "" else given)


def is_paused(dag_id: str, session: Session) -> bool:
    """Whether the DAG is paused, so that its runs wait."""
    dag = session.get(DagModel, dag_id)
    return dag is not None and bool(dag.is_paused)
