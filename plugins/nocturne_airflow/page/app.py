"""The FastAPI application of the page; Airflow mounts it at /nocturne.

Airflow does not authenticate plugins' applications. This one authenticates the user of every
request through Airflow and, below a pipeline, checks that the user may see its DAG; quarantined
rows are for those who may edit it. It changes nothing: its buttons call Airflow's own API from the
browser, with the rights of the user.
"""

from __future__ import annotations

from urllib.parse import urlencode

from airflow.api_fastapi.core_api.security import requires_access_dag, requires_authenticated
from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import PlainTextResponse, RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException

from nocturne.errors import ConfigError, NocturneError, StateError
from nocturne_airflow.links import base_url
from nocturne_airflow.page.calendar import calendar
from nocturne_airflow.page.columns import column, expectations
from nocturne_airflow.page.compare import compare
from nocturne_airflow.page.documents import document
from nocturne_airflow.page.night import night
from nocturne_airflow.page.overview import overview
from nocturne_airflow.page.rows import rows, rows_csv
from nocturne_airflow.page.site import HEADERS, HERE, html
from nocturne_airflow.page.truth import truth

__all__ = ["build"]


def build() -> FastAPI:
    """The application."""
    app = FastAPI(
        dependencies=[Depends(requires_authenticated())],
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
    )
    app.exception_handler(NocturneError)(_refused)
    app.exception_handler(HTTPException)(_wrong)
    app.exception_handler(RequestValidationError)(_misread)
    app.mount("/static", StaticFiles(directory=HERE / "static"))
    readable = [Depends(requires_access_dag("GET"))]
    editable = [Depends(requires_access_dag("PUT"))]
    app.get("/")(overview)
    app.get("/{dag_id}", dependencies=readable)(calendar)
    app.get("/{dag_id}/columns", dependencies=readable)(column)
    app.get("/{dag_id}/expectations", dependencies=readable)(expectations)
    app.get("/{dag_id}/compare", dependencies=readable)(compare)
    app.get("/{dag_id}/truth", dependencies=readable)(truth)
    app.get("/{dag_id}/{key}", dependencies=readable)(night)
    app.get("/{dag_id}/{key}/rows", dependencies=editable)(rows)
    app.get("/{dag_id}/{key}/rows.csv", dependencies=editable)(rows_csv)
    app.get("/{dag_id}/{key}/{run}/{part:path}", dependencies=readable)(document)
    return app


def _refused(request: Request, error: Exception) -> Response:
    """Nocturne's message about its configuration, its files or the request, unchanged."""
    codes = {ConfigError: 400, StateError: 404}
    return html(
        request,
        "problem.html",
        next((code for kind, code in codes.items() if isinstance(error, kind)), 500),
        title="This can't be shown",
        problem=f"nocturne: {error}",
    )


def _misread(request: Request, error: Exception) -> Response:
    """A parameter of another type."""
    assert isinstance(error, RequestValidationError)
    said = "; ".join(
        f"{e['loc'][-1]}: got {str(e['input'])[:60]!r}, {e['msg']}" for e in error.errors()
    )
    return _wrong(request, HTTPException(422, said))


def _login(request: Request) -> str:
    """The address where one logs in, and comes back here from."""
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    root = str(request.scope.get("root_path", "")).removesuffix("/nocturne")
    there = f"{base_url()}{here.removeprefix(root)}"
    return f"{root}/api/v2/auth/login?{urlencode({'next': there})}"


def _wrong(request: Request, error: Exception) -> Response:
    """What is not there, or not for this user; for people a page, for programs plain text."""
    assert isinstance(error, HTTPException)
    if "text/html" not in request.headers.get("accept", ""):
        return PlainTextResponse(str(error.detail), error.status_code, headers=HEADERS)
    if error.status_code == 401:
        return RedirectResponse(_login(request), 303, headers=HEADERS)
    titles = {403: "Not for you", 404: "There is no such page"}
    title = titles.get(error.status_code, "This can't be shown")
    return html(request, "problem.html", error.status_code, title=title, problem=str(error.detail))
