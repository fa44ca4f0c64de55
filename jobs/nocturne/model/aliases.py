"""The history of a registered model's aliases, which MLflow does not keep.

Each change is a tag of the registered model, ``nocturne.alias.<alias>.<number>``; another one,
``nocturne.alias.<alias>.seen``, says behind which version the alias was seen last, and when. MLflow
has no create-once and no compare-and-swap, so those who move an alias take turns by Lamport's
bakery algorithm (1974), each with a tag of its own.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from nocturne.codec import dump, load
from nocturne.errors import ModelError, StateError, Superseded, choices
from nocturne.model.registry import versions_of
from nocturne.records.aliases import AliasChange

if TYPE_CHECKING:
    from mlflow import MlflowClient

__all__ = [
    "Point",
    "changes_of",
    "check_alias",
    "demote",
    "known_version",
    "notice",
    "promote",
    "version_at",
]

log = logging.getLogger(__name__)

_PREFIX = "nocturne.alias."
_CLAIM = "nocturne.claim."
_STALE_S = 120.0
"""A claim this old is that of a process that died: moving an alias takes a second, and a server
that does not answer is given up after 90 (``tracking``)."""
_POLL_S = 0.1
_SEEN_EVERY_S = 3600.0
_LONGEST = 500
"""The most characters of a reason: a tag of MLflow holds 5,000."""


def _now() -> str:
    return dt.datetime.now(dt.UTC).isoformat(timespec="milliseconds")


def changes_of(tags: Mapping[str, str], alias: str | None = None) -> list[AliasChange]:
    """The changes that a registered model's tags have, by alias and number.

    Args:
        alias: only of this one.

    Raises:
        StateError: a tag is damaged.
    """
    found = []
    for key, text in tags.items():
        name, _, number = key.removeprefix(_PREFIX).rpartition(".")
        if not key.startswith(_PREFIX) or not number.isdecimal() or alias not in (None, name):
            continue
        found.append(load(AliasChange, text.encode(), f"the tag {key}"))
    return sorted(found, key=lambda change: (change.alias, change.number))


def promote(
    client: MlflowClient,
    name: str,
    alias: str,
    version: int,
    by: str,
    why: str = "",
    over: int | None = None,
) -> AliasChange:
    """Move the alias to a version.

    Args:
        over: the version from which it is moved, 0 if from nowhere; None: whichever it is at.

    Raises:
        ModelError: there is no such version, or the alias is there already.
        Superseded: somebody else has moved it meanwhile.
    """
    check_alias(alias)
    before = _version(client.get_registered_model(name), alias)
    if over is not None and (before or 0) != over:
        now, then = (f"version {v}" if v else "nowhere" for v in (before, over))
        raise Superseded(f"{name}@{alias} is {now} by now, and not {then}")
    there = {int(v.version): v.status for v in versions_of(client, name)}
    if there.get(version) != "READY":
        known = choices(map(str, sorted(v for v, status in there.items() if status == "READY")))
        raise ModelError(f"model {name!r} has no version {version} that is ready: it has {known}")
    return _moved(client, name, alias, (before, version), "promoted", by, why)


def version_at(client: MlflowClient, name: str, alias: str) -> int:
    """The version that the alias is at; 0 if it is nowhere, or there is no such model."""
    from mlflow.exceptions import MlflowException

    try:
        return _version(client.get_registered_model(name), alias) or 0
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return 0


def demote(client: MlflowClient, name: str, alias: str, by: str, why: str = "") -> AliasChange:
    """Move the alias back to the version that it had before; from there to the one before that.

    Raises:
        ModelError: its history has no earlier version, or that is gone.
        Superseded: somebody else has moved it meanwhile.
    """
    check_alias(alias)
    notice(client, name, alias)
    model = client.get_registered_model(name)
    now, earlier = _version(model, alias), _line(changes_of(model.tags, alias))
    if not earlier:
        raise ModelError(
            f"the history of {name}@{alias} has no version before: say which one, with `nocturne "
            f"promote {name} VERSION --alias {alias}`"
        )
    if earlier[-1] not in {int(v.version) for v in versions_of(client, name)}:
        raise ModelError(f"{name} version {earlier[-1]}, which {alias} was before, is gone")
    return _moved(client, name, alias, (now, earlier[-1]), "demoted", by, why)


def _line(changes: Sequence[AliasChange]) -> list[int]:
    """The versions that an alias had before, the last of which it goes back to."""
    line: list[int] = []
    for change in changes:
        if change.how == "demoted":
            line = line[:-1]
        elif change.before is not None:
            line.append(change.before)
    return line


def check_alias(alias: str) -> None:
    """Raises: ModelError if MLflow takes no such alias."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,100}", alias) or re.fullmatch(r"latest|v\d+", alias):
        raise ModelError(
            f"{alias!r} can't be an alias: expected letters, digits, - and _, at most 100 of them, "
            "and neither latest nor v with a number"
        )


