"""Shows pipelines with a wrong configuration among Airflow's import errors; defines no DAG.

This is a file of its own because an import error of a file stops every DAG of that file: if
dags/scoring.py raised, one wrong YAML would stop all pipelines.
"""

from __future__ import annotations

import os
from pathlib import Path

from nocturne.config import load, names
from nocturne.errors import ConfigError
from nocturne_airflow.alerts import check_providers

HOME = Path(os.environ.get("NOCTURNE_HOME") or Path(__file__).resolve().parents[1]).resolve()

problems = []
if not (HOME / "conf" / "base.yaml").is_file():
    problems.append(
        f"{HOME} has no conf/base.yaml, so there are no pipelines; set NOCTURNE_HOME of the "
        "DAG processor to the folder that holds conf/"
    )
for name in names(HOME):
    try:
        check_providers(load(name, root=HOME))
    except ConfigError as error:
        problems.append(str(error))
if problems:
    raise ConfigError("\n\n".join(problems))
