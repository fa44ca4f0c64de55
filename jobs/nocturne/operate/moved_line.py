"""Whether a night may be moved to where another one is in force: the new place's line decides.

A line is the manifests that were in force, one after the other. A move continues the line of the
new place only if that is a part of the old place's. What somebody has scored there, rolled back or
adopted is then never replaced, and what they have left never comes back.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from nocturne import table
from nocturne.errors import RetryableError, StateError
from nocturne.records.findings import Verdict
from nocturne.records.manifest import Judgement, Manifest
from nocturne.records.status import RunStatus
from nocturne.store.record_files import read
from nocturne.table_formats.protocol import TablePartition

__all__ = ["is_same_night", "require_part", "require_undecided"]


def is_same_night(
    source: TablePartition, manifest: Manifest, output: TablePartition, there: Manifest
) -> bool:
    """Whether what is in force in both places is one night: moved before, or made there alike.

    Raises:
        StateError: it was scored there with other results.
    """
    if there.pipeline != manifest.pipeline or there.run_key != manifest.run_key:
        return False
    if _is_copy(there, manifest):
        return True
    is_same = there.content == manifest.content
    if not is_same and not (there.adopted == manifest.adopted == "rows"):
        return False
    before = [source.file(file.path) for file in manifest.outputs]
    after = [output.file(file.path) for file in there.outputs]
    why = table.other_rows(output, before, after) if before and after else "are others"
    if why and is_same:
        raise StateError(
            "another program has changed it in one of the places, or it was scored there with "
            f"other results: its rows there {why}. Score it in the new place"
        )
    return not why


def _is_copy(there: Manifest, manifest: Manifest) -> bool:
    """Whether nothing but the place tells them apart, so that no row has to be compared."""
    bytes_of = (sorted((f.sha256, f.rows) for f in m.outputs) for m in (there, manifest))
    if len({*map(tuple, bytes_of)}) == 1:
        return True
    of_place = ("id", "number", "outputs", "run", "judgement", "replaces", "content_key")
    one, other = (
        {k: v for k, v in vars(m).items() if k not in of_place} for m in (there, manifest)
    )
    return one == other and there.content == manifest.content and manifest.adopted != "files"


def require_part(
    output: TablePartition,
    line_there: Sequence[Manifest],
    line: Sequence[Manifest],
    broken: StateError | None,
) -> None:
    """Return if the new place's line is a part of the old one's, which a move continues.

    Versions that the old place does not know may have come and gone there.

    Args:
        line_there, line: the manifests, the last first.
        broken: why no more of the old line can be read.

    Raises:
        StateError: it is not.
    """
    there, manifest = line_there[0], line[0]
    known = [m.content for m in reversed(line)]
    is_known = there.pipeline == manifest.pipeline and there.content in known
    rest = iter(known)
    seen = (content for content, _ in groupby(m.content for m in reversed(line_there)))
    if is_known and all(content in rest for content in seen if content in known):
        return
    if broken is not None:
        raise broken
    if is_known:
        raise StateError(
            f"{output.location} has manifest {there.id}, which somebody put in force there again, "
            "by a rollback or by scoring it. Nothing was changed. Roll back or score it there"
        )
    if there.adopted == "rows" and there.run_key == manifest.run_key:
        raise StateError(
            f"another program has changed it in one of the places: manifest {there.id} of "
            f"{output.location} has other rows than were ever in force in the old place. Score it "
            "in the new place"
        )
    raise StateError(
        f"{output.location} has manifest {there.id} of the pipeline {there.pipeline}, which was "
        f"never in force where {manifest.id} comes from. Nothing was changed. Choose another "
        "place, or score it there"
    )


def require_undecided(
    source: TablePartition, output: TablePartition, there: Manifest | None, manifest: Manifest
) -> RunStatus | None:
    """The status of a run that failed in the new place, of which nothing is left to decide.

    Raises:
        StateError, RetryableError: somebody has begun with the partition there.
    """
    status = output.state.status(there.run_key if there else None)
    if status is not None and status.state == "running":
        raise RetryableError("it is being scored there; move it when that has ended")
    if status is not None and status.state in ("held", "rejected"):
        raise StateError(
            f"it is {status.state} there ({status.message}). Decide on it there: `nocturne score`, "
            "`approve` or `reject` with the new output"
        )
    # What was decided stays so, whatever the status says: a later run may have failed.
    run = output.state.run(manifest.run_key)
    rejection = run.rejection()
    if rejection is not None and rejection != source.state.run(manifest.run_key).rejection():
        raise StateError(
            f"it was rejected there by {rejection.by} at {rejection.at}"
            f"{': ' + rejection.why if rejection.why else ''}. Score it there to judge it anew"
        )
    if run.is_judged:
        judgement = read(Judgement, run.judgement_file)
        if judgement.findings != source.state.judgement(manifest).findings:
            raise StateError("it was judged otherwise there, and not published; score it there")
        is_whole = run.plan_file.is_file()  # else a move was killed before it had copied all
        if judgement.verdict == Verdict.HOLD and is_whole and run.approval() is None:
            raise StateError("it was held there, and nobody has approved it; score it there")
    return status
