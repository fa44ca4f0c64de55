"""Two at once, and a world that changes half-way: a clear error or a right result."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

from chaos.conftest import MakeRoot, correct, rows
from chaos.nights import CORES, DAY, Root, until_stopped
from chaos.strangers import STRANGERS
from chaos.test_maintenance import nocturne
from nocturne.model.tracking import connect
from nocturne.operate.decisions import roll_back
from nocturne.store import leases
from waiting import until

STOPPED = psutil.STATUS_STOPPED
LONG = pytest.mark.long


def _until_workers_stopped(driver: int) -> None:
    until(lambda: len(_stopped(driver)) == CORES, "the failpoint")


def _go_on(root: Root, pid: int) -> int:
    os.kill(pid, signal.SIGCONT)
    return root.wait(pid)


def test_two_runs_of_one_partition_publish_one_night(make_root: MakeRoot) -> None:
    root, other = make_root(), make_root()
    pids = [root.start_night(throttle=0.005) for _ in range(2)]
    codes = sorted(root.wait(pid) for pid in pids)
    assert codes[0] == 0
    assert codes[1] in (0, 1)  # 1: superseded, or found it being published
    root.check()
    assert other.night() == 0
    assert root.published() == other.published()


def test_an_orphan_that_wants_to_publish_after_a_newer_run_has_no_effect(
    make_root: MakeRoot, capfd: pytest.CaptureFixture[str]
) -> None:
    root = make_root()
    orphan = root.start_night("judge.judged=SIGSTOP")
    until_stopped(orphan)
    correct(root, 77)
    assert root.night() == 0
    newer = root.published()

    assert _go_on(root, orphan) == 1

    assert (
        "these scores were planned when the published manifest was none" in capfd.readouterr().err
    )
    assert root.published() == newer
    root.check()


def test_who_finds_the_partition_locked_changes_nothing(
    make_root: MakeRoot, capfd: pytest.CaptureFixture[str]
) -> None:
    """In a store there is no lock: then the second publishes the same run."""
    root = make_root()
    first = root.start_night("commit.locked=SIGSTOP")
    until_stopped(first)
    assert root.night() == (0 if root.bucket else 1)
    published = root.published()
    if not root.bucket:
        assert "another process is publishing" in capfd.readouterr().err
        assert published == {}
    assert _go_on(root, first) == 0
    assert not root.bucket or root.published() == published
    root.check()


@pytest.mark.parametrize(
    "point", ["commit.arranged", "commit.quarantined", "commit.written", "commit.swapped"]
)
@pytest.mark.parametrize("table_format", ["delta on s3", "iceberg on s3"])
@pytest.mark.long
def test_two_publish_at_once_without_a_lock(make_root: MakeRoot, point: str) -> None:
    """One is stopped at a step of its publish, and another publishes the same or other scores."""
    root, other = make_root(), make_root()
    first = root.start_night(f"{point}=SIGSTOP")
    until_stopped(first)
    assert root.night() == 0
    published = root.published()
    assert _go_on(root, first) == 0, "the same run"
    assert root.published() == published
    assert other.night() == 0
    assert published == other.published()
    root.check()

    correct(root, 77)
    second = root.start_night(f"{point}=SIGSTOP")
    until_stopped(second)
    correct(root, 78)
    third = root.night()
    newer = root.published()
    swapped = point == "commit.swapped"
    assert (third, _go_on(root, second)) == (0, 0 if swapped else 1)
    assert root.published() == newer, "who comes late changes nothing"
    root.check()
    assert root.gc() == 0
    root.check()
    assert root.night() == 0


@pytest.mark.parametrize("table_format", ["delta on s3", "iceberg on s3"])
@pytest.mark.long
def test_a_publish_that_comes_late_does_not_undo_a_rollback(make_root: MakeRoot) -> None:
    """The files are again those that it was planned over; their manifest is another one."""
    root = make_root()
    assert root.night() == 0
    first = root.published()
    correct(root, 77)
    late = root.start_night("commit.written=SIGSTOP")
    until_stopped(late)
    correct(root, 78)
    assert root.night() == 0
    assert root.rollback() == 0
    assert root.published() == first
    assert _go_on(root, late) == 1
    assert root.published() == first
    manifest = root.manifest()
    assert manifest is not None
    assert manifest.number == 4
    root.check()


@pytest.mark.parametrize("table_format", ["delta on s3", "iceberg on s3"])
@pytest.mark.long
def test_of_two_rollbacks_at_once_one_is_refused(make_root: MakeRoot) -> None:
    """They would be manifests of one number and, as both restore one run, of one name."""
    root = make_root()
    assert root.night() == 0
    first = root.published()
    correct(root, 77)
    assert root.night() == 0
    assert root.rollback() == 0  # 3, of the run of 1
    correct(root, 78)
    assert root.night() == 0

    def back(to: str) -> None:
        roll_back(root.load(), root.partition, to, "ada")

    slow = root.start(lambda: back("1"), "commit.arranged=SIGSTOP")
    until_stopped(slow)
    assert root.wait(root.start(lambda: back("3"))) == 0
    assert _go_on(root, slow) == 1
    assert root.published() == first
    root.check()


@pytest.mark.parametrize("table_format", ["delta on s3"])
@pytest.mark.long
def test_gc_that_was_stopped_spares_what_is_needed_by_now(
    make_root: MakeRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(leases._COUNTS_S, leases.CLEANING, 1.0)
    root = make_root()
    assert root.night("judge.judged") < 0
    (root.place("status") / "current.json").unlink()  # of a run that was silent for long
    gc = root.start(root._gc, "gc.moved=SIGSTOP")
    until_stopped(gc)
    time.sleep(2)
    assert root.night() == 0
    _go_on(root, gc)
    root.check()


@pytest.mark.parametrize("table_format", ["delta on s3", "iceberg on s3"])
@pytest.mark.long
def test_gc_and_a_publish_keep_out_of_each_others_way(
    make_root: MakeRoot, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(leases, "_WAIT_S", 1.0)
    root = make_root()
    assert root.night("judge.judged") < 0  # what it has scored is garbage
    correct(root, 77)
    assert root.night() == 0
    kept = root.published()
    correct(root, 78)
    assert root.night() == 0
    gc = root.start(root._gc, "gc.moved=SIGSTOP")
    until_stopped(gc)
    assert root.rollback() == 75
    assert "`nocturne gc` is removing files of" in capfd.readouterr().err
    assert _go_on(root, gc) == 0
    back = root.start(
        lambda: roll_back(root.load(), root.partition, None, "ada"), "commit.arranged=SIGSTOP"
    )
    until_stopped(back)
    before = root.files()
    assert root.gc() == 0, "it leaves the partition alone"
    assert [name for name in before if "leases" not in name] == [
        name for name in root.files() if "leases" not in name
    ]
    assert _go_on(root, back) == 0
    assert root.published() == kept
    root.check()
    assert root.gc() == 0
    assert not [name for name in root.files() if "leases" in name]


@pytest.mark.parametrize("point", ["judge.reported", "judge.judged"])
def test_a_run_that_another_process_publishes_keeps_its_judgement(
    make_root: MakeRoot, point: str
) -> None:
    root = make_root()
    late = root.start_night(f"{point}=SIGSTOP")
    until_stopped(late)
    assert root.night() == 0
    published = root.manifest()
    assert published is not None
    [judgement] = root.place("runs").glob("**/judgement.json")
    judged = judgement.read_bytes()

    assert _go_on(root, late) == 0

    assert root.manifest() == published
    assert judgement.read_bytes() == judged
    root.check()


@pytest.mark.long
def test_an_alias_that_moves_half_way_changes_the_next_night_only(make_root: MakeRoot) -> None:
    root, other = make_root(), make_root()
    pid = root.start_night("prepare.planned=SIGSTOP")
    until_stopped(pid)

    def move() -> None:
        client = connect(f"sqlite:///{root.path / 'var/mlflow/mlflow.db'}")
        source = client.get_model_version("small", "1")
        made = client.create_model_version("small", source.source, run_id=source.run_id)
        client.set_registered_model_alias("small", "champion", made.version)

    assert root.wait(root.start(move)) == 0
    assert _go_on(root, pid) == 0
    manifest = root.manifest()
    assert manifest is not None
    assert manifest.model.version == 1
    assert other.night() == 0
    assert root.published() == other.published()
    assert root.night() == 0
    manifest = root.manifest()
    assert manifest is not None
    assert manifest.model.version == 2


@pytest.mark.parametrize("change", ["replaced", "truncated", "deleted", "corrected in place"])
def test_an_input_file_that_changes_between_plan_and_read(
    make_root: MakeRoot, capfd: pytest.CaptureFixture[str], change: str
) -> None:
    root = make_root()
    pid = root.start_night("split.begun=SIGSTOP")  # both workers stop in their first split
    _until_workers_stopped(pid)
    _change(root.input / "part-2.parquet", change)
    for worker in _stopped(pid):
        worker.send_signal(signal.SIGCONT)

    assert root.wait(pid) == 75

    said = capfd.readouterr().err
    assert "changed after planning" in said or "was deleted after planning" in said
    assert root.published() == {}
    assert root.night() == 0, "what is there now is planned and scored"
    root.check()


def _stopped(driver: int) -> list[psutil.Process]:
    return [p for p in psutil.Process(driver).children() if p.status() == STOPPED]


def _change(path: Path, how: str) -> None:
    if how == "replaced":
        pq.write_table(rows(600, 91, 2000), path, row_group_size=100)
    elif how == "deleted":
        path.unlink()
    elif how == "truncated":
        kept = pq.read_table(path, partitioning=None).slice(0, 300)
        with open(path, "r+b") as file:
            file.truncate(100)
        os.utime(path)
        pq.write_table(kept, path)  # the next night finds a whole file
    else:  # the same size and the same footer: one bit of a page
        page = bytearray(path.read_bytes())
        column = pq.read_metadata(path).row_group(3).column(2)
        page[column.data_page_offset + column.total_compressed_size - 3] ^= 1
        with open(path, "r+b") as file:
            file.write(page)


def test_a_page_corrected_in_place_is_another_fingerprint(make_root: MakeRoot) -> None:
    root = make_root()
    assert root.night() == 0
    before, first = root.published(), root.ask(root.run).plan.files
    path = root.input / "part-2.parquet"
    size = path.stat().st_size
    _change(path, "corrected in place")
    assert path.stat().st_size == size
    assert root.night() == 0
    second = root.ask(root.run).plan.files
    assert second[2].blake3 != first[2].blake3
    assert second[:2] == first[:2]
    assert root.published() != before
    root.check()


def test_a_split_that_is_scored_twice_at_once_counts_once(make_root: MakeRoot) -> None:
    root = make_root()
    slow = root.start_night("split.staged=SIGSTOP")  # both workers, each with a split of its own
    _until_workers_stopped(slow)
    assert root.night() == 0
    published = root.published()
    for worker in _stopped(slow):
        worker.send_signal(signal.SIGCONT)
    root.wait(slow)
    assert root.published() == published
    root.check()


def test_a_held_night_that_is_approved_after_a_newer_publish(make_root: MakeRoot) -> None:
    from nocturne.errors import Superseded
    from nocturne.operate.decisions import approve_held

    root = make_root()
    yaml = root.path / "conf" / "pipelines" / "p.yaml"
    text = yaml.read_text()
    root.configure("quality", max_quarantined=0.0)
    assert root.night() == 3
    held = root.place("status" if root.bucket else ".") / "current.json"
    kept = held.read_text()
    correct(root, 77)
    yaml.write_text(text)
    assert root.night() == 0
    newer = root.published()
    held.write_text(kept)  # as if the page that shows the held night had not been reloaded

    with pytest.raises(Superseded, match="Nothing was changed"):
        root.ask(lambda: approve_held(root.load(), root.partition, "ada"))
    assert root.published() == newer


@pytest.mark.parametrize("table_format", ["delta on s3", "iceberg on s3"])
@pytest.mark.long
def test_a_gc_that_was_stopped_for_long_removes_nothing_that_is_in_force_by_now(
    make_root: MakeRoot,
    table_format: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A rollback uses the objects that lie there, without writing them."""
    monkeypatch.setitem(leases._COUNTS_S, leases.CLEANING, 3.0)
    root = make_root()
    root.configure("output", keep=0)
    assert root.night() == 0
    first = root.published()
    correct(root, 77)
    assert root.night() == 0
    STRANGERS[table_format](root).forget()
    cleaning = root.start(root._gc, "gc.moved=SIGSTOP")
    until_stopped(cleaning)
    time.sleep(4)
    assert root.wait(root.start(lambda: roll_back(root.load(), root.partition, "1", "ada"))) == 0
    assert root.published() == first
    assert _go_on(root, cleaning) != 0
    assert "this took so long" in capfd.readouterr().err
    assert root.published() == first
    root.check()


