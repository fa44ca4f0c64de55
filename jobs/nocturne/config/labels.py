"""The sections about the truth: where labels come, and what they must show to promote a model."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StrictBool, StrictInt, StrictStr, StringConstraints, model_validator

from nocturne.config.local_paths import PathOrUri
from nocturne.config.section import Section
from nocturne.errors import choices
from nocturne.records.truth import BETTER, RESERVED
from nocturne.table_formats import INPUTS

__all__ = ["Bound", "Labels", "Promote", "Unless", "When"]

FigureName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]


class Bound(Section):
    """Between which values a figure must lie."""

    min: float | None = Field(None, description="Below it, the alert truth is sent.")
    max: float | None = Field(None, description="Above it, the alert truth is sent.")

    @model_validator(mode="after")
    def _bounds_something(self) -> Bound:
        if self.min is None and self.max is None:
            raise ValueError("give min, max or both")
        return self


class Labels(Section):
    """Where the labels of past nights come, by which `nocturne truth` judges the scores."""

    path: PathOrUri = Field(
        description="Folder, or URI, of a table with the partitions of the input."
    )
    format: Literal["parquet", "delta", "iceberg"] = Field(
        "parquet", description="As input.format."
    )
    table: str | None = Field(None, min_length=1, description="As input.table, for iceberg.")
    column: str = Field(description="The label: a boolean, 0 or 1, a number, or a word.")
    key: list[str] | None = Field(
        None, min_length=1, description="By which columns it is joined. Default: output.keys."
    )
    positive: StrictBool | StrictInt | StrictStr | None = Field(
        None,
        description="The value that counts as positive, if the label is not 0, 1 or a boolean.",
    )
    output: str | None = Field(
        None,
        description="The prediction that is compared. Default: the first that is a number; for "
        "multiclass, the first that is a word or a whole number.",
    )
    kind: Literal["classes", "numbers", "multiclass"] | None = Field(
        None,
        description="classes: two classes and a score; multiclass: the predicted class is compared "
        "with the label. Default: classes for booleans, integers that are 0 and 1, and with "
        "positive; else numbers.",
    )
    threshold: float = Field(
        0.5,
        description="The score from which on a row counts as predicted positive, for precision, "
        "recall, f1 and accuracy.",
    )
    quantile: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Which quantile of numbers is predicted: the pinball loss is counted for it.",
    )
    weight: str | None = Field(
        None,
        min_length=1,
        description="A column of the labels, or else of the scores: how much a row counts.",
    )
    segments: list[str] = Field(
        [], description="Columns of the scores; each of their values is counted by itself too."
    )
    metrics: dict[FigureName, str] = Field(
        {},
        description="Name -> a Spark SQL aggregate over the columns of the scores and of the "
        "labels, such as sum(IF(label, 0, cost)). It needs Spark.",
    )
    delay_hours: float = Field(
        0, ge=0, description="How long after the end of a partition its labels are there."
    )
    settle_days: float = Field(
        30,
        gt=0,
        description="For how long after that labels may come late or be corrected: the DAG looks "
        "at these partitions again.",
    )
    poll_seconds: float = Field(
        300, ge=1, description="How often the DAG looks whether labels came or changed."
    )
    bounds: dict[FigureName, Bound] = Field(
        {},
        description="Figure -> min, max: the alert truth is sent for a night that is beyond.",
    )

    @model_validator(mode="after")
    def _are_columns_of_their_own(self) -> Labels:
        names = [*(self.key or []), self.column]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"column and key name {twice[0]} twice; each has a column of its own")
        return self

    @model_validator(mode="after")
    def _is_of_a_kind(self) -> Labels:
        if self.kind in ("numbers", "multiclass") and self.positive is not None:
            raise ValueError("positive is for kind: classes")
        if self.quantile is not None and self.kind != "numbers":
            raise ValueError("quantile is for kind: numbers")
        if (self.format == "iceberg") != (self.table is not None):
            raise ValueError("table is for format: iceberg, which needs it")
        if self.format != "parquet" and self.format not in INPUTS:
            raise ValueError(f"format: got {self.format}, expected {choices(['parquet', *INPUTS])}")
        return self

    @model_validator(mode="after")
    def _bounds_what_there_is(self) -> Labels:
        known = [*BETTER, *self.metrics]
        if unknown := sorted(set(self.bounds) - set(known)):
            raise ValueError(f"bounds: got {unknown[0]}, expected {choices(known)}")
        for name in self.metrics:
            if name in BETTER or RESERVED.fullmatch(name):
                raise ValueError(f"metrics: {name} is the name of a figure; choose another one")
        return self


class When(Section):
    """What must hold for a challenger to be proposed."""

    metric: FigureName = Field(description="The figure that is compared, night by night.")
    better_by: float = Field(
        0.0, ge=0, description="On average over the nights it is better by at least this."
    )
    nights: int = Field(
        14, ge=1, description="The last so many nights with labels, scored by the same two models."
    )
    interval: Literal["excludes_zero", "any"] = Field(
        "excludes_zero",
        description="excludes_zero: the 95% interval of the mean difference over the nights does "
        "not contain 0, which needs 2 nights or more.",
    )

    @model_validator(mode="after")
    def _compares_a_figure(self) -> When:
        if self.metric not in BETTER:
            raise ValueError(f"metric: got {self.metric}, expected {choices(BETTER)}")
        return self

    @model_validator(mode="after")
    def _has_an_interval(self) -> When:
        if self.interval == "excludes_zero" and self.nights < 2:
            raise ValueError("interval: excludes_zero needs nights: 2 or more")
        return self


class Unless(Section):
    """What keeps a challenger from being proposed."""

    segment: str = Field(description="One of labels.segments.")
    worse_by: float = Field(
        ge=0, description="For some value of it, it is worse by more than this on average."
    )


class Promote(Section):
    """Promotion on evidence: a challenger that proved better by labels is proposed as champion."""

    challenger: str | None = Field(
        None, min_length=1, description="Which of challengers. Default: the only one."
    )
    when: When
    unless: Unless | None = Field(None, description="What speaks against it.")
    auto: bool = Field(
        False, description="true: the alias is moved without asking a person in Airflow."
    )
    deadline_hours: float = Field(
        72, gt=0, description="How long the question waits for an answer in Airflow."
    )
