"""No value of a column in ``quality.sensitive`` is said where a night is judged or refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from nocturne import config
from nocturne.config import Loaded
from nocturne.errors import ConfigError, InputError
from nocturne.pipeline.recording import judge_run
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
    project(
        quality__unique_keys=True,
        quality__max_quarantined=0.5,
        quality__sensitive=sensitive,
        output__keys=["word", "id"],
        output__passthrough=[],
    )
    folder = tmp_path / "data" / f"ds={DAY}"
    table = pq.read_table(folder / "part-0.parquet", partitioning=None)
    again = table.filter([word == "a" for word in table["word"].to_pylist()]).slice(0, 2)
    pq.write_table(again, folder / "part-1.parquet")
    run = scored(config.load("p"), DAY)
    judged = judge_run(run)
    [reason] = [reason for reason in judged.reasons if "another row has too" in reason]
    assert said in f"{reason}."
    assert f"id={again['id'][0].as_py()}" not in reason
    assert f"id={again['id'][0].as_py()}" not in (run.path / "report.html").read_text()


@pytest.mark.parametrize(("bound", "word"), [("max_value", "above"), ("min_value", "below")])
@pytest.mark.parametrize(
    "type_", ["values_to_be_between", "max_to_be_between", "min_to_be_between"]
)
def test_a_night_that_footers_refuse_says_no_sensitive_extreme(
    project: MakeProject, tmp_path: Path, type_: str, bound: str, word: str
) -> None:
    loaded = project(
        quality__input_suite="i.yaml", quality__on_failure="fail", quality__sensitive=["y"]
    )
    limit = {"max_value": -100, "min_value": 100}[bound]
    asked = {"type": f"expect_column_{type_}", "kwargs": {"column": "y", bound: limit}}
    text = yaml.safe_dump({"name": "i", "expectations": [asked]})
    (tmp_path / "conf" / "expectations" / "i.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=f"on y: a value is {word} -?100$"):
        scored(loaded, DAY)


@pytest.mark.parametrize(
    ("named", "said"),
    [
        (
            "wrod",
            r"quality\.sensitive names 'wrod' \(did you mean 'word'\?\), which the input lacks",
        ),
        ("income", "names 'income', which the input lacks; it has the columns id, word, x, y$"),
        ("score", "names score, which the model predicts; expected columns of the input"),
    ],
)
def test_a_name_in_sensitive_that_is_no_column_of_the_input_is_refused(
    project: MakeProject, named: str, said: str
) -> None:
    loaded = project(quality__sensitive=["word", named])
    with pytest.raises(ConfigError, match=said):
        scored(loaded, DAY)
