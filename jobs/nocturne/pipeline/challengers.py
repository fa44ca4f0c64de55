"""Challengers: other models that score a champion's night in the same pass.

Each has a run of its own in a state of its own (``nocturne.config.challengers``), so that its
scores keep every promise that the champion's keep. Whatever happens to one of them, it costs the
challenger its night, and never the champion.
"""

from __future__ import annotations

import logging
import traceback
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from nocturne import config
from nocturne.config import Loaded, champion_of
from nocturne.encoding import Encoding
from nocturne.errors import ConfigError, ModelError, NocturneError, choices
from nocturne.hiding import encodable
from nocturne.model.registry import require_loadable
from nocturne.pipeline.nights import PublishedNights
from nocturne.pipeline.places import Places
from nocturne.pipeline.runs import require_model
from nocturne.profile.comparing import figures, merged
from nocturne.records.challengers import Challenged, Opponent, Shown
from nocturne.records.comparison import FIGURES, Comparison
from nocturne.records.manifest import Manifest
from nocturne.records.partition import Partition
from nocturne.source.protocol import Seen
from nocturne.store.files import forget, place
from nocturne.store.record_files import write
from nocturne.store.run import Run
from nocturne.worker.tasks import challengers_of

if TYPE_CHECKING:
    from nocturne.pipeline.scoring import Executor

__all__ = [
    "challenge",
    "champion_in_force",
    "drop_running",
    "drop_unfit",
    "fitted_beside",
    "only_its_casts",
    "publish_challengers",
    "share_quarantine",
    "shown",
]

log = logging.getLogger(__name__)


def challenge(
    loaded: Loaded, champion: Run, *, force: bool = False, by: Executor | None = None
) -> list[str]:
    """Prepare the challengers of a run that is about to be scored.

    Returns:
        What became of each, in words.
    """
    found, left_out, said = list[Opponent](), dict[str, str](), list[str]()
    for challenger in loaded.pipeline.challengers:
        name = challenger.called
        try:
            run, message = _prepared(loaded.challenger(challenger), champion, force, by)
        except Exception as error:
            left_out[name] = why = encodable(_in_words(error))
            said.append(f"challenger {name} is left out: {why}")
            continue
        if run is not None:
            settings = challenger.budget, challenger.threshold, challenger.top
            found.append(Opponent(name, run.uri, *settings))
        said.append(f"challenger {message}")
    if champion.plan.challenged:
        write(champion.challengers_file, Challenged(tuple(found), left_out))
    return said


def _prepared(
    loaded: Loaded, champion: Run, force: bool, by: Executor | None
) -> tuple[Run | None, str]:
    from nocturne.pipeline.prepare import prepare

    partition = champion.plan.partition
    with suppress(Exception):  # so that the input is not hashed again
        own = Places.of(loaded).state.partition(partition).fingerprints()
        place(champion.state.fingerprints(), own, link=False)
    prepared = prepare(loaded, partition, force=force, by=by, champion=champion)
    run = prepared.run if prepared.action == "score" else None
    if run is None:
        return None, prepared.message
    if force:
        forget(run.dropped_file)
        for begun in run.begun_files():
            forget(begun)
    if run.plan.model.backend == "pyfunc" and run.plan.pinned.threads > 1:
        raise ConfigError(
            "a model that is no torch graph takes turns with the champion's code, which needs "
            f"scoring.threads: 1 (it is {run.plan.pinned.threads})"
        )
    _suspect(run)
    if (dropped := run.dropped()) is not None:
        raise ConfigError(f"it was dropped: {dropped.why}. --force tries it again")
    return run, prepared.message


def champion_in_force(loaded: Loaded, partition: Partition) -> tuple[Run, Manifest] | None:
    """The published run that a challenger is scored beside when it is scored alone; None if the
    pipeline is no challenger.

    Raises:
        StateError: the champion's night is not published.
    """
    name = loaded.pipeline.name
    if (champion := champion_of(name)) == name:
        return None
    nights = PublishedNights(config.load(champion, root=loaded.home))
    manifest = nights.manifest(partition)
    return Run.at(nights.state_of(partition), manifest.run_key), manifest


def share_quarantine(champion: Run, manifest: Manifest, run: Run) -> None:
    """Give a challenger that is scored alone the rows that the published champion quarantined."""
    own = {split.key: run.plan.splits[split.index] for split in champion.plan.splits}
    for file in manifest.quarantine:
        rows = champion.state.quarantine_file(manifest.run_key, file.path)
        place(rows, run.quarantined_file(own[file.split]))


def only_its_casts(loaded: Loaded, encoding: Encoding) -> Loaded:
    """The pipeline without ``input.cast`` of columns that the challenger does not read."""
    given = loaded.pipeline.input
    kept = {column: how for column, how in given.cast.items() if column in encoding.columns}
    changed = {"input": given.model_copy(update={"cast": kept})}
    return Loaded(loaded.pipeline.model_copy(update=changed), loaded.origins, loaded.home)


