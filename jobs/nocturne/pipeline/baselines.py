"""The baseline that a night is compared with: the model's, or one made of published nights."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from nocturne import drift, table
from nocturne.config import Loaded
from nocturne.config.models import Span, Weeks
from nocturne.errors import StateError
from nocturne.model import registry
from nocturne.model.copies import fetch_model
from nocturne.pipeline.nights import PublishedNights, night_in_force
from nocturne.pipeline.places import Places
from nocturne.pipeline.runs import settings_of
from nocturne.pipeline.signer import as_signed, names_profile, profile_of
from nocturne.records.drift import Baseline
from nocturne.records.manifest import PublishedNight
from nocturne.store.run import Run

__all__ = ["baseline_of", "baseline_of_nights", "keys_before"]


def baseline_of(run: Run, loaded: Loaded) -> tuple[Baseline | None, str, list[PublishedNight]]:
    """The baseline that ``drift.baseline`` selects, its description, and the nights it is made of.

    If the partition was judged before with this model and the same ``drift.baseline``, it is
    compared with the nights that its judgement names, whatever was published since.

    Returns:
        The baseline is None if the model has none, or if none of the nights is published. For the
        model's own baseline, the description and the list of nights are empty.
    """
    fetch_model(run)
    setting, model = loaded.pipeline.drift.baseline, registry.Resolved(run.plan.model)
    if setting == "model":
        return model.baseline, "", []
    chosen = _nights_compared_before(run, loaded) or _chosen(run, loaded, setting)
    chosen = [night for night in chosen if names_profile(loaded, night.manifest)]
    if isinstance(setting, Span):
        description = f"the {len(chosen)} published nights from {setting.first} to {setting.last}"
    else:
        description = f"the same weekday of {len(chosen)} past weeks"
    if not chosen:
        return None, f"{description}: there are none", []
    sha256 = run.plan.model.sha256
    of_this_model = [night for night in chosen if night.manifest.model.sha256 == sha256]
    if not of_this_model:
        description = f"the model's own training data: {description} were scored by another model"
        return model.baseline, description, []
    if len(of_this_model) < len(chosen):
        description += f", without {len(chosen) - len(of_this_model)} that another model scored"
    return baseline_of_nights(loaded, of_this_model), description, of_this_model


def _nights_compared_before(run: Run, loaded: Loaded) -> list[PublishedNight]:
    """The nights that the published night was compared with; none if the setting has changed."""
    published = as_signed(loaded, run.state, night_in_force(table.table_of(run)))
    if published is None or published.manifest.model.sha256 != run.plan.model.sha256:
        return []
    names = published.judgement.drift.baseline
    if not names:
        return []
    settings = settings_of(Run.at(run.state, published.manifest.run_key))
    if settings.drift.baseline != loaded.pipeline.drift.baseline:
        return []
    nights = PublishedNights(loaded, as_signed=True)
    return [night for name in names if (night := nights.by_name(name))]


def _chosen(run: Run, loaded: Loaded, setting: Span | Weeks) -> list[PublishedNight]:
    """The nights that ``drift.baseline`` selects, as far as they are published; oldest first."""
    own, nights = run.plan.partition.key, PublishedNights(loaded, as_signed=True)
    if isinstance(setting, Span):
        return [
            night
            for night in nights.all()
            if setting.first <= night.key <= setting.last and night.key != own
        ]
    past = (nights.of(key) for key in keys_before(own, setting.weeks))
    return [night for night in past if night and drift.is_ordinary(nights, night.manifest)]


def keys_before(key: str, weeks: int) -> list[str]:
    """The keys of the same weekday (and hour) in the ``weeks`` before; none if it is no day."""
    day = drift.day_of(key)
    if day is None:
        return []
    return [f"{day - timedelta(weeks=back)}{key[10:]}" for back in range(weeks, 0, -1)]


def baseline_of_nights(loaded: Loaded, nights: Sequence[PublishedNight]) -> Baseline:
    """The baseline of published nights, made of their stored profiles.

    Raises:
        StateError: there is no night, or a profile is gone, or is not what was signed.
        ModelError: the nights were counted around different centres.
    """
    if not nights:
        raise StateError(
            f"no night of {loaded.pipeline.name} is published there; see `nocturne "
            f"status {loaded.pipeline.name}`"
        )
    pipeline_state = Places.of(loaded).state
    profiles, outputs = {}, dict[str, None]()
    for night in nights:
        state = pipeline_state.partition(night.manifest.partition)
        profiles[night.key] = profile_of(loaded, state, night.manifest)
        outputs |= dict.fromkeys(night.manifest.score_summary)
    known = {name for profile in profiles.values() for name in profile.columns}
    return drift.build_baseline(profiles, [name for name in outputs if name in known])
