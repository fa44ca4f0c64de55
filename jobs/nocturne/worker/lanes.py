"""Lanes: another model in the pass of the champion's split, batch by batch.

A lane has a thread of its own, and takes turns with the champion's: a batch is handed over once the
champion has scored it, and the champion goes on once the lane has. So a model that raises, or does
not come back in time, is dropped, and what the champion has scored is not touched. A file says that
a lane runs: if the process dies, the driver knows whom to suspect.
"""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from queue import SimpleQueue
from typing import Generic, TypeVar

import pyarrow as pa

from nocturne.errors import DeviceLost, NocturneError
from nocturne.hiding import redacted
from nocturne.records.challengers import Opponent
from nocturne.records.plan import Split
from nocturne.records.result import SplitResult
from nocturne.store.files import forget, write_atomic
from nocturne.store.record_files import write
from nocturne.store.run import Run

__all__ = ["ChallengerLane", "Given", "Lane"]

_LOOK_S = 0.5
_GRACE_S = 10.0
"""Seconds beyond its budget that a lane may take in a process: its model is loaded there."""


@dataclass(frozen=True)
class Given:
    """A batch that the champion has scored: why each of its rows is quarantined (null if it is
    not), and the champion's predictions by name.
    """

    batch: pa.RecordBatch
    reasons: pa.Array
    outputs: Mapping[str, pa.Array]


Result = TypeVar("Result")
Work = Callable[[Iterator[Given]], Result]
"""Scores what it is given, in the lane's thread."""


class _Clock:
    """Seconds of a lane, and of the champion beside it."""

    def __init__(self) -> None:
        self.challenger_s = self.champion_s = 0.0


_clocks: dict[tuple[str, str], _Clock] = {}
"""By run directory and lane: in all splits that this process has scored."""


class Lane(Generic[Result]):
    """Another model's part of a split that is being scored.

    Args:
        name: in words, for messages.
        run, split: what is dropped if the lane fails.
        budget: how long it may take, in multiples of the champion's time.
        work: scores what the lane is given.
    """

    def __init__(
        self, name: str, run: Run, split: Split, budget: float, work: Work[Result]
    ) -> None:
        self.run, self.split = run, split
        self.name, self._budget = name, budget
        self._clock, self.own = _clocks.setdefault((run.uri, name), _Clock()), _Clock()
        self._given: SimpleQueue[Given | None] = SimpleQueue()
        self._idle = threading.Event()
        self.result: Result | None = None
        self.why = ""
        self._begun = run.begun_file(split)
        write_atomic(self._begun, b"")
        self._thread = threading.Thread(target=self._run, args=(work,), daemon=True)
        self._thread.start()

    def give(self, given: Given | None, champion_s: float) -> None:
        """Have a batch scored, unless the lane has failed.

        Args:
            given: None if it has no row for the lane.
            champion_s: the seconds that the champion took for the batch.
        """
        for clock in (self._clock, self.own):
            clock.champion_s += champion_s
        if given is not None:
            self._turn(given)

    def end(self) -> None:
        """Wait for the result of all that was given."""
        self._turn(None)

    @property
    def reason(self) -> str:
        """Why the lane has failed, for a person."""
        return self.why

    def close(self) -> None:
        """End the lane, whatever became of it."""
        self._given.put(None)
        with suppress(Exception):
            if self.why:
                self.run.drop_challenger(self.reason)
            if not self._thread.is_alive() or not self.why:
                forget(self._begun)

    def _turn(self, given: Given | None) -> None:
        """Hand over a batch, or that there are no more, and wait until the lane is through."""
        if self.why:
            return
        started = time.perf_counter()
        left = self._budget * self._clock.champion_s + _GRACE_S - self._clock.challenger_s
        self._idle.clear()
        self._given.put(given)
        while not self._idle.wait(_LOOK_S) and self._thread.is_alive():
            if time.perf_counter() - started > left:
                break
        took = time.perf_counter() - started
        for clock in (self._clock, self.own):
            clock.challenger_s += took
        if took > left:
            is_back = self._idle.is_set() or not self._thread.is_alive()
            self.why = self.why or (
                f"it took {self._clock.challenger_s:.1f} s where the champion took "
                f"{self._clock.champion_s:.1f} s, and its budget is {self._budget:g} of that"
            )
            if not is_back:  # its thread can't be ended, and would go on beside the champion
                raise DeviceLost(f"{self.name} did not come back; its process ends")

    def _run(self, work: Work[Result]) -> None:
        try:
            self.result = work(self._batches())
        except BaseException as error:  # of a model, which may do as it likes
            self.failed(error)
        self._idle.set()

    def failed(self, error: BaseException) -> None:
        """The lane ends, with this reason unless there is one."""
        if not isinstance(error, NocturneError):
            traceback.print_exception(error)
            self.why = self.why or redacted(error)
        else:
            self.why = self.why or f"{type(error).__name__}: {error}"

    def _batches(self) -> Iterator[Given]:
        while (given := self._given.get()) is not None:
            yield given
            self._idle.set()


class ChallengerLane(Lane[SplitResult]):
    """A challenger's split.

    Args:
        opponent, run: the challenger.
        split: the one of its run.
        work: scores what the lane is given.
    """

    def __init__(self, opponent: Opponent, run: Run, split: Split, work: Work[SplitResult]) -> None:
        super().__init__(f"challenger {opponent.name}", run, split, opponent.budget, work)

    def finish(self, champion: SplitResult) -> None:
        """Have the result written. What the champion has counted alike is taken over."""
        self.end()
        if self.result is not None and not self.why:
            plan = self.run.plan
            counted = {
                name: column
                for name, column in champion.profile.columns.items()
                if name in plan.profile_centers and name not in plan.encoding.output_names
            }
            profile, compared = self.result.profile, self.result.comparison
            result = replace(
                self.result,
                profile=replace(profile, columns=counted | profile.columns),
                comparison=compared and replace(compared, **vars(self.own)),
            )
            try:
                write(self.run.result_file(self.split), result, exclusive=True)
            except Exception as error:
                self.failed(error)
