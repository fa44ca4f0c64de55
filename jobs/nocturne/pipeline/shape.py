"""The shape of a table: the predictions that its nights have, as names, types and lengths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from nocturne.config import Loaded
from nocturne.encoding import OutputSpec
from nocturne.errors import ConfigError, NocturneError, choices
from nocturne.pipeline.nights import PublishedNights
from nocturne.records.partition import Partition
from nocturne.store.run import Run

__all__ = ["check_shape"]


def check_shape(loaded: Loaded, partition: Partition, outputs: Sequence[OutputSpec]) -> str:
    """Compare the predictions of a night that is planned with those of the table's last night.

    Returns:
        What is different, in words; "" if nothing is, or no other night is published.

    Raises:
        ConfigError: they differ in another way than ``output.evolve`` allows.
    """
    last = _last_night(loaded, partition)
    if last is None:
        return ""
    key, before = last
    ours, theirs = _columns(outputs), _columns(before)
    if ours == theirs:
        return ""
    added, missing = ours.keys() - theirs.keys(), theirs.keys() - ours.keys()
    other = [name for name in ours.keys() & theirs.keys() if ours[name] != theirs[name]]
    evolve = loaded.pipeline.output.evolve
    if evolve == "replace" or (evolve == "add" and not other and not (added and missing)):
        what = f"more columns, {choices(added)}" if added else f"no {choices(missing)}"
        what = f"another {choices(other)}" if other else what
        return f"; it has {what} than the night of {key} (output.evolve: {evolve})"
    raise ConfigError(
        f"the model predicts {_words(ours)}; the night of {key} in the same table has "
        f"{_words(theirs)}. Nothing was scored. {_ADVICE if evolve is None else _OTHERWISE}"
    )


_ADVICE = (
    "If readers can take it, say output.evolve: add (columns may come, or be missing, and read as "
    "null) or replace (each night has the columns of its model); or publish into another "
    "output.path"
)
_OTHERWISE = (
    "output.evolve: add lets columns come, or be missing, not both at once and not with other "
    "types: say replace, or publish into another output.path"
)


def _last_night(loaded: Loaded, partition: Partition) -> tuple[str, tuple[OutputSpec, ...]] | None:
    """The key of the last other night that can be read, and its predictions."""
    nights = PublishedNights(loaded)
    for other in reversed(nights.partitions()):
        if other == partition:
            continue
        try:
            manifest = nights.manifest(other)
            return other.key, Run.at(nights.state_of(other), manifest.run_key).plan.encoding.outputs
        except NocturneError:
            continue
    return None


def _columns(outputs: Sequence[OutputSpec]) -> dict[str, str]:
    return {output.name: output.words for output in outputs}


def _words(columns: Mapping[str, str]) -> str:
    return ", ".join(f"{name}: {type_}" for name, type_ in columns.items())
