"""What other models share with the champion: rows, tensors, quarantine, and a comparison."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from nocturne.columns.normal import plain, unpacked
from nocturne.encoding import Encoding
from nocturne.engine import EncodedOnce, encoder
from nocturne.objects import Location
from nocturne.objects.reading import native
from nocturne.profile import Comparer
from nocturne.records.challengers import Opponent
from nocturne.records.comparison import Comparison
from nocturne.records.plan import RunPlan, Split
from nocturne.records.result import SplitResult
from nocturne.store.run import Run
from nocturne.worker.arms import ArmsBeside
from nocturne.worker.lanes import ChallengerLane, Given
from nocturne.worker.scoring import score_batches
from nocturne.worker.slots import DeviceSlot

__all__ = ["Lanes", "Quarantined", "quarantined_rows"]

Opponents = Sequence[tuple[Opponent, Run]]


class Lanes:
    """The lanes beside a champion's split: of its arms, and of the challengers that have not scored
    it and are not dropped.
    """

    def __init__(self, run: Run, split: Split, given: Opponents) -> None:
        challengers, champion = [pair for pair in given if _is_open(pair[1], split)], run.plan
        self._run, self._champion, self._challengers = run, champion, challengers
        plans = [challenger.plan for _, challenger in challengers]
        shared = any(plan.encoding.inputs == champion.encoding.inputs for plan in plans)
        self.encode = EncodedOnce(champion.encoding) if shared else None
        self.running: list[ChallengerLane] = []
        self.arms: ArmsBeside | None = None
        self._own = champion.reads(champion.encoding.columns)
        self._reads = {r.uri: r.plan.reads(r.plan.encoding.columns) for _, r in challengers}
        self._wide = {uri for uri, names in self._reads.items() if {*names} - {*self._own}}
        self._of_arms = [name for arm in champion.each_arm for name in arm.encoding.columns]
        self._plans = [*plans, *map(champion.of_arm, champion.each_arm)]
        self._whole: deque[pa.RecordBatch] = deque()
        self._narrow: list[str] | None = None

    def columns(self, names: Sequence[str]) -> list[str]:
        """The columns to read: of those of the file, what any of the arms reads."""
        if self._wide or {*self._of_arms} - {*self._own}:
            self._narrow = [name for name in self._own if name in names]
        all_of = dict.fromkeys(chain(self._own, self._of_arms, *self._reads.values()))
        return [name for name in all_of if name in names]

    @property
    def words(self) -> frozenset[str]:
        """Columns that are read as dictionaries: see ``open_parquet``."""
        plans = [self._champion, *self._plans]
        found = frozenset().union(*(plan.encoding.large_vocabularies for plan in plans))
        # A published column is written as it was read, and its bytes know of no challenger.
        return found.difference(*((*plan.keys, *plan.passthrough) for plan in plans))

    @property
    def types(self) -> pa.Schema:
        """The types of columns that have none in some files: see ``RunPlan.types``."""
        fields = [f for p in (self._champion, *self._plans) for f in unpacked(p.types)]
        return pa.schema({field.name: field for field in reversed(fields)}.values())

    @contextmanager
    def started(self, split: Split, schema: pa.Schema, slot: DeviceSlot) -> Iterator[None]:
        """Start the lanes.

        Args:
            schema: the schema of the source.
        """
        try:
            if self._champion.arms is not None:
                self.arms = ArmsBeside(self._run, split, schema, slot)
            for opponent, run in self._challengers:
                with suppress(Exception):
                    own = run.plan.splits[split.index]
                    work = partial(_scored, run, own, schema, slot, self._champion, opponent, self)
                    self.running.append(ChallengerLane(opponent, run, own, work))
            yield
        finally:
            if self.arms is not None:
                self.arms.close()
            for lane in self.running:
                lane.close()

    def champions(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The batches with the champion's columns; the whole ones are kept for the challengers."""
        if self._narrow is None:
            yield from batches
            return
        for batch in batches:
            self._whole.append(batch)
            yield batch.select(self._narrow)

    def give(self, given: Given, champion_s: float) -> Mapping[str, pa.Array]:
        """Have a batch scored by all, once the champion has: see ``Lane.give``.

        Returns:
            The predictions to publish, by name: the champion's, or those of its arms with the
            version of each row's model.

        Raises:
            RetryableError: an arm has failed; the night is scored without them.
        """
        whole = replace(given, batch=self._whole.popleft()) if self._narrow is not None else given
        for lane in self.running:
            lane.give(whole if lane.run.uri in self._wide else given, champion_s)
        return given.outputs if self.arms is None else self.arms.mixed(whole, champion_s)

    def finish(self, champion: SplitResult) -> SplitResult:
        """Have the results written: where the champion is done, they are too.

        Returns:
            The champion's, with what its arms have scored.

        Raises:
            RetryableError: as ``give``.
        """
        if self.arms is not None:
            champion = replace(champion, arms=self.arms.results())
        for lane in self.running:
            lane.finish(champion)
        return champion


