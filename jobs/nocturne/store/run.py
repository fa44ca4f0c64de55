"""A run: its directory, the partition that it scores, its plan, and the results of its splits."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from nocturne.errors import StateError
from nocturne.hiding import encodable
from nocturne.objects import Location, ObjectPath, location
from nocturne.objects.together import together
from nocturne.records.challengers import Challenged, Dropped
from nocturne.records.plan import Arm, ModelRef, RunPlan, Split
from nocturne.records.result import Scored, SplitResult
from nocturne.store.files import forget
from nocturne.store.partition_state import PartitionState, now
from nocturne.store.pipeline_state import PipelineState
from nocturne.store.record_files import find, read, write
from nocturne.store.run_folder import RunFolder

__all__ = ["Run"]


class Run(RunFolder):
    """A run directory with its plan.

    Args:
        path: the directory.
        state: of the partition that is scored.
        plan: the content of its ``run.json``; the model's ``path`` is absolute.
    """

    def __init__(self, path: Location, state: PartitionState, plan: RunPlan) -> None:
        super().__init__(path)
        self.state, self.plan = state, plan
        self._seen: dict[Location, tuple[object, SplitResult]] = {}

    @classmethod
    def of(cls, state: PartitionState, plan: RunPlan) -> Run:
        """The run of a plan that may not be written yet."""
        return cls(state.run(plan.run_key).path, state, plan)

    @classmethod
    def at(cls, state: PartitionState, run_key: str) -> Run:
        """The run of a run key.

        Raises:
            StateError: the directory is missing or damaged.
        """
        return cls.open(state.run(run_key).path)

    @classmethod
    def open(cls, path: str | Location) -> Run:
        """The run in a run directory.

        Raises:
            StateError: it is not a run directory, is damaged, or was moved out of its partition's
                state.
        """
        path = location(path) if isinstance(path, str) else path
        path = path.resolve() if isinstance(path, Path) else path
        plan = read(RunPlan, RunFolder(path).plan_file)
        depth = len(Path(plan.partition.state_path).parts)
        parents = path.parents
        if len(parents) > depth + 1:
            state = PartitionState(parents[depth + 1], plan.partition)
            if state.run(plan.run_key).path == path:
                root = state.root
                found = plan.with_models(lambda m: replace(m, path=str(_model_folder(root, m))))
                return cls(path, state, found)
        raise StateError(
            f"{path} says that it is the run {plan.run_key[:16]} of {plan.pipeline} "
            f"{plan.partition.key}: it was moved or copied. Prepare the partition again",
            run_dir=str(path),
        )

    def changed(self, **changes: Any) -> Run:
        """The run with some values of the plan replaced; nothing is written."""
        return Run(self.path, self.state, replace(self.plan, **changes))

    def write_plan(self, *, exclusive: bool = False) -> None:
        """Write the plan; the path of a model is stored relative to the pipeline's state.

        Args:
            exclusive: a plan that is there already stays.
        """
        root = self.state.root

        def relative(model: ModelRef) -> ModelRef:
            path = Path(model.path)
            if isinstance(root, ObjectPath):
                path = Path("models") / path.name
            elif path.is_relative_to(root):
                path = path.relative_to(root)
            return replace(model, path=str(path))

        write(self.plan_file, self.plan.with_models(relative), exclusive=exclusive)

    @property
    def attempts(self) -> Location:
        """The folder to which attempts write, which the table chooses."""
        return self.path / self.plan.staging

    @property
    def is_scored(self) -> bool:
        """Whether every split has its result."""
        return self.scored_file.is_file() if self.plan.is_whole else not self.unscored()

    def unscored(self) -> list[Split]:
        """The splits without a result, in split order."""
        there = {*self.result_files()}
        return [split for split in self.plan.splits if self.result_file(split) not in there]

    def write_results(self, results: list[SplitResult]) -> None:
        """Write the results of a query. If two drivers do this, the results of the first count."""
        [planned] = self.plan.splits
        execution = os.urandom(4).hex()
        for index, result in enumerate(results):
            path = self.result_file(replace(planned, index=index), execution)
            write(path, replace(result, index=index))
        write(self.scored_file, Scored(len(results), execution), exclusive=True)

    def results(self) -> list[SplitResult]:
        """Every split's result, in split order.

        Raises:
            StateError: a split is not scored yet, or its result is damaged.
        """
        scored = find(Scored, self.scored_file) if self.plan.is_whole else None
        splits, there = self.plan.splits, {path: path for path in self.result_files()}
        if scored is not None:
            splits = tuple(replace(splits[0], index=index) for index in range(scored.results))
        paths = [self.result_file(split, scored.execution if scored else "") for split in splits]
        missing = [path for path in paths if path not in there]
        if scored is not None and (missing or not paths):
            raise StateError(
                f"{self.scored_file} says that there are {scored.results} results, there are "
                f"{len(paths) - len(missing)}. It is damaged, or some were removed. {Scored.mend}",
                run_dir=str(self.path),
            )
        if missing:
            raise StateError(
                f"{len(missing)} of {len(paths)} splits of {self.path} are not scored yet; "
                f"score it first (`nocturne score {self.plan.pipeline} --date "
                f"{self.plan.partition.key}`)",
                run_dir=str(self.path),
            )
        if isinstance(self.path, Path):
            return [self._once(path, split) for path, split in zip(paths, splits, strict=True)]
        return together(self._once, (there[path] for path in paths), splits)

    def _once(self, path: Location, split: Split) -> SplitResult:
        """A result as it is on the disk, or as it was listed in a store; it is parsed once."""
        version = path.stat_ if isinstance(path, ObjectPath) else _version(path)
        if (known := self._seen.get(path)) is not None and known[0] == version:
            return known[1]
        result = _result(path, split)
        self._seen[path] = version, result
        return result

    def tidy(self) -> None:
        super().tidy()
        self._seen.clear()  # the runs of a long range would hold all of them

    def drop(self, result: Location) -> None:
        """Remove a result: its split is scored again, and a query is scored again as a whole."""
        forget(result)
        if self.plan.is_whole:
            forget(self.scored_file)

    def challenged(self) -> Challenged:
        """The challengers of this run; there are none before it is prepared with some.

        Raises:
            StateError: the file is damaged.
        """
        if not self.plan.challenged:
            return Challenged()
        return find(Challenged, self.challengers_file) or Challenged()

    def drop_challenger(self, why: str, *, died: bool = False) -> None:
        """Score no more of this challenger, or run with arms; the first reason stays."""
        dropped = Dropped(encodable(why), now(), died)
        is_first = write(self.dropped_file, dropped, exclusive=True)
        if not is_first and self.dropped() is None and not self.is_scored:
            write(self.dropped_file, dropped)  # it was whole, and has lost results since

    def keep_arms(self) -> None:
        """From now on the arms of a run whose splits are all scored can't be dropped.

        If they were dropped, that stays.
        """
        write(self.dropped_file, Dropped("", now()), exclusive=True)

    def of_arm(self, arm: Arm) -> Run:
        """The run as if the arm were the champion; nothing is written."""
        return Run(self.path, self.state, self.plan.of_arm(arm))

    def step(self, name: str) -> AbstractContextManager[None]:
        """Mark the partition as running this step, and as held or failed if the step raises."""
        return self.state.step(name, self.plan)


def _model_folder(root: Location, model: ModelRef) -> Path:
    if isinstance(root, Path):
        return root / model.path
    return PipelineState(root).model(model.sha256)


def _version(path: Path) -> tuple[int, ...] | None:
    with suppress(OSError):  # reading it says what is wrong
        found = path.stat()
        return found.st_ino, found.st_size, found.st_mtime_ns
    return None


def _result(path: Location, split: Split) -> SplitResult:
    result = read(SplitResult, path)
    if (result.index, result.key) != (split.index, split.key):
        raise StateError(
            f"{path} is the result of split {result.index}, expected that of split {split.index}: "
            f"it was copied or renamed. {SplitResult.mend}",
            source=str(path),
        )
    return result
