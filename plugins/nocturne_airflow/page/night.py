"""One partition as the page tells it: from the files that it left, without their models.

The files are read as JSON and only looked at, so that the page also shows what another version
of Nocturne has written.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nocturne import publish, state
from nocturne.config import Loaded
from nocturne.errors import NocturneError, StateError
from nocturne.layout import Layout
from nocturne.pipeline.board import Square, squares
from nocturne.records import Partition
from nocturne.tracking import run_url, tracking_uri

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
    manifests: list[dict[str, Any]] = field(default_factory=list)
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
    manifests, kept = [], set()
    try:
        line = publish.lineage(state_dir, publish.current(state_dir, target))
    except NocturneError:
        line = []
    for manifest in line:
        manifests.append(_json(publish.path_of(state_dir, manifest.id)))
        if manifest is not line[0] and publish.version_of(state_dir, manifest):
            kept.add(manifest.id)
    folder = _folder(state_dir, square, manifests)
    if folder is None:
        return Night(square, manifests=manifests, kept=frozenset(kept))
    judged = _json(folder / "judgement.json")
    return Night(
        square,
        run=folder.name,
        judged=judged,
        manifests=manifests,
        kept=frozenset(kept),
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


def _folder(state_dir: Path, square: Square, manifests: list[dict[str, Any]]) -> Path | None:
    """The directory of the last run: the unfinished one, else the one in force."""
    if square.stands not in ("published", "warned", "missing"):
        try:
            unfinished = state.recall(state_dir)
        except StateError:
            unfinished = None
        if unfinished and unfinished.run_dir:
            return Path(unfinished.run_dir)
    return state_dir / "runs" / manifests[0]["run_key"][:16] if manifests else None


def _json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_bytes()))
    except (OSError, ValueError):
        return {}


def _mlflow(loaded: Loaded, run_id: str | None) -> str | None:
    """Where MLflow's own page shows the night's run, if MLflow is a server."""
    try:
        uri = tracking_uri(loaded.pipeline.registry.tracking_uri, loaded.home)
    except NocturneError:
        return None
    return run_url(uri, run_id)
