"""Object stores through obstore, which is imported when a store is first used.

Credentials, endpoint and region are those of the environment, of a profile of AWS, or of the
machine's own identity. They are in no record, pickle or message: a store is made anew in each
process from a path, and an error shows what the server said, never the request.
"""

from __future__ import annotations

import errno
import json
import os
import re
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

from nocturne.errors import (
    ConfigError,
    InputChanged,
    PublishError,
    StoreRefused,
    StoreUnavailable,
)
from nocturne.host.forks import Threaded
from nocturne.objects import listing
from nocturne.objects.path import ObjectPath, Stat
from nocturne.objects.together import together

__all__ = [
    "RETRIES",
    "RETRY_S",
    "TIMEOUT_S",
    "asking",
    "below",
    "check_conditions",
    "check_creating",
    "check_reading",
    "content",
    "copy",
    "entries",
    "error_of",
    "fetch_listed",
    "has_profile",
    "is_of_store",
    "library",
    "remove",
    "remove_all",
    "stat",
    "store",
    "upload",
    "write",
]

_obstore = Threaded("obstore", "stores", "object stores need", "an object store")
_down: dict[str, tuple[float, StoreUnavailable]] = {}
"""Bucket -> until when it is not asked again, and the error until then."""
_REST_S = 30.0
"""For how long a store that did not answer is not asked again by this process."""
_TRIES = 5
"""How often an object is written of which the store says both, that it exists and that not."""
RETRIES = 10
RETRY_S, TIMEOUT_S = 120, 60
"""How often and for how long a request is repeated, and how long one of them may take."""
_ABOVE_PROFILES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_SKIP_SIGNATURE",
)
_PROFILES = {
    "AWS_SHARED_CREDENTIALS_FILE": "~/.aws/credentials",
    "AWS_CONFIG_FILE": "~/.aws/config",
}
"""Variable -> the file with profiles where it is not set."""
_ADVICE = {
    "s3": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_REGION, AWS_ENDPOINT_URL or AWS_PROFILE",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS (the path of a key file) or GOOGLE_SERVICE_ACCOUNT_KEY "
    "(its content)",
    "az": "AZURE_STORAGE_ACCOUNT_NAME, AZURE_STORAGE_ACCOUNT_KEY or the like",
}
"""Scheme -> the variables that say who asks, and where."""
_ENDPOINTS = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT")
_KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION")
_KEY_FILES = (
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GOOGLE_SERVICE_ACCOUNT",
    "GOOGLE_SERVICE_ACCOUNT_PATH",
    "SERVICE_ACCOUNT",
)
"""The variables with the path of a key file of Google's."""
_STATUS = re.compile(r"status code:? (\d{3})")
_REQUEST = re.compile(r"Error performing (GET|PUT|HEAD|POST|DELETE|list|[Mm]ulti)|HTTP error")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m|↳|╰─▶|├─▶")
_CODE = re.compile(r"<Code>([\w.]+)</Code>")
_SAID = re.compile(r"<Message>([^<]{1,300})")
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"}
_NO_BUCKET = {"NoSuchBucket", "ContainerNotFound"}
_CLOCK = {"RequestTimeTooSkewed", "RequestInTheFuture"}
_LACKING = {
    "Received non-partial response": "gives whole objects where a part is asked for (it ignores "
    "Range)",
    "ETag Header missing": "gives objects no ETag",
    "Last-Modified Header missing": "does not say when an object was written (Last-Modified)",
}
"""Of the library's message -> what the server lacks (object_store 0.13)."""
_REDIRECT = "without LOCATION"
"""Of obstore's message for a bucket in another region (object_store 0.13)."""


def library() -> Any:
    """The package ``obstore``.

    Raises:
        ConfigError: it is not installed.
        StateError: this process was forked from one that has used it.
    """
    return _obstore.load()


