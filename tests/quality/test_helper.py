"""The process beside the driver that evaluates suites."""

from __future__ import annotations

from base64 import b64encode
from contextlib import closing
from pathlib import Path
from threading import Timer

import pyarrow as pa
import pytest
import yaml

from nocturne import profile, quality
from nocturne.quality import Helper, SuiteRequest


def _asked(folder: Path, columns: int) -> SuiteRequest:
    names = [f"a_feature_with_a_long_name_{i:03}" for i in range(columns)]
    schema = pa.schema([(name, pa.float64()) for name in names])
    rule = {"min_value": 0, "max_value": 1}
    expectations = [
        {"type": "expect_column_values_to_be_between", "kwargs": {"column": name, **rule}}
        for name in names
    ]
    suite = folder / "s.yaml"
    suite.write_text(yaml.safe_dump({"name": "s", "expectations": expectations}))
    measurer = profile.Measurer(quality.measures_of(suite, schema))
    values = [pa.array([0.5, 2.0])] * columns
    measurer.update(pa.RecordBatch.from_arrays(values, names=names))
    return SuiteRequest(
        suite, b64encode(schema.serialize().to_pybytes()).decode(), measurer.result()
    )


def test_questions_and_answers_larger_than_a_pipe_stop_neither_side(tmp_path: Path) -> None:
    asked = _asked(tmp_path, 300)
    with closing(Helper()) as helper:
        stuck = Timer(900, helper._process.kill)  # a slow machine is not stuck
        stuck.start()
        for _ in range(2):
            helper.ask({"input": asked})
        for _ in range(2):
            answer, _seconds = helper.answer()
            assert len(answer.failed) == 300
        stuck.cancel()


def test_a_helper_that_died_says_so_every_time(tmp_path: Path) -> None:
    with closing(Helper()) as helper:
        helper._process.kill()
        helper.ask({"input": _asked(tmp_path, 1)})
        for _ in range(2):
            with pytest.raises(OSError, match="the process that checks quality ended"):
                helper.answer()
