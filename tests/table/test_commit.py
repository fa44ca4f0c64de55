"""Publishing: all of a night or nothing, once, and only over what the plan saw."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from conftest import MakeRun, sample
from nocturne import table
from nocturne.errors import PublishError, StateError, Superseded
from nocturne.records.findings import Verdict
from nocturne.records.manifest import Manifest, StoredFile
from nocturne.records.result import SplitResult
from nocturne.store.files import exchange, file_digest, locked
from nocturne.store.partition_state import manifest_id
from nocturne.store.run import Run
from nocturne.table import table_of
from nocturne.worker.split import run_split


def _manifest(run: Run, results: list[SplitResult]):  # type: ignore[no-untyped-def]
    outputs, quarantine = table.staged(run, results)

    def make(number: int, replaces: str | None) -> Manifest:
        return Manifest(
            id=manifest_id(number, run.plan.run_key),
            number=number,
            pipeline=run.plan.pipeline,
            partition=run.plan.partition,
            run_key=run.plan.run_key,
            content_key=run.plan.content_key,
            replaces=replaces,
            published="2024-01-02T00:00:00+00:00",
            approved_by=None,
            model=run.plan.model,
            environment={},
            run=run.state.reference(run.plan_file),
            judgement=StoredFile("judgement.json"),
            outputs=tuple(outputs),
            quarantine=tuple(quarantine),
            rows_in=sum(r.rows_in for r in results),
            rows_published=sum(r.rows_out for r in results),
            rows_quarantined=sum(r.quarantined for r in results),
            verdict=Verdict.OK,
            findings=(),
            score_summary={},
            seconds={},
        )

    return make


def _commit(run: Run, results: list[SplitResult], keep: int = 2) -> Manifest:
    return table.commit(run, table_of(run), results, _manifest(run, results), keep)


def _publish(run: Run, keep: int = 2) -> Manifest:
    results = [run_split(run, split) for split in run.plan.splits]
    return _commit(run, results, keep)


def _ids(run: Run) -> list[int]:
    return sorted(pq.read_table(table_of(run).location, partitioning=None)["id"].to_pylist())


def test_published_files_are_those_of_the_manifest(make_run: MakeRun) -> None:
    run = make_run()
    manifest = _publish(run)
    folder = table_of(run).location
    assert sorted(p.name for p in folder.iterdir()) == [f.path for f in manifest.outputs]
    assert all(file_digest(folder / f.path) == f.sha256 for f in manifest.outputs)
    assert _ids(run) == list(range(2500))
    assert table.published_manifest(table_of(run)) == manifest


def test_publishing_the_same_run_again_changes_nothing(make_run: MakeRun) -> None:
    run = make_run()
    first = _publish(run)
    before = {p: (p.stat().st_ino, p.stat().st_mtime_ns) for p in table_of(run).location.iterdir()}
    assert _publish(run) == first
    after = {p: (p.stat().st_ino, p.stat().st_mtime_ns) for p in table_of(run).location.iterdir()}
    assert after == before
    assert len(run.state.history()) == 1


def test_corrected_input_replaces_the_partition_and_keeps_the_old_version(
    make_run: MakeRun,
) -> None:
    run = make_run()
    first = _publish(run)
    again = make_run({"part-0.parquet": sample(1500, seed=2)}, based_on=first.id)
    second = _publish(again)
    assert (second.number, second.replaces) == (2, first.id)
    assert _ids(again) == list(range(1500))
    old = run.state.version(first.id)
    assert sorted(p.name for p in old.iterdir()) == [f.path for f in first.outputs]


def test_only_keep_replaced_versions_stay(make_run: MakeRun) -> None:
    manifest = _publish(make_run())
    for seed in (2, 3, 4):
        tables = {"part-0.parquet": sample(100, seed=seed)}
        manifest = _publish(make_run(tables, based_on=manifest.id), keep=1)
    state = make_run().state
    assert [p.name.split("-")[0] for p in state.versions()] == ["000003"]


def test_a_run_planned_before_another_publish_has_no_effect(make_run: MakeRun) -> None:
    first = _publish(make_run())
    late = make_run({"part-0.parquet": sample(700, seed=5)}, based_on=None)
    with pytest.raises(Superseded, match=f"was none; now it is {first.id}. Nothing was changed"):
        _publish(late)
    assert _ids(late) == list(range(2500))
    assert len(late.state.history()) == 1


def test_files_of_somebody_else_are_never_replaced(make_run: MakeRun) -> None:
    run = make_run()
    folder = table_of(run).location
    folder.mkdir(parents=True)
    (folder / "precious.parquet").write_text("mine")
    with pytest.raises(PublishError, match="not published from here .precious.parquet"):
        _publish(run)
    assert [p.name for p in folder.iterdir()] == ["precious.parquet"]


def test_an_empty_folder_in_the_way_is_no_obstacle(make_run: MakeRun) -> None:
    run = make_run()
    table_of(run).location.mkdir(parents=True)
    _publish(run)
    assert _ids(run) == list(range(2500))


def test_a_manifest_whose_commit_was_cut_short_is_not_in_force(make_run: MakeRun) -> None:
    run = make_run()
    first = _publish(run)
    state = run.state
    source = state.manifest_file(first.id)
    shutil.copy(source, state.manifest_file(manifest_id(2, "f" * 64)))
    found = table.published_manifest(table_of(run))
    assert found is not None
    assert found.id == first.id
    again = make_run({"part-0.parquet": sample(10, seed=6)}, based_on=first.id)
    assert _publish(again).number == 3


def test_two_publishers_at_once_the_second_is_told(make_run: MakeRun) -> None:
    run = make_run()
    refused = pytest.raises(Superseded, match="another process is publishing ds=2024-01-01")
    with locked(run.state.lock_file), refused:
        _publish(run)
    assert not table_of(run).location.exists()


def test_the_lock_ends_with_its_process(make_run: MakeRun) -> None:
    run = make_run()
    lock = run.state.lock_file
    code = (
        "import sys, os, pathlib; from nocturne.store.files import locked\n"
        "with locked(pathlib.Path(sys.argv[1])): os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(lock)], check=False)
    assert done.returncode == -9
    _publish(run)


def test_a_lost_attempt_file_is_said_and_nothing_is_published(make_run: MakeRun) -> None:
    run = make_run()
    results = [run_split(run, split) for split in run.plan.splits]
    run.attempt(results[1].file).unlink()
    with pytest.raises(StateError, match="is gone, though its result says"):
        _commit(run, results)
    assert not table_of(run).location.exists()
    assert run.state.history() == []


def test_quarantined_rows_are_kept_with_the_manifest(make_run: MakeRun) -> None:
    rows = sample(50)
    ids = [None, *rows["id"].to_pylist()[1:]]
    import pyarrow as pa

    run = make_run({"p.parquet": rows.set_column(0, "id", pa.array(ids, pa.int64()))})
    manifest = _publish(run)
    [file] = manifest.quarantine
    kept = run.state.quarantine_file(run.plan.run_key, file.path)
    assert file_digest(kept) == file.sha256
    assert pq.read_table(kept)["reason"].to_pylist() == ["the key id is null"]
    assert _ids(run) == ids[1:]


def test_unchanged_splits_are_taken_over_not_scored_again(make_run: MakeRun) -> None:
    tables = {"a.parquet": sample(500), "b.parquet": sample(500, 1, 500)}
    first = make_run(tables)
    manifest = _publish(first)
    tables["b.parquet"] = sample(400, 2, 500)
    again = make_run(tables, based_on=manifest.id)
    assert table.reuse(again, table_of(again), manifest) == 1
    assert table.reuse(again, table_of(again), manifest) == 0, "it is there already"
    [taken] = again.result_files()
    assert taken.name.startswith("00000-")
    second = _publish(again)
    assert second.outputs[0].sha256 == manifest.outputs[0].sha256
    assert second.outputs[0].path != manifest.outputs[0].path, "names are never used again"
    assert _ids(again) == list(range(900))


def test_a_published_file_that_was_tampered_with_is_not_taken_over(make_run: MakeRun) -> None:
    manifest = _publish(make_run({"a.parquet": sample(500)}))
    more = {"b.parquet": sample(5, 1, 500)}
    again = make_run(more, based_on=manifest.id)
    path = table_of(again).file(manifest.outputs[0].path)
    path.write_bytes(path.read_bytes() + b"x")
    assert table.reuse(again, table_of(again), manifest) == 0


def test_a_crash_right_after_the_exchange_loses_no_version(make_run: MakeRun) -> None:
    first = _publish(make_run())
    again = make_run({"part-0.parquet": sample(90, seed=8)}, based_on=first.id)
    results = [run_split(again, split) for split in again.plan.splits]
    second = _commit(again, results)
    version = again.state.version(first.id)
    version.rename(again.arranged)  # as if the process had died in between
    assert _commit(again, results) == second
    assert sorted(p.name for p in version.iterdir()) == [f.path for f in first.outputs]


def test_a_refused_exchange_leaves_no_manifest(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = _publish(make_run())
    again = make_run({"part-0.parquet": sample(90, seed=8)}, based_on=first.id)

    def refuse(*_: object) -> None:
        raise PublishError("no exchange here")

    monkeypatch.setattr(sys.modules["nocturne.table_formats.folders"], "exchange", refuse)
    with pytest.raises(PublishError):
        _publish(again)
    assert [m.id for m in again.state.history()] == [first.id]
    assert _ids(again) == list(range(2500))


def test_a_published_folder_that_lost_a_file_is_not_intact(make_run: MakeRun) -> None:
    run = make_run()
    manifest = _publish(run)
    folder = table_of(run).location
    assert table.is_intact(table_of(run), manifest)
    (folder / manifest.outputs[0].path).unlink()
    assert not table.is_intact(table_of(run), manifest)


def test_a_link_that_came_after_planning_is_not_replaced(make_run: MakeRun) -> None:
    run = make_run()
    first = _publish(run)
    again = make_run({"part-0.parquet": sample(1500, seed=2)}, based_on=first.id)
    folder, moved = table_of(run).location, table_of(run).location.with_name("moved")
    folder.rename(moved)
    folder.symlink_to(moved)
    with pytest.raises(PublishError, match="is a link to .*moved"):
        _publish(again)
    assert folder.is_symlink()
    assert [m.id for m in run.state.history()] == [first.id]
    assert _ids(run) == list(range(2500))


def test_an_exchange_swaps_two_folders(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    exchange(tmp_path / "one", tmp_path / "two")
    assert [p.name for p in (tmp_path / "one").iterdir()] == ["two"]


def test_an_exchange_across_file_systems_is_refused_with_advice(tmp_path: Path) -> None:
    other = Path("/dev/shm")
    if not other.is_dir() or os.stat(other).st_dev == os.stat(tmp_path).st_dev:
        pytest.skip("no second file system here")
    far = other / f"nocturne-test-{os.getpid()}"
    far.mkdir()
    (tmp_path / "near").mkdir()
    try:
        with pytest.raises(PublishError, match="lie on two file systems.*nothing was changed"):
            exchange(tmp_path / "near", far)
    finally:
        far.rmdir()


def test_a_run_key_in_a_result_of_another_key_is_not_used(make_run: MakeRun) -> None:
    run = make_run({"a.parquet": sample(300)})
    manifest = _publish(run)
    splits = (replace(run.plan.splits[0], key="0" * 64),)
    other = Run(run.path.with_name("other"), run.state, replace(run.plan, splits=splits))
    assert table.reuse(other, table_of(other), manifest) == 0
