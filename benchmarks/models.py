"""The models: random weights, frozen for the peers, registered in MLflow for ours and its UDF."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.layout import Layout
from benchmarks.tables import TABLES, Table, numbers
from benchmarks.workloads import Workload
from nocturne.drift import BASELINE_VERSION

__all__ = ["dense", "make"]

BASELINE_ROWS = 100_000
_BASELINE_DAYS = 10


def dense(width: int, hidden: Sequence[int]) -> nn.Module:
    """Layers with ReLU of these hidden widths; takes [rows, width], gives logits [rows, 1]."""
    layers: list[nn.Module] = []
    for wide in hidden:
        layers += [nn.Linear(width, wide), nn.ReLU()]
        width = wide
    return nn.Sequential(*layers, nn.Linear(width, 1))


def make(layout: Layout, workload: Workload) -> None:
    """``frozen.pt`` and ``model.json`` in the model folder, unless they are there.

    ``model.json`` names the registered models: ``nocturne`` (pt2, with its encoding and its
    baseline) and ``pyfunc`` (a URI; the very predict function of the others), and their
    registry; with another torch or another kind of baseline they are registered anew.
    """
    folder = layout.model(workload.name)
    said = folder / "model.json"
    made_by = [list(workload.hidden), torch.__version__, BASELINE_VERSION]
    if said.exists() and json.loads(said.read_text(encoding="utf-8"))["made_by"] == made_by:
        return
    folder.mkdir(parents=True, exist_ok=True)
    table = TABLES[workload.table]
    module = table.network(workload.hidden)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        traced = torch.jit.trace(module, table.examples(1024))
        torch.jit.save(torch.jit.freeze(traced), str(folder / "frozen.pt"))
    registered = _register(layout, table, module, folder, f"bench_{workload.name}")
    text = json.dumps({**registered, "project": str(layout.project), "made_by": made_by})
    said.write_text(text + "\n", encoding="utf-8")


def _register(
    layout: Layout, table: Table, module: nn.Module, folder: Path, name: str
) -> dict[str, str]:
    import mlflow
    from mlflow.models import infer_signature

    from nocturne import contract
    from nocturne.model.tracking import connect, experiment_id

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    uri = f"sqlite:///{layout.project / 'var/mlflow/mlflow.db'}"  # whatever the environment says
    mlflow.set_experiment(experiment_id=experiment_id(connect(uri), "benchmarks"))
    data = table.table(1 << 16, BASELINE_ROWS)  # a file that is in no size
    days = np.arange(BASELINE_ROWS) % _BASELINE_DAYS
    contract.log_torch_model(
        module,
        table.encoding(),
        data,
        name=name,
        partitions=[f"day {day}" for day in days],
        registered_model_name=name,
        alias="champion",
    )
    found = {"nocturne": name, "tracking_uri": uri}
    if table is not numbers:  # MLflow's way takes one matrix of numbers
        return found
    frame = data.select(table.COLUMNS).slice(0, 8).to_pandas()
    logged = mlflow.pyfunc.log_model(
        name=f"{name}_pyfunc",
        python_model=str(Path(__file__).with_name("pyfunc_model.py")),
        artifacts={"frozen": str(folder / "frozen.pt")},
        signature=infer_signature(frame, np.zeros(8, np.float32)),
        pip_requirements=[f"torch=={torch.__version__.split('+')[0]}"],
        registered_model_name=f"{name}_pyfunc",
    )
    pyfunc = f"models:/{name}_pyfunc/{logged.registered_model_version}"
    return found | {"pyfunc": pyfunc}
