"""A DAG for each pipeline that wants to hear of new model versions (``model.on_new_model``).

A file of its own: tasks import the file of their DAG, and those that score need none of this. A
YAML that can't be read makes no DAG here either: see dags/config_errors.py.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from airflow.sdk import DAG

from nocturne.config import load, names
from nocturne.errors import ConfigError

HOME = Path(os.environ.get("NOCTURNE_HOME") or Path(__file__).resolve().parents[1]).resolve()


def dags() -> dict[str, DAG]:
    """The watching DAGs, by id."""
    found = {}
    for name in names(HOME):
        with suppress(ConfigError):
            loaded = load(name, root=HOME)
            if loaded.pipeline.model.on_new_model != "nothing":
                from nocturne_airflow.watcher import watching_dag

                dag = watching_dag(loaded)
                found[dag.dag_id] = dag
    return found


globals().update(dags())