def _scored(
    run: Run,
    split: Split,
    schema: pa.Schema,
    slot: DeviceSlot,
    champion: RunPlan,
    opponent: Opponent,
    lanes: Lanes,
    given: Iterator[Given],
) -> SplitResult:
    """Score what a lane is given."""
    first = next(given, None)  # so that the model is loaded in the lane's own turn
    given = chain([] if first is None else [first], given)
    plan, shared = run.plan, lanes.encode
    own = encoder(plan.encoding)
    same = plan.encoding.inputs == champion.encoding.inputs

    def encode(batch: pa.RecordBatch) -> list[Any]:
        made = shared.kept(batch) if same and shared is not None else None
        return made if made is not None else own(batch)

    counted = {
        name: center
        for name, center in plan.profile_centers.items()
        if name in plan.encoding.output_names or champion.profile_centers.get(name, _NO) != center
    }
    beside = _InPass(plan, champion, opponent)
    return score_batches(
        run.changed(profile_centers=counted),
        split,
        beside.batches(given),
        schema,
        slot,
        beside=beside,
        encode=encode,
    )


_NO = object()


class _InPass:
    """A challenger in the pass of its champion, whose scores it is compared with."""

    def __init__(self, plan: RunPlan, champion: RunPlan, opponent: Opponent) -> None:
        self._given: deque[Given] = deque()
        self._plan, self._champion = plan, champion
        self._pair = _comparable(champion.encoding, plan.encoding)
        self._comparers: dict[str, Comparer] = {}
        self._opponent = opponent

    def batches(self, given: Iterator[Given]) -> Iterator[pa.RecordBatch]:
        for one in given:
            self._given.append(one)
            yield one.batch

    def reasons(self, batch: pa.RecordBatch) -> pa.Array:
        return self._given[0].reasons

    def scored(self, batch: pa.RecordBatch, outputs: Mapping[str, pa.Array]) -> None:
        given = self._given.popleft()
        if self._pair is None:
            return
        first, second = self._pair
        published = given.reasons.is_null()
        whole = not given.reasons.null_count < len(given.reasons)
        champion, challenger = given.outputs[first], outputs[second]
        hidden = self._plan.sensitive.intersection(self._plan.keys)  # the others name no row
        keys = [] if hidden else [plain(batch.column(k)) for k in self._plan.keys]
        if not whole:
            champion, challenger, *keys = (
                column.filter(published) for column in (champion, challenger, *keys)
            )
        self._of("").update(champion, challenger, keys)
        for name, values in self._champion.segments.items():
            if name not in given.batch.schema.names:
                continue
            words = plain(given.batch.column(name)).cast(pa.string())
            words = words if whole else words.filter(published)
            for value in values:
                there = pc.equal(words, value).fill_null(False)
                self._of(f"{name}={value}").update(champion.filter(there), challenger.filter(there))

    def _of(self, segment: str) -> Comparer:
        if segment not in self._comparers:
            assert self._pair is not None
            plans = zip((self._champion, self._plan), self._pair, strict=True)
            centers = [float(plan.profile_centers.get(name) or 0.0) for plan, name in plans]
            opponent = self._opponent
            self._comparers[segment] = Comparer(
                opponent.threshold, 0 if segment else opponent.top, (centers[0], centers[1])
            )
        return self._comparers[segment]

    def comparison(self) -> Comparison | None:
        counted = ((name, comparer.result()) for name, comparer in self._comparers.items())
        parts = {name: found for name, found in counted if found is not None}
        whole = parts.pop("", None)
        return None if whole is None else whole.named(self._plan.partition.key, parts)


def _is_open(run: Run, split: Split) -> bool:
    """Whether a challenger is to score the split; not if its state can't be read."""
    with suppress(Exception):
        return not run.result_file(run.plan.splits[split.index]).is_file() and not run.dropped()
    return False


def _comparable(champion: Encoding, challenger: Encoding) -> tuple[str, str] | None:
    """The two outputs that are compared: numbers of the same name, or the first one of both."""
    first, second = (encoding.numbers for encoding in (champion, challenger))
    if not first or not second:
        return None
    shared = next((name for name in first if name in second), None)
    return (shared, shared) if shared else (first[0], second[0])


class Quarantined:
    """A challenger that is scored alone, beside a night that is published.

    Args:
        rows: the rows that the champion quarantined, by number in the file, with the reasons.
    """

    def __init__(self, split: Split, rows: Mapping[int, str]) -> None:
        self._next, self._rows = split.first_row, rows

    def reasons(self, batch: pa.RecordBatch) -> pa.Array:
        numbers = range(self._next, self._next + batch.num_rows)
        self._next += batch.num_rows
        return pa.array([self._rows.get(number) for number in numbers], pa.string())

    def scored(self, batch: pa.RecordBatch, outputs: Mapping[str, pa.Array]) -> None:
        """There is nothing to compare with."""

    def comparison(self) -> None:
        return None


def quarantined_rows(file: Location) -> dict[int, str]:
    """The numbers of the rows in a file of quarantined rows, with the reasons; none without it."""
    if not file.is_file():
        return {}
    rows = pq.read_table(native(file), columns=["source_row", "reason"])
    return dict(zip(*(column.to_pylist() for column in rows.columns), strict=True))
