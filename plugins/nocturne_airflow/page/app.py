"""The FastAPI application of the page; Airflow mounts it at /nocturne.

Airflow does not authenticate plugins' applications. This one authenticates the user of every
request through Airflow and, below a pipeline, checks that the user may see its DAG. It changes
nothing: its buttons call Airflow's own API from the browser, with the rights of the user.
"""

from __future__ import annotations

import calendar
import datetime as dt
import mimetypes
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import (
    GetUserDep,
    requires_access_dag,
    requires_authenticated,
)
from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, HTMLResponse, PlainTextResponse, Response
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from sqlalchemy import select

from nocturne import config
from nocturne.config import Loaded, key_format
from nocturne.drift import METRICS
from nocturne.errors import ConfigError, NocturneError
from nocturne.operate.status import PartitionStatus, Recent, recent, statuses_of
from nocturne.records.partition import Partition
from nocturne_airflow.page.night import document, night_page

__all__ = ["build"]

_HERE = Path(__file__).parent
_PIPELINES = 25
"""The most pipelines on one page."""

_RUNS = 200
"""The runs of a partition are looked for among so many of a DAG's newest runs."""

_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; "
    "img-src 'self'; connect-src 'self'; frame-src 'self'; frame-ancestors 'self'; "
    "base-uri 'none'; form-action 'none'",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}
# The report and Data Docs show values from data and must not call Airflow's API with the reader's
# cookie. So they have an origin of their own; of Data Docs, those of earlier versions load styles.
_SANDBOX = _HEADERS | {"Content-Security-Policy": "sandbox allow-scripts; frame-ancestors 'self'"}
_NO_SCRIPTS = _HEADERS | {
    "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'; "
    "frame-ancestors 'self'"
}


