"""SIGKILL at every named step; the run that follows ends as if nothing had happened."""

from __future__ import annotations

import re
import shutil
import signal
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from chaos.conftest import MakeRoot, correct, rows
from chaos.nights import CORES, Root
from nocturne.errors import ConfigError
from nocturne.objects import local
from nocturne.store.failpoints import FAILPOINTS, VARIABLE, reach
from object_store import Bucket

SOURCE = Path(__file__).parents[2] / "jobs" / "nocturne"
KILLED = -signal.SIGKILL
OF_FOLDERS = ("commit.retired", "commit.pruned")
ONLY_ELSEWHERE = {"prepare.linked", "gc.moved"}
SHORT = {"prepare.linked", "commit.swapped"}
"""In `make test`: the steps that only they have, and the one after which the table has changed."""


def _points(names: Iterable[str], short: Collection[str] = SHORT) -> list[Any]:
    return [pytest.param(n, marks=() if n in short else pytest.mark.long) for n in names]


EACH = [name for name in FAILPOINTS if name not in ONLY_ELSEWHERE]
FIRST = [
    *EACH,
    *("split.batch@5", "split.staged@4", "split.decided@9"),
    *(f"record.written@{n}" for n in (2, 5, 9, 12)),
]
"""Each step, and some again when others of their kind are behind them."""
AGAIN = [
    "prepare.planned",
    "prepare.linked",
    "prepare.linked@7",
    "split.staged",
    "split.decided",
    "judge.judged",
    *(name for name in FAILPOINTS if name.startswith("commit.")),
]
BACK = [name for name in FAILPOINTS if name.startswith("commit.") and "quarantined" not in name]


def _correct(root: Root) -> None:
    """One file of three is delivered again, one is new: 12 splits are as they were."""
    correct(root)
    pq.write_table(rows(200, 60, 9000), root.input / "part-9.parquet", row_group_size=100)


@dataclass(frozen=True)
class End:
    """Where steps that nothing disturbs lead to."""

    published: dict[str, str]
    names: list[str]


Undisturbed = Callable[..., End]


@pytest.fixture(scope="module")
def ends(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., End]:
    """Goes the steps in a project of its own, once for all tests of a format."""

    @cache
    def end(table_format: str, bucket: Bucket | None, *steps: Callable[[Root], object]) -> End:
        folder = shutil.copytree(template, tmp_path_factory.mktemp("undisturbed") / "root")
        root = Root(folder, bucket)
        root.publish_into(table_format)
        with pytest.MonkeyPatch.context() as patched:
            patched.delenv("MLFLOW_TRACKING_URI", raising=False)
            patched.setenv("NOCTURNE_HOME", str(root.path))
            _go(root, *steps)
            published = root.published()
            assert root.gc() == 0
            return End(published, _names(root))

    return end


@pytest.fixture
def undisturbed(
    request: pytest.FixtureRequest,
    table_format: str,
    bucket: Bucket | None,
    ends: Callable[..., End],
) -> Undisturbed:
    """Where steps lead to that nothing disturbs."""
    point = str(request.node.callspec.params.get("point", ""))
    if table_format != "parquet" and point.startswith(OF_FOLDERS):
        pytest.skip("a step of folders")
    return partial(ends, table_format, bucket)


def _go(root: Root, *steps: Callable[[Root], object]) -> None:
    for step in steps:
        assert not step(root)


def _same(root: Root, other: End) -> None:
    """The same bytes under the same names, every row once, and nothing left but what belongs."""
    root.check()
    assert root.published() == other.published
    assert root.gc() == 0
    assert _names(root) == other.names
    root.check()


def _names(root: Root) -> list[str]:
    """The state's files; a commit that was killed leaves a gap in the numbers of manifests.

    In a store, copies of what a manifest names have their hash, which times are in.
    """
    commit, copy = r"/((manifests|versions)(/ds=[^/]*)?)/\d{6}-", r"/(run|judgement)-[0-9a-f]{16}\."
    names = (re.sub(copy, r"/\1-HASH.", name) for name in root.files())
    return sorted([*(re.sub(commit, r"/\1/N-", name) for name in names), *_data_files(root)])


