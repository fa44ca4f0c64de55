"""``make compose-check``: the stack of docker-compose.airflow.yml on a real engine, from nothing.

With ``--more`` also what happens to a stack once a year: a restore, no power, no memory, other
secrets. Each step prints what it does and how long it took; the first one that fails ends the
check. The figures go to results.json beside this file, and from there to docs/compose.md.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import ssl
import sys
import time
import urllib.request
from collections.abc import Callable
from typing import Any

from compose.check import confinement, harm, images, nights, report, rotation, standins
from compose.check.engine import Refused, compose_program, docker, missing, run
from compose.check.stack import Stack, left, remains
from compose.rendering import ROOT

FOLDER = ROOT / "var" / "compose-check"
LOCAL, CELERY = "airflow-scheduler", "airflow-worker"
"""Where the tasks run."""
KILLS = {
    "2013-04-03": ("spark-worker killed during score", ("score", harm.kill("spark-worker"))),
    "2013-04-04": ("mlflow killed during judge", ("judge", harm.kill("mlflow"))),
    "2013-04-05": ("garage killed during judge", ("judge", harm.kill("garage"))),
    "2013-04-06": (f"{LOCAL} killed during score", ("score", harm.kill_scheduler)),
}
MORE = {
    "2013-04-08": ("its Celery worker killed during score", ("score", harm.kill_its_worker)),
    "2013-04-09": ("no memory left to Spark's workers during score", ("score", harm.starve)),
    "2013-04-10": ("the power cut during score", ("score", harm.cut_power)),
}
"""Day -> in words, and the task with what is done while it runs."""
LIMIT_MB = 2800
LIMIT_REBUILD_S = 20
LIMIT_INIT_S = 20
LIMIT_AGAIN_S = {LOCAL: 90, CELERY: 150}


def main(more: bool) -> int:
    reason = missing()
    if reason is not None:
        print(f"compose-check: skipped, {reason}")
        return 0
    if there := remains():
        print(
            f"compose-check: {', '.join(there)} are there. Either another check is at work on this "
            "engine; wait for it. Or one was killed; then remove them: docker rm --force, "
            "docker volume rm, docker network rm",
            file=sys.stderr,
        )
        return 1
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    check = Check()
    start = time.monotonic()
    try:
        for title, step in check.steps(more):
            began = time.monotonic()
            print(f"{title} ...", flush=True)
            said = step()
            seconds = round(time.monotonic() - began)
            print(f"  {seconds} s{': ' if said else ''}{said or ''}", flush=True)
    except Refused as error:
        print(f"compose-check: failed: {error}", file=sys.stderr)
        return 1
    finally:
        check.end()
    seconds = round(time.monotonic() - start)
    check.results["seconds"] = {"with MORE=1" if more else "": seconds}
    report.write(check.results)
    print(f"compose-check: passed in {seconds} s")
    return 0


Step = tuple[str, Callable[[], str | None]]
"""In words, and what is done: it may return what is to be said of it, and raises Refused."""


class Check:
    """What the steps hand on: the images, the stack, and the results so far."""

    def __init__(self) -> None:
        self.before = left()
        self.bases: dict[str, str] = {}
        self.images: dict[str, str] = {}
        self.stack: Stack
        self.tasks = LOCAL
        self.days: list[str] = []
        self.results: dict[str, Any] = {"machine": _machine(), "nights": {}}

    def steps(self, more: bool) -> list[Step]:
        return [
            ("the stand-ins of base images", self._standins),
            ("the images of ours", self._images),
            ("another build, after a change of code", self._rebuild),
            ("the image for development runs its tools", self._development),
            ("up", self._up),
            ("no root, no capability, no secret to be read", self._confined),
            ("Airflow by HTTPS", self._https),
            ("MLflow refuses who does not log in", self._mlflow_refuses),
            *([("Spark refuses who lacks the secret", self._spark_refuses)] if more else ()),
            ("the demo's data and model", self._prepare),
            self._night("by command", "2013-04-01"),
            self._night("by the DAG", "2013-04-02"),
            *(self._night(how, day, harm) for day, (how, harm) in KILLS.items()),
            ("up again, where nothing changed", self._up_again),
            *([("backup; everything removed; restore", self._restore)] if more else ()),
            ("up with two Celery workers", self._celery),
            *([("the restored nights verified", self._verify)] if more else ()),
            self._night("by two Celery workers", "2013-04-07"),
            *(self._more() if more else ()),
            ("every night verified", self._verify),
            ("airflow-clean", self._clean),
            ("down: nothing is left", self._down),
        ]

    def _more(self) -> list[Step]:
        return [
            *(self._night(how, day, harm) for day, (how, harm) in MORE.items()),
            ("every secret changed", self._rotate),
            self._night("with the new secrets", "2013-04-11"),
        ]

    def end(self) -> None:
        """Remove what the check started, also after a failure."""
        if hasattr(self, "stack"):
            self.stack.down()
        shutil.rmtree(FOLDER, ignore_errors=True)

    def _standins(self) -> None:
        self.bases = standins.make(FOLDER)

    def _images(self) -> str:
        self.images, seconds = images.build_all(FOLDER, self.bases)
        kept = ("runtime", "development", "object-store")
        self.results["images"] = {name: images.sizes(self.images[name]) for name in kept}
        if sum(seconds.values()) > 120:  # not from the engine's cache
            self.results["build"] = {stage: round(s) for stage, s in seconds.items()}
        size = self.results["images"]["runtime"]["mb"]
        _at_most(size, LIMIT_MB, "MB of the image that runs")
        return f"{size} MB runs"

    def _rebuild(self) -> str:
        seconds = images.rebuild(FOLDER, self.bases)
        self.results["rebuild"] = round(seconds)
        _at_most(seconds, LIMIT_REBUILD_S, "seconds for a change of code")
        return f"{images.CODE} changed"

    def _development(self) -> None:
        start = ["run", "--rm", "--volume", f"{ROOT}:/src:ro", self.images["development"]]
        for command in ("ruff check --no-cache .", "python -m pytest -q tests/records"):
            docker(*start, *command.split())

    def _up(self) -> str:
        self.stack = Stack(FOLDER / "stack", {**self.bases, **self.images})
        self._certificate()
        self.stack.values["COMPOSE_PROFILES"] = "tls"
        self.results["up"] = round(self.stack.up())
        self.results["memory"] = {"after the start": self.stack.memory()}
        return f"all healthy, {len(self.stack.containers())} containers"

    def _certificate(self) -> None:
        subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
        key, self.trusted = FOLDER / "key.pem", FOLDER / "certificate.pem"
        options = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
        run(["openssl", "req", *options, *subject, "-keyout", str(key), "-out", str(self.trusted)])
        secret = FOLDER / "stack/secrets/tls_pem"
        secret.write_text(self.trusted.read_text() + key.read_text())
        secret.chmod(0o444)

    def _confined(self) -> str:
        return f"{confinement.check(self.stack)} containers"

    def _https(self) -> None:
        trust = ssl.create_default_context(cafile=str(self.trusted))
        url = f"https://localhost:{self.stack.values['TLS_PORT']}/api/v2/version"
        with urllib.request.urlopen(url, timeout=30, context=trust) as answer:
            json.load(answer)

    def _mlflow_refuses(self) -> None:
        if self.stack.mlflow_opens(None):
            raise Refused("MLflow answered who did not log in")

    def _spark_refuses(self) -> None:
        # With the secret first: what the master takes then, it takes within this time.
        begin = "timeout --kill-after=5 60 python -c"
        code = """
