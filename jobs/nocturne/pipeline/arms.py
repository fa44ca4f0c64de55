"""Arms: a canary, or the models of a split, which score a share of a champion's keys in its place.

They are part of the champion's run, whose key knows of them. ``prepare`` plans the same run without
them too: if one of them fails, that run takes the place of this one, and all of it is scored.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import pyarrow as pa

from nocturne import plan
from nocturne.columns.normal import packed, unpacked
from nocturne.columns.shares import can_share, up_to
from nocturne.config import Loaded, Pipeline, Shared, champion_of, shared
from nocturne.encoding import Encoding, OutputSpec
from nocturne.errors import ConfigError, RetryableError, StateError, choices
from nocturne.hiding import encodable
from nocturne.pipeline.challengers import (
    in_words,
    only_its_casts,
    require_same_input,
    require_turns,
)
from nocturne.pipeline.counting import centers
from nocturne.pipeline.looking import Looked, look
from nocturne.pipeline.model import resolver
from nocturne.pipeline.pinning import pin
from nocturne.pipeline.places import Places
from nocturne.pipeline.runs import served_by, why_out
from nocturne.pipeline.scoring import Executor
from nocturne.pipeline.splits import (
    KeyedPieces,
    Standing,
    requeued_keys,
    salt_of,
    splits_to_score,
)
from nocturne.records.arms import Served, ServedArm, Stopped
from nocturne.records.findings import Verdict, verdict_of
from nocturne.records.manifest import Judgement, Manifest, PublishedNight
from nocturne.records.partition import Partition
from nocturne.records.plan import Arm, Arms, ModelRef, Pinned, RunPlan, Split
from nocturne.records.result import SplitResult
from nocturne.store.partition_state import now
from nocturne.store.pipeline_state import PipelineState
from nocturne.store.record_files import find, write
from nocturne.store.run import Run
from nocturne.table_formats.protocol import TablePartition

__all__ = ["Chosen", "Found", "arms_in_force", "arms_of", "choose", "settle_arms"]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Found:
    """The arms of a night that is planned.

    Attributes:
        arms: without the keys of the run without them; None if they can't be prepared.
        served: the same for the manifest, with the reason if they can't.
        types: columns that only they read, with types that the files do not say.
    """

    arms: Arms | None
    served: Served
    types: pa.Schema


def arms_of(
    loaded: Loaded,
    partition: Partition,
    places: Places,
    champion: Looked,
    model: ModelRef,
    pinned: Pinned,
    by: Executor | None,
) -> Found | None:
    """The arms of the pipeline's canary or split; None if it has neither.

    What keeps one of them from being prepared keeps all of them from the night, and is no error.

    Args:
        champion: what the champion makes of the partition.
        model, pinned: the champion's.
    """
    sharing = shared(loaded.pipeline)
    if sharing is None or champion_of(loaded.pipeline.name) != loaded.pipeline.name:
        return None
    arms, looks = list[Arm](), list[Looked]()
    try:
        _check_keys(sharing, champion)
        for other, first, end in sharing.arms:
            own = loaded.challenger(other)
            resolved = resolver(own, places.state.models)()
            own = only_its_casts(own, resolved.with_outputs(own.pipeline.model.outputs))
            looked = look(own, partition, places, resolved, by=by)
            require_same_input(champion.seen, looked.seen)
            encoding = _with_outputs_of(champion.encoding, looked.encoding)
            settings = pin(own.pipeline.scoring, resolved.ref, encoding, places.state, looked.files)
            require_turns(resolved.ref, settings)
            looks.append(looked)
            arms.append(
                Arm(
                    other.called,
                    up_to(first),
                    up_to(end),
                    resolved.ref,
                    encoding,
                    replace(settings, batch_rows=pinned.batch_rows),
                    centers(encoding, resolved.baseline),
                    other.budget,
                )
            )
        _check_versions([model, *(arm.model for arm in arms)])
    except RetryableError:
        raise  # the night waits, as it does for the champion's model
    except Exception as error:
        out = replace(_served(sharing, arms), out="left out", dropped=encodable(in_words(error)))
        return Found(None, out, pa.schema([]))
    fields = [field for looked in looks for field in looked.seen.types]
    known = {*champion.seen.types.names}
    types = pa.schema({f.name: f for f in reversed(fields) if f.name not in known}.values())
    shares = Arms(sharing.name, sharing.key, sharing.salt, tuple(arms), "")
    return Found(shares, _served(sharing, arms), types)


def arms_in_force(run: Run, champion: Looked) -> Found | None:
    """The arms of a published run, by which its quarantined rows are scored again."""
    arms = run.plan.arms
    if arms is None:
        return None
    types = [f for f in unpacked(run.plan.types) if f.name not in champion.seen.types.names]
    return Found(replace(arms, without=""), served_by(run), pa.schema(types))


def _served(sharing: Shared, arms: Sequence[Arm]) -> Served:
    models = {arm.name: arm.model for arm in arms}
    unknown = ModelRef("", 0, "", "torch", "", "")
    return Served(
        sharing.name,
        sharing.key,
        sharing.salt,
        tuple(
            _served_arm(other.called, models.get(other.called, unknown), end - first)
            for other, first, end in sharing.arms
        ),
        "",
    )


def _served_arm(name: str, model: ModelRef, percent: float) -> ServedArm:
    return ServedArm(name, model.name, model.version, model.sha256, round(percent, 9))


def _check_keys(sharing: Shared, champion: Looked) -> None:
    """Raises: ConfigError if keys have a type without a hash."""
    for name in sharing.key:
        type_ = champion.seen.schema.field(name).type if champion.seen.schema else pa.string()
        if not can_share(type_):
            raise ConfigError(
                f"{sharing.name} shares keys by {name}, which is {type_}; expected numbers, text, "
                "bytes, dates or times"
            )


def _check_versions(models: Sequence[ModelRef]) -> None:
    """Raises: ConfigError if two models have the same version, which tells their rows apart."""
    counts = Counter(model.version for model in models)
    for model in models:
        if counts[model.version] > 1:
            names = choices(
                f"{m.name} ({m.selector})" for m in models if m.version == model.version
            )
            raise ConfigError(
                f"version {model.version} is selected twice, by {names}: the column model_version "
                "could not tell whose score a row has"
            )


def _with_outputs_of(champion: Encoding, arm: Encoding) -> Encoding:
    """The arm's encoding; where the champion may have a null, it may have one too.

    Raises:
        ConfigError: its predictions have other columns.
    """
    ours = {output.name: output for output in champion.outputs}
    if _columns(champion.outputs) != _columns(arm.outputs):
        raise ConfigError(
            f"its predictions are {_in_words(arm.outputs)}, and the champion's, in the same "
            f"columns, are {_in_words(champion.outputs)}"
        )
    outputs = tuple(replace(o, nullable=ours[o.name].nullable) for o in arm.outputs)
    return replace(arm, outputs=outputs)


def _columns(outputs: Sequence[OutputSpec]) -> set[tuple[str, str, int]]:
    return {(output.name, output.type, output.length) for output in outputs}


def _in_words(outputs: Sequence[OutputSpec]) -> str:
    return ", ".join(f"{output.name}: {output.words}" for output in outputs)


@dataclass(frozen=True)
class Choice:
    """The splits that are scored, and how they stand to what is published."""

    splits: tuple[Split, ...]
    standing: Standing


@dataclass(frozen=True)
class Chosen:
    """What is scored of a partition.

    Attributes:
        own: without arms.
        served: how its keys are shared, or why they are not; None if they never are.
        shared: with the arms; None if the champion scores all keys.
        arms, types: they, and the types of columns that only they read.
        beside: the keys of the splits by which challengers know them.
    """

    own: Choice
    served: Served | None
    shared: Choice | None = None
    arms: Arms | None = None
    types: pa.Schema | None = None
    beside: tuple[str, ...] = ()

    @property
    def standing(self) -> Standing:
        """How what is scored stands to what is published."""
        return (self.shared or self.own).standing

    def planned(self, without: RunPlan) -> RunPlan:
        """The plan with the arms, from that of the same run without them."""
        assert self.shared is not None
        assert self.types is not None
        known = unpacked(without.types)
        types = packed(pa.schema([*known, *self.types])) if len(self.types) else without.types
        return replace(
            without,
            run_key=plan.run_key(self.shared.splits),
            content_key=self.shared.standing.content_key,
            splits=self.shared.splits,
            arms=self.arms,
            types=types,
            beside=self.beside,
        )


def choose(
    loaded: Loaded,
    partition: Partition,
    output: TablePartition,
    current: Manifest | None,
    keyed: KeyedPieces,
    found: Found | None,
    requeue: bool,
    force: bool,
) -> Chosen | None:
    """The splits to score, with arms or without; None if ``requeue`` finds no quarantined row.

    A night that was published with these arms keeps them. One that they were dropped from stays
    without them, unless ``force`` is given.

    Args:
        current: what is in force.
        keyed: the splits without arms.

    Raises:
        StateError: quarantined rows can't be scored again, since the night has changed.
    """
    where = loaded, partition, output
    own = Standing.of(output, current, plan.run_key(keyed.splits()))
    served = found.served if found else None
    if found is not None and found.arms is not None:
        with_arms = replace(keyed, arms=found.arms)
        standing = Standing.of(output, current, plan.run_key(with_arms.splits()))
        stays = standing.same and not force
        served = found.served
        if not stays:
            served = _kept_out(served, output, None if force or not own.same else current)
        if not served.out:
            splits = splits_to_score(*where, requeue, force, with_arms, standing)
            if splits is None:
                return None
            without = _fallback(output, current, keyed, own, force, requeue)
            is_new = requeue or not stays
            dropped = output.state.run(plan.run_key(splits)).dropped() if is_new else None
            if force or dropped is None:
                if requeue and current is not None:
                    run = Run.at(output.state, current.run_key)
                    beside = requeued_keys(run.plan.own_split_keys, run, current)
                else:
                    beside = _beside(output, current, keyed, own, standing, force)
                arms = replace(found.arms, without=plan.run_key(without))
                return Chosen(
                    Choice(without, own),
                    replace(served, own_key=plan.key_of(beside)),
                    Choice(splits, standing),
                    arms,
                    found.types,
                    beside,
                )
            served = replace(served, **why_out(dropped))
            if requeue:
                return Chosen(Choice(without, own), served)
    plain = splits_to_score(*where, requeue, force, keyed, own)
    return None if plain is None else Chosen(Choice(plain, own), served)


def _beside(
    output: TablePartition,
    current: Manifest | None,
    keyed: KeyedPieces,
    own: Standing,
    standing: Standing,
    force: bool,
) -> tuple[str, ...]:
    """The keys by which challengers know the splits of a run with arms."""
    if current is not None and own.same and not own.lost and not force:
        return Run.at(output.state, current.run_key).plan.own_split_keys
    return tuple(split.key for split in keyed.splits(salt_of(output, force, standing)))


def _fallback(
    output: TablePartition,
    current: Manifest | None,
    keyed: KeyedPieces,
    own: Standing,
    force: bool,
    requeue: bool,
) -> tuple[Split, ...]:
    """The splits of the run without arms that takes the place of one with them."""
    if current is not None and requeue:
        return keyed.splits(f"requeued after {current.id}")
    if current is not None and own.same and not own.lost and not force:
        return Run.at(output.state, current.run_key).plan.splits  # they are published
    return keyed.splits(salt_of(output, force, own))


def _kept_out(served: Served, output: TablePartition, current: Manifest | None) -> Served:
    """The same, with the reason if the arms do not score the night.

    Args:
        current: what is in force, if it is the same night without them.
    """
    try:
        stopped = find(Stopped, PipelineState(output.state.root).stopped(served.name))
    except StateError as error:
        return replace(served, out="left out", dropped=str(error))
    if stopped is not None and (not stopped.models or {*stopped.models} & {*served.models}):
        return replace(served, out="stopped", dropped=f"since {stopped.at}: {stopped.why}")
    before = current.arms if current else None
    if before is None or not before.out or before.name != served.name:
        return served
    if before.out in ("failed", "suspected") and before.models != served.models:
        return served
    return replace(served, out=before.out, dropped=before.dropped)


def settle_arms(
    run: Run,
    results: Sequence[SplitResult],
    judgement: Judgement,
    pipeline: Pipeline,
    earlier: Sequence[PublishedNight] = (),
    *,
    again: bool = False,
) -> Served | None:
    """Note how the keys of a judged run were shared, and take the arms out of later nights if
    ``stop_on`` says so.

    Args:
        results: of the run.
        pipeline: to judge by.
        earlier: published nights before it, oldest first.
        again: it was published before, and only that arms were dropped since is news.

    Returns:
        How they were shared; None if the champion has all.

    Raises:
        StateError, StoreUnavailable: it can't be noted.
    """
    before = None
    with suppress(StateError):  # damaged: it is counted anew, or lost
        before = find(Served, run.arms_file)
    found = served_by(run, results) if run.plan.arms else before
    if found is None or (again and (not found.out or found.stops)):
        return found
    found = replace(found, stops=_stops(found, pipeline, judgement, earlier))
    if found.stops and not (before and before.stops):  # who let it go on meanwhile has decided
        place, known = PipelineState(run.state.root).stopped(found.name), None
        with suppress(StateError):
            known = find(Stopped, place)
        others = known.models if known else ()
        if known is None or (others and not {*found.models} <= {*others}):
            why = f"the night of {run.plan.partition.key}: {found.stops}"
            models = tuple(dict.fromkeys((*others, *found.models)))
            write(place, Stopped(models, why, now(), "stop_on"))
        log.warning("%s scores no more nights: %s", found.name, found.stops)
    write(run.arms_file, found)
    return found


def _stops(
    found: Served, pipeline: Pipeline, judgement: Judgement, earlier: Sequence[PublishedNight]
) -> str:
    """Why the arms are out of later nights; "" if they are not."""
    sharing = shared(pipeline)
    if sharing is None:
        return ""
    rules = sharing.stop_on
    if found.out:
        if rules.failed is None or found.out not in ("failed", "suspected"):
            return ""
        last = earlier[-1].manifest.arms if earlier else None
        if found.out == "suspected" and (last is None or last.out != "suspected"):
            return ""  # once, it may have been for another reason
        return f"it was dropped: {found.dropped}"
    for arm in found.arms:
        share = arm.failed / max(1, arm.rows + arm.failed)
        if rules.failed is not None and share > rules.failed:
            return (
                f"{arm.name} has no score for {arm.failed} of {arm.rows + arm.failed} rows "
                f"(stop_on.failed is {rules.failed:g})"
            )
        if rules.difference is None or not arm.rows:
            continue
        if arm.difference is None:
            return (
                f"how far the predictions of {arm.name} are from the champion's can't be told: "
                "they are no numbers, or beyond all bounds (stop_on.difference)"
            )
        if arm.difference > rules.difference:
            return (
                f"the predictions of {arm.name} differ by {arm.difference:.4g} from the champion's "
                f"on average (stop_on.difference is {rules.difference:g})"
            )
    if rules.drift and any(finding.rule == "drift.page" for finding in judgement.findings):
        return "drift that a person should look at (stop_on.drift)"
    verdict = verdict_of(f for f in judgement.findings if f.subject != "person")
    if rules.verdict is not None and verdict.rank >= Verdict(rules.verdict).rank:
        return f"its verdict is {verdict} (stop_on.verdict is {rules.verdict})"
    return ""
