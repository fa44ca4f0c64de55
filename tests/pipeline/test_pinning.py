"""What decides bits is found once, kept, pinned in the run key, and then never moves."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from nocturne import config
from nocturne.cli import app
from nocturne.config import Loaded, partition
from nocturne.engine import KERNELS
from nocturne.pipeline import prepare
from nocturne.pipeline.pinning import remember
from nocturne.store.pipeline_state import PipelineState
from nocturne.store.run import Run
from nocturne.worker.split import run_split


def _prepared(loaded: Loaded, day: str = "2024-01-01") -> Run:
    run = prepare(loaded, partition(loaded.pipeline.input.partition, day)).run
    assert run is not None
    return run


def _kept(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "out" / "_nocturne" / "scores" / "tuning").glob("*.json"))


def test_the_search_is_made_once_and_kept_for_every_night(project, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    loaded = project()
    first = _prepared(loaded)
    [kept] = _kept(tmp_path)
    found = json.loads(kept.read_bytes())
    assert found["found"] is True
    assert (first.plan.pinned.kernel, first.plan.pinned.micro_batch) == (
        found["kernel"],
        found["micro_batch"],
    )
    assert f"{found['kernel']}/{found['micro_batch']}" in found["seconds_per_million"]
    assert first.plan.pinned.batch_rows % first.plan.pinned.micro_batch == 0
    other = {"kernel": "graph", "micro_batch": 4096}
    kept.write_text(json.dumps(found | other))
    assert _prepared(loaded, "2024-01-02").plan.pinned.micro_batch == 4096


def test_tune_shows_what_was_measured_and_measures_anew_when_asked(  # type: ignore[no-untyped-def]
    project, tmp_path: Path
) -> None:
    project()
    command = ["tune", "p", "--date", "2024-01-01"]
    first = CliRunner().invoke(app, [*command, "--json"])
    assert first.exit_code == 0, first.output
    found = json.loads(first.stdout.splitlines()[-1])
    [kept] = _kept(tmp_path)
    assert json.loads(kept.read_bytes())["seconds_per_million"] == found["seconds_per_million"]
    assert {way.split("/")[0] for way in found["seconds_per_million"]} == {*KERNELS}
    table = CliRunner().invoke(app, command).stdout
    [taken] = [line.split() for line in table.splitlines() if "taken" in line]
    assert taken[:2] == [found["kernel"], f"{found['micro_batch']:,}"]
    assert _prepared(config.load("p")).plan.pinned.kernel == found["kernel"]

    kept.write_text(
        json.dumps(found | {"kernel": "graph", "seconds_per_million": {"graph/64": 9.0}})
    )
    again = json.loads(CliRunner().invoke(app, [*command, "--json", "--again"]).stdout)
    assert "graph/64" not in again["seconds_per_million"]
    assert json.loads(kept.read_bytes())["kernel"] == again["kernel"]


def test_tune_says_that_nothing_is_measured_where_the_yaml_decides(project) -> None:  # type: ignore[no-untyped-def]
    project(scoring__kernel="graph", scoring__micro_batch=512)
    done = CliRunner().invoke(app, ["tune", "p", "--date", "2024-01-01"])
    assert done.exit_code == 1
    assert "scoring.kernel and scoring.micro_batch are given" in done.output


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"scoring__device": "cuda"}, "its device, cuda, is not on this machine"),
        ({"scoring__precision": "bfloat16", "scoring__kernel": "mkl"}, "no linear layer"),
    ],
)
def test_tune_says_why_nothing_is_measured(  # type: ignore[no-untyped-def]
    project, changes: dict[str, str], why: str
) -> None:
    import torch

    if "cuda" in why and torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    project(**changes)
    done = CliRunner().invoke(app, ["tune", "p", "--date", "2024-01-01"])
    assert done.exit_code == 1
    assert why in done.output


def test_another_size_is_another_run_key(project, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    loaded = project()
    keys = {
        _prepared(config.load("p", overrides={"scoring.micro_batch": size})).plan.run_key
        for size in (256, 512)
    }
    assert len(keys | {_prepared(loaded).plan.run_key}) == 3
    precise = config.load("p", overrides={"scoring.precision": "bfloat16"})
    assert _prepared(precise).plan.pinned.precision == "bfloat16"


def test_repeated_and_resumed_runs_are_bit_equal(project, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """Scored whole, then half of it again from nothing, as after a kill: the same bytes."""
    run = _prepared(project())
    whole = [run_split(run, split).sha256 for split in run.plan.splits]
    assert len(whole) > 1
    for split in run.plan.splits[::2]:
        run.result_file(split).unlink()
    assert [run_split(run, split).sha256 for split in run.plan.splits] == whole
    shutil.rmtree(run.path / "results")
    assert [run_split(run, split).sha256 for split in reversed(run.plan.splits)] == whole[::-1]


def test_across_sizes_kernels_and_threads_scores_agree(project) -> None:  # type: ignore[no-untyped-def]
    base = _prepared(project())

    def scores(number: int, **pinned: object) -> np.ndarray:
        plan = replace(base.plan, pinned=replace(base.plan.pinned, **pinned))  # type: ignore[arg-type]
        run = Run(base.path.with_name(f"variant-{number}"), base.state, plan)
        files = [run.attempt(run_split(run, split).file) for split in plan.splits]
        return np.concatenate([pq.read_table(f)["score"].to_numpy() for f in files])

    expected = scores(0, kernel="graph", micro_batch=1024)
    variants = [
        {"kernel": k, "micro_batch": m} for k in ("graph", "onednn", "mkl") for m in (64, 333, 4096)
    ]
    for number, variant in enumerate([*variants, {"threads": 2}], 1):
        np.testing.assert_allclose(scores(number, **variant), expected, rtol=1e-5)


def test_the_error_of_bfloat16_is_measured_on_the_first_batch(project) -> None:  # type: ignore[no-untyped-def]
    project()
    run = _prepared(config.load("p", overrides={"scoring.precision": "bfloat16"}))
    first, second = (run_split(run, split) for split in run.plan.splits[:2])
    assert 0 < first.precision_error["score"] < 0.05
    assert second.precision_error == {}


def test_a_size_that_memory_allowed_is_what_the_next_run_starts_with(  # type: ignore[no-untyped-def]
    project, tmp_path: Path
) -> None:
    loaded = project()
    run = _prepared(loaded)
    results = [run_split(run, split) for split in run.plan.splits]
    remember(run, loaded.pipeline.scoring, results)
    before = _kept(tmp_path)[0].read_bytes()
    assert json.loads(before)["micro_batch"] == run.plan.pinned.micro_batch
    remember(run, loaded.pipeline.scoring, [replace(results[0], micro_batch=128), *results[1:]])
    assert _prepared(loaded, "2024-01-03").plan.pinned.micro_batch == 128


def test_wide_rows_make_small_batches() -> None:
    from nocturne.config import Scoring
    from nocturne.encoding import Encoding, Feature, OutputSpec, TensorSpec
    from nocturne.pipeline.pinning import pin
    from nocturne.records.plan import ModelRef
    from nocturne.source.sample import SampleFiles

    spec = Encoding(
        (TensorSpec("ids", "int64", "list", (Feature("ids", length=4096),)),), (OutputSpec("p"),)
    )
    ref = ModelRef("m", 1, "version 1", "torch", "0" * 64, "/nowhere")
    pinned = pin(
        Scoring(micro_batch=64), ref, spec, PipelineState(Path("/nowhere")), SampleFiles([])
    )
    assert pinned.batch_rows == 1024
    assert pinned.batch_rows * spec.row_bytes == 32 << 20


@pytest.mark.parametrize("device", ["cuda"])
def test_a_device_that_is_not_here_gets_an_unmeasured_start(project, device: str) -> None:  # type: ignore[no-untyped-def]
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    project()
    run = _prepared(config.load("p", overrides={"scoring.device": device}))
    assert run.plan.pinned.device == device
    assert run.plan.pinned.micro_batch >= 1024


def test_threads_are_the_cores_of_a_task(project) -> None:  # type: ignore[no-untyped-def]
    project()
    two = config.load("p", overrides={"scoring.threads": 2}).pipeline
    assert two.spark_conf["spark.task.cpus"] == "2"
    assert "spark.task.cpus" not in config.load("p").pipeline.spark_conf


def test_what_is_said_by_hand_is_not_measured(project, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    project()
    both = {"scoring.kernel": "onednn", "scoring.micro_batch": 512}
    run = _prepared(config.load("p", overrides=both))
    assert (run.plan.pinned.kernel, run.plan.pinned.micro_batch) == ("onednn", 512)
    assert _kept(tmp_path) == []
    one = _prepared(config.load("p", overrides={"scoring.kernel": "onednn"}))
    assert one.plan.pinned.kernel == "onednn"
    [kept] = _kept(tmp_path)
    assert {
        name.split("/")[0] for name in json.loads(kept.read_bytes())["seconds_per_million"]
    } == {"onednn"}
    choices = config.Scoring.model_json_schema()["properties"]["kernel"]["enum"]
    assert set(choices) == {"auto", *KERNELS}
