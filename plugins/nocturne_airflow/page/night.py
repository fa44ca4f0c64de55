"""The data of the page of a partition, read from its files."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from nocturne.config import Loaded
from nocturne.errors import NocturneError
from nocturne.objects import Location, relative
from nocturne.operate.status import PartitionStatus, status_of
from nocturne.operate.timeline import Event, timeline
from nocturne.pipeline.places import Places
from nocturne.pipeline.runs import mlflow_page
from nocturne.records.drift import FeatureDrift
from nocturne.records.findings import Finding, Verdict
from nocturne.records.manifest import Judgement, Manifest
from nocturne.records.partition import Partition
from nocturne.records.plan import ModelRef, RunPlan
from nocturne.records.quality import Expectation
from nocturne.store.record_files import read
from nocturne.store.run_folder import RunFolder

__all__ = ["NightPage", "document", "night_page"]

_WORST = 5
_FAILED = 20


@dataclass(frozen=True)
class NightPage:
    """A partition: its status, the last judgement, and every manifest that was in force.

    ``restorable``: ids of earlier manifests whose files are kept, so that a rollback is possible.
    ``events``: what happened, the latest first. ``model``: that of the run.
    """

    status: PartitionStatus
    run: str | None = None
    judgement: Judgement | None = None
    manifests: list[Manifest] = field(default_factory=list)
    restorable: frozenset[str] = frozenset()
    mlflow: str | None = None
    has_report: bool = False
    has_docs: bool = False
    damaged: tuple[str, ...] = ()
    events: list[Event] = field(default_factory=list)
    model: ModelRef | None = None

    @property
    def findings(self) -> list[tuple[Finding, bool]]:
        """The findings of the judgement, each with whether it decided the verdict; these first.

        What a person wanted comes before all. None if a later run could not be planned.
        """
        unfinished = self.status.unfinished
        if self.judgement is None or (unfinished is not None and not unfinished.run_key):
            return []
        verdict = self.judgement.verdict
        decides = {f: f.verdict == verdict != Verdict.OK for f in self.judgement.findings}
        return sorted(decides.items(), key=lambda item: (not item[1], item[0].subject != "person"))

    @property
    def worst(self) -> tuple[FeatureDrift, ...]:
        """The columns that drifted most."""
        return self.judgement.drift.columns[:_WORST] if self.judgement else ()

    @property
    def expectations(self) -> tuple[Expectation, ...]:
        return self.judgement.quality.expectations if self.judgement else ()

    @property
    def failed(self) -> tuple[Expectation, ...]:
        return self.judgement.quality.failed[:_FAILED] if self.judgement else ()

    @property
    def rows_per_second(self) -> float | None:
        seconds = self.judgement.seconds.get("score", 0) if self.judgement else 0
        return self.judgement.rows_in / seconds if self.judgement and seconds else None


def night_page(loaded: Loaded, partition: Partition) -> NightPage:
    """The page of a partition; a file that can't be read is left out and listed as damaged."""
    places = Places.of(loaded)
    output = places.output(partition)
    status = status_of(places, partition)
    manifests, broken = output.state.known_lineage(status.manifest)
    damaged = [str(broken)] if broken else []
    restorable = frozenset(m.id for m in manifests[1:] if output.kept(m) is not None)
    run = status.run
    if run is None:
        return NightPage(status, manifests=manifests, restorable=restorable, damaged=tuple(damaged))
    judgement, mlflow_run = None, None
    try:
        if run.is_judged:
            judgement = run.judgement()
            mlflow_run = run.mlflow_run_id()
    except NocturneError as error:
        damaged.append(str(error))
    events, unread = timeline(output.state, status, manifests)
    damaged += [problem for problem in unread if problem not in damaged]
    return NightPage(
        status,
        run=run.name,
        judgement=judgement,
        manifests=manifests,
        restorable=restorable,
        mlflow=_mlflow(loaded, mlflow_run),
        has_report=_is_file(run.report),
        has_docs=_is_file(run.docs_page),
        damaged=tuple(damaged),
        events=events,
        model=_model(run),
    )


def _model(run: RunFolder) -> ModelRef | None:
    """The model of a run; None if its plan can't be read."""
    with suppress(NocturneError):
        return read(RunPlan, run.plan_file).model
    return None


def document(loaded: Loaded, partition: Partition, run: str, part: str) -> Location | None:
    """A file that the page may serve: a run's report, its Data Docs, or a manifest.

    Args:
        run: the name of the run's directory, or ``manifests``.
    """
    state = Places.of(loaded).state.partition(partition)
    if run == "manifests":
        manifest = state.manifest_file(Path(part).stem)
        return manifest if _is_file(manifest) and manifest.name == Path(part).name else None
    folder = next((folder for folder in state.runs() if folder.name == run), None)
    if folder is None:
        return None
    # Only these hide the values of sensitive columns.
    served = {relative(path, folder.path): path for path in (folder.docs_page, folder.report)}
    path = served.get(part)
    return path if path is not None and _is_file(path) and not _is_link(path) else None


def _is_link(path: Location) -> bool:
    return isinstance(path, Path) and path.is_symlink()


def _is_file(path: Location) -> bool:
    """Whether it is a file; False if the name can't be one's."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _mlflow(loaded: Loaded, run_id: str | None) -> str | None:
    try:
        return mlflow_page(loaded, run_id)
    except NocturneError:
        return None
