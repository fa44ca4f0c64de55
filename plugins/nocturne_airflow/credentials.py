"""Who asks an object store: the variables of its cloud, from an Airflow connection.

A task fetches the connection when it runs. The values go into the environment of the process that
asks the store, and nowhere else: not into arguments, XCom, rendered templates or Spark's settings.
https://airflow.apache.org/docs/ (the providers amazon, google, microsoft-azure: Connections)
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowFailException, AirflowNotFoundException
from airflow.sdk.log import mask_secret

from nocturne.errors import choices

__all__ = ["TYPES", "lend", "lent"]


@dataclass(frozen=True)
class Cloud:
    """The connections of a cloud, and the variables that say the same.

    Attributes:
        who: variable -> the fields of the connection that may have its value; the first one that
            is set counts. A dot leads into an object of the extra.
        where: the same for variables that a connection may leave to the environment.
        ways: the combinations of ``who`` that name one identity.
        replaced: pattern of the variables that name an identity: none of the environment's stays.
        same: variable of ``where`` -> pattern of those that say the same.
        refused: pattern of the fields of the extra that would name another identity.
    """

    who: Mapping[str, tuple[str, ...]]
    ways: tuple[frozenset[str], ...]
    replaced: str
    refused: str
    where: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    same: Mapping[str, str] = field(default_factory=dict)


_AWS = Cloud(
    who={
        "AWS_ACCESS_KEY_ID": ("login", "aws_access_key_id"),
        "AWS_SECRET_ACCESS_KEY": ("password", "aws_secret_access_key"),
        "AWS_SESSION_TOKEN": ("aws_session_token",),
        "AWS_PROFILE": ("profile_name",),
    },
    where={
        "AWS_REGION": ("region_name",),
        "AWS_ENDPOINT_URL": ("service_config.s3.endpoint_url", "endpoint_url"),
    },
    ways=(
        frozenset({"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}),
        frozenset({"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"}),
        frozenset({"AWS_PROFILE"}),
    ),
    replaced="AWS_(ACCESS_KEY_ID|SECRET_ACCESS_KEY|(SESSION_|SECURITY_)?TOKEN|(DEFAULT_)?PROFILE"
    "|CREDENTIAL_EXPIRATION|SKIP_SIGNATURE|(WEB_IDENTITY|ROLE|CONTAINER)_.+)",
    same={
        "AWS_REGION": "AWS_(DEFAULT_)?REGION",
        "AWS_ENDPOINT_URL": "AWS_ENDPOINT(_URL(_S3)?)?",
    },
    refused="role_arn|assume_role_.+|external_id|aws_(account_id|iam_role)|session_kwargs"
    "|s3_config_.+",
)
_AZURE = Cloud(
    who={
        "AZURE_STORAGE_ACCOUNT_NAME": ("host", "login"),
        "AZURE_STORAGE_ACCOUNT_KEY": ("password", "shared_access_key"),
        "AZURE_STORAGE_SAS_TOKEN": ("sas_token",),
    },
    ways=(
        frozenset({"AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_KEY"}),
        frozenset({"AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_SAS_TOKEN"}),
    ),
    replaced="AZURE_(STORAGE_)?(ACCOUNT|ACCESS_KEY|MASTER_KEY|SAS|TOKEN|CONNECTION_STRING|CLIENT"
    "|TENANT|AUTHORITY_ID|USE_|SKIP_SIGNATURE|MSI|IDENTITY|OBJECT_ID|FEDERATED|FABRIC).*",
    refused="tenant_id|connection_string|public_read|(managed|workload)_identity_.+",
)
_GOOGLE = Cloud(
    who={
        "GOOGLE_APPLICATION_CREDENTIALS": ("key_path",),
        "GOOGLE_SERVICE_ACCOUNT_KEY": ("keyfile_dict",),
    },
    ways=(
        frozenset({"GOOGLE_APPLICATION_CREDENTIALS"}),
        frozenset({"GOOGLE_SERVICE_ACCOUNT_KEY"}),
    ),
    replaced="(GOOGLE_)?SERVICE_ACCOUNT.*|GOOGLE_(APPLICATION_CREDENTIALS|.*TOKEN|SKIP_SIGNATURE)",
    refused="credential_config_file|key_secret_name|impersonation_chain|idp_.+|client_(id|secret)"
    "|is_anonymous",
)
TYPES = {"aws": _AWS, "wasb": _AZURE, "adls": _AZURE, "google_cloud_platform": _GOOGLE}
"""Type of a connection -> its cloud."""

_SECRET = re.compile("SECRET|TOKEN|_KEY$")
"""The variables whose values Airflow hides wherever it writes."""
_OTHERWISE = (
    "or leave schedule.connection out: then the environment of each process says who asks "
    "(docs/stores.md)"
)


def lend(environ: MutableMapping[str, str], connection: str | None) -> None:
    """Put a connection's credentials into an environment, in place of its own for that cloud.

    Args:
        connection: the connection's id; None leaves the environment as it is.

    Raises:
        AirflowFailException: Airflow has no such connection, or it can't be used here.
    """
    if connection is None:
        return
    cloud, given = _credentials(_fetched(connection))
    same = [pattern for name, pattern in cloud.same.items() if name in given]
    replaced = re.compile("|".join([cloud.replaced, *same]))
    for name in [name for name in environ if replaced.fullmatch(name)]:
        del environ[name]
    environ.update(given)


@contextmanager
def lent(connection: str | None) -> Iterator[None]:
    """``lend`` for this process, for a while: for what starts a process itself, or has none.

    Only in a process that does one thing, as a task's does.
    """
    own = dict(os.environ)
    try:
        lend(os.environ, connection)
        yield
    finally:
        for name in os.environ.keys() - own.keys():
            del os.environ[name]
        os.environ.update(own)


def _fetched(connection: str) -> Connection:
    try:
        return Connection.get(connection)
    except AirflowNotFoundException:
        raise AirflowFailException(
            f"schedule.connection: Airflow has no connection {connection!r}. Make it, correct its "
            f"id, {_OTHERWISE}"
        ) from None


def _credentials(connection: Connection) -> tuple[Cloud, dict[str, str]]:
    """The cloud of a connection, and its variables."""
    which = f"schedule.connection: the Airflow connection {connection.conn_id!r}"
    cloud = TYPES.get(connection.conn_type or "")
    if cloud is None:
        raise AirflowFailException(
            f"{which} is of type {connection.conn_type!r}, expected {choices(TYPES)}. Name "
            f"another one, {_OTHERWISE}"
        )
    fields = _fields(connection, which)
    if refused := sorted(n for n in fields if fields[n] and re.fullmatch(cloud.refused, n)):
        raise AirflowFailException(
            f"{which} has {', '.join(refused)}, which is not supported here. Expected "
            f"{_expected(cloud)}. Make a connection that has only these, {_OTHERWISE}"
        )
    given = {
        variable: _SHAPES.get(variable, str)(value)
        for variable, names in {**cloud.who, **cloud.where}.items()
        if (value := _first(fields, names))
    }
    if frozenset(given) - cloud.where.keys() not in cloud.ways:
        has = [" or ".join(cloud.who[variable]) for variable in cloud.who if variable in given]
        raise AirflowFailException(
            f"{which} has {' and '.join(has) or 'no credentials'}, expected {_expected(cloud)}. "
            f"Correct it, {_OTHERWISE}"
        )
    for variable, value in given.items():
        if _SECRET.search(variable):
            _mask(value)
    return cloud, given


def _fields(connection: Connection, which: str) -> dict[str, Any]:
    """The fields of a connection and of its extra, by the names that the form has."""
    try:
        extra = json.loads(connection.extra or "{}")
    except ValueError:
        extra = None
    if not isinstance(extra, dict):
        raise AirflowFailException(f"{which}: its extra is no JSON object. Correct it")
    # Connections that were made with old providers have such a prefix.
    prefix = f"extra__{connection.conn_type}__"
    return {
        **{name.removeprefix(prefix): value for name, value in extra.items()},
        "host": connection.host,
        "login": connection.login,
        "password": connection.password,
    }


def _first(fields: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    """The first of these fields that is set; None if none is."""
    for path in names:
        value: Any = fields
        for name in path.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        if value:
            return value
    return None


def _expected(cloud: Cloud) -> str:
    """The ways in the words of the connection's form."""
    ways = (
        " and ".join(" or ".join(cloud.who[name]) for name in cloud.who if name in way)
        for way in cloud.ways
    )
    return "; or else ".join(ways)


