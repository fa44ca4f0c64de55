"""What the YAML requires by now of a run that was planned before, checked as it is published.

A run keeps the settings of its plan. But who switches on ``require_*`` expects that nothing is
published from then on that does not have it.
"""

from __future__ import annotations

from pathlib import Path

from nocturne import config
from nocturne.config import Loaded, champion_of
from nocturne.config.models import Model
from nocturne.errors import ModelError
from nocturne.model.copies import fetch_models
from nocturne.model.digests import check_digest
from nocturne.model.signatures import check_signature
from nocturne.model.tracking import reachable, uris
from nocturne.pipeline.model import client_of
from nocturne.pipeline.runs import settings_of
from nocturne.pipeline.signer import require_signer
from nocturne.store.run import Run

__all__ = ["check_models", "require_as_of_now", "required"]


def require_as_of_now(run: Run) -> None:
    """Check what the YAML of now requires of a run that is about to be published.

    Raises:
        ConfigError: it can't be signed and has to be; or there is no such YAML any more.
        ModelError: a model's version has no digest or signature, and needs one since.
        RegistryUnavailable: the registry, which is asked about these, does not answer.
    """
    now, planned = config.load(champion_of(run.plan.pipeline)), settings_of(run)
    require_signer(now)
    if required(now.pipeline.model) - required(planned.model):  # else `prepare` has checked it
        check_models(now, run)


def required(model: Model) -> set[str]:
    """What is required of a version, in words."""
    return {
        f"{name}: {value}"
        for name in ("require_digest", "require_signature")
        if (value := getattr(model, name))
    }


def check_models(loaded: Loaded, run: Run) -> None:
    """Check the models of a run, those of its arms too, as the pipeline's ``model.require_*`` say.

    Raises:
        ModelError, RegistryUnavailable: as ``require_as_of_now``.
    """
    section, of_registry = loaded.pipeline.model, uris(loaded.pipeline.registry, loaded.home)
    if section.require_signature is not None:  # the plan has the digests
        fetch_models(run)
    with reachable(of_registry["registry_uri"]):
        from mlflow.exceptions import MlflowException

        client = client_of(loaded)
        for model in (run.plan.model, *(arm.model for arm in run.plan.each_arm)):
            try:
                version = client.get_model_version(model.name, str(model.version))
            except MlflowException as error:
                if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                    raise
                raise ModelError(
                    f"model {model.name} version {model.version} is gone from the registry, so "
                    "whether it is as model.require_* say can't be checked"
                ) from None
            check_digest(version, model.sha256, required=section.require_digest)
            if (key := section.require_signature) is not None:
                check_signature(version, Path(model.path), loaded.home / key)
