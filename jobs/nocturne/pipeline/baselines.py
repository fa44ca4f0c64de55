"""What a night is compared with: the model's baseline, or one made of published nights."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from nocturne import drift, table
from nocturne.config import Loaded
from nocturne.config.models import Span, Weeks
from nocturne.errors import StateError
from nocturne.model import registry
from nocturne.pipeline.nights import PublishedNights, night_in_force
from nocturne.pipeline.places import Places
from nocturne.pipeline.runs import settings_of
from nocturne.records.drift import Baseline
from nocturne.records.manifest import PublishedNight
from nocturne.store.run import Run

__all__ = ["baseline_of", "built", "keys_before"]


def baseline_of(run: Run, loaded: Loaded) -> tuple[Baseline | None, str, list[PublishedNight]]:
    """The baseline that ``drift.baseline`` names, in words what it is of, and its nights.

    A night that was judged before, by this model and the same ``drift.baseline``, is compared with
    the nights that its judgement names, whatever was published since.

    Returns:
        None if the model has none, or no night is published that it could be made of. No words
        and no nights for the model's own.
    """
    wanted, model = loaded.pipeline.drift.baseline, registry.Resolved(run.plan.model)
    if wanted == "model":
        return model.baseline, "", []
    chosen = _as_before(run, loaded) or _chosen(run, loaded, wanted)
    if isinstance(wanted, Span):
        said = f"the {len(chosen)} published nights from {wanted.first} to {wanted.last}"
    else:
        said = f"the same weekday of {len(chosen)} past weeks"
    if not chosen:
        return None, f"{said}: there are none", []
    sha256 = run.plan.model.sha256
    mine = [night for night in chosen if night.manifest.model.sha256 == sha256]
    if not mine:
        said = f"the model's own training data: {said} were scored by another model"
        return model.baseline, said, []
    if len(mine) < len(chosen):
        said += f", without {len(chosen) - len(mine)} that another model scored"
    return built(loaded, mine), said, mine


def _as_before(run: Run, loaded: Loaded) -> list[PublishedNight]:
    """The nights that the one in force was compared with, if it was asked the same; else none."""
    before = night_in_force(table.table_of(run))
    if before is None or before.manifest.model.sha256 != run.plan.model.sha256:
        return []
    names = before.judgement.drift.baseline
    if not names:
        return []
    then = settings_of(Run.open(run.state.run(before.manifest.run_key).path))
    if then.drift.baseline != loaded.pipeline.drift.baseline:
        return []
    nights = PublishedNights(loaded)
    return [night for name in names if (night := nights.named(name))]


def _chosen(run: Run, loaded: Loaded, wanted: Span | Weeks) -> list[PublishedNight]:
    """What is published now of the nights that ``drift.baseline`` names, oldest first."""
    own, nights = run.plan.partition.key, PublishedNights(loaded)
    if isinstance(wanted, Span):
        return [
            night
            for night in nights.all()
            if wanted.first <= night.key <= wanted.last and night.key != own
        ]
    past = (nights.of(key) for key in keys_before(own, wanted.weeks))
    return [night for night in past if night and drift.is_ordinary(nights, night.manifest)]


def keys_before(key: str, weeks: int) -> list[str]:
    """The keys of the same weekday (and hour) of the ``weeks`` before; none if it is no day."""
    day = drift.day_of(key)
    if day is None:
        return []
    return [f"{day - timedelta(weeks=back)}{key[10:]}" for back in range(weeks, 0, -1)]


def built(loaded: Loaded, chosen: Sequence[PublishedNight]) -> Baseline:
    """A baseline of published nights, from the profiles that they left.

    Raises:
        StateError: there is no night, or the profile of one is gone.
        ModelError: the nights were counted around different centres.
    """
    if not chosen:
        raise StateError(
            f"no night of {loaded.pipeline.name} is published there; see `nocturne "
            f"status {loaded.pipeline.name}`"
        )
    state = Places.of(loaded).state
    profiles, outputs = {}, dict[str, None]()
    for night in chosen:
        one = state.partition(night.manifest.partition)
        profiles[night.key] = one.run(night.manifest.run_key).profile
        outputs |= dict.fromkeys(night.manifest.score_summary)
    known = {name for profile in profiles.values() for name in profile.columns}
    return drift.build_baseline(profiles, [name for name in outputs if name in known])
