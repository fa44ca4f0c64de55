"""One DAG for each pipeline with ``model.on_new_model``, which watches for new model versions.

This is a file of its own, since tasks import the file of their DAG, and the tasks of
dags/scoring.py need none of this. A YAML that can't be read gets no DAG: see dags/config_errors.py.
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
    by_id = {}
    for name in names(HOME):
        with suppress(ConfigError):
            loaded = load(name, root=HOME)
            if loaded.pipeline.model.on_new_model != "nothing":
                from nocturne_airflow.watcher import watching_dag

                dag = watching_dag(loaded)
                by_id[dag.dag_id] = dag
    return by_id


globals().update(dags())
