"""One Airflow DAG for each conf/pipelines/*.yaml.

A file that can't be read makes no DAG; the others are not touched by it. What is wrong with it
stands under Import Errors: see dags/config_errors.py.
"""

from __future__ import annotations

import os
from pathlib import Path

from nocturne.config import load, names
from nocturne.errors import ConfigError
from nocturne_airflow.dag import scoring_dag

CODE = Path(__file__).resolve().parents[1]
HOME = Path(os.environ.get("NOCTURNE_HOME") or CODE).resolve()

for name in names(HOME):
    try:
        loaded = load(name, root=HOME)
    except ConfigError:
        continue
    globals()[name] = scoring_dag(loaded, CODE)
