"""Logs the truth of nights to MLflow: one run for each model version, one point for each night."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial

from nocturne.model.tracking import connect, experiment_id, reachable
from nocturne.records.truth import Truth
from nocturne.report.night import metric_name
from nocturne.report.series import Entry, log_series

__all__ = ["log_truth", "truth_values"]

_VERSION = "version "


def log_truth(
    pipeline: str,
    night: tuple[str, Truth],
    known: Callable[[], Iterable[tuple[str, Truth]]],
    *,
    tracking_uri: str,
    experiment: str,
) -> None:
    """Put a night's truth into the runs of the versions that scored it.

    Args:
        night: the partition and its truth.
        known: returns those of all nights; called only if a run must be created again.

    Raises:
        RegistryUnavailable: the MLflow server did not answer.
    """
    with reachable(tracking_uri):
        client = connect(tracking_uri)
        log_series(
            client,
            experiment_id(client, experiment),
            "truth",
            pipeline,
            _entries(*night),
            lambda: (entry for other in known() for entry in _entries(*other)),
        )


def _entries(key: str, truth: Truth) -> list[Entry]:
    """The champion's, and those of arms for whose rows labels came."""
    arms = {part: truth.arms[name] for name, part in truth.arm_parts.items()}
    champion = truth.part_of(truth.model, truth.model_version)  # also if no label came for its rows
    models = {champion: (truth.model, str(truth.model_version))}
    for part in truth.parts:
        if part in arms:
            models[part] = arms[part].model, str(arms[part].version)
        elif part.startswith(_VERSION):  # rows of another program that were adopted may have any
            models[part] = truth.model, part.removeprefix(_VERSION)
    id_ = f"{truth.manifest}:{truth.number}"
    return [
        Entry(key, id_, model, partial(truth_values, truth, part)) for part, model in models.items()
    ]


def truth_values(truth: Truth, part: str) -> Mapping[str, float]:
    """Every number of a model's rows; of the champion, those of all rows and challengers too."""
    own = truth.parts.get(part)
    values = {metric_name("truth", name): v for name, v in (own.figures if own else {}).items()}
    if part != truth.part_of(truth.model, truth.model_version):
        return values
    values["truth.unlabelled"], values["truth.unscored"] = truth.unlabelled, truth.unscored
    for name, value in truth.estimate.items():
        values[metric_name("estimate", name)] = value
        if (known := truth.parts["all"].figures.get(name)) is not None:
            values[metric_name("estimate", f"{name}_error")] = value - known
    for of, found in truth.parts.items():
        if not of.startswith(_VERSION):
            values |= {metric_name("truth", of, name): v for name, v in found.figures.items()}
    for challenger, against in truth.against.items():
        for name, difference in against.differences.items():
            shown = {"": difference.value, "_low": difference.low, "_high": difference.high}
            values |= {
                metric_name("against", challenger, name + end): v
                for end, v in shown.items()
                if v is not None
            }
    return values
