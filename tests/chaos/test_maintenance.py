"""verify, replay, rollback, reject and gc, as their user calls them."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from chaos.conftest import MakeRoot, correct
from chaos.nights import DAY, Root, whole_night
from nocturne.cli import app
from nocturne.codec import dump
from nocturne.operate.status import statuses
from nocturne.records.manifest import Manifest
from object_store import BucketPath


@dataclass(frozen=True)
class Said:
    """How a command ended."""

    exit_code: int
    output: str
    stdout: str


def nocturne(root: Root, command: str, *words: str) -> Said:
    return _called(root, command, "p", *words)


def _called(root: Root, *words: str) -> Said:
    def call() -> Said:
        done = CliRunner().invoke(app, words)
        if not isinstance(done.exception, SystemExit | None):
            raise done.exception  # what a user would see as a traceback
        return Said(done.exit_code, done.output, done.stdout)

    return root.ask(call)


def _last_json(result: Said) -> object:
    return json.loads(result.stdout.splitlines()[-1])


def test_a_night_as_published_verifies(root: Root) -> None:
    done = nocturne(root, "verify", "--date", DAY, "--json")
    assert done.exit_code == 0, done.output
    [found] = _last_json(done)  # type: ignore[misc]
    manifest = root.manifest()
    assert manifest is not None
    assert (found["ok"], found["problems"], found["files"]) == (True, [], 18)
    assert (found["manifest"], found["rows"]) == (manifest.id, manifest.rows_published)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: path.unlink(), "is missing"),
        (lambda path: path.write_bytes(path.read_bytes() + b"x"), "the manifest says"),
        (lambda path: _flip(path), "has other bytes than were published"),
    ],
)
def test_what_was_changed_after_publishing_is_found(root: Root, damage, said: str) -> None:  # type: ignore[no-untyped-def]
    damage(root.output / sorted(root.published())[3])
    done = nocturne(root, "verify", "--date", DAY)
    assert (done.exit_code, said in done.output) == (1, True), done.output


@pytest.mark.parametrize("table_format", ["parquet"])  # a reader of a lake table does not see it
def test_a_file_more_is_found(root: Root) -> None:
    path = sorted(root.output.iterdir())[3]
    shutil.copy(path, path.with_name("part-00099" + path.name[10:]))
    done = nocturne(root, "verify", "--date", DAY)
    assert (done.exit_code, "is in no manifest" in done.output) == (1, True), done.output


def _flip(path: Path | BucketPath) -> None:
    content = bytearray(path.read_bytes())
    content[40] ^= 1
    path.write_bytes(content)


def rewrite(root: Root, manifest: Manifest) -> None:
    """Somebody edits the manifest."""
    (root.place("manifests") / f"{manifest.id}.json").write_bytes(dump(manifest).encode())


def test_counts_and_quarantine_are_verified_too(root: Root) -> None:
    manifest = root.manifest()
    assert manifest is not None
    assert manifest.rows_quarantined > 0
    kept = root.place("quarantine") / manifest.run_key[:16] / manifest.quarantine[0].path
    kept.unlink()
    rewrite(root, replace(manifest, rows_in=manifest.rows_in + 1))
    done = nocturne(root, "verify", "--date", DAY)
    assert done.exit_code == 1
    assert f"quarantine/{manifest.quarantine[0].path}: is missing" in done.output
    assert f"the manifest says {manifest.rows_in + 1} were read" in done.output


def test_nothing_published_is_not_verified(make_root: MakeRoot) -> None:
    done = nocturne(make_root(), "verify", "--date", DAY, "--json")
    assert done.exit_code == 1
    [found] = _last_json(done)  # type: ignore[misc]
    assert "is not published" in found["message"]


def test_a_replay_is_bit_equal(root: Root) -> None:
    done = nocturne(root, "verify", "--date", DAY, "--replay", "--splits", "0", "--json")
    assert done.exit_code == 0, done.output
    [found] = _last_json(done)  # type: ignore[misc]
    assert [one["outcome"] for one in found["replayed"]] == ["bit-equal"] * 18
    assert not [name for name in root.files() if ".replay-" in name]
    sample = nocturne(root, "verify", "--date", DAY, "--replay", "--json")
    assert len(_last_json(sample)[0]["replayed"]) == 2  # type: ignore[index]


def test_a_replay_elsewhere_is_equal_within_the_tolerance_and_says_why(
    root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = root.manifest()
    assert manifest is not None
    then = {**manifest.environment, "cpu": "Another Processor"}
    rewrite(root, replace(manifest, environment=then))
    _nudge(monkeypatch, 1e-7)
    done = nocturne(root, "verify", "--date", DAY, "--replay")
    assert done.exit_code == 0, done.output
    assert "replay within tolerance: relative 1e-05; cpu was Another Processor, is" in done.output
    _nudge(monkeypatch, 1e-3)
    done = nocturne(root, "verify", "--date", DAY, "--replay")
    assert done.exit_code == 1
    assert "replay different: column 'score': values differ by a relative" in done.output


def _nudge(monkeypatch: pytest.MonkeyPatch, by: float) -> None:
    """Another processor, made of this one: every raw output a little off."""
    from nocturne.engine.torch_model import TorchModel

    exact = TorchModel.predict
    exact = getattr(exact, "exact", exact)

    def predict(self: TorchModel, encoded):  # type: ignore[no-untyped-def]
        found = exact(self, encoded)
        return (
            {name: values * (1 + by) for name, values in found.items()}
            if isinstance(found, dict)
            else [values * (1 + by) for values in found]
        )

    predict.exact = exact  # type: ignore[attr-defined]
    monkeypatch.setattr(TorchModel, "predict", predict)


def test_other_bits_on_the_same_machine_are_different(
    root: Root, monkeypatch: pytest.MonkeyPatch
) -> None:
    _nudge(monkeypatch, 1e-6)
    done = nocturne(root, "verify", "--date", DAY, "--replay")
    assert done.exit_code == 1
    assert "replay different: in the last bits, on the same processor type" in done.output


def test_a_replay_without_its_input_or_its_model_says_so(root: Root) -> None:
    correct(root)
    done = nocturne(root, "verify", "--date", DAY, "--replay", "--splits", "0")
    assert done.exit_code == 1
    assert "part-1.parquet was changed since" in done.output
    model = Path(root.ask(root.run).plan.model.path)
    next(model.rglob("*.pt2")).write_bytes(b"")
    if root.bucket:  # that of the machine is fetched anew
        copy = root.place("runs").parent.parent / "models" / model.name
        next(iter(copy.glob("**/*.pt2"))).write_bytes(b"another")
    done = nocturne(root, "verify", "--date", DAY, "--replay")
    assert "is not the copy of model small version 1 that was pinned" in done.output


def test_a_rollback_brings_the_earlier_files_back_and_can_be_undone(root: Root) -> None:
    first = root.published()
    correct(root)
    assert root.night() == 0
    second = root.published()

    done = nocturne(root, "rollback", "--date", DAY, "--by", "ada", "--json")

    assert done.exit_code == 0, done.output
    answer = _last_json(done)
    manifest = root.manifest()
    assert manifest is not None
    assert answer["id"] == manifest.id  # type: ignore[index]
    assert (manifest.number, manifest.approved_by) == (3, "ada")
    assert manifest.restores is not None
    assert manifest.restores.startswith("000001-")
    assert root.published() == first
    assert nocturne(root, "verify", "--date", DAY).exit_code == 0
    assert nocturne(root, "rollback", "--date", DAY, "--to", "2").exit_code == 0
    assert root.published() == second
    root.check()


def test_the_next_run_after_a_rollback_publishes_under_names_of_its_own(root: Root) -> None:
    correct(root)
    assert root.night() == 0
    second = root.published()
    assert nocturne(root, "rollback", "--date", DAY).exit_code == 0
    assert root.night() == 0
    third = root.published()
    assert not set(second) & set(third)
    assert sorted(second.values()) == sorted(third.values()), "the same scores"
    assert root.night() == 0
    assert root.published() == third
    root.check()


@pytest.mark.parametrize(
    ("to", "said"),
    [
        ((), "has nothing to roll back to. No earlier version is kept"),
        (("--to", "7"), "has no manifest '7'"),
        (("--to", "1"), "is in force already"),
    ],
)
def test_a_rollback_to_nowhere_is_refused(root: Root, to: tuple[str, ...], said: str) -> None:
    before = root.published()
    done = nocturne(root, "rollback", "--date", DAY, *to)
    assert done.exit_code == 1
    assert said in done.output
    assert root.published() == before


def test_a_damaged_version_is_not_put_in_force(root: Root) -> None:
    correct(root)
    assert root.night() == 0
    before = root.published()
    kept = [*root.place("versions").glob("000001-*/*"), *root.output.iterdir()]
    older = [path for path in kept if path.name not in before]
    used = [*root.output.iterdir()] if root.bucket else []  # else links: of a split that changed
    _flip(next(p for p in older if p in used or p.stat().st_nlink == 1))
    done = nocturne(root, "rollback", "--date", DAY)
    assert done.exit_code == 1
    assert "is not the file that manifest 000001-" in done.output
    assert root.published() == before


def test_a_rejected_night_stays_unpublished_until_it_is_judged_anew(make_root: MakeRoot) -> None:
    root = make_root()
    root.configure("quality", max_quarantined=0.0)
    assert root.night() == 3
    [plan] = root.place("runs").glob("**/run.json")
    done = nocturne(root, "reject", "--date", DAY, "--by", "ada", "--why", "keys are missing")
    assert done.exit_code == 0, done.output
    [night] = root.ask(lambda: statuses(root.load()))
    assert (night.state, night.message) == ("rejected", "rejected by ada: keys are missing")
    approved = nocturne(root, "approve", "--date", DAY)
    assert approved.exit_code == 1
    assert "has no held scores (it is rejected)" in approved.output
    published = _called(root, "publish", str(plan.parent))
    assert published.exit_code == 1
    assert "was rejected by ada" in published.output
    assert root.published() == {}
    assert root.night() == 3, "judged anew, it is held again"
    assert nocturne(root, "approve", "--date", DAY).exit_code == 0
    root.check()


def test_a_held_night_whose_file_is_gone_is_scored_again(make_root: MakeRoot) -> None:
    root = make_root()
    root.configure("quality", max_quarantined=0.0)
    assert root.night() == 3
    first, *others = sorted(root.attempts(), key=str)
    first.unlink()
    approved = nocturne(root, "approve", "--date", DAY)
    assert approved.exit_code == 1
    said = approved.output.replace("\n", " ")
    assert first.name in said
    assert "Run the partition again: what is gone is scored again" in said
    assert root.published() == {}
    assert root.night() == 3, "it is held as before"
    again = {path.name for path in root.attempts()} - {path.name for path in others}
    assert len(again) == 1
    assert first.name not in again
    assert nocturne(root, "approve", "--date", DAY).exit_code == 0
    root.check()


def test_rows_that_a_fix_has_healed_are_published_by_a_requeue(make_root: MakeRoot) -> None:
    root = make_root()

    def broken() -> None:
        """The model raises on whatever holds a large x: a fault of its environment, say."""
        from nocturne.engine.torch_model import TorchModel

        sound = TorchModel.predict

        def predict(self: TorchModel, encoded):  # type: ignore[no-untyped-def]
            if (encoded[0][:, 0] > 2.7).any():
                raise OSError("the lookup service is away")
            return sound(self, encoded)

        TorchModel.predict = predict  # type: ignore[method-assign]
        whole_night(root.load(), root.partition)

    assert root.wait(root.start(broken)) == 0
    first, kept = root.manifest(), root.published()
    assert first is not None
    root.check()

    assert root.requeue() == 0

    second = root.manifest()
    assert second is not None
    nulls = sum(
        pq.read_table(p, columns=["id"], partitioning=None)["id"].null_count
        for p in root.input.iterdir()
    )
    assert first.rows_quarantined > nulls == second.rows_quarantined
    assert second.rows_published + second.rows_quarantined == first.rows_in
    assert second.replaces == first.id
    assert set(kept.values()) & set(root.published().values()), "splits without bad rows are kept"
    root.check()
    assert root.night() == 0
    assert root.manifest() == second, "the same night: nothing to do"


def test_a_requeue_of_what_has_changed_says_what_to_do(root: Root) -> None:
    correct(root)
    done = nocturne(root, "requeue", "--date", DAY)
    assert done.exit_code == 1
    assert "`nocturne score p --date 2024-01-02` scores all that changed" in done.output.replace(
        "\n", " "
    )


def test_gc_lists_first_and_spares_what_is_needed(make_root: MakeRoot) -> None:
    root = make_root()
    assert root.night("judge.judged") < 0  # scored, never published
    correct(root)
    assert root.night() == 0
    root.configure("quality", max_quarantined=0.0)
    correct(root, 51)
    assert root.night() == 3  # held: its files must stay
    before = root.files()

    young = nocturne(root, "gc")
    assert "no garbage" in young.output
    listed = nocturne(root, "gc", "--older-than", "0", "--json")
    assert listed.exit_code == 0, listed.output
    assert root.files() == before, "a dry run removes nothing"
    paths = [Path(one["path"]) for one in _last_json(listed)]  # type: ignore[index, union-attr]
    assert ["runs" in path.parts for path in paths] == [True]
    assert nocturne(root, "gc", "--older-than", "0", "--yes").exit_code == 0

    assert not [name for name in root.files() if paths[0].name in name]
    assert "no garbage" in nocturne(root, "gc", "--older-than", "0").output
    assert nocturne(root, "approve", "--date", DAY).exit_code == 0
    root.check()
    assert nocturne(root, "rollback", "--date", DAY).exit_code == 0


def test_gc_removes_models_that_no_run_names_any_more(root: Root) -> None:
    used = {name for name in root.files() if "/models/" in name}
    models = next(iter(used)).partition("/models/")[0].lstrip("/")
    for name in ("ab" * 16 + "/MLmodel", "ab" * 16 + ".flat"):
        if root.bucket is None:
            path = root.path / models / "models" / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"weights")
        else:
            (root.place("runs").parent.parent / "models" / name).write_bytes(b"weights")
    assert nocturne(root, "gc", "--older-than", "0", "--yes").exit_code == 0
    assert {name for name in root.files() if "/models/" in name} == used
    assert nocturne(root, "verify", "--date", DAY, "--replay").exit_code == 0


@pytest.mark.parametrize("table_format", ["parquet"])
def test_gc_removes_what_a_killed_night_left_beside_the_scores_and_among_the_models(
    root: Root,
) -> None:
    tried = [root.output.parent / ".nocturne-ab12", root.output.parent.parent / ".garbage-1-ab"]
    kept = root.output.parent / ".nocturne-notes"
    download = root.state.parent / "models" / ".download-7-ab12"
    for folder in (*tried, kept, download):
        folder.mkdir()
    (kept / "mine.txt").touch()  # what is not empty was not ours
    (download / "MLmodel").touch()
    assert "no garbage" in nocturne(root, "gc").output, "they could be a running night's"
    assert nocturne(root, "gc", "--older-than", "0", "--yes").exit_code == 0
    assert not any(folder.exists() for folder in (*tried, download))
    assert (kept / "mine.txt").exists()
    root.check()