@lru_cache
def _made(root: str) -> Any:
    from obstore.store import from_url

    profile = {"credential_provider": _profile(root)} if has_profile(root) else {}
    return from_url(
        root,
        **profile,
        client_options={
            "timeout": timedelta(seconds=TIMEOUT_S),
            "connect_timeout": timedelta(seconds=10),
            "allow_http": True,  # only if the endpoint is given as http://
        },
        retry_config={
            "max_retries": RETRIES,
            "retry_timeout": timedelta(seconds=RETRY_S),
            "backoff": {
                "init_backoff": timedelta(milliseconds=100),
                "max_backoff": timedelta(seconds=15),
                "base": 2,
            },
        },
    )


def has_profile(root: str) -> bool:
    """Whether the credentials are those of a profile, which nothing in the environment is above."""
    if not root.startswith("s3:") or any(os.environ.get(name) for name in _ABOVE_PROFILES):
        return False
    files = [
        Path(os.environ.get(variable) or default).expanduser()
        for variable, default in _PROFILES.items()
    ]
    return "AWS_PROFILE" in os.environ or any(path.is_file() for path in files)


def _profile(root: str) -> Any:
    try:
        from obstore.auth.boto3 import Boto3CredentialProvider
    except ImportError:
        raise ConfigError(
            f"{root}: the credentials of a profile (AWS_PROFILE, ~/.aws) need the package boto3, "
            "which is not installed here: pip install 'nocturne[s3]'"
        ) from None
    from botocore.exceptions import BotoCoreError

    try:
        return Boto3CredentialProvider()
    except BotoCoreError as error:  # it names files and profiles, not what is in them
        raise ConfigError(f"{root}: {error}. Correct AWS_PROFILE or the file in ~/.aws") from None


def store(path: ObjectPath) -> Any:
    """The store of a path's bucket. Raises: ConfigError, StateError."""
    library()
    _check_environment(path)
    try:
        return _made(path.root)
    except ConfigError:
        raise
    except BaseException as error:  # nothing was asked of it yet
        if not isinstance(error, Exception) and not _is_panic(error):
            raise
        raise ConfigError(
            f"{path.root} can't be opened with what the environment says of it. The library's "
            f"message is not shown, since it may quote a key. {_advice(path)}"
        ) from None


def stat(path: ObjectPath) -> Stat:
    """Raises: FileNotFoundError, StoreUnavailable, ConfigError."""
    if (known := listing.known(path)) is not None and known.stat_ is not None:
        return known.stat_
    bucket, path = store(path), ObjectPath(path.root, path.key)  # whatever was meant before
    with asking(path):
        try:
            return _stat(library().head(bucket, path.key), path)
        except FileNotFoundError:
            raise
        except Exception:  # the answer to HEAD has no words
            return _stat(library().get(bucket, path.key).meta, path)


def _stat(meta: Any, path: ObjectPath) -> Stat:
    tag = meta["e_tag"] or meta["version"]
    if not tag:
        raise ConfigError(
            f"the store of {path} gives objects no ETag, so a replaced one could not be noticed. "
            "Copy the files to another store, or to a local folder"
        )
    return Stat(meta["size"], round(meta["last_modified"].timestamp() * 1e9), tag)


def check_conditions(paths: Iterable[ObjectPath]) -> None:
    """Test that a read on a condition that does not hold is refused.

    Args:
        paths: objects as listed; the first one with bytes is asked for.

    Raises:
        ConfigError: it is not, so an object that is replaced in mid-read would not be noticed.
        StoreUnavailable: the store does not answer.
    """
    path = next((path for path in paths if path.stat_ and path.stat_.st_size), None)
    if path is None:
        return
    bucket = store(path)
    try:
        with asking(path.pinned(Stat(1, 0, "another"))):
            library().get(bucket, path.key, options={"range": (0, 1), "if_match": '"another"'})
    except InputChanged:
        return
    raise ConfigError(
        f"the server of {path.root} ignores conditions (If-Match), so an object that is replaced "
        "while it is read would not be noticed. Use a server that honours them, or copy the files "
        "to a local folder"
    )


def check_reading(folder: ObjectPath) -> None:
    """``check_conditions`` on a Parquet file below a folder, if there is one."""
    check_conditions(path for path in folder.below() if path.name.endswith(".parquet"))


