"""No value of a column in ``quality.sensitive`` is said where a night is judged or refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from nocturne import config
from nocturne.config import Loaded
from nocturne.pipeline.judging import judge
from pipeline.conftest import DAYS, scored

DAY = DAYS[1]

MakeProject = Callable[..., Loaded]


@pytest.mark.parametrize(
    ("sensitive", "said"),
    [
        (["id"], "such as word=a, id=hidden (2 times)"),
        (["id", "word"], "4 rows have a key that another row has too."),
    ],
)
def test_doubled_keys_that_are_sensitive_are_counted_and_not_named(
    project: MakeProject, tmp_path: Path, sensitive: list[str], said: str
) -> None:
    project(quality__unique_keys=True, quality__max_quarantined=0.5, quality__sensitive=sensitive,
            output__keys=["word", "id"], output__passthrough=[])  # fmt: skip
    folder = tmp_path / "data" / f"ds={DAY}"
    table = pq.read_table(folder / "part-0.parquet", partitioning=None)
    again = table.filter([word == "a" for word in table["word"].to_pylist()]).slice(0, 2)
    pq.write_table(again, folder / "part-1.parquet")
    run = scored(config.load("p"), DAY)
    judged = judge(run)
    [reason] = [reason for reason in judged.reasons if "another row has too" in reason]
    assert said in f"{reason}."
    assert f"id={again['id'][0].as_py()}" not in reason
    assert f"id={again['id'][0].as_py()}" not in (Path(run.run_dir) / "report.html").read_text()
