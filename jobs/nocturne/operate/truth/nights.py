"""Truth: the labels of published nights, joined to their scores by key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from nocturne import config
from nocturne.config import Loaded, champion_of
from nocturne.config.labels import Labels
from nocturne.encoding import Encoding
from nocturne.errors import ConfigError, NocturneError, choices
from nocturne.hiding import redacted
from nocturne.objects import Location
from nocturne.operate.truth.counts import counted
from nocturne.operate.truth.estimates import estimate_of
from nocturne.operate.truth.files import LabelFiles, label_files
from nocturne.operate.truth.rows import Scored, key_of
from nocturne.operate.truth.scores import score_files
from nocturne.pipeline.nights import PublishedNights
from nocturne.records.manifest import Manifest
from nocturne.records.partition import Partition
from nocturne.records.truth import Truth
from nocturne.store.files import children, digest, file_digest
from nocturne.store.partition_state import PartitionState, now
from nocturne.store.record_files import read, write
from nocturne.store.run import Run

__all__ = ["NightTruth", "known_truth", "labels_of", "mark", "truths_of"]


@dataclass(frozen=True)
class NightTruth:
    """The truth of a night; ``problem``: why there is none. ``new``: it was counted just now."""

    partition: str
    truth: Truth | None
    problem: str = ""
    new: bool = False


def labels_of(loaded: Loaded) -> Labels:
    """The section ``labels``. Raises: ConfigError if the pipeline has none."""
    name, champion = loaded.pipeline.name, champion_of(loaded.pipeline.name)
    if name != champion:
        raise ConfigError(f"{name} is judged beside its champion: `nocturne truth {champion}`")
    if (labels := loaded.pipeline.labels) is None:
        raise ConfigError(f"{name} has no labels (labels: in conf/pipelines/{name}.yaml)")
    return labels


def truths_of(loaded: Loaded, nights: Sequence[Partition]) -> list[NightTruth]:
    """The truth of each night, counted now unless the same labels were counted before.

    Raises:
        ConfigError: the pipeline has no ``labels``.
    """
    labels = labels_of(loaded)
    found = []
    for night in nights:
        try:
            found.append(_truth(loaded, labels, night))
        except NocturneError as error:
            found.append(NightTruth(night.key, None, str(error)))
        except pa.ArrowException as error:
            why = f"scores and labels can't be joined: {redacted(error)}"
            found.append(NightTruth(night.key, None, why))
    return found


def known_truth(state: PartitionState) -> Truth | None:
    """The last version of a night's truth; None if it was not counted yet.

    Raises:
        StateError: it is damaged.
    """
    known = _known(state)
    return known[-1] if known else None


def mark(state: PartitionState, truth: Truth, what: str) -> Location:
    """The file that says that a version of a night's truth was ``logged`` or ``told``."""
    return state.place("truth") / f"{truth.number:06d}.{what}"


def _truth(loaded: Loaded, labels: Labels, night: Partition) -> NightTruth:
    nights = PublishedNights(loaded)
    manifest = nights.manifest(night)
    files = label_files(loaded, labels, night, [*key_of(loaded, labels), labels.column])
    state = nights.state_of(night)
    challengers = _challengers(loaded, manifest, night)
    asked = (
        labels.model_dump(exclude={"bounds", "poll_seconds", "delay_hours", "settle_days"}),
        key_of(loaded, labels),
        {name: challenger.id for name, (_, challenger) in challengers.items()},
    )
    hashes = digest(*asked, [(path.name, file_digest(path)) for path in files.files])
    known = known_truth(state)
    if known and (known.labels, known.manifest) == (hashes, manifest.id):
        return NightTruth(night.key, known)
    counts = _counts(loaded, labels, manifest, challengers, files)
    while True:
        number = known.number + 1 if known else 1
        made = Truth(number, now(), manifest.id, hashes, **counts)
        made = replace(made, beyond=beyond(labels, made))
        if write(state.place("truth") / f"{number:06d}.json", made, exclusive=True):
            return NightTruth(night.key, made, new=True)
        known = known_truth(state)  # another process has counted too
        assert known is not None
        if (known.labels, known.manifest) == (hashes, manifest.id):
            return NightTruth(night.key, known)


