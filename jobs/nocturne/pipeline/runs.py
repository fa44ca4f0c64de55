"""Run directories: opening one, and marking what is being done to it."""

from __future__ import annotations

from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from nocturne import publish
from nocturne.config import Loaded, Pipeline, from_path, home
from nocturne.config import partition as partition_of
from nocturne.errors import NocturneError, StateError
from nocturne.model.tracking import run_url, tracking_uri
from nocturne.pipeline.layout import Layout
from nocturne.records import Manifest, Partition, Run, Split, SplitResult
from nocturne.store import state
from nocturne.store.record_files import find, read
from nocturne.store.rundir import Scored, approval_path, rejection_path, result_path, scored_path

__all__ = [
    "as_planned",
    "current",
    "in_force",
    "logged_to",
    "mlflow_page",
    "nights",
    "open_run",
    "partitions_of",
    "pipeline_of",
    "published",
    "results_of",
    "scored",
    "scores_of",
    "step",
    "undecide",
]


def step(name: str, run: Run) -> AbstractContextManager[None]:
    """Marks the run's partition as running this step, and as held or failed if it raises."""
    return state.step(name, run.state_dir, run.run_key, run.run_dir, run.model.version, run.rows)


def open_run(run_dir: str | Path) -> Run:
    """The run of a run directory.

    Raises:
        StateError: it is none, is damaged, or was moved.
    """
    run = read(Run, Path(run_dir) / "run.json")
    if Path(run.run_dir) != Path(run_dir).resolve():
        raise StateError(
            f"{run_dir} says that it is {run.run_dir}: it was moved or copied. Prepare the "
            "partition again",
            run_dir=str(run_dir),
        )
    pipeline_of(run)
    return run


def as_planned(run: Run) -> Loaded:
    """The pipeline as it was when the run was prepared, in the project."""
    return Loaded(pipeline_of(run), {}, home())


def pipeline_of(run: Run) -> Pipeline:
    """The pipeline as it was when the run was prepared.

    Raises:
        StateError: what the run says of it is damaged.
    """
    try:
        return Pipeline.model_validate(run.config)
    except ValidationError as error:
        first = error.errors()[0]
        raise StateError(
            f"{run.run_dir}/run.json: config.{'.'.join(map(str, first['loc']))}: {first['msg']}. "
            f"It was written by another version or is damaged. {Run.mend}",
            run_dir=run.run_dir,
        ) from None


def logged_to(loaded: Loaded) -> dict[str, str]:
    """Where in MLflow the pipeline's nights are logged: ``tracking_uri`` and ``experiment``."""
    settings = loaded.pipeline.registry
    return {
        "tracking_uri": tracking_uri(settings.tracking_uri, loaded.home),
        "experiment": settings.experiment or f"nocturne/{loaded.pipeline.name}",
    }


def mlflow_page(loaded: Loaded, run_id: str | None) -> str | None:
    """Where MLflow shows the run of a night of the pipeline; None if MLflow is no server."""
    return run_url(logged_to(loaded)["tracking_uri"], run_id)


def current(run: Run) -> Manifest | None:
    """What is published of the run's partition now."""
    return publish.current(Path(run.state_dir), Path(run.output_dir))


def in_force(run: Run) -> Manifest | None:
    """The run's manifest if it is what is published now: its steps then have nothing to do."""
    now = current(run)
    return now if now is not None and now.run_key == run.run_key else None


def undecide(run: Run) -> None:
    """Forget what a person decided: it was about an earlier judgement."""
    approval_path(run).unlink(missing_ok=True)
    rejection_path(run).unlink(missing_ok=True)


def published(loaded: Loaded, partition: Partition) -> Manifest:
    """The manifest in force.

    Raises:
        StateError: nothing is published.
        PublishError: the folder holds files that no manifest names.
    """
    layout = Layout.of(loaded)
    target = layout.output(partition)
    manifest = publish.current(layout.partition_state(partition), target)
    if manifest is None:
        name = loaded.pipeline.name
        raise StateError(
            f"{name} {partition.key} is not published: {target} is "
            f"{'empty' if target.exists() else 'not there'}. See `nocturne status {name}`"
        )
    return manifest


def partitions_of(loaded: Loaded, whole: str | None = None) -> list[Partition]:
    """Partitions that have state, oldest first.

    Args:
        whole: the key under which an unpartitioned table counts; it is left out without one.
    """
    layout, config = Layout.of(loaded), loaded.pipeline.input.partition
    if not config:
        return [] if whole is None else [partition_of(config, whole)]
    folders = layout.state.glob("/".join(f"{name}=*" for name in config))
    found = [from_path(config, folder.relative_to(layout.state).as_posix()) for folder in folders]
    return sorted((p for p in found if p), key=lambda p: p.key)


def nights(loaded: Loaded, before: str | None = None, last: int | None = None) -> list[Manifest]:
    """Manifests in force, oldest partition first; at most the ``last`` ones ``before`` a key.

    A night that somebody touched is left out: `status` shows it, and it must not stop others.
    """
    layout = Layout.of(loaded)
    partitions = [p for p in partitions_of(loaded) if before is None or p.key < before]
    manifests = []
    for partition in partitions[-last:] if last else partitions:
        with suppress(NocturneError):
            state_dir, target = layout.partition_state(partition), layout.output(partition)
            manifests.append(publish.current(state_dir, target))
    return [manifest for manifest in manifests if manifest is not None]


def scored(run: Run) -> bool:
    """Whether every split has its result."""
    if run.query is not None:
        return scored_path(run).exists()
    return all(result_path(run, split).exists() for split in run.splits)


def results_of(run: Run) -> list[SplitResult]:
    """Every split's result, in split order.

    Raises:
        StateError: a split is not scored yet, or its result is damaged.
    """
    paths = [result_path(run, split) for split in _splits(run)]
    missing = [path for path in paths if not path.exists()]
    if missing:
        raise StateError(
            f"{len(missing)} of {len(paths)} splits of {run.run_dir} are not scored yet; "
            f"score it first (`nocturne score {run.pipeline} --date {run.partition.key}`)",
            run_dir=run.run_dir,
        )
    return [_result(path, split) for path, split in zip(paths, _splits(run), strict=True)]


def _result(path: Path, split: Split) -> SplitResult:
    found = read(SplitResult, path)
    if (found.index, found.key) != (split.index, split.key):
        raise StateError(
            f"{path} is the result of split {found.index}, expected that of split {split.index}: "
            f"it was copied or renamed. {SplitResult.mend}",
            source=str(path),
        )
    return found


def scores_of(run: Run, result: SplitResult) -> Path:
    """A split's scores: in the run directory, or published."""
    staged = Path(run.run_dir) / "attempts" / result.file
    return (
        staged
        if staged.exists()
        else (Path(run.output_dir) / publish.file_name(result.index, run.run_key))
    )


def _splits(run: Run) -> tuple[Split, ...]:
    """The planned ones; of a query as many as Spark made of it."""
    done = find(Scored, scored_path(run)) if run.query is not None else None
    if done is None:
        return run.splits
    there = sum(1 for _ in (Path(run.run_dir) / "results").glob("*.json"))
    if not 0 < done.results <= there:
        raise StateError(
            f"{scored_path(run)} says that there are {done.results} results, there are {there}. "
            f"It is damaged, or some were removed. {Scored.mend}",
            run_dir=run.run_dir,
        )
    return tuple(replace(run.splits[0], index=index) for index in range(done.results))
