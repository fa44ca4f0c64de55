"""Two nights, or two model versions, beside each other."""

from __future__ import annotations

from fastapi import Request
from fastapi.responses import HTMLResponse

from nocturne.errors import ConfigError
from nocturne.operate.compare import differences, side_of, versions_in_force
from nocturne.operate.judged import judged_nights, partitions_until
from nocturne_airflow.page.site import html, pipeline

__all__ = ["compare"]

_DRAWN = 6
_NIGHTS = 60


def compare(
    request: Request, dag_id: str, a: str = "", b: str = "", name: str = ""
) -> HTMLResponse:
    """The differences of two sides, each a partition, a manifest of one, or a model version.

    Args:
        a, b: as ``side_of`` takes them; by default the last two nights.
        name: the column to draw; by default those that differ most are drawn.
    """
    loaded = pipeline(dag_id)
    recent = judged_nights(loaded, partitions_until(loaded, count=_NIGHTS))
    keys = [night.key for night in reversed(recent)]
    b = b.strip() or next(iter(keys), "")
    earlier = [key for key in keys if key < b] or [key for key in keys if key != b]
    a = a.strip() or next(iter(earlier), "")
    if not a or not b:
        raise ConfigError(
            f"there are no two nights of {dag_id} to compare: score one more, or name two of its "
            "manifests"
        )
    sides = [side_of(loaded, name_of) for name_of in (a, b)]
    found = differences(sides[1], sides[0], loaded.pipeline.quality.sensitive)
    drawn = [d for d in found if d.histogram and (d.column == name if name else True)]
    return html(
        request,
        "compare.html",
        loaded=loaded,
        a=a,
        b=b,
        sides=sides,
        found=[(d, d.summaries()[::-1]) for d in found],
        drawn=drawn[: 1 if name else _DRAWN],
        keys=keys,
        versions=versions_in_force(recent),
        name=name,
    )