def _known(state: PartitionState) -> list[Truth]:
    files = [path for path in children(state.place("truth")) if path.suffix == ".json"]
    last = sorted(files, key=lambda path: path.name)[-1:]
    return [read(Truth, path) for path in last]


def _challengers(
    loaded: Loaded, champion: Manifest, night: Partition
) -> dict[str, tuple[Loaded, Manifest]]:
    """The challengers that scored the night too, whether beside this champion or not."""
    found = {}
    for challenger in loaded.pipeline.challengers:
        name = f"{loaded.pipeline.name}@{challenger.called}"
        try:
            own = config.load(name, root=loaded.home)
            found[challenger.called] = own, PublishedNights(own).manifest(night)
        except NocturneError:
            continue
    return found


def _counts(
    loaded: Loaded,
    labels: Labels,
    manifest: Manifest,
    challengers: Mapping[str, tuple[Loaded, Manifest]],
    files: LabelFiles,
) -> dict[str, Any]:
    nights = PublishedNights(loaded)
    run = Run.at(nights.state_of(manifest.partition), manifest.run_key)
    champion = Scored(
        manifest, score_files(loaded, manifest), _output(labels, run.plan.encoding, labels.output)
    )
    others = {}
    for name, (own, theirs) in challengers.items():
        encoding = Run.at(
            PublishedNights(own).state_of(manifest.partition), theirs.run_key
        ).plan.encoding
        if comparable := _comparable(labels, encoding):
            same = champion.output if champion.output in comparable else comparable[0]
            others[name] = Scored(theirs, score_files(own, theirs), same)
    counts = counted(loaded, labels, champion, others, files)
    arms = manifest.arms.in_it if manifest.arms else ()
    return counts | {
        "model": manifest.model.name,
        "model_version": manifest.model.version,
        "arms": {arm.name: arm.version for arm in arms},
        "estimate": estimate_of(labels, run, champion.output)
        if counts["kind"] == "classes"
        else {},
    }


def _comparable(labels: Labels, encoding: Encoding) -> tuple[str, ...]:
    """The prediction columns that labels of this kind can be compared with."""
    if labels.kind != "multiclass":
        return encoding.numbers
    words = ("string", "int64", "bool")
    return tuple(o.name for o in encoding.outputs if o.type in words and not o.length)


def _output(labels: Labels, encoding: Encoding, asked: str | None) -> str:
    """The column of the scores that is compared. Raises: ConfigError if there is none."""
    there = _comparable(labels, encoding)
    if asked is None and there:
        return there[0]
    if asked in there:
        return asked
    what = "class" if labels.kind == "multiclass" else "number"
    raise ConfigError(
        f"labels.output: got {asked!r}, expected a prediction that is a {what}: the night has "
        f"{choices(there)}"
    )


def beyond(labels: Labels, truth: Truth) -> tuple[str, ...]:
    """What of the night lies beyond ``labels.bounds``, in words."""
    figures, found = truth.parts["all"].figures, []
    for name, bound in labels.bounds.items():
        if (value := figures.get(name)) is None:
            continue
        low, high = figures.get(f"{name}_low"), figures.get(f"{name}_high")
        sure = f" (95%: {low:.4g} to {high:.4g})" if low is not None and high is not None else ""
        if bound.min is not None and value < bound.min:
            found.append(f"{name} is {value:.4g}{sure}, and labels.bounds wants {bound.min:g}")
        if bound.max is not None and value > bound.max:
            found.append(f"{name} is {value:.4g}{sure}, at most {bound.max:g} by labels.bounds")
    return tuple(found)
