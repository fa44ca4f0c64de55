"""Arms: models that score a share of the keys of a champion's split, in its place."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nocturne.columns.shares import share_hashes
from nocturne.encoding import MODEL_VERSION
from nocturne.engine import REASON, encoder, score_cast
from nocturne.errors import DeviceLost, RetryableError
from nocturne.fitting import casts
from nocturne.profile import Comparer
from nocturne.records.arms import ArmResult
from nocturne.records.plan import Arm, Split
from nocturne.store.run import Run
from nocturne.worker.lanes import Given, Lane
from nocturne.worker.scoring import load_model, predicted
from nocturne.worker.slots import DeviceSlot

__all__ = ["ArmsBeside", "check_arms"]


def check_arms(run: Run) -> None:
    """Raises: RetryableError if the run's arms were dropped: it is scored no more."""
    if run.plan.arms is not None and (dropped := run.dropped()) is not None:
        raise _without(run, dropped.why)


def _without(run: Run, why: str) -> RetryableError:
    assert run.plan.arms is not None
    return RetryableError(
        f"{run.plan.arms.name} is dropped for the night of {run.plan.partition.key}, which is "
        f"scored without it: {why}"
    )


class ArmsBeside:
    """The arms beside a champion's split, each in a lane of its own.

    Args:
        schema: the schema of the source.
    """

    def __init__(self, run: Run, split: Split, schema: pa.Schema, slot: DeviceSlot) -> None:
        assert run.plan.arms is not None
        self._run, self._arms = run, run.plan.arms
        self._lanes: list[_ArmLane] = []
        try:
            for arm in self._arms.arms:
                self._lanes.append(_ArmLane(run, split, arm, schema, slot))
        except Exception:
            self.close()
            raise

    def mixed(self, given: Given, champion_s: float) -> dict[str, pa.Array]:
        """The predictions of a batch, each row's by the model that its key belongs to.

        A row has the champion's prediction where its arm has none. What the champion has
        quarantined no arm gets.

        Args:
            given: with the columns of all arms.
            champion_s: the seconds that the champion took.

        Returns:
            The predictions by name, and the version of the model that made them.

        Raises:
            RetryableError: an arm has failed; the night is scored without them.
        """
        count = len(given.reasons)
        good = given.reasons.is_null().to_numpy(zero_copy_only=False)
        keys = [given.batch.column(name) for name in self._arms.key]
        hashes = share_hashes(keys, self._arms.salt)
        versions = np.full(count, self._run.plan.model.version, np.int32)
        outputs = dict(given.outputs)
        for lane in self._lanes:
            arm = lane.arm
            rows = np.flatnonzero(good & (hashes >= arm.first) & (hashes < arm.end))
            answer = lane.answer(given, rows, champion_s)
            lane.check()
            if answer is None:
                continue
            scored, there = answer
            which = np.arange(count)
            which[rows[there]] = count + np.flatnonzero(there)
            for name, values in outputs.items():
                outputs[name] = pa.concat_arrays([values, scored[name]]).take(pa.array(which))
            versions[rows[there]] = arm.model.version
        return {**outputs, MODEL_VERSION: pa.array(versions)}

    def results(self) -> dict[str, ArmResult]:
        """By name, what the arms have scored of the split.

        Raises:
            RetryableError: one has failed.
        """
        for lane in self._lanes:
            lane.end()
            lane.check()
        return {lane.arm.name: lane.counted() for lane in self._lanes}

    def close(self) -> None:
        """End the lanes; what has failed is dropped."""
        for lane in self._lanes:
            lane.close()


Answer = tuple[Mapping[str, pa.Array], NDArray[np.bool_]]
"""The predictions of an arm by name, and which of them count."""


class _ArmLane(Lane[bool]):
    """An arm's part of a split. Its result is that it has scored all that it was given."""

    def __init__(
        self, run: Run, split: Split, arm: Arm, schema: pa.Schema, slot: DeviceSlot
    ) -> None:
        self.arm = arm
        numbers = arm.encoding.numbers
        self._compared = numbers[0] if numbers else None
        center = run.plan.profile_centers.get(self._compared or "") or 0.0
        self._comparer = Comparer(None, 0, (center, center))
        self._answers: deque[Answer] = deque()
        self._failed: Counter[str] = Counter()
        self._rows = 0
        self._again: RetryableError | None = None
        work = partial(self._scored, run.of_arm(arm), schema, slot)
        super().__init__(arm.name, run, split, arm.budget, work)

    @property
    def reason(self) -> str:
        return f"{self.arm.name}: {self.why}"

    def failed(self, error: BaseException) -> None:
        if isinstance(error, RetryableError) and not isinstance(error, DeviceLost):
            self._again = error
        else:
            super().failed(error)

    def check(self) -> None:
        """Raises: RetryableError if the lane has failed; another attempt may not."""
        if self._again is not None:
            raise self._again
        if self.why:
            raise _without(self.run, self.reason)

    def answer(self, given: Given, rows: NDArray[np.intp], champion_s: float) -> Answer | None:
        """What the arm has for some rows of a batch; None if there are none, or it has failed."""
        if not len(rows):
            self.give(None, champion_s)
            return None
        positions = pa.array(rows)
        own = {name: values.take(positions) for name, values in given.outputs.items()}
        batch = given.batch.take(positions)
        self.give(Given(batch, given.reasons.take(positions), own), champion_s)
        return self._answers.popleft() if self._answers and not self.why else None

    def counted(self) -> ArmResult:
        """The result, once the lane has ended."""
        failed, compared = dict(sorted(self._failed.items())), self._comparer.result()
        if self._compared is None or compared is None:
            return ArmResult(self._rows, failed)
        return ArmResult(self._rows, failed, replace(compared, **vars(self.own)))

    def _scored(
        self, run: Run, schema: pa.Schema, slot: DeviceSlot, batches: Iterator[Given]
    ) -> bool:
        """Score what the lane is given, in its thread."""
        plan, model = run.plan, None
        encode = encoder(plan.encoding)
        model_casts = casts(plan.encoding, schema, plan.cast)
        for given in batches:
            model = model or load_model(run, slot)
            [(_, _, predictions)] = score_cast(
                [given.batch],
                model,
                plan.encoding,
                model_casts,
                micro_batch=plan.pinned.micro_batch,
                once=plan.costly,
                encode=encode,
            )
            outputs = predicted(predictions, plan.encoding)
            reasons = predictions.column(REASON)
            there = reasons.is_null().to_numpy(zero_copy_only=False)
            for name, values in outputs.items():  # the champion may have a null there
                lacks = pc.and_(values.is_null(), given.outputs[name].is_valid())
                lacking = lacks.to_numpy(zero_copy_only=False) & there
                if lacking.any():
                    self._failed[f"it has no {name}"] += int(lacking.sum())
                    there = there & ~lacking
            for entry in pc.value_counts(reasons.drop_null()).to_pylist():
                self._failed[entry["values"]] += entry["counts"]
            self._rows += int(there.sum())
            if self._compared is not None:
                self._comparer.update(given.outputs[self._compared], outputs[self._compared])
            self._answers.append((outputs, there))
        return True
