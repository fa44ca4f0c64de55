"""The plan room: makes the keys of splits and runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from nocturne.encoding import Encoding
from nocturne.records.plan import Arms, ModelRef, Piece, Pinned, Split
from nocturne.store.files import digest

__all__ = ["OUTPUT_VERSION", "key_of", "run_key", "split_keys"]

OUTPUT_VERSION = 4
"""Raised only when the same input and model would give other output bytes."""


def split_keys(
    pieces: Sequence[Piece],
    model: ModelRef,
    encoding: Encoding,
    pinned: Pinned,
    keys: Sequence[str],
    passthrough: Sequence[str],
    salt: str = "",
    cast: Mapping[str, str] = {},
    types: Mapping[str, Mapping[str, str]] = {},
    partition_columns: Sequence[str] = (),
    beside: Sequence[str] = (),
    arms: Arms | None = None,
) -> tuple[Split, ...]:
    """The splits with their keys: equal keys mean equal output bytes.

    Args:
        salt: makes other keys of the same contents, to score published contents again.
        cast: ``input.cast``: column -> target type.
        types: file -> column -> a type that the file itself does not have.
        partition_columns: columns of the partition that the files of scores have, with their types.
        beside: the keys of the champion's splits, whose quarantined rows a challenger shares.
        arms: the models that score a share of the keys.
    """
    settings = digest(
        OUTPUT_VERSION,
        [model.name, model.version, model.sha256],
        encoding.to_json(),
        asdict(pinned),
        [list(keys), list(passthrough)],
        salt,
        *([sorted(cast.items())] if cast else []),
        *([["partition", *partition_columns]] if partition_columns else []),
        *([_shares(arms)] if arms else []),
    )
    return tuple(
        Split(
            index=index,
            key=digest(
                settings,
                piece.file.path,
                piece.file.fingerprint,
                piece.row_groups,
                *([sorted(types[piece.file.path].items())] if piece.file.path in types else []),
                *([["beside", beside[index]]] if beside else []),
            ),
            file=piece.file.path,
            row_groups=piece.row_groups,
            first_row=piece.first_row,
            rows=piece.rows,
        )
        for index, piece in enumerate(pieces)
    )


def _shares(arms: Arms) -> list[Any]:
    """What decides which model scores a key, and how."""
    return [
        "arms",
        arms.key,
        arms.salt,
        *(
            [
                [arm.first, arm.end, arm.model.name, arm.model.version, arm.model.sha256],
                arm.encoding.to_json(),
                asdict(arm.pinned),
            ]
            for arm in arms.arms
        ),
    ]


def run_key(splits: Sequence[Split]) -> str:
    """The key of a run: one SHA-256 of everything that its output is made of."""
    return key_of([split.key for split in splits])


def key_of(split_keys: Sequence[str]) -> str:
    """``run_key``, of the keys of the splits."""
    return digest(OUTPUT_VERSION, [*split_keys])
