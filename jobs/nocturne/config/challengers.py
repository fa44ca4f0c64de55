"""Challengers: a pipeline's other models, each a pipeline of its own in all that follows.

``flight_delay@challenger`` reads what ``flight_delay`` reads, and publishes into a table of its own
beside the champion's, with a state of its own. So whatever takes the name of a pipeline takes that
of a challenger too.
"""

from __future__ import annotations

from dataclasses import dataclass

from nocturne.config.models import OF_A_VERSION, Challenger, Pipeline, StopOn
from nocturne.errors import ConfigError, choices

__all__ = ["Shared", "champion_of", "derived", "named", "shared"]

_SELECTORS = ("alias", "tags", "version")
_WATCHED = ("on_new_model", "poll_seconds", "backfill")


def champion_of(name: str) -> str:
    """The name of the pipeline that a challenger belongs to; of a pipeline its own."""
    return name.partition("@")[0]


def named(pipeline: Pipeline, name: str, version: int | None = None) -> Challenger:
    """The pipeline's challenger ``PIPELINE@NAME``.

    Args:
        version: of its model, in place of what the YAML selects.

    Raises:
        ConfigError: it has none of that name.
    """
    asked = name.partition("@")[2]
    for challenger in pipeline.challengers:
        if challenger.called == asked:
            if version is None:
                return challenger
            given = challenger.model_dump(mode="json", exclude_unset=True)
            kept = {k: v for k, v in given.items() if k not in _SELECTORS}
            return Challenger.model_validate({**kept, "called": asked, "version": version})
    names = [challenger.called for challenger in pipeline.challengers]
    raise ConfigError(
        f"{pipeline.name} has no challenger {asked!r}: it has {choices(names)} (challengers: in "
        f"conf/pipelines/{pipeline.name}.yaml)"
    )


def derived(pipeline: Pipeline, challenger: Challenger) -> Pipeline:
    """The challenger as a pipeline.

    Its scores have the champion's keys and no passthrough columns. It has no suites, quarantines
    nothing of its own, and is never held: its night is published if the champion's is.
    """
    tree = pipeline.model_dump(mode="json", exclude_unset=True)
    given = challenger.model_dump(mode="json", exclude_none=True, exclude_unset=True)
    suffix, output = f"__{challenger.called}", tree["output"]
    own = {name: value for name, value in given.items() if name in OF_A_VERSION}
    unshared = (*_SELECTORS, *_WATCHED, "allow_pickle")  # a permission is for one model
    shared = {k: v for k, v in tree["model"].items() if k not in unshared}
    registry = dict(tree.get("registry", {}))
    if registry.get("experiment"):
        registry["experiment"] += f"@{challenger.called}"
    of_champion = {"challengers", "canary", "split", "alerts", "slo", "tags", "description"}
    of_champion |= {"docs", "labels", "promote"}  # by labels it is judged beside the champion
    return Pipeline.model_validate(
        {
            **{key: value for key, value in tree.items() if key not in of_champion},
            "name": f"{pipeline.name}@{challenger.called}",
            "registry": registry,
            "model": {**shared, **own},
            "output": {
                **{k: v for k, v in output.items() if k not in ("passthrough", "nullable")},
                "path": output["path"].rstrip("/") + suffix,
                **{k: output[k].rstrip("/") + suffix for k in ("state", "table") if output.get(k)},
                **({"evolve": "replace"} if pipeline.output.format == "parquet" else {}),
            },
            "quality": {
                "sensitive": pipeline.quality.sensitive,
                "max_quarantined": 1.0,
                "volume": "off",
            },
            "drift": {
                **{k: v for k, v in tree.get("drift", {}).items() if k != "segments"},
                "on_drift": "warn",
            },
        }
    )


@dataclass(frozen=True)
class Shared:
    """The keys of a pipeline's rows, shared between its champion and other models.

    Attributes:
        name: "canary", or that of the split.
        arms: the other models, each with its share: from and up to so many percent of the hashes.
    """

    name: str
    key: tuple[str, ...]
    salt: str
    arms: tuple[tuple[Challenger, float, float], ...]
    stop_on: StopOn


def shared(pipeline: Pipeline) -> Shared | None:
    """How the pipeline's canary, or its split, shares the keys; None if the champion has all."""
    if (canary := pipeline.canary) is not None:
        own = {"percent", "key", "salt", "stop_on"}
        given = canary.model_dump(mode="json", exclude_unset=True, exclude=own)
        arm = Challenger.model_validate(given), 0.0, canary.percent
        return Shared("canary", tuple(canary.key), canary.salt, (arm,), canary.stop_on)
    if (split := pipeline.split) is not None:
        arms, first = [], 0.0
        for alias, percent in sorted(split.arms.items()):  # whatever has written the YAML
            if alias != pipeline.model.alias:  # whose share is the champion's, with the rest
                other = Challenger(
                    alias=alias, budget=split.budget, allow_pickle=split.allow_pickle
                )
                arms.append((other, first, first + percent))
                first += percent
        if arms:
            return Shared(split.name, tuple(split.key), split.name, tuple(arms), split.stop_on)
    return None