def build() -> FastAPI:
    """The application."""
    app = FastAPI(
        dependencies=[Depends(requires_authenticated())],
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    app.exception_handler(NocturneError)(_refused)
    app.mount("/static", StaticFiles(directory=_HERE / "static"))
    readable = [Depends(requires_access_dag("GET"))]
    app.get("/")(_pipelines)
    app.get("/{dag_id}", dependencies=readable)(_calendar)
    app.get("/{dag_id}/{key}", dependencies=readable)(_night)
    app.get("/{dag_id}/{key}/{run}/{part:path}", dependencies=readable)(_document)
    return app


def _refused(request: Request, error: Exception) -> Response:
    """Nocturne's message about its configuration or files, unchanged."""
    return PlainTextResponse(f"nocturne: {error}", 500, headers=_HEADERS)


def _pipelines(request: Request, user: GetUserDep, page: int = 1) -> HTMLResponse:
    """Every pipeline that the user may see, with its newest partitions."""
    allowed = get_auth_manager().get_authorized_dag_ids(user=user)
    names = [name for name in config.names(config.home()) if name in allowed]
    pages = max(1, -(-len(names) // _PIPELINES))
    page = min(max(1, page), pages)
    listed = []
    for name in names[(page - 1) * _PIPELINES : page * _PIPELINES]:
        try:
            listed.append({"name": name, "recent": recent(_load(name)), "problem": ""})
        except NocturneError as error:
            listed.append({"name": name, "recent": Recent([], []), "problem": str(error)})
    return _html(
        request, "pipelines.html", pipelines=listed, page=page, pages=pages, count=len(names)
    )


def _calendar(
    request: Request, dag_id: str, session: SessionDep, until: str | None = None
) -> HTMLResponse:
    """The calendar of a pipeline: a year of a daily pipeline, a month of an hourly one."""
    loaded = _pipeline(dag_id)
    key_formats = loaded.pipeline.input.partition
    if not key_formats:
        return _html(
            request,
            "calendar.html",
            loaded=loaded,
            months=[],
            whole=recent(loaded, 1).statuses,
            later=[],
            paused=_paused(dag_id, session),
        )
    hourly = config.period(key_formats) < dt.timedelta(days=1)
    near = recent(loaded, 1) if until is None else Recent([], [])
    known = [*(status.key for status in near.statuses), *near.later]
    last = _moment(key_formats, until or next(iter(known), None)) or dt.datetime.now()
    months = [m for n in range(0 if hourly else -11, 1) if (m := _month(last, n)) is not None]
    first, end = months[0], _end(months[-1])
    form = key_format(key_formats)
    span = config.span(key_formats, first.strftime(form), end.strftime(form))
    statuses = {status.key: status for status in statuses_of(loaded, span)}
    before, after = _month(first, -1), _month(end, len(months))
    now = dt.datetime.now() + dt.timedelta(days=1)
    if (_month(end, 1) or dt.datetime.max) > now:
        after = None
    return _html(
        request,
        "calendar.html",
        loaded=loaded,
        paused=_paused(dag_id, session),
        months=[_weeks(month, statuses, hourly) for month in months],
        whole=[],
        later=near.later,
        counts=_counts(statuses.values()),
        until=end.date(),
        before=before.strftime(form) if before else None,
        after=after.strftime(form) if after else None,
    )


def _night(request: Request, dag_id: str, key: str, session: SessionDep) -> HTMLResponse:
    """One partition: its verdict, the possible actions, its report and its history."""
    loaded = _pipeline(dag_id)
    partition = _partition(loaded, key)
    is_whole = not loaded.pipeline.input.partition
    runs = _dag_runs(dag_id, None if is_whole else key, session)
    waiting = session.scalars(
        select(TaskInstance.run_id).where(
            TaskInstance.dag_id == dag_id,
            TaskInstance.task_id == "gate",
            TaskInstance.state == "awaiting_input",
            TaskInstance.run_id.in_([run.run_id for run in runs]),
        )
    ).first()
    return _html(
        request,
        "night.html",
        loaded=loaded,
        key=key,
        whole=is_whole,
        day=dt.datetime.now(dt.UTC).date().isoformat() if is_whole else key,
        night=night_page(loaded, partition),
        metrics=METRICS,
        runs=runs[:10],
        waiting=waiting,
        paused=_paused(dag_id, session),
    )


def _paused(dag_id: str, session: SessionDep) -> bool:
    """Whether the DAG is paused, so that its runs wait."""
    dag = session.get(DagModel, dag_id)
    return dag is not None and bool(dag.is_paused)


def _dag_runs(dag_id: str, key: str | None, session: SessionDep) -> list[Any]:
    """The partition's runs, newest first. A manual run names it by its key or by its day.

    Args:
        key: None for a table that is scored as a whole: every run belongs to it.
    """
    newest_runs = session.scalars(
        select(DagRun).where(DagRun.dag_id == dag_id).order_by(DagRun.id.desc()).limit(_RUNS)
    )
    return [
        run
        for run in newest_runs
        if key is None or key in (run.partition_key, dict(run.conf or {}).get("day"))
    ]


def _document(dag_id: str, key: str, run: str, part: str) -> Response:
    """A report, a page of Data Docs, or a manifest."""
    loaded = _pipeline(dag_id)
    path = document(loaded, _partition(loaded, key), run, part)
    if path is None:
        raise HTTPException(404, f"{dag_id} {key} has no {part} of the run {run}")
    headers = _NO_SCRIPTS if "data_docs" in path.parts else _SANDBOX
    if isinstance(path, Path):
        return FileResponse(path, headers=headers)
    kind, _ = mimetypes.guess_type(path.name)
    return Response(path.read_bytes(), media_type=kind or "text/plain", headers=headers)


def _pipeline(dag_id: str) -> Loaded:
    if dag_id not in config.names(config.home()):
        raise HTTPException(404, f"{dag_id} is no pipeline of {config.home()}")
    return _load(dag_id)


def _load(name: str) -> Loaded:
    conf = config.home() / "conf"
    layers = [conf / "base.yaml", conf / "pipelines" / f"{name}.yaml", *(conf / "env").glob("*")]
    return _loaded(name, tuple(path.stat().st_mtime_ns for path in layers if path.exists()))


@lru_cache(maxsize=512)
def _loaded(name: str, written: tuple[int, ...]) -> Loaded:
    """The loaded pipeline; it is read again if a layer has changed."""
    return config.load(name)


def _partition(loaded: Loaded, key: str) -> Partition:
    key_formats = loaded.pipeline.input.partition
    if not key_formats:
        return Partition("all")
    try:
        return config.partition(key_formats, key)
    except ConfigError as error:
        raise HTTPException(404, str(error)) from None


def _moment(key_formats: Mapping[str, str], key: str | None) -> dt.datetime | None:
    try:
        return config.parse(key_formats, key) if key else None
    except ConfigError as error:
        raise HTTPException(400, str(error)) from None


def _month(day: dt.datetime, months_later: int) -> dt.datetime | None:
    """The first moment of the month that is ``months_later`` months after that of ``day``.

    None if there are no partitions: before the year 1000 and after 9999.
    """
    months = day.year * 12 + day.month - 1 + months_later
    year = months // 12
    return dt.datetime(year, months % 12 + 1, 1) if 1000 <= year <= 9999 else None


def _end(month: dt.datetime) -> dt.datetime:
    """The last hour of a month."""
    return month.replace(day=calendar.monthrange(month.year, month.month)[1], hour=23)


def _weeks(
    month: dt.datetime, by_day: Mapping[str, PartitionStatus], hourly: bool
) -> dict[str, Any]:
    """A month as rows: weeks of days, or days of hours; None if there is no partition."""
    rows: list[list[PartitionStatus | None]]
    if hourly:
        days = calendar.monthrange(month.year, month.month)[1]
        rows = [
            [by_day.get(f"{month:%Y-%m}-{day:02d}T{hour:02d}") for hour in range(24)]
            for day in range(1, days + 1)
        ]
        headings = [f"{hour:02d}" for hour in range(24)]
    else:
        weeks = calendar.Calendar().monthdayscalendar(month.year, month.month)
        rows = [[by_day.get(f"{month:%Y-%m}-{day:02d}") for day in week] for week in weeks]
        headings = ["Mo", "Tu", "We", "Th", "Fr", "Sa", "Su"]
    return {"title": f"{month:%B %Y}", "headings": headings, "rows": rows}


def _counts(statuses: Any) -> dict[str, int]:
    counts: dict[str, int] = {}
    for status in statuses:
        counts[status.shown] = counts.get(status.shown, 0) + 1
    return counts


@cache
def _templates() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["description"] = _description
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


def _html(request: Request, template: str, **values: Any) -> HTMLResponse:
    base = str(request.scope.get("root_path", "")).rstrip("/")
    values |= {"base": base, "root": base.removesuffix("/nocturne")}
    return HTMLResponse(_templates().get_template(template).render(**values), headers=_HEADERS)
