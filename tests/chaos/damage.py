"""A project with nights of every kind, and what may happen to a file of its state."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import strategies as st

from chaos.fuzz import mutated, odd_text
from nocturne import config
from nocturne.errors import Held
from nocturne.pipeline.publishing import publish_run
from nocturne.pipeline.recording import judge_run
from pipeline.conftest import DAYS, night_of, scored, shift

__all__ = ["HELD", "ONCE", "TWICE", "Nights", "damage", "make_nights"]

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
        self.run = sorted((self.state / f"ds={TWICE}" / "runs").iterdir())[0].name

    def scores(self) -> dict[str, bytes]:
        """File -> its bytes, of what readers see."""
        table = self.out / "scores"
        return {str(p.relative_to(table)): p.read_bytes() for p in sorted(table.rglob("*.parquet"))}

    def put_back(self) -> None:
        shutil.rmtree(self.out)
        shutil.copytree(self.kept, self.out, symlinks=True, copy_function=os.link)


def make_nights(loaded: config.Loaded) -> Nights:
    """Scores the nights of a fresh project."""
    night_of(loaded, TWICE)
    night_of(loaded, ONCE)
    shift(loaded.home, TWICE)
    night_of(loaded, TWICE)
    strict = config.load("p", overrides={"quality.max_quarantined": 0.0, "drift.floor": 1.0})
    run = scored(strict, HELD, hold="look at it")
    judge_run(run)
    with pytest.raises(Held):
        publish_run(run)
    return Nights(loaded.home)


def damage(draw: st.DrawFn, path: Path) -> None:
    """Something else takes the place of the file."""
    before = path.read_bytes()
    how = draw(
        st.sampled_from(
            [
                "tree",
                "tree",
                "tree",
                "cut",
                "bytes",
                "text",
                "deep",
                "folder",
                "gone",
                "circle",
                "dangling",
                "endless",
                "pipe",
                "copy",
                "other",
            ]
        )
    )
    if how == "copy":  # under another name, as a person makes one
        for name in draw(
            st.sampled_from(
                [
                    ["x.json"],
                    ["000009-" + path.stem[7:] + ".json"],
                    [path.name + "~", "000000-.json"],
                ]
            )
        ):
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
