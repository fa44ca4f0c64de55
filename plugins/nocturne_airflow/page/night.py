"""One partition as the page tells it, from the files that it left."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from nocturne import publish
from nocturne.config import Loaded
from nocturne.errors import NocturneError
from nocturne.pipeline.board import Square, squares
from nocturne.pipeline.layout import Layout
from nocturne.pipeline.runs import mlflow_page
from nocturne.records import Expectation, FeatureDrift, Judgement, Manifest, Partition
from nocturne.store.record_files import find

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
    judged: Judgement | None = None
    manifests: list[Manifest] = field(default_factory=list)
    kept: frozenset[str] = frozenset()
    mlflow: str | None = None
    has_report: bool = False
    has_docs: bool = False
    damaged: tuple[str, ...] = ()

    @property
    def reasons(self) -> tuple[str, ...]:
        return self.judged.reasons if self.judged else ()

    @property
    def worst(self) -> tuple[FeatureDrift, ...]:
        """The columns that drifted most."""
        return self.judged.drift.columns[:_WORST] if self.judged else ()

    @property
    def expectations(self) -> tuple[Expectation, ...]:
        return self.judged.quality.expectations if self.judged else ()

    @property
    def failed(self) -> tuple[Expectation, ...]:
        return self.judged.quality.failed[:_FAILED] if self.judged else ()

    @property
    def rows_per_second(self) -> float | None:
        seconds = self.judged.seconds.get("score", 0) if self.judged else 0
        return self.judged.rows_in / seconds if self.judged and seconds else None


def night(loaded: Loaded, partition: Partition) -> Night:
    """What is known of a partition; a file that can't be read is left out, and named."""
    layout = Layout.of(loaded)
    state_dir, target = layout.partition_state(partition), layout.output(partition)
    [square] = squares(loaded, [partition])
    damaged: list[str] = []
    line: list[Manifest] = []
    try:
        line, broken = publish.known_lineage(state_dir, publish.current(state_dir, target))
    except (NocturneError, OSError) as error:
        if str(error) != square.message:
            damaged.append(str(error))
    else:
        damaged += [str(broken)] if broken else []
    kept = frozenset(m.id for m in line[1:] if publish.version_of(state_dir, m))
    if square.run_dir:
        folder = Path(square.run_dir)  # of the run that is not published
    elif line:
        folder = publish.run_folder(state_dir, line[0])
    else:
        return Night(square, damaged=tuple(damaged))
    judged = None
    try:
        judged = find(Judgement, folder / "judgement.json")
    except NocturneError as error:
        damaged.append(str(error))
    return Night(
        square,
        run=folder.name,
        judged=judged,
        manifests=line,
        kept=kept,
        mlflow=_mlflow(loaded, judged.mlflow_run_id if judged else None),
        has_report=_is_file(folder / "report.html"),
        has_docs=_is_file(folder / "data_docs" / "index.html"),
        damaged=tuple(damaged),
    )


def document(loaded: Loaded, partition: Partition, run: str, part: str) -> Path | None:
    """A file that the page may hand out: a run's report, its Data Docs, or a manifest.

    Args:
        run: the name of its directory; or ``manifests``.
    """
    state_dir = Layout.of(loaded).partition_state(partition)
    if run == "manifests":
        found = state_dir / "manifests" / Path(part).name
        return found if _is_file(found) else None
    try:
        folder = (state_dir / "runs" / run).resolve()
        path = (folder / part).resolve()
    except (OSError, ValueError, RuntimeError):  # a null byte, links in a circle
        return None
    allowed = [folder / name for name in _PARTS]
    inside = any(path == one or one in path.parents for one in allowed)
    return path if inside and folder.parent.name == "runs" and _is_file(path) else None


def _is_file(path: Path) -> bool:
    """False also where the name is too long to be one."""
    try:
        return path.is_file()
    except OSError:
        return False


def _mlflow(loaded: Loaded, run_id: str | None) -> str | None:
    try:
        return mlflow_page(loaded, run_id)
    except NocturneError:
        return None
