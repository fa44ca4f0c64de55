"""The shape of a table: the predictions that its nights have, as names, types and lengths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress

from nocturne.config import Loaded
from nocturne.encoding import OutputSpec
from nocturne.errors import ConfigError, NocturneError, StateError, choices
from nocturne.pipeline.nights import PublishedNights
from nocturne.pipeline.places import Places
from nocturne.records.manifest import Columns, Manifest
from nocturne.records.partition import Partition
from nocturne.store.partition_state import PartitionState
from nocturne.store.pipeline_state import PipelineState
from nocturne.store.record_files import find, write
from nocturne.store.run import Run

__all__ = ["check_shape", "note_shape"]


def check_shape(
    loaded: Loaded, partition: Partition, outputs: Sequence[OutputSpec], current: Manifest | None
) -> str:
    """Compare the predictions of a night that is planned, or published, with the table's.

    Args:
        current: what is in force of the night itself; with the same columns, nothing changes.

    Returns:
        What is different, in words; "" if nothing is, or no other night is published.

    Raises:
        ConfigError: they differ in another way than ``output.evolve`` allows.
    """
    evolve, ours = loaded.pipeline.output.evolve, _columns(outputs)
    nights = PublishedNights(loaded)
    own = current and _of(nights.state_of(partition), current)
    last = _last_night(nights, partition)
    if last is None or ours == own:
        return ""
    key, theirs = last
    known = _known(Places.of(loaded).state) | theirs
    if ours == theirs and evolve != "add":
        return ""
    added, missing = ours.keys() - theirs.keys(), theirs.keys() - ours.keys()
    other = [name for name in ours.keys() & known.keys() if ours[name] != known[name]]
    if evolve == "replace" or (evolve == "add" and not other and not (added and missing)):
        if not (added or missing or other):
            return ""
        what = f"more columns, {choices(added)}" if added else f"no {choices(missing)}"
        what = f"another {choices(other)}" if other else what
        return f"; it has {what} than the night of {key} (output.evolve: {evolve})"
    before = {name: known[name] for name in other} if theirs.keys() == ours.keys() else theirs
    raise ConfigError(
        f"the model predicts {_words(ours)}; the night of {key} in the same table has "
        f"{_words(theirs)}{_earlier(theirs, before)}. Nothing was changed. "
        f"{_ADVICE if evolve is None else _OTHERWISE}"
    )


def _earlier(theirs: Mapping[str, str], before: Mapping[str, str]) -> str:
    odd = {name: type_ for name, type_ in before.items() if theirs.get(name) != type_}
    return f", and nights before it had {_words(odd)}" if odd else ""


_ADVICE = (
    "If readers can take it, say output.evolve: add (columns may come, or be missing, and read as "
    "null) or replace (each night has the columns of its model); or publish into another "
    "output.path"
)
_OTHERWISE = (
    "output.evolve: add lets columns come, or be missing, not both at once and not with other "
    "types: say replace, or publish into another output.path"
)


def note_shape(run: Run) -> None:
    """Note the columns of a night that was published, with which later ones are compared."""
    if run.plan.lake_types:  # the table has them
        return
    state = PipelineState(run.state.root)
    known = _known(state)
    if (columns := known | _columns(run.plan.encoding.outputs)) != known:
        write(state.columns, Columns(columns))


def _known(state: PipelineState) -> dict[str, str]:
    """The columns that nights have had, with the type that each had last."""
    with suppress(StateError):  # damaged: the last night says most of it
        found = find(Columns, state.columns)
        return dict(found.types) if found else {}
    return {}


def _last_night(nights: PublishedNights, partition: Partition) -> tuple[str, dict[str, str]] | None:
    """The key of the last other night that can be read, and its predictions."""
    for other in reversed(nights.partitions()):
        if other == partition:
            continue
        with suppress(NocturneError):
            found = _of(nights.state_of(other), nights.manifest(other))
            if found is not None:
                return other.key, found
    return None


def _of(state: PartitionState, manifest: Manifest) -> dict[str, str] | None:
    with suppress(NocturneError):
        return _columns(Run.at(state, manifest.run_key).plan.encoding.outputs)
    return None


def _columns(outputs: Sequence[OutputSpec]) -> dict[str, str]:
    return {output.name: output.words for output in outputs}


def _words(columns: Mapping[str, str]) -> str:
    return ", ".join(f"{name}: {type_}" for name, type_ in columns.items())