def upload(path: ObjectPath, source: Path) -> None:
    """Write an object with the bytes of a file; what is there already is replaced.

    Raises:
        FileNotFoundError: there is no such file.
        StoreUnavailable, ConfigError: the store does not answer, or refuses.
    """
    bucket = store(path)
    if not source.is_file():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(source))
    with asking(path):
        library().put(bucket, path.key, source)


def write(path: ObjectPath, data: bytes, *, exclusive: bool = False) -> bool:
    """Write an object: see ``ObjectPath.write_bytes``."""
    bucket, put = store(path), library().put
    if not exclusive:
        with asking(path):
            put(bucket, path.key, data)
        return True
    for attempt in range(_TRIES):
        time.sleep(0.1 * attempt)
        with asking(path), suppress(library().exceptions.AlreadyExistsError):
            put(bucket, path.key, data, mode="create")
            return True
        with suppress(FileNotFoundError):  # 409: another one is being written, perhaps
            return content(path) == data  # ours, if the answer to it was lost
    raise StoreUnavailable(
        f"{path}: the store says that the object exists, and that it does not. Nothing is lost; "
        "run the same command again"
    )


def content(path: ObjectPath) -> bytes:
    """The bytes of an object: see ``ObjectPath.read_bytes``."""
    if (known := listing.known(path)) is not None:
        return listing.kept(known, lambda: _content(ObjectPath(path.root, path.key)))
    return _content(path)


def fetch_listed(prefixes: Iterable[ObjectPath]) -> None:
    """Keep the bytes of what is below listed prefixes, several at once, since it is read next.

    Raises: StoreUnavailable, ConfigError.
    """

    def fetch(path: ObjectPath) -> None:
        with suppress(FileNotFoundError):  # removed since
            if listing.is_kept(path):
                listing.kept(path, lambda: _content(ObjectPath(path.root, path.key)))

    together(fetch, (path for prefix in prefixes for path in below(prefix)))


def _content(path: ObjectPath) -> bytes:
    bucket = store(path)
    options = {"if_match": path.stat_.tag} if path.stat_ else {}
    with asking(path):
        return bytes(library().get(bucket, path.key, options=options).bytes())


def copy(source: ObjectPath, target: ObjectPath) -> None:
    """Write an object with the bytes of another: see ``ObjectPath.copy``."""
    if source.root != target.root:
        with source.open(whole=True) as read, asking(target):
            library().put(store(target), target.key, read)
        return
    bucket = store(source)
    with asking(source):
        library().copy(bucket, source.key, target.key, overwrite=True)


def remove(path: ObjectPath) -> None:
    """Remove an object, if there is one. Raises: StoreUnavailable, ConfigError."""
    bucket = store(path)
    with suppress(FileNotFoundError), asking(ObjectPath(path.root, path.key)):
        library().delete(bucket, path.key)


def remove_all(paths: Sequence[ObjectPath]) -> None:
    """Remove objects of one bucket, if they are there. Raises: StoreUnavailable, ConfigError."""
    if paths:
        bucket = store(paths[0])
        try:
            with asking(paths[0].parent):
                library().delete(bucket, [path.key for path in paths])
        except FileNotFoundError:  # of one of them, by stores that say so
            for path in paths:
                remove(path)


def check_creating(folder: ObjectPath) -> None:
    """Test what commits need: that an object is created once, and that it is listed and read.

    Raises:
        PublishError: the server lacks it.
        StoreUnavailable, ConfigError: the store does not answer, or refuses.
    """
    bucket, path = store(folder), folder / f".nocturne-{os.urandom(8).hex()}"
    taken = library().exceptions.AlreadyExistsError
    lacking, read = "", b""
    asked = "that an object is created only if there is none (If-None-Match)"
    try:
        with asking(path):
            with suppress(taken):  # by this very request, whose answer was lost
                library().put(bucket, path.key, b"probe", mode="create")
            try:
                library().put(bucket, path.key, b"again", mode="create")
                lacking = "lets two programs create the same object (it ignores If-None-Match)"
            except taken:
                asked = "a part of an object (Range)"
                read = bytes(library().get_range(bucket, path.key, start=1, end=3))
        if not lacking and read != b"ro":
            lacking = "gives other bytes than those of the range that was asked for"
        if not lacking and path not in entries(folder)[1]:
            lacking = "does not list an object that was just written"
    except ConfigError as error:
        if "lacking" not in error.values:
            raise
        lacking = error.values["lacking"] or f"can't be asked for {asked}"
    finally:
        remove(path)
    if lacking:
        raise PublishError(
            f"the server of {folder.root} {lacking}, so a commit could be lost. Choose another "
            "output.path"
        )


