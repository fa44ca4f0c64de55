"""One partition as the page tells it, from the files that it left."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from nocturne.config import Loaded
from nocturne.errors import NocturneError
from nocturne.operate.status import PartitionStatus, status_of
from nocturne.pipeline.places import Places
from nocturne.pipeline.runs import mlflow_page
from nocturne.records import Expectation, FeatureDrift, Judgement, Manifest, Partition

__all__ = ["Night", "document", "night"]

_WORST = 5
_FAILED = 20


@dataclass(frozen=True)
class Night:
    """A partition: how it stands, what was judged last, and every manifest that was in force."""

    status: PartitionStatus
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
    places = Places.of(loaded)
    output = places.output(partition)
    status = status_of(places, partition)
    line, broken = output.state.known_lineage(status.manifest)
    damaged = [str(broken)] if broken else []
    kept = frozenset(m.id for m in line[1:] if output.kept(m))
    run = status.run
    if run is None:
        return Night(status, manifests=line, kept=kept, damaged=tuple(damaged))
    judged, mlflow = None, None
    try:
        if run.is_judged:
            judged = run.judgement()
            mlflow = run.mlflow_run_id()
    except NocturneError as error:
        damaged.append(str(error))
    return Night(
        status,
        run=run.name,
        judged=judged,
        manifests=line,
        kept=kept,
        mlflow=_mlflow(loaded, mlflow),
        has_report=_is_file(run.report),
        has_docs=_is_file(run.data_docs / "index.html"),
        damaged=tuple(damaged),
    )


def document(loaded: Loaded, partition: Partition, run: str, part: str) -> Path | None:
    """A file that the page may hand out: a run's report, its Data Docs, or a manifest.

    Args:
        run: the name of its directory; or ``manifests``.
    """
    state = Places.of(loaded).state.partition(partition)
    if run == "manifests":
        found = state.manifest_file(Path(part).stem)
        return found if _is_file(found) and found.name == Path(part).name else None
    folder = next((one for one in state.runs() if one.name == run), None)
    if folder is None:
        return None
    # What hides the values of sensitive columns.
    allowed = [folder.data_docs, folder.report]
    try:
        path = (folder.path / part).resolve()
        inside = any(path == one.resolve() or one.resolve() in path.parents for one in allowed)
    except (OSError, ValueError, RuntimeError):  # a null byte, links in a circle
        return None
    return path if inside and _is_file(path) else None


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
