"""What the library says is logged; our own programs show it on standard error."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from nocturne.cli import app
from nocturne.logs import to_stderr

log = logging.getLogger("nocturne.somewhere")


def _say() -> None:
    log.debug("a detail")
    log.info("scoring: 5 of 10 rows")
    log.warning("%s is damaged", "x")
    logging.getLogger("other").info("of another library")


def test_a_program_of_ours_shows_each_line_once(capsys: pytest.CaptureFixture[str]) -> None:
    with to_stderr():
        _say()
    assert capsys.readouterr().err == "scoring: 5 of 10 rows\nnocturne: x is damaged\n"
    _say()
    assert capsys.readouterr().err == ""


def test_a_root_logger_that_a_library_configured_repeats_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with to_stderr():
        _say()
    assert "damaged" not in caplog.text
    _say()
    assert "damaged" in caplog.text


def test_every_command_shows_the_log() -> None:
    commands = typer.Typer(callback=app.registered_callback.callback)  # type: ignore[union-attr]
    commands.command("say")(_say)
    commands.command("other")(_say)
    done = CliRunner().invoke(commands, ["say"])
    assert done.stderr == "scoring: 5 of 10 rows\nnocturne: x is damaged\n"


LIBRARY = """
import logging, pathlib, sys, tempfile
{configure}
from nocturne.pipeline.progress import Progress
from nocturne.pipeline.pinning import _kept

Progress()(0, 10)
Progress()(10, 10)
kept = pathlib.Path(tempfile.mkdtemp(), "tuning.json")
kept.write_text("{")
_kept(kept)
"""


def _stderr_of(configure: str) -> list[str]:
    code = LIBRARY.replace("{configure}", configure)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_a_library_that_nobody_configured_shows_its_warnings_alone() -> None:
    [line] = _stderr_of("")
    assert line.endswith(": the search is made again")
    assert not line.startswith("nocturne: ")


def test_what_mlflow_does_to_the_root_logger_silences_no_warning() -> None:
    [line] = _stderr_of("logging.basicConfig(level=logging.ERROR)  # as mlflow.pytorch does")
    assert line.startswith("WARNING:nocturne.pipeline.tuning:")


def test_who_uses_the_library_may_silence_it() -> None:
    assert _stderr_of('logging.getLogger("nocturne").setLevel(logging.ERROR)') == []
