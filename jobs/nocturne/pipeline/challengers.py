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
from nocturne.errors import ConfigError, ModelError, NocturneError, RetryableError, choices
from nocturne.hiding import encodable
from nocturne.model.registry import require_loadable
from nocturne.pipeline.nights import PublishedNights
from nocturne.pipeline.places import Places
from nocturne.pipeline.runs import in_effect, require_arms, require_model, settings_of
from nocturne.profile.comparing import figures, merged
from nocturne.records.challengers import Challenged, Opponent, Shown
from nocturne.records.comparison import FIGURES, Comparison
from nocturne.records.manifest import Manifest
from nocturne.records.partition import Partition
from nocturne.records.plan import InputFile, ModelRef, Pinned
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
    "compared_for_report",
    "drop_running",
    "drop_unfit",
    "drop_unfit_arms",
    "fitted_beside",
    "in_words",
    "only_its_casts",
    "publish_challengers",
    "require_same_input",
    "require_turns",
    "share_quarantine",
    "shown",
    "try_again",
    "without_arms",
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
            left_out[name] = why = encodable(in_words(error))
            said.append(f"challenger {name} is left out: {why}")
            continue
        if run is not None:
            settings = challenger.budget, challenger.threshold, challenger.top
            found.append(Opponent(name, run.uri, *settings))
        said.append(f"challenger {message}")
    if champion.plan.challenged:
        challenged = Challenged(tuple(found), left_out)
        write(champion.challengers_file, challenged)
        if champion.plan.arms is not None:  # they are scored beside the run without them, too
            without = champion.state.run(champion.plan.arms.without)
            write(without.challengers_file, challenged)
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
        try_again(run)
    require_turns(run.plan.model, run.plan.pinned)
    _suspect(run)
    if (dropped := run.dropped()) is not None:
        raise ConfigError(f"it was dropped: {dropped.why}. --force tries it again")
    return run, prepared.message


def require_turns(model: ModelRef, pinned: Pinned) -> None:
    """Raises: ConfigError if the code of a model could run at the same time as the champion's."""
    if model.backend == "pyfunc" and (pinned.threads > 1 or pinned.device != "cpu"):
        raise ConfigError(
            f"{model.name} version {model.version} is no torch graph, and takes turns with the "
            "champion's code, which needs scoring.threads: 1 and scoring.device: cpu (they are "
            f"{pinned.threads} and {pinned.device})"
        )


def try_again(run: Run) -> None:
    """Forget that a challenger, or a run with its arms, was dropped."""
    forget(run.dropped_file)
    for begun in run.begun_files():
        forget(begun)


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
    plan = champion.plan
    splits = [(split.file, split.row_groups) for split in plan.splits]
    _require_same_input(plan.files, splits, plan.path_keys, seen)
    outputs = tuple(replace(output, nullable=True) for output in encoding.outputs)
    return replace(encoding, outputs=outputs)


def require_same_input(champion: Seen, seen: Seen) -> None:
    """Raises: ConfigError if another model does not see the input that the champion sees."""
    splits = [(piece.file.path, piece.row_groups) for piece in champion.pieces]
    _require_same_input(champion.files, splits, champion.path_keys, seen)


def _require_same_input(
    files: Sequence[InputFile],
    splits: Sequence[tuple[str, tuple[int, ...]]],
    path_keys: Sequence[str],
    seen: Seen,
) -> None:
    known = {file.path: file.fingerprint for file in files}
    pieces = [(piece.file.path, piece.row_groups) for piece in seen.pieces]
    if pieces != [*splits] or known != {file.path: file.fingerprint for file in seen.files}:
        raise ConfigError(
            "the input is not the one that the champion scored: score the champion's partition "
            "again first"
        )
    if others := {*seen.path_keys} - {*path_keys}:
        raise ConfigError(
            f"it reads {choices(others)} from the files' paths, which the champion does not; such "
            "a model needs a pipeline of its own"
        )


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
            _drop(run, in_words(error))


def without_arms(runs: Sequence[Run], *, died: bool = False) -> dict[str, Run]:
    """Run directory -> the run that takes its place, where arms have failed.

    Args:
        died: a process has died, or the runs can't be scored: all arms are dropped.
    """
    found = {}
    for run in runs:
        if run.plan.arms is None or run.is_scored:
            continue
        with suppress(Exception):  # it fails as it did
            _suspect(run)
            if died:
                run.drop_challenger(_MAY_BE_THE_CAUSE, died=True)
            if (instead := in_effect(run)) != run:
                log.warning("%s is scored without %s", run.plan.partition.key, run.plan.arms.name)
                found[run.uri] = instead
    return found


def drop_unfit_arms(runs: Sequence[Run]) -> None:
    """Drop the arms that can't be loaded; no process may score the runs now."""
    loadable = cache(require_loadable)
    for run in runs:
        if run.plan.arms is None or run.is_scored:
            continue
        try:
            require_arms(run, settings_of(run), loadable)
        except RetryableError:
            continue  # it may be there in a moment, as the champion's model
        except Exception as error:
            _drop(run, in_words(error))


_MAY_BE_THE_CAUSE = "the champion could not be scored beside it, and it may be the cause"


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
                _drop(run, _MAY_BE_THE_CAUSE)
    return had_some


def _all_of(champions: Sequence[Run]) -> list[tuple[Opponent, Run]]:
    return [pair for champion in champions for pair in challengers_of(champion)]


def _drop(run: Run, why: str) -> None:
    try:
        run.drop_challenger(why)
    except Exception as error:
        log.warning("%s can't be dropped: %s", run.plan.pipeline, in_words(error))


def _suspect(run: Run) -> None:
    """Drop a challenger, or arms, that were being scored when a process died."""
    if run.begun_files() and run.dropped() is None:
        run.drop_challenger(
            f"a process ended while it scored {'them' if run.plan.arms else 'this challenger'}, "
            "which may be the cause: its memory ran out, or the model crashed",
            died=True,
        )


def publish_challengers(champion: Run) -> None:
    """Judge and publish the challengers of a run that was published, unless they are."""
    for opponent, run in challengers_of(champion):
        try:
            log.info("challenger %s: %s", opponent.name, _published(run))
        except Exception as error:
            log.warning("challenger %s is not published: %s", opponent.name, in_words(error))


def shown(champion: Run) -> list[Shown]:
    """The challengers for the report of a scored champion; none if they can't be read."""
    try:
        left_out = champion.challenged().left_out
        known = [_shown(opponent.name, run) for opponent, run in challengers_of(champion)]
    except Exception as error:
        log.warning("the report has no challengers: %s", in_words(error))
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
    return compared_for_report(name, version, found)


def compared_for_report(name: str, version: int | None, found: Comparison) -> Shown:
    """A comparison for a report."""
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


def in_words(error: Exception) -> str:
    """The text of an error; of one that is not ours, its traceback is printed too."""
    if not isinstance(error, (NocturneError, OSError)):
        traceback.print_exception(error)
    return str(error) if isinstance(error, NocturneError) else f"{type(error).__name__}: {error}"
