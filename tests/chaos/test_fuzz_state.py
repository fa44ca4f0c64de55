"""Whatever lies in the state: each command ends cleanly, and what is published stays."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.fuzz import clean, examples, mutated, odd_dates, odd_text
from nocturne import config
from nocturne.errors import Held
from nocturne.pipeline.judging import judge
from nocturne.pipeline.publishing import publish_run
from pipeline.conftest import DAYS, night_of, scored, shift
from pipeline.conftest import project as project
from pipeline.conftest import registry as registry

TWICE, HELD, ONCE = DAYS[0], DAYS[1], DAYS[2]


class Nights:
    """Three nights, published twice, held and published once, as they are put back each time."""

    def __init__(self, root: Path) -> None:
        self.root, self.out, self.kept = root, root / "out", root / "kept"
        shutil.copytree(self.out, self.kept, symlinks=True)
        self.state = self.out / "_nocturne" / "scores"
        self.files = sorted(
            str(path.relative_to(self.state))
            for path in self.state.rglob("*")
            if path.is_file() and path.suffix in (".json", ".npy", ".html", "")
        )
        self.published = self.scores()

    def scores(self) -> dict[str, bytes]:
        """File -> its bytes, of what readers see."""
        table = self.out / "scores"
        return {str(p.relative_to(table)): p.read_bytes() for p in sorted(table.rglob("*.parquet"))}

    def put_back(self) -> None:
        shutil.rmtree(self.out)
        shutil.copytree(self.kept, self.out, symlinks=True, copy_function=os.link)


@pytest.fixture(scope="module")
def nights(registry: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nights]:
    with pytest.MonkeyPatch.context() as patched:
        root = tmp_path_factory.mktemp("nights")
        loaded = project.__wrapped__(root, registry, patched)(  # type: ignore[attr-defined]
            quality__unique_keys=True, quality__max_quarantined=0.5, scoring__kernel="graph",
            scoring__micro_batch=64,
        )  # fmt: skip
        night_of(loaded, TWICE)
        night_of(loaded, ONCE)
        shift(root, TWICE)
        night_of(loaded, TWICE)
        strict = config.load("p", overrides={"quality.max_quarantined": 0.0, "drift.floor": 1.0})
        run = scored(strict, HELD, hold="look at it")
        judge(run)
        with pytest.raises(Held):
            publish_run(run)
        yield Nights(root)


def commands(nights: Nights) -> list[list[str]]:
    """Every command that reads state and starts no Spark."""
    runs = sorted(nights.state.glob("ds=*/runs/*"))
    of_days = [
        [name, "p", "--date", day, *more]
        for day in (TWICE, HELD, ONCE)
        for name, more in (("verify", []), ("rollback", []), ("rollback", ["--to", "1"]),
                           ("approve", []), ("reject", []), ("accept", []))
    ]  # fmt: skip
    of_runs = [[*steps, str(run)] for run in runs
               for steps in (["gate"], ["gate", "--approve"], ["publish"])]  # fmt: skip
    return [
        ["status", "p"],
        ["status", "p", "--json"],
        ["gc", "p", "--older-than", "0"],
        ["gc", "p", "--older-than", "0", "--yes"],
        ["report", "p", "--from", TWICE, "--to", ONCE, "--out", str(nights.root / "report.html")],
        ["baseline", "p", "--from", TWICE, "--to", ONCE],
        *of_days,
        *of_runs,
    ]


def damage(draw: st.DrawFn, path: Path) -> None:
    """Something else takes the place of the file."""
    before = path.read_bytes()
    how = draw(st.sampled_from(
        ["tree", "tree", "tree", "cut", "bytes", "text", "deep", "folder", "gone", "circle",
         "dangling", "endless", "pipe", "copy", "other"]))  # fmt: skip
    if how == "copy":  # under another name, as a person makes one
        for name in draw(st.sampled_from([["x.json"], ["000009-" + path.stem[7:] + ".json"],
                                          [path.name + "~", "000000-.json"]])):  # fmt: skip
            shutil.copy(path, path.with_name(name))
        return
    path.unlink()
    if how == "tree" and path.suffix == ".json":
        path.write_text(json.dumps(draw(mutated(json.loads(before)))))
    elif how == "cut":
        path.write_bytes(before[: draw(st.integers(0, max(0, len(before) - 1)))])
    elif how == "text":
        path.write_text(draw(odd_text))
    elif how == "deep":
        path.write_text("[" * 100_000)
    elif how == "folder":
        path.mkdir()
        (path / "x").touch()
    elif how == "circle":
        path.symlink_to(path.name)
    elif how == "dangling":
        path.symlink_to("nowhere")
    elif how == "endless":
        path.symlink_to("/dev/zero")
    elif how == "pipe":
        os.mkfifo(path)
    elif how == "other":
        others = sorted(path.parent.glob("*.json")) or [Path(__file__)]
        path.write_bytes(draw(st.sampled_from(others)).read_bytes())
    elif how != "gone":
        path.write_bytes(draw(st.binary(max_size=200)))


@given(st.data())
@examples(8)
def test_a_damaged_file_of_the_state(nights: Nights, data: st.DataObject) -> None:
    nights.put_back()
    damaged = data.draw(st.sampled_from(nights.files))
    command = data.draw(st.sampled_from(commands(nights)))
    data.draw(st.composite(lambda draw: damage(draw, nights.state / damaged))())
    changes = command[0] in ("rollback", "approve", "publish")
    clean(*command)
    if not changes:
        assert nights.scores() == nights.published
    code, out, _ = clean("status", "p", "--json")
    assert code == 0, "one damaged file does not stop status"
    assert [night["partition"] for night in json.loads(out)] == list(DAYS)


@given(odd_dates, odd_dates, odd_text)
@examples(2)
def test_odd_arguments(nights: Nights, first: str, last: str, text: str) -> None:
    nights.put_back()
    for command in (
        ["status", "p", "--from", first, "--to", last],
        ["verify", "p", "--date", first],
        ["rollback", "p", "--date", TWICE, "--to", text or "0"],
        ["approve", "p", "--date", first, "--by", text],
        ["gate", text],
        ["status", text],
        ["ready", "p", "--date", first],
        ["prepare", "p", "--date", first, "--dry-run", "--caller", text],
        ["report", "p", "--from", first, "--to", last],
        ["baseline", "p", "--from", first, "--to", last],
    ):
        if "\0" not in "".join(command):  # no argument can hold one
            clean(*command)
    assert nights.scores() == nights.published
