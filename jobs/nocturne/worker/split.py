"""The worker: scores one split, from its row groups to a result file.

Spark, MLflow and Great Expectations are not imported. Scoring a split twice is harmless: each
attempt writes files of its own, and the result file, which is created exclusively, says which
attempt counts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nocturne.columns.normal import with_types
from nocturne.errors import InputChanged
from nocturne.records.challengers import Opponent
from nocturne.records.plan import Split
from nocturne.records.result import SplitResult
from nocturne.source.calendar import checked
from nocturne.source.path_columns import of_plan
from nocturne.source.reading import check_unchanged, file_schema, open_parquet, read_batches
from nocturne.store.failpoints import reach
from nocturne.store.record_files import find, read, write
from nocturne.store.run import Run
from nocturne.worker.arms import check_arms
from nocturne.worker.beside import Lanes, Quarantined
from nocturne.worker.scoring import score_batches
from nocturne.worker.slots import OF_RUN, DeviceSlot

__all__ = ["run_split"]


def run_split(
    run: Run,
    split: Split,
    slot: DeviceSlot = OF_RUN,
    *,
    challengers: Sequence[tuple[Opponent, Run]] = (),
    quarantined: Mapping[int, str] | None = None,
) -> SplitResult:
    """Score a split, unless it has a result already.

    Args:
        challengers: those that score it in the same pass (``nocturne.worker.lanes``).
        quarantined: of a challenger that is scored alone, the rows (by their number in the file)
            that the champion quarantined, with the reasons.

    Raises:
        InputChanged: the file has changed since it was planned (retryable: plan again).
        InputError: the file can't be decoded, or has days by another calendar.
        ModelError: the model can't be loaded, or fails on every row.
        DeviceLost: the GPU failed (retryable, in a new process).
        RetryableError: a model that scores a share of the keys has failed, here or elsewhere.
    """
    decided = run.result_file(split)
    if (earlier := find(SplitResult, decided)) is not None:
        return earlier
    planned = next(f for f in run.plan.files if f.path == split.file)
    path, in_lake = run.plan.input_file(planned.path), bool(run.plan.input_version)
    check_unchanged(path, planned, in_lake=in_lake)
    check_arms(run)
    lanes = Lanes(run, split, challengers)
    path_columns, types = of_plan(run.plan, [split.file]), lanes.types
    source = open_parquet(path, checksums=run.plan.checksums, words=lanes.words)
    schema = with_types(file_schema(source, path_columns), types)
    columns, rows = lanes.columns(schema.names), run.plan.pinned.batch_rows
    read_all = read_batches(source, path, split.row_groups, columns, rows, types, path_columns)
    batches = checked(read_all, source, path)
    beside = None if quarantined is None else Quarantined(split, quarantined)
    with lanes.started(split, schema, slot):
        result = score_batches(
            run,
            split,
            lanes.champions(batches),
            schema,
            slot,
            give=lanes.give,
            beside=beside,
            encode=lanes.encode,
        )
        check_unchanged(path, planned, in_lake=in_lake)
        if result.rows_in != split.rows:
            raise InputChanged(
                f"{split.file}: planned {split.rows} rows, read {result.rows_in}; the file changed "
                "meanwhile. Run the partition again"
            )
        result = lanes.finish(result)
    reach("split.staged")
    first = write(decided, result, exclusive=True)
    reach("split.decided")
    return result if first else read(SplitResult, decided)