def fitted_beside(champion: Run, seen: Seen, encoding: Encoding) -> Encoding:
    """The challenger's encoding beside a champion's run: a row that it can't score is null there.

    Raises:
        ConfigError: the input is not the one that the champion's run was planned with.
    """
    files = {file.path: file.fingerprint for file in champion.plan.files}
    splits = [(split.file, split.row_groups) for split in champion.plan.splits]
    pieces = [(piece.file.path, piece.row_groups) for piece in seen.pieces]
    if pieces != splits or files != {file.path: file.fingerprint for file in seen.files}:
        raise ConfigError(
            "the input is not the one that the champion scored: score the champion's partition "
            "again first"
        )
    if others := {*seen.path_keys} - {*champion.plan.path_keys}:
        raise ConfigError(
            f"it reads {choices(others)} from the files' paths, which the champion does not; such "
            "a model needs a pipeline of its own"
        )
    outputs = tuple(replace(output, nullable=True) for output in encoding.outputs)
    return replace(encoding, outputs=outputs)


def drop_unfit(champions: Sequence[Run]) -> None:
    """Drop the challengers that can't be loaded, or that were being scored when a process died; no
    process may score the runs now.
    """
    loadable = cache(require_loadable)  # a range has one model an arm
    for _, run in _all_of(champions):
        try:
            _suspect(run)
            require_model(run, loadable)
        except Exception as error:
            _drop(run, _in_words(error))


def drop_running(champions: Sequence[Run], *, begun: bool = False) -> bool:
    """Drop the challengers beside runs that could not be scored: one of them may be the cause.

    Args:
        begun: only those that were being scored when a process died; it may be that none has begun.

    Returns:
        Whether the runs should be scored once more, without them.
    """
    had_some = False
    for _, run in _all_of(champions):
        with suppress(Exception):
            if run.unscored() and (run.begun_files() or not begun):
                had_some = True
                _suspect(run)
                _drop(run, "the champion could not be scored beside it, and it may be the cause")
    return had_some


def _all_of(champions: Sequence[Run]) -> list[tuple[Opponent, Run]]:
    return [pair for champion in champions for pair in challengers_of(champion)]


def _drop(run: Run, why: str) -> None:
    try:
        run.drop_challenger(why)
    except Exception as error:
        log.warning("%s can't be dropped: %s", run.plan.pipeline, _in_words(error))


def _suspect(run: Run) -> None:
    """Drop a challenger that was being scored when a process died."""
    if run.begun_files() and run.dropped() is None:
        run.drop_challenger(
            "a process ended while it scored this challenger, which may be the cause: its memory "
            "ran out, or the model crashed"
        )


def publish_challengers(champion: Run) -> None:
    """Judge and publish the challengers of a run that was published, unless they are."""
    for opponent, run in challengers_of(champion):
        try:
            log.info("challenger %s: %s", opponent.name, _published(run))
        except Exception as error:
            log.warning("challenger %s is not published: %s", opponent.name, _in_words(error))


def shown(champion: Run) -> list[Shown]:
    """The challengers for the report of a scored champion; none if they can't be read."""
    try:
        left_out = champion.challenged().left_out
        known = [_shown(opponent.name, run) for opponent, run in challengers_of(champion)]
    except Exception as error:
        log.warning("the report has no challengers: %s", _in_words(error))
        return []
    return [*known, *(Shown(name, None, f"left out: {why}") for name, why in left_out.items())]


def _shown(name: str, run: Run) -> Shown:
    version = run.plan.model.version
    if (dropped := run.dropped()) is not None:
        return Shown(name, version, f"dropped: {dropped.why}")
    if not run.is_scored:
        return Shown(name, version, "not all of it is scored")
    found = _comparison(run)
    if found is None:
        return Shown(name, version, "some of it was scored alone, or it has no number to compare")
    parts = {"all rows": figures(found)}
    parts |= {segment: figures(part) for segment, part in found.segments.items()}
    lines = [(words, tuple(p.get(key) for p in parts.values())) for key, words in FIGURES.items()]
    farthest = [(" ".join(p.keys), p.champion, p.challenger) for p in found.farthest]
    told = tuple(line for line in lines if any(line[1]))
    return Shown(name, version, "", tuple(parts), told, tuple(farthest))


def _published(run: Run) -> str:
    from nocturne.pipeline.publishing import publish_run
    from nocturne.pipeline.recording import judge_run

    if (dropped := run.dropped()) is not None:
        run.tidy()
        with suppress(NocturneError), run.step("score"):
            raise ConfigError(f"dropped: {dropped.why}")
        return f"dropped: {dropped.why}"
    if run.is_scored:
        _require_scores(run)
        if (found := _comparison(run)) is not None:
            write(run.comparison_file, found)
    judge_run(run)
    manifest = publish_run(run)
    return f"published {manifest.rows_published} rows as manifest {manifest.id}"


def _comparison(run: Run) -> Comparison | None:
    """That of a scored run; None if some of it was scored alone: a part does not speak for it."""
    parts = [result.comparison for result in run.results()]
    there = [part for part in parts if part is not None]
    return merged(there) if len(there) == len(parts) else None


def _require_scores(run: Run) -> None:
    """Raises: ModelError if it has no score at all: its night is dropped."""
    reasons, rows = Counter[str](), 0
    for result in run.results():
        reasons.update(result.unscored)
        rows += result.rows_out
    if rows and reasons.total() == rows:
        [(first, _)] = reasons.most_common(1)
        run.drop_challenger(why := f"it has a score for none of {rows} rows: {first}")
        raise ModelError(why)


def _in_words(error: Exception) -> str:
    if not isinstance(error, (NocturneError, OSError)):
        traceback.print_exception(error)
    return str(error) if isinstance(error, NocturneError) else f"{type(error).__name__}: {error}"
