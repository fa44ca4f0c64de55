"""A project whose nights are scored in plain processes, and any number of copies of it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psutil
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyspark
import pytest
import yaml

from chaos.damage import Nights, make_nights
from chaos.nights import DAY, Root, whole_night
from chaos.strangers import STRANGERS, Stranger
from conftest import sample
from nocturne.store.failpoints import VARIABLE
from nocturne_airflow.processes import free_port
from object_store import Bucket, real_store
from pipeline.conftest import ROOT, make_project
from pipeline.conftest import registry as registry
from waiting import until

MakeRoot = Callable[..., Root]
MakeCluster = Callable[[Mapping[str, str]], str]
SPARK = Path(pyspark.__file__).parent


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How many kills hit which phase, and the seeds; also where several processes ran the tests."""
    reports = [r for outcome in ("passed", "failed") for r in terminalreporter.getreports(outcome)]
    said = [dict(report.user_properties) for report in reports if report.when == "call"]
    hits = Counter(str(one["hit"]) for one in said if "hit" in one)
    if not hits:
        return
    seeds = sorted(int(one["seed"]) for one in said if "seed" in one)
    terminalreporter.section("kills")
    span = f"; seeds {seeds[0]} to {seeds[-1]}" if seeds else ""
    terminalreporter.line(f"{hits.total()} at random moments{span}")
    for phase, count in sorted(hits.items()):
        terminalreporter.line(f"{count:5}  {phase}")


def rows(count: int, seed: int, first_id: int) -> pa.Table:
    """A file of the partition; some of the first 600 ids are missing: quarantined rows."""
    table = sample(count, seed, first_id)
    keys = table["id"]
    missing = pc.and_(pc.less(keys, 600), pc.equal(pc.bit_wise_and(keys, 63), 7))
    return table.set_column(0, "id", pc.if_else(missing, pa.scalar(None, keys.type), keys))


def correct(root: Root, seed: int = 50) -> None:
    """A file of the partition is delivered again, with other rows."""
    pq.write_table(rows(600, seed, 1000), root.input / "part-1.parquet", row_group_size=100)


def with_columns(root: Root, columns: dict[str, pa.Array]) -> None:
    """More columns in the input, and in the scores."""
    for path in root.input.glob("*.parquet"):
        table = pq.read_table(path, partitioning=None)
        at = pa.array([n % 3 for n in range(len(table))])
        for name, values in columns.items():
            table = table.append_column(name, values.take(at))
        pq.write_table(table, path, row_group_size=100)
    root.configure("output", passthrough=["word", *columns])


