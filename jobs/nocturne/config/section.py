"""The base class of all sections of a pipeline YAML."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

__all__ = ["HIDDEN_VALUE", "Section"]

HIDDEN_VALUE = "hidden_value"
"""The type of an error whose value must not be shown."""


class Section(BaseModel):
    """A typed and frozen section that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
