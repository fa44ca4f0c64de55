"""An engine of Great Expectations that looks up the values that were measured while scoring.

It uses the library's extension points: an ``ExecutionEngine`` with a ``MetricProvider`` for each
metric, a ``Datasource`` and a ``DataAsset``. Importing this module imports the library.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import numpy as np
from great_expectations.core.batch import BatchData, BatchMarkers, LegacyBatchDefinition
from great_expectations.core.batch_spec import BatchSpec, RuntimeDataBatchSpec
from great_expectations.core.id_dict import IDDict
from great_expectations.datasource.fluent import BatchRequest
from great_expectations.datasource.fluent.interfaces import Batch, DataAsset, Datasource
from great_expectations.execution_engine import ExecutionEngine
from great_expectations.expectations.metrics.metric_provider import MetricProvider, metric_value
from great_expectations.expectations.registry import get_metric_kwargs

from nocturne.columns.values import from_json
from nocturne.errors import StateError
from nocturne.quality.measuring import EXPECTATIONS, condition_of, normal
from nocturne.records.quality import Measure, Measured

__all__ = ["add_batch"]

Answers = Mapping[str, Measured]
"""By the measure's key."""


class MeasuredEngine(ExecutionEngine):  # type: ignore[misc]
    """An engine without data; it has only measured values."""

    def get_batch_data_and_markers(self, batch_spec: Any) -> tuple[Any, BatchMarkers]:
        data = _Answers(self, *batch_spec["batch_data"])
        return data, BatchMarkers({"ge_load_time": ""})

    def resolve_metric_bundle(self, metric_fn_bundle: Any) -> dict[Any, Any]:
        return {}

    def _no_filter(self, condition: Any) -> Any:
        raise NotImplementedError("conditions were applied when the rows were counted")

    _comparison_condition_to_filter_clause = _no_filter
    _nullity_condition_to_filter_clause = _no_filter
    _and_condition_to_filter_clause = _no_filter
    _or_condition_to_filter_clause = _no_filter


class _Answers(BatchData):  # type: ignore[misc]
    def __init__(self, engine: MeasuredEngine, answers: Answers, names: Sequence[str]) -> None:
        super().__init__(engine)
        self.answers, self.names = answers, list(names)


class MetricRequest:
    """A metric that Great Expectations requests, and the measured values to compute it from."""

    def __init__(self, data: _Answers, name: str, domain: Any, value: Any) -> None:
        self.data, self.name = data, name
        self.condition = normal(condition_of(domain.get("row_condition")))
        self.columns = tuple(
            domain.get("column_list")
            or [domain[k] for k in ("column", "column_A", "column_B") if domain.get(k)]
        )
        self.ignore = domain.get("ignore_row_if") or ""
        self.args = normal({k: v for k, v in value.items() if k != "result_format"})
        self.value_set = value.get("value_set") or []

    def of(self, kind: Any, rule: str = "") -> Measured:
        measure = Measure(
            kind=kind,
            columns=() if kind == "rows" else self.columns,
            rule=rule,
            args=self.args if rule else {},
            condition=self.condition,
            ignore=self.ignore if kind == "row_rule" else "",
        )
        measured = self.data.answers.get(measure.key)
        if measured is None:
            raise StateError(f"{self.name} of {', '.join(self.columns)} was not measured")
        if measured.beyond:
            raise StateError(
                f"{', '.join(self.columns)} has more distinct values than are counted "
                "separately while scoring; quality.scan: spark (or pandas) counts them all"
            )
        return measured

    def values(self) -> dict[Any, int]:
        measured = self.of("values")
        return {from_json(value, measured.type): count for value, count in measured.values}


def _plain(measured: Measured, name: str) -> Any:
    """The value in the column's precision: a float32 is compared with a bound as in numpy."""
    value = from_json(getattr(measured, name), measured.type)
    return np.float32(value) if measured.type == "float" and value is not None else value


def _total(measured: Measured) -> Any:
    """The sum; 0 for no rows, as in pandas."""
    return float(measured.total) if isinstance(measured.total, str) else measured.total or 0


def _mean(measured: Measured) -> Any:
    """The mean, kept between the least and the greatest value in spite of rounding."""
    count = measured.rows - measured.missing
    mean = _total(measured) / count if count else float("nan")
    if not math.isfinite(mean):
        return mean
    least, most = (from_json(end, measured.type) for end in (measured.minimum, measured.maximum))
    return min(max(mean, least), most)


def _deviation(measured: Measured) -> Any:
    """The standard deviation of a sample: divided by n - 1."""
    count = measured.rows - measured.missing
    return (float(measured.squares or 0) / (count - 1)) ** 0.5 if count > 1 else float("nan")


def _not_in_set(metric: MetricRequest) -> list[Any]:
    return sorted(metric.values().keys() - set(metric.value_set))


def _missing_from(metric: MetricRequest) -> list[Any]:
    values = metric.values()
    return [value for value in metric.value_set if value not in values]


def _unique_share(metric: MetricRequest) -> float:
    measured = metric.of("values")
    count = measured.rows - measured.missing
    return len(measured.values) / count if count else 0


def _present_share(metric: MetricRequest) -> float:
    measured = metric.of("missing")
    return (measured.rows - measured.missing) / measured.rows if measured.rows else 0


def _most_common(metric: MetricRequest) -> list[Any]:
    values = metric.values()
    most = max(values.values(), default=0)
    return sorted(value for value, count in values.items() if count == most)


