"""Inference params (``model.params``): held against those that a model's signature names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nocturne.errors import ConfigError, ModelError, did_you_mean

__all__ = ["checked_params"]


def checked_params(
    declared: Sequence[Mapping[str, Any]], params: Mapping[str, Any], what: str
) -> dict[str, Any]:
    """The params as they are given; MLflow adds the defaults of the others.

    Args:
        declared: the signature's, as MLflow writes them.

    Raises:
        ConfigError: the model has no such param, or it is of another type.
        ModelError: the signature's can't be read.
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
        specs = {str(one["name"]): ParamSpec.from_json_dict(**one) for one in declared}
    except Exception as error:
        raise ModelError(f"{what}: the params of its signature can't be read: {error}") from None
    has = ", ".join(_words(spec) for spec in specs.values())
    for name, value in params.items():
        if name not in specs:
            near = did_you_mean(name, specs)
            raise ConfigError(f"model.params: got {name}{near}, {what} takes {has}")
        try:
            ParamSpec.validate_param_spec(value, specs[name])
        except MlflowException:
            raise ConfigError(
                f"model.params: {name} is {value!r}, which is no {_type(specs[name])}; {what} "
                f"takes {has}"
            ) from None
    return dict(params)


def _words(spec: Any) -> str:
    return f"{spec.name} ({_type(spec)}, {spec.default!r} if not given)"


def _type(spec: Any) -> str:
    name = getattr(spec.dtype, "name", "object")
    return f"list of {name}" if spec.shape else str(name)
