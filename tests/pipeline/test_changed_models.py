"""A pinned model is asked again before it is loaded: copy and record may have changed since."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nocturne import config, plan
from nocturne.errors import Held, ModelError, StateError
from nocturne.model import registry
from nocturne.model.copies import tree_digest
from nocturne.operate.decisions import approve_held
from nocturne.operate.verify import verify_partition
from nocturne.pipeline import open_run, prepare
from nocturne.pipeline.places import Places
from nocturne.pipeline.publishing import publish_run
from nocturne.pipeline.recording import judge_run
from nocturne.pipeline.scoring import score
from nocturne.store.run import Run
from nocturne.store.run_folder import RunFolder
from pipeline.conftest import DAYS, night_of, scored

Project = Callable[..., config.Loaded]


def _prepared(loaded: config.Loaded, day: str = DAYS[0]) -> Run:
    run = prepare(loaded, config.partition(loaded.pipeline.input.partition, day)).run
    assert run is not None
    return run


def _says(run: RunFolder, **model: Any) -> None:
    """Change what the record of a run says of its model."""
    said = json.loads(run.plan_file.read_text())
    said["model"].update(model)
    run.plan_file.write_text(json.dumps(said))


class _Call:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)


def _pickled(folder: Path, mark: Path) -> dict[str, str]:
    """A model that is a pickle; what a record would say of it."""
    folder.mkdir()
    (folder / "m.pkl").write_bytes(pickle.dumps(_Call(mark)))
    (folder / "MLmodel").write_text(
        "flavors:\n  python_function: {loader_module: mlflow.sklearn, model_path: m.pkl}\n"
        "  sklearn: {pickled_model: m.pkl, serialization_format: pickle}\n"
    )
    return {
        "path": str(folder),
        "sha256": tree_digest(folder),
        "backend": "pyfunc",
    }


def test_a_replay_loads_no_code_that_a_changed_record_names(project: Project) -> None:
    loaded = project()
    manifest = night_of(loaded, DAYS[0])
    mark = loaded.home / "mark"
    [run] = Places.of(loaded).state.partition(manifest.partition).runs()
    _says(run, **_pickled(loaded.home / "evil", mark))
    [replayed] = verify_partition(loaded, manifest.partition, None).replayed
    assert (replayed.outcome, mark.exists()) == ("impossible", False)
    assert "may be code that runs when it is loaded: m.pkl" in replayed.detail


def test_scoring_loads_no_code_that_a_changed_record_names(project: Project) -> None:
    loaded = project()
    run, mark = _prepared(loaded), loaded.home / "mark"
    _says(run, **_pickled(loaded.home / "evil", mark))
    failures = score([open_run(run.path)])
    assert isinstance(failures[run.uri], ModelError)
    assert "may be code" in json.loads(run.error_file.read_text())["message"]
    assert not mark.exists()


def test_a_copy_that_was_changed_since_it_was_pinned_is_not_scored(project: Project) -> None:
    run = _prepared(project())
    [graph] = Path(run.plan.model.path).rglob("*.pt2")
    graph.write_bytes(graph.read_bytes() + b"\0")
    failure = score([run])[run.uri]
    assert isinstance(failure, ModelError)
    assert "is not the copy of model small version 1 that was pinned" in str(failure)


@pytest.mark.parametrize("backend", ["pyfunc", "torch_pickled"])
def test_a_model_is_loaded_as_its_folder_says(project: Project, backend: Any) -> None:
    """Not by a loader that runs code where a plain graph lies."""
    run = _prepared(project())
    registry.require_loadable(run.plan.model, False)
    failure = score([run.changed(model=replace(run.plan.model, backend=backend))])[run.uri]
    assert f"is loaded as torch, its run says {backend}" in str(failure)


def test_a_run_of_another_output_version_is_not_scored_further(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its splits would not be scored alike. What is scored already may be published."""
    loaded = project()
    begun, held = _prepared(loaded), scored(loaded, DAYS[1], hold="somebody looks")
    assert judge_run(held).verdict == "hold"
    monkeypatch.setattr(plan, "OUTPUT_VERSION", plan.OUTPUT_VERSION + 1)
    failures = score([begun, held])
    assert list(failures) == [begun.uri]
    assert isinstance(failures[begun.uri], StateError)
    assert "prepared by another version of Nocturne" in str(failures[begun.uri])
    with pytest.raises(Held):
        publish_run(held)
    night = held.plan.partition
    assert approve_held(loaded, night, "ann").partition == night