def _data_files(root: Root) -> list[str]:
    """Those in the table's folder, whether a reader sees them or not."""
    found = root.output.glob("**/*") if root.bucket else local(root.table.location).rglob("*")
    return [f"table/{path.name}" for path in found]


@pytest.mark.parametrize("point", _points(FIRST, EACH))
def test_the_first_night(make_root: MakeRoot, undisturbed: Undisturbed, point: str) -> None:
    root = make_root()

    code = root.night(point)

    killed_a_worker = code == 75 and point.split("@")[0].startswith(("split.", "record."))
    assert code == KILLED or killed_a_worker, "the failpoint was not reached"
    assert root.published() == {} or root.manifest() is not None
    before = root.decided()
    assert root.night() == 0
    after = root.decided()
    assert {name: after[name] for name in before} == before, "a decided split was scored again"
    _same(root, undisturbed(Root.night))


@pytest.mark.parametrize("point", _points(AGAIN))
def test_a_night_that_replaces_another(
    make_root: MakeRoot, undisturbed: Undisturbed, point: str
) -> None:
    root = make_root()
    assert root.night() == 0
    old = root.published()
    _correct(root)

    code = root.night(point)

    assert code in (KILLED, 75), "the failpoint was not reached"
    assert root.published() == old or root.manifest() is not None
    assert root.night() == 0
    assert root.published() != old
    _same(root, undisturbed(Root.night, _correct, Root.night))


@pytest.mark.parametrize("point", _points(BACK))
def test_a_rollback(make_root: MakeRoot, undisturbed: Undisturbed, point: str) -> None:
    root = make_root()
    _go(root, Root.night)
    first = root.published()
    _go(root, _correct, Root.night)

    assert root.rollback(point) == KILLED
    if root.published() != first:
        assert root.rollback() == 0
    assert root.published() == first
    assert root.gc() == 0  # settles what the killed one left
    manifest = root.manifest()
    assert manifest is not None
    assert manifest.restores is not None
    assert manifest.approved_by == "ada"
    other = undisturbed(Root.night, _correct, Root.night, Root.rollback)
    assert root.published() == other.published
    assert _names(root) == other.names
    assert root.rollback() == 0, "and there is a way back"
    assert root.published() != first


@pytest.mark.parametrize("point", _points(AGAIN))
def test_a_requeue(make_root: MakeRoot, undisturbed: Undisturbed, point: str) -> None:
    root = make_root()
    _go(root, Root.night)

    code = root.requeue(point)

    assert code in (KILLED, 75), "the failpoint was not reached"
    manifest = root.manifest()
    assert manifest is not None
    if manifest.number == 1:  # else it came into force, and a second one would requeue again
        assert root.requeue() == 0
    _same(root, undisturbed(Root.night, Root.requeue))


@pytest.mark.parametrize("point", _points(["gc.moved", "gc.moved@2"], ["gc.moved"]))
def test_collecting_garbage(make_root: MakeRoot, undisturbed: Undisturbed, point: str) -> None:
    root = make_root()
    assert root.night("commit.quarantined") == KILLED
    _correct(root)  # what the killed run has scored is of no use any more
    assert root.night() == 0

    assert root.gc(point) == KILLED

    root.check()
    _same(root, undisturbed(_correct, Root.night))


def test_at_most_one_split_a_core_is_scored_again(make_root: MakeRoot) -> None:
    root = make_root()
    assert root.night("split.staged@6") == 75  # both workers die in their sixth split
    assert len(root.attempts()) - len(root.decided()) <= CORES
    assert root.night() == 0


def test_every_failpoint_is_in_the_code_once_and_known() -> None:
    text = "".join(p.read_text() for p in SOURCE.rglob("*.py") if p.name != "failpoints.py")
    for name in FAILPOINTS:
        assert f'reach("{name}")' in text, name
    tried = {name.split("@")[0] for name in (*FIRST, *AGAIN, *BACK, "gc.moved")}
    assert tried == set(FAILPOINTS)


def test_a_failpoint_that_does_not_exist_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "commit.swaped")
    with pytest.raises(ConfigError, match=r"NOCTURNE_FAILPOINT is 'commit.swaped', expected one"):
        reach("commit.swapped")