def below(path: ObjectPath) -> Iterator[ObjectPath]:
    """Every object below a path, in any order. Raises: StoreUnavailable, ConfigError."""
    if (known := listing.listing_of(path)) is not None:
        yield from (
            found for found in known.objects if found != path and found.is_relative_to(path)
        )
        return
    bucket = store(path)
    with asking(path):
        for chunk in library().list(bucket, path.key or None):
            for meta in chunk:
                found = ObjectPath(path.root, meta["path"])
                if found != path:  # the marker of the folder itself
                    yield found.pinned(_stat(meta, found))


def entries(path: ObjectPath) -> tuple[list[ObjectPath], list[ObjectPath]]:
    """The folders and the objects directly in a path, sorted, objects pinned.

    Raises: StoreUnavailable, ConfigError.
    """
    if (known := listing.listing_of(path)) is not None:
        return known.inside.get(path, ([], []))
    bucket = store(path)
    with asking(path):
        found = library().list_with_delimiter(bucket, path.key or None)
    folders = [ObjectPath(path.root, key.strip("/")) for key in found["common_prefixes"]]
    objects = [(ObjectPath(path.root, meta["path"]), meta) for meta in found["objects"]]
    pinned = [object_.pinned(_stat(meta, object_)) for object_, meta in objects if object_ != path]
    return sorted(folders), sorted(pinned)


@contextmanager
def asking(path: ObjectPath) -> Iterator[None]:
    """Raises the errors of the store as ours, with what the server said and without the request.

    Raises:
        FileNotFoundError: there is no such object.
        InputChanged: it is pinned, and another one or none is there.
        StoreUnavailable: it did not answer, or the credentials have expired.
        ConfigError: it refuses: the bucket, the credentials or their permissions are wrong.
    """
    if (down := _down.get(path.root)) and time.monotonic() < down[0]:
        raise StoreUnavailable(str(down[1]))
    try:
        yield
    except FileNotFoundError as error:
        if _code(_plain(error)) in _NO_BUCKET:
            raise error_of(path, error) from None
        if path.stat_:
            raise path.changed() from None
        raise FileNotFoundError(errno.ENOENT, "there is no such object", str(path)) from None
    except BaseException as error:
        if _is_panic(error):
            raise ConfigError(
                f"{path}: a value in the environment can't be used in a request. {_advice(path)}"
            ) from None
        if not type(error).__module__.startswith("obstore") or not isinstance(error, Exception):
            raise
        if type(error).__name__ == "PreconditionError" and path.stat_:
            raise path.changed() from None
        told = error_of(path, error)
        if isinstance(told, StoreUnavailable):
            _down[path.root] = time.monotonic() + _REST_S, told
        raise told from None


def _is_panic(error: BaseException) -> bool:
    """Whether the library met what it did not expect; that is no ``Exception``."""
    return type(error).__name__ == "PanicException"


def _check_environment(path: ObjectPath) -> None:
    """Raises: ConfigError for values at which the libraries would panic, or which they quote."""
    if path.root.startswith("gs:"):
        _check_keys(path)
    if not path.root.startswith("s3:"):
        return
    for name in _ENDPOINTS:
        if name in os.environ and not re.fullmatch(r"https?://[^\s/]+\S*", os.environ[name]):
            raise ConfigError(
                f"{name} is {_shown(os.environ[name])}, expected http://host:port or "
                "https://host. Correct it, or unset it for Amazon's own"
            )
    for name in _KEYS:
        if re.search(r"\s", os.environ.get(name, "")):
            raise ConfigError(
                f"{name} has a blank or a line break in it, as a file's last line has; take it out"
            )


