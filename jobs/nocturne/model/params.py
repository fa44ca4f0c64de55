"""Checks inference params (``model.params``) against those that a model's signature declares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nocturne.errors import ConfigError, ModelError, did_you_mean

__all__ = ["checked_params"]


def checked_params(
    declared: Sequence[Mapping[str, Any]], params: Mapping[str, Any], what: str
) -> dict[str, Any]:
    """The params unchanged; MLflow adds the defaults of the others.

    Args:
        declared: the params of the signature, in MLflow's format.

    Raises:
        ConfigError: the model has no such param, or the param has another type.
        ModelError: the params of the signature can't be read.
    """
    if not params:
        return {}
    if not declared:
        raise ConfigError(
            f"model.params: {what} takes no params, since its signature names none; take them out, "
            "or log it with infer_signature(..., params={NAME: DEFAULT})"
        )
    from mlflow.exceptions import MlflowException
    from mlflow.types.schema import ParamSpec

    try:
        specs = {str(param["name"]): ParamSpec.from_json_dict(**param) for param in declared}
    except Exception as error:
        raise ModelError(f"{what}: the params of its signature can't be read: {error}") from None
    accepted = ", ".join(_description(spec) for spec in specs.values())
    for name, value in params.items():
        if name not in specs:
            near = did_you_mean(name, specs)
            raise ConfigError(f"model.params: got {name}{near}, {what} takes {accepted}")
        try:
            ParamSpec.validate_param_spec(value, specs[name])
        except MlflowException:
            raise ConfigError(
                f"model.params: {name} is {value!r}, which is no {_type(specs[name])}; {what} "
                f"takes {accepted}"
            ) from None
    return dict(params)


def _description(spec: Any) -> str:
    return f"{spec.name} ({_type(spec)}, {spec.default!r} if not given)"


def _type(spec: Any) -> str:
    name = getattr(spec.dtype, "name", "object")
    return f"list of {name}" if spec.shape else str(name)
