"""One Airflow DAG for each conf/pipelines/*.yaml.

A file that can't be read gets no DAG, and the other pipelines are not affected. Airflow shows its
problem under Import Errors: see dags/config_errors.py.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

from airflow.sdk import DAG

from nocturne.config import load, names
from nocturne_airflow.dag import scoring_dag

log = logging.getLogger(__name__)
CODE = Path(__file__).resolve().parents[1]
HOME = Path(os.environ.get("NOCTURNE_HOME") or CODE).resolve()


def dags() -> dict[str, DAG]:
    """The DAGs of all pipelines that can be read, by id."""
    by_id = {}
    for name in names(HOME):
        try:
            by_id[name] = scoring_dag(load(name, root=HOME), CODE)
        except Exception:  # dags/config_errors.py reports it; the other pipelines go on
            log.exception("conf/pipelines/%s.yaml gets no DAG", name)
    return by_id


globals().update(dags())