def _moved(
    client: MlflowClient,
    name: str,
    alias: str,
    versions: tuple[int | None, int],
    how: Literal["promoted", "demoted"],
    by: str,
    why: str,
) -> AliasChange:
    before, version = versions
    if before == version:
        raise ModelError(f"{name}@{alias} is version {version} already")
    with _alone(client, name, alias):
        asked = _now()
        model = client.get_registered_model(name)
        if (now := _version(model, alias)) != before:
            raise Superseded(
                f"{name}@{alias} was moved to version {now} meanwhile, by another promotion; it "
                f"stays there. Look at `nocturne history {name}`, then decide again"
            )
        _notice(client, name, alias, model, asked)
        if _version(client.get_registered_model(name), alias) != before:  # it took long
            raise Superseded(f"{name}@{alias} was moved meanwhile; look at its history")
        # If this is killed between both, the change is noticed later, as one that MLflow had.
        client.set_registered_model_alias(name, alias, str(version))
        last = changes_of(client.get_registered_model(name).tags, alias)[-1:]
        number = last[0].number + 1 if last else 1
        at = max([_now(), *(change.at for change in last)])  # clocks differ; the order is known
        change = AliasChange(
            number, alias, how, before, version, at, by=by[:_LONGEST], why=why[:_LONGEST]
        )
        _write(client, name, change)
        _see(client, name, alias, version, at)
    return change


def notice(client: MlflowClient, name: str, alias: str) -> AliasChange | None:
    """Record a change that was made in MLflow itself, and that the alias is where it is now.

    Returns:
        The change; None if there is none, or somebody is moving the alias.
    """
    asked = _now()  # a move after this is not seen
    model = client.get_registered_model(name)
    if _claims(model.tags, alias):
        return None
    return _notice(client, name, alias, model, asked)


def _notice(
    client: MlflowClient, name: str, alias: str, model: Any, asked: str
) -> AliasChange | None:
    changes, now = changes_of(model.tags, alias), _version(model, alias)
    seen = _seen(model.tags, alias)
    if not changes:
        if now is None:
            return None
        change = AliasChange(1, alias, "found", None, now, asked)
    elif changes[-1].after != now:
        last = changes[-1]
        since = seen[1] if seen is not None and seen[0] == last.after else last.at
        at = max(asked, last.at)
        change = AliasChange(last.number + 1, alias, "noticed", last.after, now, at, since)
    else:
        if seen is None or _age(seen[1]) > _SEEN_EVERY_S:
            _see(client, name, alias, now, asked)
        return None
    _write(client, name, change)
    _see(client, name, alias, now, asked)
    return change


def _version(model: Any, alias: str) -> int | None:
    found = dict(model.aliases).get(alias)
    return None if found is None else int(found)


def _write(client: MlflowClient, name: str, change: AliasChange) -> None:
    key = f"{_PREFIX}{change.alias}.{change.number:06d}"
    client.set_registered_model_tag(name, key, dump(change).strip())


def _see(client: MlflowClient, name: str, alias: str, version: int | None, at: str) -> None:
    seen = json.dumps({"version": version, "at": at})
    client.set_registered_model_tag(name, f"{_PREFIX}{alias}.seen", seen)