import sys
from pyspark import SparkConf, SparkContext
conf = SparkConf().setMaster("spark://spark-master:7077").setAppName(sys.argv[1])
SparkContext(conf=conf.set("spark.authenticate", sys.argv[2])).stop()
"""
        began = time.monotonic()
        self.stack.run(LOCAL, *begin.split(), code, "with", "true")
        needed = str(round(time.monotonic() - began) + 15)
        with contextlib.suppress(Refused):
            self.stack.run(LOCAL, *begin.replace("60", needed).split(), code, "without", "false")
        url = f"http://127.0.0.1:{self.stack.values['SPARK_UI_PORT']}/json/"
        with urllib.request.urlopen(url, timeout=30) as answer:
            master = json.load(answer)
        taken = [app["name"] for app in master["activeapps"] + master["completedapps"]]
        if taken != ["with"]:
            raise Refused(
                f"Spark's master took the applications {taken}; right is: with the secret"
            )

    def _prepare(self) -> None:
        began = time.monotonic()
        self.stack.run(LOCAL, "python", "-m", "nocturne.demo", "prepare")
        self.results["prepare"] = round(time.monotonic() - began)
        airflow = self.stack.airflow()
        airflow.wait_for_dag(nights.DAG, 120)
        airflow.pause(nights.DAG, False)

    def _night(self, how: str, day: str, harm: tuple[str, harm.Harm] | None = None) -> Step:
        def step() -> str:
            if how == "by command":
                figures = nights.by_command(self.stack, self.tasks, day)
            else:
                figures = nights.by_dag(self.stack, day, harm)
            self.days.append(day)
            self.results["nights"][how] = figures
            when = "after a night" if self.tasks == LOCAL else "with Celery"
            self.results["memory"][when] = self.stack.memory()
            self.stack.wait_until_healthy()
            again = figures.get("again_after", 0)
            _at_most(again, LIMIT_AGAIN_S[self.tasks], "seconds until it was tried again")
            return f"tried again after {again} s" if again else ""

        return f"a night: {how}", step

    def _verify(self) -> str:
        nights.check(self.stack, self.tasks, self.days)
        return ", ".join(self.days)

    def _up_again(self) -> None:
        (before,) = self.stack.containers("airflow-init")
        began = time.monotonic()
        self.stack.compose("up", "--detach")
        while True:
            (init,) = self.stack.containers("airflow-init")
            again = init["State"]["StartedAt"] != before["State"]["StartedAt"]
            if again and init["State"]["Status"] == "exited":
                break
            if time.monotonic() - began > 120:
                raise Refused(f"airflow-init did not run again: {init['State']}")
            time.sleep(0.2)
        self.stack.wait_until_healthy()
        self.results["up again"] = round(time.monotonic() - began)
        _at_most(self.results["up again"], LIMIT_INIT_S, "seconds of an up where nothing changed")

    def _restore(self) -> str:
        place = FOLDER / "made"
        place.mkdir()
        script = ROOT / "conf/compose/backup.sh"
        env = self.stack.environment()
        began = time.monotonic()
        run([str(script)], env=env, cwd=place)
        self.results["backup"] = round(time.monotonic() - began)
        self.stack.wait_until_healthy()
        self.stack.down()
        (backup,) = (place / "backups").iterdir()
        began = time.monotonic()
        run([str(ROOT / "conf/compose/restore.sh"), str(backup)], env=self.stack.environment())
        self.results["restore"] = round(time.monotonic() - began)
        return f"{sum(f.stat().st_size for f in backup.iterdir()) / 1e6:.0f} MB"

    def _celery(self) -> str:
        self.stack.values["COMPOSE_PROFILES"] = "tls,celery"
        self.stack.values["AIRFLOW_EXECUTOR"] = "CeleryExecutor"
        self.tasks = CELERY
        self.stack.up("--scale", f"{CELERY}=2")
        return f"{confinement.check(self.stack)} containers"

    def _rotate(self) -> str:
        return f"{rotation.rotate(self.stack, self.tasks)} secrets"

    def _clean(self) -> None:
        self.stack.wait_until_healthy(by_engine=True)
        self.stack.compose("run", "--rm", "airflow-clean")

    def _down(self) -> None:
        self.stack.down()
        after = left()
        more = {kind: after[kind] - self.before[kind] for kind in after}
        if any(more.values()):
            raise Refused(f"left behind: {more}")


def _at_most(value: float, limit: float, what: str) -> None:
    if value > limit:
        raise Refused(f"{value:.0f} {what}; at most {limit} are allowed")


def _machine() -> dict[str, Any]:
    said = json.loads(docker("version", "--format", "{{json .Server}}"))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    compose = run([*(compose_program() or []), "version", "--short"])
    return {
        "cores": os.cpu_count(),
        "memory_gib": round(memory),
        "engine": said["Version"],
        "compose": compose.split()[-1],
    }


if __name__ == "__main__":
    sys.exit(main("--more" in sys.argv[1:]))
