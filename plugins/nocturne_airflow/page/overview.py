"""The overview: what needs a person, then a row for each pipeline."""

from __future__ import annotations

import datetime as dt
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Annotated

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import GetUserDep
from airflow.models.dag import DagModel
from fastapi import Request
from fastapi.responses import HTMLResponse
from sqlalchemy import select
from sqlalchemy.orm import Session

from nocturne import config
from nocturne.config import Loaded
from nocturne.errors import NocturneError
from nocturne.operate.judged import judged
from nocturne.operate.needs import Need, by_urgency, needs, next_due
from nocturne.operate.status import PartitionStatus, Recent, recent
from nocturne_airflow.page.gates import asking
from nocturne_airflow.page.site import default, html, load

__all__ = ["overview"]

_PIPELINES = 25
"""The most pipelines on one page."""
_NEEDS, _OF_ONE = 30, 5
"""The most needs on the page, and of one pipeline, so that it hides no others."""
_FRESH_S, _QUIET_S = 4.0, 30.0
"""Seconds for which a reading serves all tabs, of a pipeline with a night that runs, and of others:
while something runs, a page looks again each 5 s, and 50 pipelines take .35 s to read."""
_SHOWN_S, _OTHERS_S = 0.1, 0.05
"""Seconds for reading pipelines that were not read before: of this page, and of others, of which
only needs are shown. The rest is read when the page looks again, at once."""


@dataclass(frozen=True)
class Row:
    """A pipeline on the overview.

    ``worst``: the drift furthest above or below its alarm, as a multiple of it, with its column.
    """

    name: str
    loaded: Loaded | None = None
    recent: Recent = field(default_factory=lambda: Recent([], []))
    needs: list[Need] = field(default_factory=list)
    due: tuple[str, dt.datetime] | None = None
    worst: tuple[float, str] | None = None
    problem: str = ""
    read: float = 0.0
    pending: bool = False

    @property
    def rows(self) -> list[float | None]:
        """Rows in of each recent night in force, oldest first."""
        return [float(s.manifest.rows_in) if s.manifest else None for s in self._scored]

    @property
    def medians(self) -> list[float | None]:
        """The median of the first score of each recent night in force, oldest first."""
        return [self._median(status) for status in self._scored]

    @property
    def _scored(self) -> list[PartitionStatus]:
        """Up to the last that was scored: what comes after it would only be a gap."""
        last = max((i for i, s in enumerate(self.recent.statuses) if s.manifest), default=-1)
        return self.recent.statuses[: last + 1]

    @staticmethod
    def _median(status: PartitionStatus) -> float | None:
        summaries = status.manifest.score_summary if status.manifest else {}
        first = next(iter(summaries.values()), None)
        return first["p50"] if first else None


def overview(
    request: Request,
    user: GetUserDep,
    session: SessionDep,
    page: Annotated[int, default(1)] = 1,
) -> HTMLResponse:
    """Every pipeline that the user may see; what needs a person comes first."""
    allowed = get_auth_manager().get_authorized_dag_ids(user=user)
    names = [name for name in config.names(config.home()) if name in allowed]
    # A browser says so when a person reloads, and the page when what was asked for is done.
    fresh = "cache-control" in request.headers
    pages = max(1, -(-len(names) // _PIPELINES))
    page = min(max(1, page), pages)
    here = names[(page - 1) * _PIPELINES : page * _PIPELINES]
    shown = _rows(here, _SHOWN_S, fresh)
    others = _rows([name for name in names if name not in here], _OTHERS_S, fresh, needy=True)
    rows = [row for row in (*shown, *others) if not row.pending]
    paused = _paused(names, session)
    # A paused DAG is not late: somebody wants it to wait.
    found = [n for row in rows for n in row.needs if n.what != "late" or row.name not in paused]
    urgent = _first(by_urgency(found))
    return html(
        request,
        "pipelines.html",
        rows=shown,
        unread=len(names) - len(rows),
        needs=urgent,
        broken=[row for row in rows if row.problem],
        needs_left_out=len(found) - len(urgent),
        waiting=asking([row.name for row in rows if row.needs], session),
        paused=paused,
        today=dt.datetime.now(dt.UTC).date().isoformat(),
        page=page,
        pages=pages,
        count=len(names),
    )


def _first(found: list[Need]) -> list[Need]:
    """As many as are shown, in their order."""
    shown, of_pipeline = list[Need](), Counter[str]()
    for need in found:
        of_pipeline[need.pipeline] += 1
        if of_pipeline[need.pipeline] <= _OF_ONE:
            shown.append(need)
    return shown[:_NEEDS]


_read: dict[str, Row] = {}


def _rows(names: list[str], seconds: float, fresh: bool, *, needy: bool = False) -> list[Row]:
    """The rows of pipelines; after some seconds, those that were not read before are pending.

    Args:
        needy: only those are read anew of which something is shown.
    """
    until, rows = time.monotonic() + seconds, list[Row]()
    for name in names:
        if name in _read:
            rows.append(_row(name, fresh and (not needy or bool(_read[name].needs))))
        elif time.monotonic() < until:
            rows.append(_row(name, fresh))
        else:
            rows.append(Row(name, pending=True))
    return rows


def _row(name: str, fresh: bool = False) -> Row:
    try:
        loaded = load(name)
    except (NocturneError, OSError) as error:
        return Row(name, problem=str(error))
    known = None if fresh else _read.get(name)
    if known is not None and known.loaded is loaded:
        runs = any(status.state == "running" for status in known.recent.statuses)
        if time.monotonic() - known.read < (_FRESH_S if runs else _QUIET_S):
            return known
    try:
        near = recent(loaded)
        row = Row(name, loaded, near, needs(loaded, near), next_due(loaded, near), _worst(near))
    except (NocturneError, OSError) as error:
        row = Row(name, loaded, problem=str(error))
    _read[name] = row = replace(row, read=time.monotonic())
    return row


def _worst(near: Recent) -> tuple[float, str] | None:
    """Of the last night that was scored, the column that is nearest to its alarm or above it."""
    last = near.last
    if last is None or last.run is None:
        return None
    judgement = judged(last)
    columns = judgement.drift.columns if judgement else ()
    return (columns[0].excess, columns[0].column) if columns else None


def _paused(names: list[str], session: Session) -> set[str]:
    found = select(DagModel.dag_id).where(DagModel.dag_id.in_(names), DagModel.is_paused)
    return {str(name) for name in session.scalars(found)}
