"""A night as the pipeline hands it over: real profiles, baseline and drift of made-up flights."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from nocturne.drift import build_baseline, judge
from nocturne.encoding import Encoding, OutputSpec
from nocturne.model.tracking import connect
from nocturne.profile import TableProfiler
from nocturne.records.drift import Baseline, DriftResult
from nocturne.records.findings import Finding, Verdict
from nocturne.records.manifest import Judgement, Manifest, PublishedNight, StoredFile
from nocturne.records.partition import Partition
from nocturne.records.plan import InputFile, ModelRef, Pinned, RunPlan, Split
from nocturne.records.profile import Profile
from nocturne.records.quality import Expectation, QualityResult
from nocturne.report import score_summary
from report.mlflow_store import Store

CENTERS: dict[str, float | None] = {
    "hour": 13.0,
    "month": 2.0,
    "distance": 900.0,
    "temp": 37.0,
    "dewp": 22.0,
    "humid": 58.0,
    "wind_dir": 220.0,
    "wind_speed": 11.0,
    "precip": 0.0,
    "pressure": 1018.0,
    "visib": 10.0,
    "carrier": None,
    "origin": None,
    "dest": None,
    "score": 0.2,
}
CARRIERS = ["UA", "B6", "EV", "DL", "AA", "MQ", "US", "9E", "WN", "VX", "FL", "AS", "F9", "YV"]
AIRPORTS = [f"{a}{b}{c}" for a in "ABDLMS" for b in "AOT" for c in "LNSX"]


@dataclass(frozen=True)
class Night:
    """What the report is made from."""

    plan: RunPlan
    judgement: Judgement
    profile: Profile
    baseline: Baseline
    history: tuple[PublishedNight, ...]


@cache
def flights(day: int, rows: int = 900, new_carrier: str = "") -> Profile:
    """The profile of one day; days from 90 on are warmer, and their scores higher."""
    rng = np.random.default_rng(day)
    season = max(0, day - 60) / 30
    weather = rng.normal(size=4)
    temp = rng.normal(37 + 9 * weather[0] + 7 * season, 6, rows)
    carrier = rng.choice(CARRIERS, rows, p=np.arange(14, 0, -1) / 105).astype(object)
    if new_carrier:
        carrier[: rows // 20] = new_carrier
    columns: dict[str, Any] = {
        "hour": rng.integers(5, 24, rows).astype(float),
        "month": np.full(rows, float(1 + day // 30)),
        "distance": rng.choice([187.0, 502, 733, 762, 944, 1089, 1400, 2475, 2586], rows),
        "temp": np.where(rng.random(rows) < 0.01, np.nan, temp),
        "dewp": temp - rng.gamma(4, 4, rows),
        "humid": np.clip(rng.normal(58 + 12 * weather[1], 12, rows), 12, 100),
        "wind_dir": np.round(rng.normal(220 + 60 * weather[2], 60, rows) % 360, -1),
        "wind_speed": rng.gamma(5, 2.2, rows),
        "precip": np.where(rng.random(rows) < 0.92, 0, rng.exponential(0.05, rows)),
        "pressure": rng.normal(1018 + 6 * weather[3], 2, rows),
        "visib": np.where(rng.random(rows) < 0.85, 10, rng.uniform(0, 10, rows)),
        "carrier": carrier.tolist(),
        "origin": rng.choice(["EWR", "JFK", "LGA"], rows).tolist(),
        "dest": rng.choice(AIRPORTS, rows).tolist(),
        "score": rng.beta(2 + season, 7, rows),
    }
    profiler = TableProfiler(CENTERS)
    profiler.update(pa.RecordBatch.from_pydict(columns))
    return profiler.result()


def a_plan(day: dt.date) -> RunPlan:
    key = day.isoformat()
    return RunPlan(
        pipeline="flight_delay",
        partition=Partition(key, (("ds", key),)),
        run_key="5b1e" * 16,
        content_key="5b1e" * 16,
        input_dir=f"/data/flights/ds={key}",
        model=ModelRef(
            "flight_delay", 3, "alias champion", "torch", "9c0f" * 16, "/cache/9c0f", "a1", "m1"
        ),
        encoding=Encoding((), (OutputSpec("score", "sigmoid"),)),
        pinned=Pinned("cpu", 1024, 1, "float32", 65_536),
        keys=("time_hour", "carrier", "flight"),
        passthrough=("origin", "dest"),
        files=(InputFile("part-0.parquet", "00", 61_234, 0, 0, 900),),
        splits=(Split(0, "s0", "part-0.parquet", (0,), 0, 900),),
        profile_centers=CENTERS,
        based_on=None,
        config_digest="cd",
        created=f"{key}T02:00:05+00:00",
    )


def a_judgement(profile: Profile, drift: DriftResult) -> Judgement:
    suite = "flight_delay_input"
    return Judgement(
        verdict=Verdict.WARN if drift.alarmed else Verdict.OK,
        findings=tuple(
            Finding(
                "drift.columns",
                Verdict.WARN,
                f"drift: {f.column} has a PSI of {f.psi:.2f}, above the {f.threshold:.2f} that its "
                "training days account for",
                tuple(alarmed.column for alarmed in drift.alarmed),
            )
            for f in drift.alarmed
        ),
        rows_in=profile.rows,
        rows_out=profile.rows,
        quarantined=0,
        quality=QualityResult(
            (
                Expectation(
                    suite,
                    "expect_column_values_to_not_be_null",
                    "carrier",
                    True,
                    "0 of 900",
                    "no value is null",
                ),
                Expectation(
                    suite,
                    "expect_column_values_to_be_between",
                    "distance",
                    True,
                    "0 of 900",
                    "between 1 and 10000",
                ),
                Expectation(
                    "flight_delay_output",
                    "expect_column_mean_to_be_between",
                    "score",
                    True,
                    "0.27",
                    "between 0.05 and 0.6",
                ),
            )
        ),
        drift=drift,
        seconds={"score": 1.25, "check": 0.4, "drift": 0.02},
    )


def a_published(plan: RunPlan, judgement: Judgement, profile: Profile) -> PublishedNight:
    folder = f"runs/{plan.run_key[:16]}"
    manifest = Manifest(
        id=f"000001-{plan.run_key[:16]}",
        number=1,
        pipeline=plan.pipeline,
        partition=plan.partition,
        run_key=plan.run_key,
        content_key=plan.content_key,
        replaces=None,
        published=plan.created,
        approved_by=None,
        model=plan.model,
        environment={},
        run=StoredFile(f"{folder}/run.json"),
        judgement=StoredFile(f"{folder}/judgement.json"),
        outputs=(),
        quarantine=(),
        rows_in=judgement.rows_in,
        rows_published=judgement.rows_out,
        rows_quarantined=judgement.quarantined,
        verdict=judgement.verdict,
        findings=judgement.findings,
        score_summary=score_summary(profile, ["score"]),
        seconds={},
    )
    return PublishedNight(manifest, judgement)


@cache
def training() -> Baseline:
    """The baseline of days 0 to 59."""
    return build_baseline({f"d{i:02}": flights(i) for i in range(60)}, ["score"])


def make_night(*, days: int = 29, new_carrier: str = "") -> Night:
    """Training on days 0 to 59, ``days`` of history from day 60 on, then the night itself."""
    baseline = training()
    first = dt.date(2013, 3, 2)
    history = []
    for offset in range(days):
        profile = flights(60 + offset, rows=850 + 10 * (offset % 7))
        judged = a_judgement(profile, judge(profile, baseline, floor=0.02))
        plan = a_plan(first + dt.timedelta(offset))
        history.append(a_published(plan, judged, profile))
    profile = flights(60 + days, new_carrier=new_carrier)
    judgement = a_judgement(profile, judge(profile, baseline, floor=0.02))
    plan = a_plan(first + dt.timedelta(days))
    return Night(plan, judgement, profile, baseline, tuple(history))


@pytest.fixture(scope="session")
def night() -> Night:
    """An ordinary night after 29 others, with some drift."""
    return make_night()


@pytest.fixture
def nights() -> Callable[..., Night]:
    """``nights(days=..., new_carrier=...)`` makes another."""
    return make_night


@pytest.fixture
def held(night: Night) -> Night:
    """A night that failed an expectation and quarantined rows."""
    failed = Expectation(
        "flight_delay_output",
        "expect_column_mean_to_be_between",
        "score",
        False,
        "0.71",
        "between 0.05 and 0.6",
    )
    judgement = replace(
        night.judgement,
        verdict=Verdict.HOLD,
        findings=(
            Finding(
                "quality.expectations",
                Verdict.HOLD,
                "quality: 1 expectation failed: mean of score is 0.71",
            ),
            Finding("quality.quarantined", Verdict.OK, "12 rows quarantined"),
        ),
        rows_out=888,
        quarantined=12,
        quality=QualityResult((*night.judgement.quality.expectations, failed), "/docs/index.html"),
    )
    return replace(night, judgement=judgement)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty store, made once: creating MLflow's tables takes seconds."""
    folder = tmp_path_factory.mktemp("mlflow")
    connect(f"sqlite:///{folder / 'mlflow.db'}").search_experiments()
    return folder / "mlflow.db"


@pytest.fixture
def store(database: Path, tmp_path: Path) -> Store:
    (tmp_path / "mlflow.db").write_bytes(database.read_bytes())
    return Store(tmp_path)
