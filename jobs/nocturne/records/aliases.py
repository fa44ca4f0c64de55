"""Changes of a registered model's alias."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from nocturne.codec import Stored
from nocturne.records.texts import Time

__all__ = ["AliasChange"]


@dataclass(frozen=True)
class AliasChange(Stored):
    """An alias was moved; the text of a tag of the registered model.

    Attributes:
        number: counts the changes of the alias, from 1.
        how: ``promoted`` or ``demoted`` by a command; ``found`` behind a version, with which the
            history begins; ``noticed`` later, since somebody has changed it in MLflow.
        before, after: the versions; None if it did not exist, or was removed.
        at: when it was, or was noticed.
        since: of one that was noticed, when the alias was last seen behind ``before``.
        by: who; "" if it is not known.
        why: what they said.
    """

    ON_ONE_LINE: ClassVar[bool] = True
    mend: ClassVar[str] = "Delete the tag; what it said is lost"

    number: int
    alias: str
    how: Literal["promoted", "demoted", "found", "noticed"]
    before: int | None
    after: int | None
    at: Time
    since: Time | None = None
    by: str = ""
    why: str = ""

    @property
    def earliest(self) -> str:
        """The earliest time at which it may have been."""
        return self.since or self.at
