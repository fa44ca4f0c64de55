"""One Airflow DAG for each conf/pipelines/*.yaml.

A file that can't be read makes no DAG; the others are not touched by it. What is wrong with it
stands under Import Errors: see dags/config_errors.py.
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
    """Every pipeline that can be read."""
    found = {}
    for name in names(HOME):
        try:
            found[name] = scoring_dag(load(name, root=HOME), CODE)
        except Exception:  # dags/config_errors.py tells; the other pipelines go on
            log.exception("conf/pipelines/%s.yaml makes no DAG", name)
    return found


globals().update(dags())
