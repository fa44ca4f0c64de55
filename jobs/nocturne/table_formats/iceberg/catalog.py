"""A table's name in a catalog, which pyiceberg's own configuration describes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from nocturne.errors import ConfigError, PublishError, RetryableError, StoreUnavailable
from nocturne.model.tracking import without_secret
from nocturne.objects import Location, ObjectPath, is_uri

__all__ = ["CatalogTable", "address", "place_of"]

_VARIABLES = {
    "s3.endpoint": "AWS_ENDPOINT_URL",
    "s3.access-key-id": "AWS_ACCESS_KEY_ID",
    "s3.secret-access-key": "AWS_SECRET_ACCESS_KEY",
    "s3.session-token": "AWS_SESSION_TOKEN",
    "s3.region": "AWS_REGION",
}
"""pyiceberg's setting -> the variable that says the same."""


def address(folder: Location) -> str:
    """The folder, or file, as a table's location.

    Raises:
        PublishError: the library finds another place for such a path (pyiceberg 0.12).
    """
    if found := re.search(r"[\[\]?#*\n]", str(folder)):
        raise PublishError(
            f"an Iceberg table can't be at {str(folder)!r}, since its readers do not find paths "
            f"with {found[0]!r}. Choose another folder"
        )
    return str(folder) if isinstance(folder, ObjectPath) else f"file://{folder}"


def place_of(location: str) -> Location | None:
    """The path of a file or folder; None if it is in no place that is known.

    Writers say ``/a/b``, ``file:/a/b`` or ``file:///a/b``, and ``s3a://`` for ``s3://``.
    """
    location = re.sub("^s3[an]://", "s3://", location)
    if is_uri(location):
        with suppress(ValueError):
            return ObjectPath.of(location)
        return None
    scheme, _, path = location.partition(":")
    if location.startswith("/"):
        path = location
    elif scheme != "file":
        return None
    return Path("/" + path.lstrip("/"))


def _of_environment() -> dict[str, str]:
    """What the environment says of S3, for pyiceberg's own files.

    Without these, Arrow's own chain would not know of the endpoint.
    """
    known = {name: os.environ.get(variable) for name, variable in _VARIABLES.items()}
    return {name: value for name, value in known.items() if value}


