"""Great Expectations, imported late and kept quiet, on data frames and without a project.

Its Checkpoint is not used: it stores results before anybody can look at them, which fails on
numpy 2's booleans (quantile expectations). A batch is validated instead, which is what a
Checkpoint does first. Nor are its Data Docs: they need scripts and load styles from the network,
and show values from the data unescaped; the report room writes the page of the results.
"""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from nocturne.errors import ConfigError
from nocturne.quality.expectation_records import exception_messages
from nocturne.quality.reads import columns_of

if TYPE_CHECKING:
    import pandas as pd
    from great_expectations.core import (
        ExpectationSuite,
        ExpectationSuiteValidationResult,
        ExpectationValidationResult,
    )
    from great_expectations.data_context.data_context.abstract_data_context import (
        AbstractDataContext,
    )
    from great_expectations.datasource.fluent.interfaces import Batch

__all__ = ["SHOWN", "build", "context", "frame_batch", "hide", "key", "quiet", "validate"]

SHOWN = 5
"""How many unexpected values of an expectation are kept."""


@contextmanager
def quiet() -> Iterator[None]:
    """Runs Great Expectations without analytics, its 200 lines of INFO and its deprecations."""
    os.environ["GX_ANALYTICS_ENABLED"] = "False"
    logging.getLogger("great_expectations").setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def context() -> AbstractDataContext:
    """A context in memory."""
    import great_expectations
    from great_expectations.data_context.types.base import (
        DataContextConfig,
        InMemoryStoreBackendDefaults,
        ProgressBarsConfig,
    )

    config = DataContextConfig(
        store_backend_defaults=InMemoryStoreBackendDefaults(),
        data_docs_sites={},
        analytics_enabled=False,
        progress_bars=ProgressBarsConfig(globally=False),
    )
    return great_expectations.get_context(mode="ephemeral", project_config=config)


def key(index: int) -> str:
    """The id of a suite's expectation. Results have ids because they come in another order."""
    return str(UUID(int=index))


def build(name: str, path: Path, expectations: Sequence[Mapping[str, Any]]) -> ExpectationSuite:
    """The suite as an object of Great Expectations; each expectation has its ``key`` as id.

    Raises:
        ConfigError: Great Expectations refuses an expectation. (By itself it would drop the
            expectation and report success.)
    """
    import great_expectations
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

    for index, expectation in enumerate(expectations):
        try:
            ExpectationConfiguration(**expectation).to_domain_obj()
        except Exception as error:  # pydantic's, its own, and plain ones
            raise ConfigError(
                f"{path}: expectations[{index}]: {expectation['type']}: Great Expectations "
                f"refuses its arguments {expectation['kwargs']!r}: {error}",
                path=str(path),
            ) from None
    listed = [{**expectation, "id": key(index)} for index, expectation in enumerate(expectations)]
    return great_expectations.ExpectationSuite(name=name, expectations=listed)


def frame_batch(gx: AbstractDataContext, name: str, frame: pd.DataFrame) -> Batch:
    """A data frame as a batch that suites can be validated on."""
    source = gx.data_sources.add_or_update_pandas("parquet")
    definition = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("all")
    return definition.get_batch(batch_parameters={"dataframe": frame})


def validate(batch: Batch, suite: ExpectationSuite) -> ExpectationSuiteValidationResult:
    """Validate the suite on the batch; a result has at most SHOWN unexpected values.

    An expectation that raises has failed. Great Expectations catches most exceptions itself; for
    the few that it does not, each expectation is validated alone.
    """
    form = {"result_format": "BASIC", "partial_unexpected_count": SHOWN}
    try:
        return batch.validate(suite, result_format=form)
    except Exception:  # whatever an expectation's code raises
        return _one_by_one(batch, suite, form)


def hide(validated: ExpectationSuiteValidationResult, columns: frozenset[str]) -> None:
    """Remove observed values of ``columns`` from the results; counts stay.

    The message of an error quotes values too, and metrics that are computed together share it. So
    if an expectation that reads such a column has a message, it is removed from all results.
    """
    hidden = {
        message
        for answer in validated.results
        if columns & _columns_read(answer)
        for message in exception_messages(answer.exception_info or {})
    }
    for answer in validated.results:
        if hidden & set(exception_messages(answer.exception_info or {})):
            answer.exception_info = {
                "raised_exception": True,
                "exception_message": "the message is hidden: sensitive",
                "exception_traceback": None,
            }
        configuration = answer.expectation_config
        kwargs = configuration.kwargs if configuration is not None else {}
        read = {kwargs.get(name) for name in ("column", "column_A", "column_B")}
        if not columns & {*read, *(kwargs.get("column_list") or ())}:
            continue
        type_ = configuration.type if configuration is not None else ""
        counts = "proportion" in type_ or "count" in type_  # of rows, or of different values
        result = answer.result or {}
        if "observed_value" in result and not counts:
            result["observed_value"] = "hidden: sensitive"
        result.pop("details", None)
        for name in result:
            if name.startswith(("partial_unexpected", "unexpected_list", "unexpected_index")):
                result[name] = []


def _columns_read(result: ExpectationValidationResult) -> set[str]:
    configuration = result.expectation_config
    if configuration is None:
        return set()
    return set(columns_of({"type": configuration.type, "kwargs": configuration.kwargs}))


def _one_by_one(
    batch: Batch, suite: ExpectationSuite, form: dict[str, Any]
) -> ExpectationSuiteValidationResult:
    from great_expectations.core import (
        ExpectationSuiteValidationResult,
        ExpectationValidationResult,
    )

    results = []
    for configuration in suite.expectation_configurations:
        try:
            results.append(batch.validate(configuration.to_domain_obj(), result_format=form))
        except Exception as error:  # as above
            info = {"raised_exception": True, "exception_message": str(error)}
            results.append(
                ExpectationValidationResult(
                    success=False, expectation_config=configuration, exception_info=info
                )
            )
    passed = sum(bool(result.success) for result in results)
    statistics = {
        "evaluated_expectations": len(results),
        "successful_expectations": passed,
        "unsuccessful_expectations": len(results) - passed,
        "success_percent": 100 * passed / len(results),
    }
    return ExpectationSuiteValidationResult(
        success=passed == len(results),
        results=results,
        suite_name=suite.name,
        statistics=statistics,
        meta={},
    )
