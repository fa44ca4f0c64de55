"""How fast the page Scoring is with many pipelines and years, and how fast their DAGs are parsed.

    python -m benchmarks.page                  50 pipelines of 3 years; needs `make demo` before

A project is made whose pipelines each have a night for every day (manifests and runs of the demo's
night), then a real Airflow is started on it. Measured are seconds of a request, first and again,
Chromium's first contentful paint, and the share of a core that three open tabs cost the API server
in a minute, while a night runs in each of them. Parsing is dags/scoring.py in a process that has
imported Airflow already.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml

from benchmarks.layout import RESULTS, ROOT

FILE = RESULTS / "page.json"
LAST = dt.date(2013, 12, 31)
PARSE = """
import sys, time, runpy
from airflow.sdk import DAG
before = time.perf_counter()
found = runpy.run_path(sys.argv[1])
print(len(found["dags"]()) and time.perf_counter() - before)
"""


def project(root: Path, pipelines: int, days: int) -> None:
    """conf/ and the state of all nights; manifest and output are links to the demo's."""
    state = ROOT / "var" / "demo" / "scores" / "_nocturne" / "flight_delay"
    found = sorted(state.glob("ds=*/manifests/*.json"))
    if not found:
        raise SystemExit(f"there is no night in {state}: run `make demo` first")
    root.mkdir()
    manifest = root / "manifest.json"
    shutil.copy(found[0], manifest)
    key = json.loads(manifest.read_text())["run_key"][:16]
    night = found[0].parents[1]
    shutil.copytree(night / "runs" / key, root / "run")
    shutil.copytree(ROOT / "conf", root / "conf")
    folder = root / "conf" / "pipelines"
    demo: dict[str, Any] = yaml.safe_load((folder / "flight_delay.yaml").read_text())
    (folder / "flight_delay.yaml").unlink()
    for number in range(pipelines):
        name = f"pipeline_{number:03d}"
        output = demo["output"] | {"path": f"var/{name}/scores"}
        text = yaml.safe_dump(demo | {"name": name, "output": output})
        (folder / f"{name}.yaml").write_text(text)
        for back in range(days):
            day = f"ds={LAST - dt.timedelta(days=back)}"
            manifests = root / f"var/{name}/_nocturne/scores/{day}/manifests"
            manifests.mkdir(parents=True)
            os.link(manifest, manifests / found[0].name)
            run = manifests.parent / "runs" / key
            run.mkdir(parents=True)
            for file in ("run.json", "judgement.json", "profile.json", "report.html"):
                os.link(root / "run" / file, run / file)
            (root / f"var/{name}/scores/{day}").mkdir(parents=True)
            (root / f"var/{name}/scores/{day}/part-00000-{key}.parquet").touch()


def running(root: Path, names: list[str]) -> None:
    """Mark the last night of pipelines as running now, so that their pages are looked at again."""
    status = {
        "version": 2,
        "state": "running",
        "step": "score",
        "run_key": "b" * 64,
        "model_version": 1,
        "rows": 1000,
        "rows_done": 10,
        "message": "",
        "at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
    }
    for name in names:
        state = root / f"var/{name}/_nocturne/scores/ds={LAST}"
        (state / "current.json").write_text(json.dumps(status))


def tabs(
    root: Path, browser: Any, url: str, headers: dict[str, str], server: int, seconds: int = 60
) -> float:
    """The share of a core that three open tabs cost the API server: overview, calendar, night.

    What it needs without them is subtracted.

    Args:
        server: the process id of the API server.
    """
    main = psutil.Process(server)
    servers = [main, *main.children(recursive=True)]
    running(root, ["pipeline_000"])
    pages = [browser.new_page()]

    def share_of_core() -> float:
        before, began = sum(sum(p.cpu_times()[:2]) for p in servers), time.perf_counter()
        while time.perf_counter() - began < seconds:
            for page in pages:  # the driver handles the events of a page while it waits
                page.wait_for_timeout(200)
        return float(sum(sum(p.cpu_times()[:2]) for p in servers) - before) / seconds

    idle = share_of_core()
    for path in ("", "pipeline_000", f"pipeline_000/{LAST}"):
        page = browser.new_page()
        page.set_extra_http_headers(headers)
        page.goto(f"{url}/nocturne/{path}")
        pages.append(page)
    pages[0].wait_for_timeout(3000)
    return share_of_core() - idle


def parsed(root: Path, rounds: int = 3) -> float:
    """Seconds to make the DAGs of every pipeline."""
    environment = {**os.environ, "NOCTURNE_HOME": str(root), "AIRFLOW_HOME": str(root / "airflow")}
    taken = []
    for _ in range(rounds):
        command = [sys.executable, "-c", PARSE, str(ROOT / "dags" / "scoring.py")]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        taken.append(float(done.stdout.split()[-1]) / 2)  # the file makes them once, and we again
    return statistics.median(taken)


def served(root: Path) -> dict[str, Any]:
    """Seconds of each page, first and again, and its first contentful paint in Chromium."""
    from playwright.sync_api import sync_playwright

    from nocturne_airflow.environment import Ports
    from nocturne_airflow.stack import Stack

    found: dict[str, Any] = {}
    with Stack(root, Ports(0, 0)) as stack:
        stack.client().wait_for_dag("pipeline_000", 300)
        url = f"http://localhost:{stack.ports.airflow}"
        token = httpx.post(
            f"{url}/auth/token",
            json={"username": "admin", "password": stack.password()},
            trust_env=False,
        ).json()
        headers = {"Authorization": f"Bearer {token['access_token']}"}
        paths = {
            "pipelines": "",
            "calendar": "pipeline_000",
            "night": f"pipeline_000/{LAST}",
            "column": "pipeline_000/columns",
            "expectations": "pipeline_000/expectations",
            "compare": "pipeline_000/compare",
        }
        for name, path in paths.items():
            taken = []
            for _ in range(6):
                before = time.perf_counter()
                httpx.get(
                    f"{url}/nocturne/{path}", headers=headers, timeout=60, trust_env=False
                ).raise_for_status()
                taken.append(time.perf_counter() - before)
            found[name] = {
                "first_s": round(taken[0], 3),
                "again_s": round(statistics.median(taken[1:]), 3),
            }
        with sync_playwright() as driver:
            chromium = shutil.which("chromium") or shutil.which("google-chrome")
            browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            page = browser.new_page()
            page.set_extra_http_headers(headers)
            for name, path in paths.items():
                page.goto(f"{url}/nocturne/{path}")
                paint = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
                while (painted := page.evaluate(paint)) is None:
                    page.wait_for_timeout(50)
                found[name]["paint_s"] = round(painted / 1000, 3)
            found["three_tabs_of_a_core"] = round(
                tabs(root, browser, url, headers, stack.pid("api-server")), 3
            )
            browser.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.page", description=__doc__)
    parser.add_argument("--pipelines", type=int, default=50)
    parser.add_argument("--years", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        many = Path(folder) / "many"
        project(many, 200, 0)
        found: dict[str, Any] = {"parse_200_s": round(parsed(many), 2)}
        root = Path(folder) / "project"
        project(root, args.pipelines, 365 * args.years)
        found |= {"of_pipelines": args.pipelines, "of_years": args.years, **served(root)}
    FILE.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
