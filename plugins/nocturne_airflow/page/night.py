"""One partition as the page tells it, from the files that it left."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nocturne import publish
from nocturne.config import Loaded
from nocturne.errors import NocturneError
from nocturne.layout import Layout
from nocturne.pipeline.board import Square, squares
from nocturne.pipeline.runs import mlflow_page
from nocturne.records import Manifest, Partition

__all__ = ["Night", "document", "night"]

_WORST = 5
_FAILED = 20
_PARTS = ("data_docs", "report.html")
"""What of a run directory the page hands out: what hides the values of sensitive columns."""


@dataclass(frozen=True)
class Night:
    """A partition: how it stands, what was judged last, and every manifest that was in force."""

    square: Square
    run: str | None = None
    judged: dict[str, Any] = field(default_factory=dict)
    manifests: list[Manifest] = field(default_factory=list)
    kept: frozenset[str] = frozenset()
    mlflow: str | None = None
    has_report: bool = False
    has_docs: bool = False

    @property
    def reasons(self) -> list[str]:
        return [str(reason) for reason in self.judged.get("reasons", ())]

    @property
    def worst(self) -> list[dict[str, Any]]:
        """The columns that drifted most."""
        return list(self.judged.get("drift", {}).get("columns", ()))[:_WORST]

    @property
    def expectations(self) -> list[dict[str, Any]]:
        return list(self.judged.get("quality", {}).get("expectations", ()))

    @property
    def failed(self) -> list[dict[str, Any]]:
        return [e for e in self.expectations if not e["success"]][:_FAILED]

    @property
    def rows_per_second(self) -> float | None:
        seconds = self.judged.get("seconds", {}).get("score", 0)
        return self.judged.get("rows_in", 0) / seconds if seconds else None


def night(loaded: Loaded, partition: Partition) -> Night:
    """What is known of a partition; a file that can't be read is left out."""
    layout = Layout.of(loaded)
    state_dir, target = layout.partition_state(partition), layout.output(partition)
    [square] = squares(loaded, [partition])
    try:
        line = publish.lineage(state_dir, publish.current(state_dir, target))
    except NocturneError:
        line = []
    kept = frozenset(m.id for m in line[1:] if publish.version_of(state_dir, m))
    if square.run_dir:
        folder = Path(square.run_dir)  # of the run that is not published
    elif line:
        folder = publish.run_folder(state_dir, line[0])
    else:
        return Night(square)
    judged = _json(folder / "judgement.json")
    return Night(
        square,
        run=folder.name,
        judged=judged,
        manifests=line,
        kept=kept,
        mlflow=_mlflow(loaded, judged.get("mlflow_run_id")),
        has_report=(folder / "report.html").is_file(),
        has_docs=(folder / "data_docs" / "index.html").is_file(),
    )


def document(loaded: Loaded, partition: Partition, run: str, part: str) -> Path | None:
    """A file that the page may hand out: a run's report, its Data Docs, or a manifest.

    Args:
        run: the name of its directory; or ``manifests``.
    """
    state_dir = Layout.of(loaded).partition_state(partition)
    if run == "manifests":
        found = state_dir / "manifests" / Path(part).name
        return found if found.is_file() else None
    folder = (state_dir / "runs" / run).resolve()
    path = (folder / part).resolve()
    allowed = [folder / name for name in _PARTS]
    inside = any(path == one or one in path.parents for one in allowed)
    return path if inside and folder.parent.name == "runs" and path.is_file() else None


def _json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_bytes()))
    except (OSError, ValueError):
        return {}


def _mlflow(loaded: Loaded, run_id: str | None) -> str | None:
    try:
        return mlflow_page(loaded, run_id)
    except NocturneError:
        return None
