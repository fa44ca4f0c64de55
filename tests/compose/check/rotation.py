"""The secrets of a running stack changed, as docs/compose.md says for each."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx

from compose.check.engine import Refused, run
from compose.check.stack import Stack
from compose.rendering import ROOT
from nocturne_airflow.client import Airflow, AirflowRefused

__all__ = ["rotate"]

KEPT = {"s3_key", "tls_pem"}
"""The store's key is changed by Garage's commands, which its stand-in lacks; a certificate is its
owner's."""


def rotate(stack: Stack, tasks: str) -> int:
    """Change them, start anew, and see that the new ones open and the old ones don't.

    Args:
        tasks: the service in which tasks run.

    Returns:
        how many were changed.

    Raises:
        Refused: which secrets open what they should not, or don't open what they should.
    """
    folder = stack.folder / "secrets"
    stack.airflow().call("POST", "/variables", json={"key": "kept", "value": "encrypted"})
    old = _read(folder)
    new = {name: value for name, value in _made(stack.folder / "made").items() if name not in KEPT}
    change = f"ALTER ROLE postgres PASSWORD '{new['postgres_password']}'"
    stack.run("postgres", *_psql(old["postgres_password"], "postgres"), change)
    user, password = _login(old["mlflow_login"])
    asked = {"username": user, "current_password": password}
    answer = httpx.patch(
        f"{stack.mlflow_url}/api/2.0/mlflow/users/update-password",
        auth=(user, password),
        json=asked | {"password": _login(new["mlflow_login"])[1]},
    )
    if not answer.is_success:
        raise Refused(f"MLflow did not change its login: {answer.text}")
    stack.compose("stop", tasks)  # a worker that its queue refuses takes all of its grace period
    both = f"{new['airflow_fernet_key']},{old['airflow_fernet_key']}"
    _write(folder, new | {"airflow_fernet_key": both})
    stack.up("--force-recreate")
    stack.run(tasks, "airflow", "rotate-fernet-key")
    twice = 'for time in 1 2; do echo "$1"; done | setsid --wait "${@:2}"'
    reset = ["airflow", "users", "reset-password", "--username", "admin"]
    password = new["airflow_admin_password"]
    stack.run(tasks, "bash", "-euo", "pipefail", "-c", twice, "-", password, *reset)
    wrong = [name for name, opens in DOORS.items() if opens(stack, old) or not opens(stack, new)]
    if wrong:
        raise Refused(f"after the rotation old ones open, or new ones don't: {wrong}")
    _write(folder, {"airflow_fernet_key": new["airflow_fernet_key"]})
    stack.up("--force-recreate", "--no-deps", "airflow-apiserver")
    kept = stack.airflow().call("GET", "/variables/kept")["value"]
    if kept != "encrypted":
        raise Refused(f"Airflow's variable is {kept!r} with the new key alone")
    return len(new)


def _write(folder: Path, values: Mapping[str, str]) -> None:
    for name, value in values.items():
        (folder / name).unlink()  # it can't be written
        (folder / name).write_text(value)
        (folder / name).chmod(0o444)


def _made(place: Path) -> dict[str, str]:
    """What `make secrets` makes in an empty folder."""
    place.mkdir()
    shutil.copy(ROOT / ".env.example", place)
    run([str(ROOT / "conf/compose/secrets.sh")], cwd=place)
    return _read(place / "secrets")


def _read(folder: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in folder.iterdir()}


def _role(secret: str, role: str) -> Callable[[Stack, Mapping[str, str]], bool]:
    return lambda stack, values: _succeeds(
        stack, "postgres", *_psql(values[secret], role), "SELECT 1"
    )


def _psql(password: str, role: str) -> list[str]:
    """Over the network, where a password is asked for."""
    words = f"psql --no-psqlrc --host=postgres --username={role} {role} --command"
    return ["env", f"PGPASSWORD={password}", *words.split()]


def _airflow(stack: Stack, values: Mapping[str, str]) -> bool:
    try:
        Airflow(stack.airflow_url, "admin", values["airflow_admin_password"])
    except AirflowRefused as error:
        if error.values["status"] != 401:
            raise
        return False
    return True


def _mlflow(stack: Stack, values: Mapping[str, str]) -> bool:
    return stack.mlflow_opens(_login(values["mlflow_login"]))


def _login(file: str) -> tuple[str, str]:
    """User and password of the secret mlflow_login."""
    said = dict(line.split(" = ") for line in file.splitlines() if " = " in line)
    return said["mlflow_tracking_username"], said["mlflow_tracking_password"]


def _redis(stack: Stack, values: Mapping[str, str]) -> bool:
    ask = ["redis-cli", "-e", "-p", "6379", "ping"]
    return _succeeds(stack, "redis", "env", f"REDISCLI_AUTH={values['redis_password']}", *ask)


def _succeeds(stack: Stack, service: str, *words: str) -> bool:
    try:
        stack.run(service, *words)
    except Refused:
        return False
    return True


DOORS: dict[str, Callable[[Stack, Mapping[str, str]], bool]] = {
    "postgres_password": _role("postgres_password", "postgres"),
    "airflow_db_password": _role("airflow_db_password", "airflow"),
    "mlflow_db_password": _role("mlflow_db_password", "mlflow"),
    "airflow_admin_password": _airflow,
    "mlflow_login": _mlflow,
    "redis_password": _redis,
}
"""Secret -> whether it lets in. The others only have to be the same everywhere."""