def _account(host: str) -> str:
    """The account's name in a connection's host, which may be the account's URL."""
    found = re.fullmatch(r"(?:https?://)?([a-z0-9]+)(?:\.\w+\.core\.windows\.net/?)?", host)
    if found is None:
        raise AirflowFailException(
            "schedule.connection: host must be the storage account's name, or "
            "ACCOUNT.blob.core.windows.net. Correct it, and give another endpoint as "
            "AZURE_STORAGE_ENDPOINT in the environment"
        )
    return found[1]


def _query(token: str) -> str:
    """A shared access signature, which may follow the account's URL."""
    return token.rpartition("?")[2]


def _key_path(path: str) -> str:
    """The path of a key file. The content of one, in its place, is hidden and refused."""
    if "{" in path:
        _mask(path)
        raise AirflowFailException(
            "schedule.connection: key_path has a key, expected the path of its file. Give the key "
            "as keyfile_dict"
        )
    return path


def _json(key: Any) -> str:
    """A key as JSON, of an object or of text in which one is."""
    text = key if isinstance(key, str) else json.dumps(key)
    if not isinstance(_parsed(text), dict):
        _mask(text)
        raise AirflowFailException(
            "schedule.connection: keyfile_dict is no JSON object, as Google gives a key. Correct it"
        )
    return text


def _mask(secret: str) -> None:
    """Have Airflow hide a secret: as it is, within JSON, and what is secret in a Google key."""
    key = _parsed(secret)
    inner = key.get("private_key") if isinstance(key, dict) else key
    for text in (secret, inner):
        if isinstance(text, str):
            for shown in (text, json.dumps(text)[1:-1]):
                mask_secret(shown)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


_SHAPES: Mapping[str, Callable[[Any], str]] = {
    "AZURE_STORAGE_ACCOUNT_NAME": _account,
    "AZURE_STORAGE_SAS_TOKEN": _query,
    "GOOGLE_APPLICATION_CREDENTIALS": _key_path,
    "GOOGLE_SERVICE_ACCOUNT_KEY": _json,
}
"""Variable -> how its value is made of the field's."""
