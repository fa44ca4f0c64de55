"""The quarantined rows of a night, for those who may edit its DAG."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from fastapi import Request
from fastapi.responses import HTMLResponse, StreamingResponse

from nocturne.operate.judged import partitions_until
from nocturne.operate.rows import MOST_SORTED, csv_lines, quarantined_rows, reason_history
from nocturne_airflow.page.charts import Point
from nocturne_airflow.page.site import HEADERS, default, html, partition_of, pipeline

__all__ = ["rows", "rows_csv"]

_PAGE = 100
_HISTORY = 30


def rows(
    request: Request,
    dag_id: str,
    key: str,
    reason: str = "",
    sort: str = "",
    down: Annotated[bool, default(False)] = False,
    page: Annotated[int, default(1)] = 1,
) -> HTMLResponse:
    """A page of rows, filtered by reason and sorted by a column."""
    loaded = pipeline(dag_id)
    partition = partition_of(loaded, key)
    page = max(1, page)
    found = quarantined_rows(
        loaded,
        partition,
        reason=reason,
        sort=sort,
        descending=down,
        first=(page - 1) * _PAGE,
        limit=_PAGE,
    )
    history = []
    if reason and loaded.pipeline.input.partition:
        nights = partitions_until(loaded, key, _HISTORY)
        counts = reason_history(loaded, nights, reason)
        history = [Point(k, {"rows": float(n)}, f"{k}: {n:,} rows") for k, n in counts.items()]
    return html(
        request,
        "rows.html",
        loaded=loaded,
        key=key,
        found=found,
        history=history,
        reason=reason,
        sort=sort,
        down=down,
        page=page,
        pages=max(1, -(-min(found.found, MOST_SORTED) // _PAGE)),
        most=MOST_SORTED,
    )


def rows_csv(dag_id: str, key: str, reason: str = "") -> StreamingResponse:
    """All of them as a file, without sensitive columns and cells that a spreadsheet would run."""
    loaded = pipeline(dag_id)
    partition = partition_of(loaded, key)
    lines = csv_lines(loaded, partition, reason=reason)
    first = next(lines)  # an error is an answer of its own, not half a file

    def text() -> Iterator[str]:
        yield first
        yield from lines

    name = f"{dag_id}-{partition.key}-quarantined.csv"
    headers = HEADERS | {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(text(), media_type="text/csv; charset=utf-8", headers=headers)
