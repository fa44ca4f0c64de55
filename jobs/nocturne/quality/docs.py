"""Writes the Data Docs of Great Expectations for a night, completely or not at all."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from jinja2 import BytecodeCache
from jinja2.bccache import Bucket

from nocturne.objects import Location, ObjectPath
from nocturne.store import files

if TYPE_CHECKING:
    from great_expectations.core import ExpectationSuite, ExpectationSuiteValidationResult
    from great_expectations.data_context.data_context.abstract_data_context import (
        AbstractDataContext,
    )
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration

__all__ = ["INDEX", "Validated", "add", "place", "scratch"]

Validated = tuple["ExpectationSuite", "ExpectationSuiteValidationResult"]

INDEX = "index.html"
_LONGEST = 1000
_TAG = re.compile(r"<(?=[A-Za-z/!?])")


@contextmanager
def scratch(docs_dir: Location | None) -> Iterator[Path | None]:
    """A folder in which the site is built: next to ``docs_dir``, if that is on a file system."""
    if docs_dir is None:
        yield None
    elif isinstance(docs_dir, ObjectPath):
        with files.scratch("docs") as folder:
            yield folder
    else:
        docs_dir.parent.mkdir(parents=True, exist_ok=True)
        folder = docs_dir.with_name(f".{docs_dir.name}.{os.getpid()}.{os.urandom(4).hex()}.tmp")
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def add(
    gx: AbstractDataContext,
    title: str,
    suite: ExpectationSuite,
    answers: ExpectationSuiteValidationResult,
) -> None:
    """Add a suite and its results to the stores that the site's pages are built from.

    The results are changed: see ``_harmless``.
    """
    from great_expectations import ExpectationSuite as Suite
    from great_expectations.core import RunIdentifier
    from great_expectations.data_context.types.resource_identifiers import (
        ExpectationSuiteIdentifier,
        ValidationResultIdentifier,
    )
    from great_expectations.expectations.expectation_configuration import (
        ExpectationConfiguration as Configuration,
    )

    for result in answers.results:
        result.success = bool(result.success)
        result.result = _harmless(result.result)
        result.exception_info = _harmless(result.exception_info)
        if result.expectation_config is not None:
            result.expectation_config = Configuration(**_for_pages(result.expectation_config))
    answers.success = bool(answers.success)
    run = RunIdentifier(
        run_name=re.sub(r"[^\w-]+", "_", title, flags=re.ASCII), run_time=datetime.now(UTC)
    )
    answers.meta["run_id"] = run
    answers.meta["validation_time"] = run.run_time
    identifier = ValidationResultIdentifier(
        expectation_suite_identifier=ExpectationSuiteIdentifier(suite.name),
        run_id=run,
        batch_identifier=suite.name,
    )
    gx.validation_results_store.set(identifier, answers)
    described = [_for_pages(c) for c in suite.expectation_configurations]
    gx.suites.add(Suite(name=suite.name, expectations=described))


def place(gx: AbstractDataContext, made_in: Path, docs_dir: Location) -> None:
    """Build the pages in the scratch folder, then replace ``docs_dir`` with it."""
    with _templates_compiled_once():
        gx.build_data_docs()
    # 3.3 MB of animations for a guide that is switched off; a night's docs are then .7 MB.
    for animation in (made_in / "static" / "images").glob("*.gif"):
        animation.unlink()
    files.replace_folder(made_in, docs_dir)


class _TemplateCache(BytecodeCache):
    """Compiled templates, in memory."""

    codes: ClassVar[dict[str, bytes]] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self.codes:
            bucket.bytecode_from_string(self.codes[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self.codes[bucket.key] = bucket.bytecode_to_string()


@contextmanager
def _templates_compiled_once() -> Iterator[None]:
    """Great Expectations makes a Jinja environment for every part of every page, and each
    compiles the templates anew: most of the time that a night's docs take."""
    from great_expectations.render.view import view

    environment = view.Environment
    view.Environment = partial(environment, bytecode_cache=_TemplateCache())
    try:
        yield
    finally:
        view.Environment = environment


def _for_pages(expectation: ExpectationConfiguration) -> dict[str, Any]:
    """An expectation for the pages, with its column names, arguments and notes made harmless."""
    shown = _harmless(
        {k: v for k, v in expectation.to_json_dict().items() if k != "rendered_content"}
    )
    return dict(shown)


def _harmless(value: Any) -> Any:
    """JSON that can't harm the page: long texts are cut, and no text can start a tag.

    Great Expectations 1.24 escapes most arguments, but neither unexpected values nor names of
    columns where they are headings. An escaped "<" would show as ``&lt;`` where it does escape, so
    the character itself is replaced by a likeness.
    """
    if isinstance(value, Mapping):
        return {_harmless(str(k)): _harmless(v) for k, v in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_harmless(v) for v in value]
    if hasattr(value, "item"):  # numpy's scalars
        value = value.item()
    if isinstance(value, bool | int | float) or value is None:
        return value
    text = str(value)
    return _TAG.sub("‹", text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…")
