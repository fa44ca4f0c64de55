"""Adopts files that another program has written into a published partition, as a new manifest."""

from __future__ import annotations

from dataclasses import replace

from nocturne import table
from nocturne.config import Loaded
from nocturne.errors import PublishError
from nocturne.pipeline.signer import require_signed, require_signer
from nocturne.records.manifest import Manifest, OutputFile
from nocturne.store.partition_state import manifest_id, now
from nocturne.table_formats.protocol import TablePartition

__all__ = ["adopt", "adopt_if_same_rows"]


def adopt_if_same_rows(loaded: Loaded, output: TablePartition, current: Manifest) -> Manifest:
    """The manifest in force; a new one if its rows lie in other files now, as after OPTIMIZE.

    Raises:
        PublishError: the rows differ, or can't be compared.
    """
    if not output.is_rearranged(current) or -1 in output.files().values():
        return current  # if a file is missing, its rows are lost, and scored again
    return _adopted(loaded, output, None)


def adopt(loaded: Loaded, output: TablePartition, by: str) -> Manifest:
    """Put the rows that are there in force, whoever wrote them.

    Raises:
        StateError: no other program has changed the partition, or nothing was published there.
    """
    adopted = _adopted(loaded, output, by)
    status = output.state.status()
    if status is not None and status.state in ("held", "failed"):  # of before the decision
        output.state.clear_status(status.run_key)
    return adopted


def _adopted(loaded: Loaded, output: TablePartition, by: str | None) -> Manifest:
    """Adopt the present files; other rows than those of the last manifest only if ``by`` decides.

    The rows are compared once, while the partition's lock is held.
    """

    require_signer(loaded)

    def manifest(last: Manifest, files: tuple[OutputFile, ...], number: int) -> Manifest:
        require_signed(loaded, output.state, last)
        why = table.difference(output, last)
        if why and by is None:
            name, key = loaded.pipeline.name, last.partition.key
            raise PublishError(
                f"{name} {key}: {why}. Nothing was changed. `nocturne adopt {name} --date {key}` "
                "takes the rows that are there as they are; they are replaced when it is scored "
                "again"
            )
        same = not why
        return replace(
            last,
            id=manifest_id(number, last.run_key),
            number=number,
            replaces=last.id,
            restores=None,
            published=now(),
            approved_by=by or last.approved_by,
            outputs=files,
            rows_published=sum(file.rows for file in files),
            adopted=last.adopted or "files" if same else "rows",
            content_key=last.kept_key if same else "",
        )

    return table.adopt(output, manifest, loaded.pipeline.output.keep)
