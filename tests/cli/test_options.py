"""Options of the commands that are checked before anything is read."""

from __future__ import annotations

from typer.testing import CliRunner

from nocturne.cli import app


def test_a_report_is_not_written_to_a_uri() -> None:
    arguments = ["report", "p", "--from", "2024-01-01", "--to", "2024-01-02"]
    done = CliRunner().invoke(app, [*arguments, "--out", "s3://lake/report.html"])
    assert done.exit_code == 1
    assert "out: got 's3:/lake/report.html': the scheme s3: is not supported" in done.stderr