@dataclass(frozen=True)
class CatalogTable:
    """The table ``name``, ``catalog.namespace.table``, whether it exists or not."""

    name: str

    @property
    def catalog(self) -> str:
        """The catalog's name in pyiceberg's configuration."""
        return self.name.split(".")[0]

    @property
    def identifier(self) -> tuple[str, ...]:
        """The namespace's levels and the table, in the catalog."""
        return tuple(self.name.split(".")[1:])

    @cached_property
    def opened(self) -> Any:
        """The catalog.

        Raises:
            ConfigError: the library is not installed, or the configuration has no such catalog.
            RetryableError: it does not answer.
        """
        try:
            from pyiceberg.catalog import load_catalog
            from pyiceberg.exceptions import NotInstalledError
            from pyiceberg.utils.config import Config

            from nocturne.table_formats.iceberg.durable import NAME
        except ImportError:
            raise ConfigError(
                "the format iceberg needs the package pyiceberg, which is not installed here: "
                "pip install 'nocturne[iceberg]'"
            ) from None
        try:
            settings: dict[str, Any] = dict(Config().get_catalog_config(self.catalog) or {})
        except Exception as error:  # a parser's, whose text has lines of the file
            raise ConfigError(
                "the configuration of pyiceberg (.pyiceberg.yaml, variables PYICEBERG_...) can't "
                f"be read: {type(error).__name__}"
            ) from None
        variable = f"PYICEBERG_CATALOG__{self.catalog.upper().replace('-', '_')}__URI"
        if not settings:
            raise ConfigError(
                f"the table {self.name!r} is in the catalog {self.catalog!r}, which the "
                f"configuration of pyiceberg does not have. Set {variable} (and what else it "
                "needs), or describe it in .pyiceberg.yaml in the home folder or $PYICEBERG_HOME"
                + ("; it reads a _ in the variable's name as -" if "_" in self.catalog else "")
            )
        _SECRETS.update(
            value
            for key, value in settings.items()
            if isinstance(value, str) and len(value) > _SHORT and key not in _PLAIN
        )
        advice = f"Look at the configuration of pyiceberg ({variable}, .pyiceberg.yaml)"
        try:
            with self.errors():
                return load_catalog(
                    self.catalog, **{"py-io-impl": NAME, **_of_environment(), **settings}
                )
        except (ConfigError, RetryableError):
            raise
        except (NotInstalledError, ImportError) as error:
            raise ConfigError(
                f"the Iceberg catalog {self.catalog!r} can't be opened: {first_line(error)}. "
                f"{advice}"
            ) from None
        except Exception as error:  # whose text may have the whole URI, with its password
            raise ConfigError(
                f"the Iceberg catalog {self.catalog!r} can't be opened: its settings are not what "
                f"the library expects ({type(error).__name__}). {advice}"
            ) from None

    def check_files(self, location: str) -> None:
        """Return if the catalog's settings let files be written.

        Raises:
            ConfigError: they do not.
        """
        from pyiceberg.io import load_file_io

        try:
            load_file_io(self.opened.properties, location)
        except ValueError as error:
            raise ConfigError(
                f"the Iceberg catalog {self.catalog!r} names files that can't be used: "
                f"{first_line(error)}. Look at py-io-impl in the configuration of pyiceberg"
            ) from None

    def load(self) -> Any:
        """The table as it is now; None if there is none.

        Raises:
            ConfigError, RetryableError: as ``opened``.
            PublishError: it can't be read.
        """
        catalog = self.opened
        from pyiceberg import exceptions as theirs
        from sqlalchemy.exc import SQLAlchemyError

        try:
            with self.errors():
                return catalog.load_table(self.identifier)
        except (theirs.NoSuchTableError, theirs.NoSuchNamespaceError):
            return None
        except (
            *(theirs.ValidationError, theirs.RESTError, SQLAlchemyError),
            *(OSError, ValueError, KeyError),
        ) as error:
            if (told := of_store(error)) is not None:
                raise told from None
            raise PublishError(
                f"the Iceberg table {self.name} can't be read: {first_line(error)}"
            ) from None

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Raises our errors for a catalog that does not answer, or does not let us in.

        Raises:
            ConfigError: it refuses who we are.
            RetryableError: it does not answer.
        """
        try:
            yield
        except Exception as error:
            if is_refusal(error):
                raise ConfigError(
                    f"the Iceberg catalog {self.catalog!r} refuses access: {first_line(error)}. "
                    "Look at the credentials in the configuration of pyiceberg"
                ) from None
            if (told := of_store(error)) is not None:
                raise told from error
            if not is_out_of_reach(error):
                raise
            raise RetryableError(
                f"the Iceberg catalog {self.catalog!r} does not answer: {first_line(error)}. "
                "Nothing was changed. Run it again when it does"
            ) from error


_SECRETS: set[str] = set()
"""Values of settings that no message may have."""
_PLAIN = {"uri", "type", "warehouse", "py-io-impl", "py-catalog-impl", "s3.endpoint", "s3.region"}
_SHORT = 3

_REFUSED = re.compile(
    r"password authentication failed|no pg_hba\.conf entry|Access denied"
    r"|(role|database) .* does not exist",
    re.IGNORECASE,
)
"""What databases say of wrong credentials, which their drivers report like a lost connection."""


_AWS = re.compile(
    r"(?P<what>When [^:]*): AWS Error (?P<code>[\w ]+?) during (?P<how>\w+) operation"
)
_DENIED = {"ACCESS_DENIED", "INVALID_ACCESS_KEY_ID", "SIGNATURE_DOES_NOT_MATCH", "NO_SUCH_BUCKET"}


def of_store(error: BaseException) -> ConfigError | StoreUnavailable | None:
    """Our error for one of Arrow's S3 client, which pyiceberg uses; None if it is another."""
    found = _AWS.search(str(error)) if isinstance(error, OSError) else None
    if found is None:
        return None
    said = f"{found['what']}: {found['code']} at {found['how']}"
    if found["code"] in _DENIED:
        return ConfigError(
            f"the store refuses what pyiceberg asks ({said}). Check AWS_ACCESS_KEY_ID, "
            "AWS_SECRET_ACCESS_KEY, AWS_REGION and AWS_ENDPOINT_URL in the environment of this "
            "process, or s3.* in the configuration of pyiceberg"
        )
    return StoreUnavailable(
        f"the store did not answer pyiceberg ({said}). Nothing is lost; run the same command again "
        "when it does"
    )


def is_refusal(error: Exception) -> bool:
    """Whether a catalog does not let us in."""
    from pyiceberg import exceptions as theirs
    from sqlalchemy.exc import OperationalError

    known = (
        *(theirs.UnauthorizedError, theirs.ForbiddenError, theirs.OAuthError),
        theirs.AuthorizationExpiredError,
    )
    return isinstance(error, known) or (
        isinstance(error, OperationalError) and _REFUSED.search(str(error)) is not None
    )


def is_out_of_reach(error: Exception) -> bool:
    """Whether a catalog did not answer, or only that it can't now."""
    from pyiceberg import exceptions as theirs
    from requests.exceptions import ConnectionError as NoConnection
    from requests.exceptions import Timeout
    from sqlalchemy.exc import InterfaceError, OperationalError

    known = (
        *(theirs.ServiceUnavailableError, theirs.ServerError, theirs.TooManyRequestsError),
        *(NoConnection, Timeout, InterfaceError, OperationalError),
    )
    return isinstance(error, known)


def first_line(error: BaseException) -> str:
    """What an error says, without secrets, and without later lines, such as an SQL statement."""
    said = without_secret(str(error).strip().partition("\n")[0])
    for secret in _SECRETS:
        said = said.replace(secret, "***")
    return re.sub(r"(?i)(token|password|secret|credential)=[^\s&'\"]+", r"\1=***", said) or (
        type(error).__name__
    )
