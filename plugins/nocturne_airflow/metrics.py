"""Emits the figures of a night as Airflow's own metrics, to StatsD or OpenTelemetry.

Each metric has the tag ``dag_id``. If Airflow writes names for plain StatsD, which has no tags, the
metrics are also emitted as ``nocturne.<dag_id>.<figure>``.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

from airflow.sdk.configuration import conf
from airflow.sdk.observability import stats

from nocturne.records.answers import JudgeAnswer

__all__ = ["emit"]

log = logging.getLogger(__name__)


def emit(dag_id: str, judged: JudgeAnswer) -> None:
    """Emit the figures in an answer of ``nocturne judge --json``.

    Gauges ``nocturne.rows``, ``.quarantined``, ``.rows_per_second``; timings
    ``nocturne.seconds`` (tag ``room``); counter ``nocturne.nights`` (tag ``verdict``).
    """
    try:
        _emit(dag_id, judged)
    except Exception:  # metrics that are not sent must not stop a night
        log.exception("The night's figures were not sent")


def _emit(dag_id: str, judged: JudgeAnswer) -> None:
    seconds = judged.seconds
    rows, scoring = judged.rows_in, seconds.get("score")
    for path, tags in _prefixes(dag_id):
        stats.incr(
            f"{path}.nights{_segment(tags, judged.verdict)}",
            tags=tags and tags | {"verdict": judged.verdict},
        )
        stats.gauge(f"{path}.rows", rows, tags=tags)
        stats.gauge(f"{path}.quarantined", judged.quarantined, tags=tags)
        if scoring:
            stats.gauge(f"{path}.rows_per_second", rows / scoring, tags=tags)
        for room, took in seconds.items():
            stats.timing(
                f"{path}.seconds{_segment(tags, room)}",
                took * 1000,
                tags=tags and tags | {"room": room},
            )


def _prefixes(dag_id: str) -> list[tuple[str, dict[str, str]]]:
    """(prefix, tags): with tags, and without tags if Airflow writes such names."""
    prefixes: list[tuple[str, dict[str, str]]] = [("nocturne", {"dag_id": dag_id})]
    if conf.getboolean("metrics", "legacy_names_on", fallback=True):
        prefixes.append((f"nocturne.{dag_id}", {}))
    return prefixes


def _segment(tags: Mapping[str, str], name: str) -> str:
    return "" if tags else f".{name}"