@pytest.fixture(scope="session")
def template(registry: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """conf/, a registry and a partition of three files, 18 splits."""
    root = tmp_path_factory.mktemp("template")
    (root / "conf" / "pipelines").mkdir(parents=True)
    shutil.copy(ROOT / "conf" / "base.yaml", root / "conf")
    for name in ("env", "spark"):
        shutil.copytree(ROOT / "conf" / name, root / "conf" / name)
    (root / "conf" / "expectations").mkdir()
    database = root / "var" / "mlflow" / "mlflow.db"
    database.parent.mkdir(parents=True)
    shutil.copy(registry / "mlflow.db", database)
    shutil.copytree(registry / "trials", root / "out" / "_nocturne" / "scores" / "trials")
    folder = root / "data" / f"ds={DAY}"
    folder.mkdir(parents=True)
    for number in range(3):
        pq.write_table(
            rows(600, number, 1000 * number), folder / f"part-{number}.parquet", row_group_size=100
        )
    pipeline = {
        "model": {"name": "small", "alias": "champion"},
        "input": {"path": "data"},
        "output": {"path": "out/scores", "keys": ["id"], "passthrough": ["word"]},
        # By hand: two searches may find different kernels, whose last bits differ.
        "scoring": {"split_rows": 100, "kernel": "graph", "micro_batch": 64},
        "quality": {"max_quarantined": 0.5},
    }
    text = yaml.safe_dump(pipeline, sort_keys=False)
    (root / "conf" / "pipelines" / "p.yaml").write_text(text, encoding="utf-8")
    _warm_up(root, tmp_path_factory.mktemp("warm") / "root")
    return root


def _warm_up(template: Path, folder: Path) -> None:
    """A night in this process: what it imports and compiles is there in those that are forked."""
    root = Root(shutil.copytree(template, folder))
    with pytest.MonkeyPatch.context() as patched:
        patched.delenv("MLFLOW_TRACKING_URI", raising=False)
        patched.setenv("NOCTURNE_HOME", str(folder))
        whole_night(root.load(), root.partition)


@pytest.fixture(
    params=[
        "parquet",
        pytest.param("delta", marks=pytest.mark.long),
        pytest.param("delta on s3", marks=pytest.mark.long),
        pytest.param("iceberg", marks=pytest.mark.long),
        pytest.param("iceberg on s3", marks=pytest.mark.long),
    ]
)
def table_format(request: pytest.FixtureRequest) -> str:
    """Every promise is kept for each table format."""
    return str(request.param)


@pytest.fixture(scope="session")
def shared_bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    """A bucket of a real store. Each project has a folder of its own in it."""
    with real_store(tmp_path_factory.mktemp("store")) as endpoint:
        yield Bucket("first", endpoint)


@pytest.fixture
def bucket(request: pytest.FixtureRequest, table_format: str) -> Bucket | None:
    """The bucket of formats that are in a store."""
    if not table_format.endswith("s3"):
        return None
    found: Bucket = request.getfixturevalue("shared_bucket")
    return found


@pytest.fixture
def _on_a_disk(table_format: str) -> None:
    """For tests of what only a file system has."""
    if table_format.endswith("s3"):
        pytest.skip("of file systems")


@pytest.fixture
def make_root(
    template: Path,
    table_format: str,
    bucket: Bucket | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[MakeRoot]:
    """Copies of the project; processes that they left running are ended."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for name, value in bucket.environment.items() if bucket else ():
        monkeypatch.setenv(name, value)  # for a cluster's workers too
    made: list[Root] = []

    def make() -> Root:
        folder = tmp_path / f"root-{len(made)}"
        shutil.copytree(template, folder)
        made.append(Root(folder, bucket))
        made[-1].publish_into(table_format)
        return made[-1]

    home = os.environ.get("NOCTURNE_HOME")
    yield make
    if home is not None:
        os.environ["NOCTURNE_HOME"] = home
    for root in made:
        for name in root.environment.keys() - {"NOCTURNE_HOME"}:
            os.environ.pop(name, None)
    for root in made:
        root.end()


@pytest.fixture
def root(make_root: MakeRoot) -> Root:
    """A project whose night is published."""
    made = make_root()
    assert made.night() == 0
    return made


@pytest.fixture
def lake(root: Root, table_format: str) -> Stranger:
    """Another program that uses the lake table, where a night is published."""
    return STRANGERS[table_format](root)


@pytest.fixture
def new(make_root: MakeRoot, table_format: str) -> Stranger:
    """Another program that uses the lake table, where nothing is scored yet."""
    return STRANGERS[table_format](make_root())


@pytest.fixture(scope="session")
def nights(registry: Path, tmp_path_factory: pytest.TempPathFactory) -> Nights:
    """A project for the fuzzers, with nights published, held and replaced."""
    with pytest.MonkeyPatch.context() as patched:
        loaded = make_project(
            tmp_path_factory.mktemp("nights"),
            registry,
            patched,
            quality__unique_keys=True,
            quality__max_quarantined=0.5,
            scoring__kernel="graph",
            scoring__micro_batch=64,
        )
        return make_nights(loaded)


@pytest.fixture
def at_home(nights: Nights, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands work on the nights' project, whatever MLflow server an earlier test has set."""
    monkeypatch.setenv("NOCTURNE_HOME", str(nights.root))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def make_cluster(tmp_path: Path) -> Iterator[MakeCluster]:
    """Starts a Spark master and, on each of the addresses, a worker of a core; gives the master.

    What an address is given is the failpoint of all that runs there.
    """
    started: list[subprocess.Popen[bytes]] = []

    def start(what: str, *args: str, failpoint: str = "") -> Path:
        command = ["bash", str(SPARK / "bin" / "spark-class"), f"org.apache.spark.deploy.{what}"]
        env = {**os.environ, "SPARK_HOME": str(SPARK), VARIABLE: failpoint}
        env.pop("SPARK_CONF_DIR", None)  # of an application in this process, with its level of logs
        path = tmp_path / f"{len(started)}.log"
        with open(path, "wb") as log:
            process = subprocess.Popen([*command, *args], env=env, stdout=log, stderr=log)
        started.append(process)
        return path

    def make(workers: Mapping[str, str]) -> str:
        url = f"spark://127.0.0.1:{free_port()}"
        log = start(
            "master.Master",
            "--host",
            "127.0.0.1",
            "--port",
            url.rpartition(":")[2],
            "--webui-port",
            str(free_port()),
        )
        for host, failpoint in workers.items():
            start(
                "worker.Worker",
                "--host",
                host,
                "--cores",
                "1",
                "--memory",
                "1g",
                "--webui-port",
                str(free_port()),
                "--work-dir",
                str(tmp_path / host),
                url,
                failpoint=failpoint,
            )
        found = "Registering worker"
        until(lambda: log.read_text().count(found) == len(workers), "a cluster", 90)
        return url

    yield make
    for process in started:
        for one in (*psutil.Process(process.pid).children(recursive=True), process):
            one.kill()
        process.wait()