def _check_keys(path: ObjectPath) -> None:
    """Raises: ConfigError if a key of Google's is not where its variable says. It is not shown."""
    for name in (*_KEY_FILES, "GOOGLE_SERVICE_ACCOUNT_KEY"):
        if name not in os.environ:
            continue
        key = os.environ[name]
        if name in _KEY_FILES:
            try:
                key = Path(key).read_text()
            except (OSError, UnicodeDecodeError):
                raise ConfigError(
                    f"{name} is not the path of a file that can be read here. {_advice(path)}"
                ) from None
        if not _is_json_object(key):
            raise ConfigError(
                f"{name} has no key: expected one JSON object, as Google gives it. {_advice(path)}"
            )


def _is_json_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def _shown(text: str) -> str:
    return "empty" if not text else "not such an address" if "@" in text else repr(text)


def _advice(path: ObjectPath) -> str:
    variables = _ADVICE.get(path.root.partition(":")[0], _ADVICE["az"])
    return (
        f"Check {variables} in the environment of this process, or the connection of Airflow's "
        "task (schedule.connection; docs/stores.md)"
    )


def _code(text: str) -> str:
    found = _CODE.search(text)
    return found[1] if found else ""


def is_of_store(error: Exception) -> bool:
    """Whether a library that uses the same one below has told of an error of the store."""
    return _REQUEST.search(_plain(error)) is not None


def _plain(error: BaseException) -> str:
    """The message in one line, without the colours that deltalake gives it."""
    return " ".join(_COLOUR.sub(" ", str(error)).split())


def error_of(path: ObjectPath, error: Exception) -> ConfigError | StoreUnavailable:
    """Our error for one of the library's, or of another that uses the same one below."""
    text = _plain(error)
    code, said = _code(text), _SAID.search(text)
    found = _STATUS.search(text)
    status = found[1] if found else ""
    answer = ", ".join(filter(None, (status, code, said[1].strip() if said else "")))
    if code in _EXPIRED:
        return StoreUnavailable(
            f"{path}: the credentials have expired ({answer}). Nothing is lost; give new ones "
            "and run the same command again"
        )
    if type(error).__name__ == "InvalidPathError":
        return ConfigError(
            f"below {path} is an object whose key can't be used: a name in it is empty, '.' or "
            f"'..', or has control characters ({text.partition(' Debug source')[0]}). Rename it, "
            "or remove it"
        )
    if code in _NO_BUCKET:
        return ConfigError(
            f"there is no {path.root} ({answer}). Correct the name, or make it. {_advice(path)}"
        )
    if code in _CLOCK:
        return ConfigError(
            f"{path}: the clock of this machine differs from that of the store ({answer}). Set "
            "this one (NTP), and run the same command again"
        )
    if status in ("401", "403"):
        return StoreRefused(
            f"{path}: access denied ({answer}): these credentials may not do this. {_advice(path)}"
        )
    if _REDIRECT in text:
        return ConfigError(f"{path}: the bucket is elsewhere. Set its region (AWS_REGION)")
    if status.startswith("4") and status not in ("404", "408", "409", "412", "429"):
        return ConfigError(f"{path}: the store refuses ({answer}). {_advice(path)}")
    if status == "501":
        return ConfigError(
            f"{path}: the server does not support the request ({answer}). Use another server, or "
            "copy the files to a local folder",
            lacking="",
        )
    if not status and not is_of_store(error):
        if lacking := next((_LACKING[words] for words in _LACKING if words in text), ""):
            return ConfigError(
                f"the server of {path.root} {lacking}. Use another server, or copy the files to a "
                "local folder",
                lacking=lacking,
            )
        said_here = re.sub(r"\?\S+", "?...", text.partition(" Debug source")[0])  # no signatures
        return ConfigError(f"{path}: {type(error).__name__}: {said_here[:300]}")
    return StoreUnavailable(
        f"{path}: the store did not answer ({answer or _reason(text)}), also when asked again. "
        f"Nothing is lost; run the same command again when it does. {_advice(path)}"
    )


def _reason(text: str) -> str:
    for words in ("timed out", "connection refused", "dns error", "error sending request"):
        if words in text.lower():
            return words
    return "no answer"
