"""The figures of a night as Airflow sends them: StatsD packets, OpenTelemetry's console."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

from receivers import metrics

JUDGED = {
    "verdict": "warn",
    "reasons": [],
    "report": "/runs/1/report.html",
    "run_dir": "/runs/1",
    "drift_paged": False,
    "rows_in": 970,
    "quarantined": 3,
    "seconds": {"score": 2.0, "drift": 0.5},
}
EMIT = f"""
from airflow.sdk.observability import stats
from airflow.sdk.observability.metrics.stats_utils import get_stats_factory
stats.initialize(factory=get_stats_factory(), export_legacy_names=True)
from nocturne.records.answers import JudgeAnswer
from nocturne_airflow.metrics import emit
emit("daily", JudgeAnswer(**{JUDGED!r}))
"""


def emitted(**settings: str) -> str:
    """What a process prints that emits the figures under these settings, as a task does."""
    env = os.environ | {f"AIRFLOW__METRICS__{k}": v for k, v in settings.items() if k.isupper()}
    env |= {"OTEL_METRICS_EXPORTER": "console", "OTEL_SERVICE_NAME": "test"}
    done = subprocess.run(
        [sys.executable, "-c", EMIT], env=env, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_statsd_gets_a_name_for_each_pipeline() -> None:
    with metrics() as received:
        emitted(STATSD_ON="True", STATSD_HOST="127.0.0.1", STATSD_PORT=str(received.port))
    assert set(received.got) >= {
        "airflow.nocturne.daily.rows:970|g",
        "airflow.nocturne.daily.quarantined:3|g",
        "airflow.nocturne.daily.rows_per_second:485.0|g",
        "airflow.nocturne.daily.nights.warn:1|c",
        "airflow.nocturne.daily.seconds.score:2000.000000|ms",
        "airflow.nocturne.daily.seconds.drift:500.000000|ms",
    }


def test_opentelemetry_gets_tags() -> None:
    said = emitted(OTEL_ON="True", LEGACY_NAMES_ON="False")
    found = {}
    for start in (match.start() for match in re.finditer(r'\{\s*"resource_metrics"', said)):
        part, _ = json.JSONDecoder().raw_decode(said, start)
        for resource in part["resource_metrics"]:
            for metric in (m for s in resource["scope_metrics"] for m in s["metrics"]):
                for point in metric["data"]["data_points"]:
                    tags = tuple(sorted(point["attributes"].items()))
                    found[metric["name"], tags] = point.get("value", point.get("sum"))
    day = ("dag_id", "daily")
    assert found["airflow.nocturne.rows", (day,)] == 970
    assert found["airflow.nocturne.quarantined", (day,)] == 3
    assert found["airflow.nocturne.nights", (day, ("verdict", "warn"))] == 1
    assert found["airflow.nocturne.seconds", (day, ("room", "score"))] == 2000
    assert not any("daily" in name for name, _ in found)
