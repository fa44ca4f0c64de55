"""The JVM is started lean where that can do no harm, and as the user says."""

from __future__ import annotations

from pathlib import Path

import pytest

from nocturne.host import cache
from nocturne.spark.start import jvm

OPTIONS = "spark.driver.extraJavaOptions"


@pytest.fixture(autouse=True)
def _nothing_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_candidates", lambda: iter([tmp_path / "kept"]))
    for name in (
        "SPARK_CONF_DIR",
        "SPARK_HOME",
        "HADOOP_CONF_DIR",
        "YARN_CONF_DIR",
        "SPARK_DIST_CLASSPATH",
        "JAVA_TOOL_OPTIONS",
        "JDK_JAVA_OPTIONS",
    ):
        monkeypatch.delenv(name, raising=False)


ROOT = Path(__file__).parents[3]


@pytest.fixture
def logging_only(tmp_path: Path) -> Path:
    folder = tmp_path / "spark"
    folder.mkdir()
    (folder / "log4j2.properties").write_text("rootLogger.level = warn\n")
    return folder


def _options(launch: jvm.Launch) -> str:
    return launch.settings().get(OPTIONS, "")


def test_the_first_application_makes_the_archive(logging_only: Path) -> None:
    launch = jvm.plan("local[2]", {}, logging_only)
    assert launch.making
    assert "-XX:ArchiveClassesAtExit=" in _options(launch)
    assert "-XX:ArchiveClassesAtExit=" not in _options(launch.plain())


def test_logging_alone_keeps_the_folder_off_the_class_path(logging_only: Path) -> None:
    launch = jvm.plan("local[2]", {}, logging_only)
    assert f"-Dlog4j2.configurationFile={logging_only / 'log4j2.properties'}" in _options(launch)
    assert launch.environment == {}


def test_the_projects_own_folder_keeps_the_archive() -> None:
    launch = jvm.plan("local[2]", {}, ROOT / "conf" / "spark")
    assert launch.archive is not None
    assert launch.environment == {}


@pytest.mark.parametrize("name", ["core-site.xml", "spark-env.sh", "spark-defaults.conf"])
def test_a_folder_with_more_in_it_is_sparks_own_and_bars_the_archive(
    logging_only: Path, name: str
) -> None:
    (logging_only / name).write_text("<configuration/>")
    launch = jvm.plan("local[2]", {}, logging_only)
    assert launch.environment == {"SPARK_CONF_DIR": str(logging_only)}
    assert (launch.archive, "log4j2" in _options(launch)) == (None, False)


@pytest.mark.parametrize("name", ["SPARK_CONF_DIR", "HADOOP_CONF_DIR"])
def test_folders_that_the_user_put_on_the_class_path_bar_it_too(
    name: str, logging_only: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, str(logging_only))
    assert jvm.plan("local[2]", {}, None).archive is None


def test_under_spark_submit_the_jvm_runs_already(logging_only: Path) -> None:
    launch = jvm.plan(None, {"spark.executor.memory": "2g"}, logging_only)
    assert launch.settings() == {"spark.executor.memory": "2g"}
    assert launch.archive is None


LEAN = {
    "one machine": ("local[2]", "", True, True),
    "a cluster": ("spark://master:7077", "", True, False),
    "Spark carries the rows": ("local[2]", "", False, False),
    "another collector": ("local[2]", "-XX:+UseZGC", True, False),
    "other options": ("local[2]", "-Duser.timezone=UTC", True, True),
}


@pytest.mark.parametrize("case", LEAN)
def test_it_is_lean_only_where_it_carries_no_rows(case: str) -> None:
    master, given, lean, expected = LEAN[case]
    launch = jvm.plan(master, {OPTIONS: given} if given else {}, None, lean=lean)
    assert ("-XX:+UseSerialGC" in _options(launch)) == expected
    assert _options(launch).endswith(given)  # the last one wins


def test_a_collector_chosen_in_the_environment_stays_the_only_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("JAVA_TOOL_OPTIONS", "-XX:+UseParallelGC")
    assert "UseSerialGC" not in _options(jvm.plan("local[2]", {}, None))
