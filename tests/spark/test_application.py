"""Applications come up in the background, make the archive once, and start without one too."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CONF = {"spark.ui.enabled": "false", "spark.driver.host": "127.0.0.1"}
TOLD = """
import json, sys
from pathlib import Path
from nocturne.host import cache
from nocturne.spark.application import Application

cache._candidates = lambda: iter([Path(sys.argv[1])])
with Application("told", "local[1]", json.loads(sys.argv[2])) as spark:
    spark.start()
    context = spark.context()
    with Application("inner", "local[7]", {}) as inner:
        same = inner.context() is context
    beans = context._jvm.java.lang.management.ManagementFactory.getRuntimeMXBean()
    told = {"same": same, "left": context._jsc is not None,
            "sum": context.parallelize([1, 2]).sum(),
            "options": [str(option) for option in beans.getInputArguments()]}
print(json.dumps(told))
"""


def _start(kept: Path) -> tuple[dict[str, object], str]:
    hidden = ("SPARK_CONF_DIR", "HADOOP_CONF_DIR", "JAVA_TOOL_OPTIONS")
    done = subprocess.run(
        [sys.executable, "-c", TOLD, str(kept), json.dumps(CONF)],
        cwd=kept.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={name: value for name, value in os.environ.items() if name not in hidden},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1]), done.stdout + done.stderr


@pytest.mark.long
def test_the_archive_is_made_once_used_and_given_up_when_it_breaks(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    first, said = _start(kept)
    [made] = kept.glob("spark-*.jsa")
    assert (first["same"], first["left"], first["sum"]) == (True, True, 3)
    assert "[cds" not in said

    second, said = _start(kept)
    assert f"-XX:SharedArchiveFile={made}" in second["options"]  # type: ignore[operator]
    assert second["sum"] == 3
    assert "[cds" not in said

    # Cut short, and named as if it were whole: a JVM dies of it, and another one is started.
    short = made.with_name(made.name.replace(made.stem.rsplit("-", 1)[1], "4096"))
    short.write_bytes(made.read_bytes()[:4096])
    made.unlink()
    third, _ = _start(kept)
    assert third["sum"] == 3
    assert [path.suffix for path in kept.iterdir()] == [".failed"]  # none is used or made again
