"""Judges published nights by their labels, and keeps what was counted with each night."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from nocturne.config import Loaded
from nocturne.config.labels import Labels
from nocturne.encoding import Encoding
from nocturne.errors import ConfigError, InputChanged, NocturneError, RetryableError, choices
from nocturne.hiding import redacted
from nocturne.operate.truth.counts import counted
from nocturne.operate.truth.estimates import estimate_of
from nocturne.operate.truth.files import LabelFiles, label_files, signature
from nocturne.operate.truth.rows import RepeatedKeys, Scored
from nocturne.operate.truth.scores import score_files
from nocturne.operate.truth.sides import Sides, key_of, last_truth, truth_of
from nocturne.pipeline.nights import PublishedNights
from nocturne.records.manifest import Manifest
from nocturne.records.partition import Partition
from nocturne.records.truth import Truth, TruthArm
from nocturne.store.files import digest, file_digest
from nocturne.store.partition_state import now
from nocturne.store.record_files import write
from nocturne.store.run import Run

__all__ = ["NightTruth", "beyond", "truths_of"]


@dataclass(frozen=True)
class NightTruth:
    """The truth of a night.

    Attributes:
        problem: why there is none.
        retry: whether a later try may help.
        new: it was counted just now.
    """

    partition: str
    truth: Truth | None
    problem: str = ""
    retry: bool = False
    new: bool = False


def truths_of(loaded: Loaded, nights: Sequence[Partition]) -> list[NightTruth]:
    """The truth of each night, counted now unless the same labels were counted before.

    Raises:
        ConfigError: the pipeline has no ``labels``.
    """
    sides, found = Sides(loaded), list[NightTruth]()
    for night in dict.fromkeys(map(sides.normal, nights)):
        try:
            found.append(_truth(sides, night))
        except NocturneError as error:
            retry = isinstance(error, RetryableError)
            found.append(NightTruth(night.key, None, str(error), retry))
        except (pa.ArrowException, OSError) as error:
            why = f"scores and labels can't be joined: {redacted(error)}"
            found.append(NightTruth(night.key, None, why))
    return found


def _truth(sides: Sides, night: Partition) -> NightTruth:
    loaded, labels, state = sides.loaded, sides.labels, sides.state(night)
    manifest = sides.manifest(night) or PublishedNights(loaded).manifest(night)  # which raises
    files = label_files(loaded, labels, night, [*key_of(loaded), labels.column])
    before, beside = signature(files.files), sides.beside(night)
    asked = sides.asked(beside)
    hashes = digest([(path.name, file_digest(path)) for path in files.files])

    def known() -> Truth | None:
        truth = truth_of(state, manifest)
        same = truth is not None and (truth.labels, truth.asked) == (hashes, asked)
        return truth if same else None

    if (truth := known()) is not None:
        return NightTruth(night.key, truth)
    counts = _counts(sides, manifest, beside, files)
    there = label_files(loaded, labels, night, [])
    if signature(there.files) != before:
        raise InputChanged(
            f"the labels of {night.key} were replaced while they were counted; count them again"
        )
    while True:
        number = last_truth(state) + 1
        if (truth := known()) is not None:  # another process has counted too, at the same time
            return NightTruth(night.key, truth)
        made = Truth(number, now(), manifest.id, hashes, asked=asked, **counts)
        made = replace(_of_models(made), beyond=beyond(labels, made))
        if write(state.place("truth") / f"{number:06d}.json", made, exclusive=True):
            return NightTruth(night.key, made, new=True)


def _of_models(truth: Truth) -> Truth:
    """The same; parts that are named by the version alone name the model of an arm too."""
    names = {
        f"version {arm.version}": truth.part_of(arm.model, arm.version)
        for arm in truth.arms.values()
    }
    return replace(truth, parts={names.get(n, n): part for n, part in truth.parts.items()})


def _counts(
    sides: Sides, manifest: Manifest, beside: Mapping[str, Manifest], files: LabelFiles
) -> dict[str, Any]:
    loaded, labels = sides.loaded, sides.labels
    run = _run(loaded, manifest)
    output = _output(labels, run.plan.encoding)
    champion = Scored(manifest, score_files(loaded, manifest), output)
    others, left_out = dict[str, Scored](), dict[str, str]()
    for name, theirs in beside.items():
        own = sides.challengers[name]
        if output in _comparable(labels, _run(own, theirs).plan.encoding):
            others[name] = Scored(theirs, score_files(own, theirs), output)
        else:
            left_out[name] = f"it has no prediction {output}"
    try:
        counts = counted(loaded, labels, champion, others, files)
    except RepeatedKeys as error:
        left_out |= dict.fromkeys(others, str(error))
        counts = counted(loaded, labels, champion, {}, files)
    arms = manifest.arms.in_it if manifest.arms else ()
    return counts | {
        "model": manifest.model.name,
        "model_version": manifest.model.version,
        "arms": {arm.name: TruthArm(arm.model, arm.version) for arm in arms},
        "left_out": left_out,
        "estimate": estimate_of(labels, run, output) if counts["kind"] == "classes" else {},
    }


def _run(loaded: Loaded, manifest: Manifest) -> Run:
    return Run.at(PublishedNights(loaded).state_of(manifest.partition), manifest.run_key)


def _comparable(labels: Labels, encoding: Encoding) -> tuple[str, ...]:
    """The prediction columns that labels of this kind can be compared with."""
    if labels.kind != "multiclass":
        return encoding.numbers
    words = ("string", "int64", "bool")
    return tuple(o.name for o in encoding.outputs if o.type in words and not o.length)


def _output(labels: Labels, encoding: Encoding) -> str:
    """The column of the scores that is compared. Raises: ConfigError if there is none."""
    there, asked = _comparable(labels, encoding), labels.output
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
    """What lies beyond ``labels.bounds``, or that no label is of the night's rows, in words."""
    figures, found = truth.parts["all"].figures, list[str]()
    if truth.unscored and truth.unlabelled and not (truth.rows or truth.matched):
        found.append(
            f"none of its {truth.unscored:,} labels has the key of one of its "
            f"{truth.unlabelled:,} scored rows: look at labels.key, or whether they are its labels"
        )
    for name, bound in labels.bounds.items():
        if (value := figures.get(name)) is None:
            if truth.rows:
                found.append(f"{name} is not defined for its {truth.rows:,} labels ({truth.kind})")
            continue
        low, high = figures.get(f"{name}_low"), figures.get(f"{name}_high")
        sure = f" (95%: {low:.4g} to {high:.4g})" if low is not None and high is not None else ""
        if bound.min is not None and value < bound.min:
            found.append(f"{name} is {value:.4g}{sure}, and labels.bounds wants {bound.min:g}")
        if bound.max is not None and value > bound.max:
            found.append(f"{name} is {value:.4g}{sure}, at most {bound.max:g} by labels.bounds")
    return tuple(found)
