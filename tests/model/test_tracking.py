"""What is said of an MLflow that can't be used."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import DatabaseError, OperationalError

from nocturne.cli import doctor
from nocturne.errors import ConfigError, RegistryUnavailable
from nocturne.model.tracking import connect, reachable


def test_a_uri_that_is_none_of_mlflows_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"MLflow at foo://\*\*\*@x can't be used: Unsupp"
    ) as caught:
        connect("foo://ann:sEcret@x")
    assert "Correct MLFLOW_TRACKING_URI" in str(caught.value)
    assert "sEcret" not in str(caught.value)
    client = connect(f"sqlite:///{tmp_path / 'mlflow.db'}", "foo://ann:sEcret@x")
    with (
        pytest.raises(ConfigError, match="not supported by the store") as caught,
        reachable("foo://x"),
    ):
        client.search_registered_models()
    assert "sEcret" not in str(caught.value)


def test_a_file_that_is_no_database_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "junk.db").write_text("junk" * 1000)
    with pytest.raises(ConfigError, match="file is not a database"):
        connect(f"sqlite:///{tmp_path / 'junk.db'}")


def test_a_driver_that_is_not_installed_is_a_sentence() -> None:
    uri = "postgresql://ann:sEcret@nowhere/x"
    with (
        pytest.raises(ConfigError, match="No module named 'psycopg2'") as caught,
        reachable(uri),
    ):
        raise ModuleNotFoundError("No module named 'psycopg2'")
    assert "sEcret" not in str(caught.value)


def test_what_a_database_says_is_one_line_without_the_password() -> None:
    uri = "postgresql://ann:sEcret@nowhere/x"
    broken = DatabaseError(f"SELECT 1 -- {uri}", {}, sqlite3.DatabaseError(f"no schema at {uri}"))
    with pytest.raises(ConfigError, match="no schema at postgresql") as caught, reachable(uri):
        raise broken
    assert "sEcret" not in str(caught.value)
    assert "SELECT" not in str(caught.value)
    locked = OperationalError("SELECT 1", {}, sqlite3.OperationalError("database is locked"))
    with pytest.raises(RegistryUnavailable, match="database is locked"), reachable(uri):
        raise locked


@pytest.mark.parametrize("code", ["RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"])
def test_what_mlflow_does_not_have_passes_through(code: str) -> None:
    missing = MlflowException("no such thing")
    missing.error_code = code
    with pytest.raises(MlflowException, match="no such thing"), reachable("http://x"):
        raise missing
    with pytest.raises(KeyError), reachable("http://x"):
        raise KeyError


def test_a_check_that_can_not_be_made_is_a_failed_one(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> Iterator[doctor.Check]:
        yield doctor.Check("first", True, "", "")
        raise KeyError("value")

    checks = {"one": broken, "two": lambda: iter([doctor.Check("other", True, "", "")])}
    monkeypatch.setattr(doctor, "CHECKS", checks)
    found = [(check.name, check.ok) for check in doctor.check_all()]
    assert found == [("first", True), ("one", False), ("other", True)]