@pytest.mark.parametrize("table_format", ["parquet", pytest.param("delta on s3", marks=LONG)])
def test_gc_says_what_it_leaves_alone_since_it_is_published(make_root: MakeRoot) -> None:
    root = make_root()
    assert root.night() == 0
    correct(root, 77)
    assert root.night("judge.judged") < 0
    publishing = root.start_night("commit.locked=SIGSTOP")
    until_stopped(publishing)
    cleaned = nocturne(root, "gc", "--older-than", "0", "--yes")
    assert cleaned.exit_code == 0
    said = cleaned.output.replace("\n", " ")
    assert f"{DAY} is left alone: " in said
    assert "publish" in said
    assert _go_on(root, publishing) == 0
    root.check()


@pytest.mark.parametrize("table_format", ["parquet"])
def test_gc_takes_no_model_that_a_night_needs_by_now(make_root: MakeRoot) -> None:
    """Its copy is old, and no run names it yet."""
    root = make_root()
    assert root.night() == 0
    model = next(iter(root.state.parent.glob("models/*")))
    for path in root.place("runs").iterdir():
        shutil.rmtree(path)
    shutil.rmtree(root.output)
    shutil.rmtree(root.place("manifests"))
    os.utime(model, (1, 1))
    for path in model.rglob("*"):
        os.utime(path, (1, 1))
    night = root.start_night("prepare.planned=SIGSTOP")
    until_stopped(night)
    assert nocturne(root, "gc", "--yes").exit_code == 0
    assert _go_on(root, night) == 0
    root.check()
