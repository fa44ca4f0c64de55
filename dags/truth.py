"""For each pipeline with ``labels`` the DAG that judges its nights by them, and with ``promote``
the one that asks whether its challenger is to be champion.

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
    """The DAGs, by id."""
    found = []
    for name in names(HOME):
        with suppress(ConfigError):
            loaded = load(name, root=HOME)
            if loaded.pipeline.labels is not None:
                from nocturne_airflow.truth import truth_dag

                found.append(truth_dag(loaded))
            if loaded.pipeline.promote is not None:
                from nocturne_airflow.promotion import promotion_dag

                found.append(promotion_dag(loaded))
    return {dag.dag_id: dag for dag in found}


globals().update(dags())