def _seen(tags: Mapping[str, str], alias: str) -> tuple[int | None, str] | None:
    try:
        found = json.loads(tags[f"{_PREFIX}{alias}.seen"])
        return found["version"], str(found["at"])
    except (KeyError, ValueError, TypeError):
        return None


def _age(at: str) -> float:
    try:
        return (dt.datetime.now(dt.UTC) - dt.datetime.fromisoformat(at)).total_seconds()
    except (ValueError, TypeError):
        return float("inf")


@contextmanager
def _alone(client: MlflowClient, name: str, alias: str) -> Iterator[None]:
    """Nobody else moves the alias by this module meanwhile."""
    mine = f"{_CLAIM}{alias}.{os.urandom(8).hex()}"
    client.set_registered_model_tag(name, mine, _claim(0))
    try:
        highest = max(_claims_now(client, name, alias).values(), default=0)
        number = highest + 1
        client.set_registered_model_tag(name, mine, _claim(number))
        began = time.monotonic()
        while before := [
            key
            for key, theirs in _claims_now(client, name, alias).items()
            if key != mine and (theirs == 0 or (theirs, key) < (number, mine))
        ]:
            if time.monotonic() - began > 2 * _STALE_S:
                raise Superseded(
                    f"somebody else has been moving {name}@{alias} for minutes. If nobody is, "
                    f"delete the tag {before[0]} of the registered model"
                )
            client.set_registered_model_tag(name, mine, _claim(number))  # it is alive
            time.sleep(_POLL_S)
        yield
    finally:
        client.delete_registered_model_tag(name, mine)


def _claim(number: int) -> str:
    return f"{number} {_now()}"


def _claims(tags: Mapping[str, str], alias: str) -> dict[str, int]:
    """Those who want to move the alias -> their numbers; 0 while they choose one."""
    found = {}
    for key, text in tags.items():
        number, _, at = text.partition(" ")
        if key.startswith(f"{_CLAIM}{alias}.") and number.isdecimal() and abs(_age(at)) < _STALE_S:
            found[key] = int(number)
    return found


def _claims_now(client: MlflowClient, name: str, alias: str) -> dict[str, int]:
    return _claims(client.get_registered_model(name).tags, alias)


@dataclass(frozen=True)
class Point:
    """A time at which the alias was behind a version."""

    at: str
    version: int


def known_version(
    changes: Sequence[AliasChange], points: Sequence[Point], when: dt.datetime
) -> int | None:
    """The version that was behind an alias at a time; None if there was no alias.

    Args:
        changes: of the alias, in order; it has not moved since the last.
        points: when runs have resolved it, in order.
        when: with its time zone.

    Raises:
        StateError: that can't be known; it says from when on it can.
    """
    times = [dt.datetime.fromisoformat(change.at) for change in changes]
    at = sum(time <= when for time in times)  # changes that were before
    if at and at < len(changes) and changes[at].before != changes[at - 1].after:
        raise StateError(
            f"the history has a gap before {changes[at].at}: a record is missing. Name the version"
        )
    if at:
        if at < len(changes) and dt.datetime.fromisoformat(changes[at].earliest) <= when:
            change = changes[at]
            raise StateError(
                f"the alias was moved from version {change.before} to {change.after} in MLflow, "
                f"between {change.since} and {change.at}, so which one it had at "
                f"{when.isoformat()} can't be known. Name the version"
            )
        return changes[at - 1].after
    if changes and changes[0].after is not None:
        points = [*points, Point(changes[0].at, changes[0].after)]
    before = [point for point in points if dt.datetime.fromisoformat(point.at) <= when]
    after = [point for point in points if dt.datetime.fromisoformat(point.at) >= when]
    if before and after and before[-1].version == after[0].version:
        return after[0].version
    known = f": it is known from {changes[0].at} on" if changes else ""
    raise StateError(
        f"which version the alias had at {when.isoformat()} can't be known{known}. Name the version"
    )