_METRICS: dict[str, Callable[[MetricRequest], Any]] = {
    "table.row_count": lambda metric: metric.of("rows").rows,
    "table.columns": lambda metric: metric.data.names,
    "table.column_count": lambda metric: len(metric.data.names),
    "column_values.nonnull.unexpected_count": lambda metric: metric.of("missing").missing,
    "column_values.nonnull.unexpected_values": lambda metric: (
        [None] * min(5, metric.of("missing").missing)
    ),
    "column.non_null_proportion": _present_share,
    "column.max": lambda metric: _plain(metric.of("moments"), "maximum"),
    "column.min": lambda metric: _plain(metric.of("moments"), "minimum"),
    "column.sum": lambda metric: _total(metric.of("moments")),
    "column.mean": lambda metric: _mean(metric.of("moments")),
    "column.standard_deviation": lambda metric: _deviation(metric.of("moments")),
    "column.distinct_values.count": lambda metric: len(metric.of("values").values),
    "column.distinct_values.not_in_set": _not_in_set,
    "column.distinct_values.not_in_set.count": lambda metric: len(_not_in_set(metric)),
    "column.distinct_values.missing_from_column": _missing_from,
    "column.distinct_values.missing_from_column.count": lambda metric: len(_missing_from(metric)),
    "column.unique_proportion": _unique_share,
    "column.most_common_value": _most_common,
}


def _rule_metrics() -> dict[str, Callable[[MetricRequest], Any]]:
    metrics: dict[str, Callable[[MetricRequest], Any]] = {}

    def add(kind: str, rule: str) -> None:
        def examples(metric: MetricRequest) -> list[Any]:
            counted = metric.of(kind, rule)
            if kind == "row_rule" and rule.startswith("column_pair"):
                return [tuple(row) for row in counted.examples]
            if kind == "row_rule":
                return [dict(zip(metric.columns, row, strict=True)) for row in counted.examples]
            return [from_json(value, counted.type) for value in counted.examples]

        def left(metric: MetricRequest) -> int:
            counted = metric.of(kind, rule)
            return counted.rows - counted.missing

        metrics[f"{rule}.unexpected_count"] = lambda metric: metric.of(kind, rule).unexpected
        metrics[f"{rule}.unexpected_values"] = examples
        if kind == "row_rule":
            metrics[f"{rule}.filtered_row_count"] = left

    for way in EXPECTATIONS.values():
        if way.rule:
            add(way.kinds[-1], way.rule)
    return metrics


def _register(name: str, compute: Callable[[MetricRequest], Any]) -> None:
    keys = get_metric_kwargs(name)

    def measured(
        cls: Any,
        execution_engine: Any,
        metric_domain_kwargs: Any,
        metric_value_kwargs: Any,
        **_: Any,
    ) -> Any:
        data = execution_engine.batch_manager.active_batch_data
        return compute(MetricRequest(data, name, metric_domain_kwargs, metric_value_kwargs))

    type(
        f"Measured_{name}",
        (MetricProvider,),
        {
            "metric_name": name,
            "domain_keys": keys["metric_domain_keys"],
            "value_keys": keys["metric_value_keys"],
            "measured": metric_value(engine=MeasuredEngine)(measured),
        },
    )


for _name, _compute in {**_METRICS, **_rule_metrics()}.items():
    _register(_name, _compute)


class MeasuredAsset(DataAsset):  # type: ignore[misc]
    """A table whose measured values are known."""

    type: Literal["measured_table"] = "measured_table"

    def test_connection(self) -> None:
        """There is nothing to connect to."""

    def build_batch_request(
        self, options: Any = None, batch_slice: Any = None, partitioner: Any = None
    ) -> BatchRequest:
        return BatchRequest(
            datasource_name=self.datasource.name, data_asset_name=self.name, options=options or {}
        )

    def get_batch_parameters_keys(self, partitioner: Any = None) -> tuple[str, ...]:
        return ()

    def get_batch_identifiers_list(self, batch_request: BatchRequest) -> list[dict[str, Any]]:
        return [IDDict()]

    def get_batch(self, batch_request: BatchRequest) -> Batch:
        spec = RuntimeDataBatchSpec(batch_data=self.datasource.tables[self.name])
        engine = self.datasource.get_execution_engine()
        data, markers = engine.get_batch_data_and_markers(batch_spec=spec)
        definition = LegacyBatchDefinition(
            datasource_name=self.datasource.name,
            data_connector_name="measured",
            data_asset_name=self.name,
            batch_identifiers=IDDict(),
        )
        return Batch(
            datasource=self.datasource,
            data_asset=self,
            batch_request=batch_request,
            data=data,
            metadata={},
            batch_markers=markers,
            batch_spec=BatchSpec(),
            batch_definition=definition,
        )


class MeasuredDatasource(Datasource):  # type: ignore[misc]
    """Tables that were measured while they were scored."""

    asset_types: ClassVar[Sequence[Any]] = [MeasuredAsset]
    tables: ClassVar[dict[str, tuple[Answers, Sequence[str]]]] = {}

    type: Literal["measured"] = "measured"
    assets: list[MeasuredAsset] = []  # noqa: RUF012

    @property
    def execution_engine_type(self) -> Any:
        return MeasuredEngine

    def test_connection(self, test_assets: bool = True) -> None:
        """There is nothing to connect to."""


def add_batch(context: Any, name: str, answers: Answers, names: Sequence[str]) -> Batch:
    """The table ``name`` as a batch that suites can be validated on.

    Args:
        context: Great Expectations' own.
        names: the table's columns, in order.
    """
    MeasuredDatasource.tables[name] = (answers, names)
    source = context.data_sources.add_or_update_measured("measured")
    asset = source._add_asset(MeasuredAsset(name=name))
    return asset.get_batch(asset.build_batch_request())
