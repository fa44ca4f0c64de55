"""Copies the published nights of a pipeline, with their state, to another place or format.

Nothing is changed in the old place. A move that was killed is finished by the same command, which
also brings nights that were published meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nocturne import table
from nocturne.config import Loaded
from nocturne.errors import ConfigError, NocturneError, StateError, StoreUnavailable
from nocturne.objects import is_within
from nocturne.operate.copying import below, copy_files
from nocturne.operate.moved_night import move_night
from nocturne.operate.status import known_partitions
from nocturne.operate.verify import verify_partition
from nocturne.pipeline.places import Places
from nocturne.pipeline.signer import require_signed, require_signer
from nocturne.records.partition import Partition
from nocturne.table_formats.protocol import TablePartition

__all__ = ["Moved", "move", "moved_pipeline"]


@dataclass(frozen=True)
class Moved:
    """What became of a night.

    ``manifest``: the one that is in force in the new place. ``problem``: why the night is not
    there; "" if it is. ``note``: what else a person should know.
    """

    partition: str
    manifest: str = ""
    rows: int = 0
    problem: str = ""
    note: str = ""

    @property
    def ok(self) -> bool:
        return not self.problem


def moved_pipeline(loaded: Loaded, **output: Any) -> Loaded:
    """The pipeline as it is to be published elsewhere.

    Raises:
        ConfigError: its output is there already, or it can't be there.
    """
    target = loaded.with_output(**output)
    before, after = Places.of(loaded), Places.of(target)
    for old in (before.state.table, before.state.root):
        for new in (after.state.table, after.state.root):
            if (is_within(old, new) or is_within(new, old)) and not (
                old == new == after.state.table and loaded.pipeline.output.table != output["table"]
            ):
                raise ConfigError(
                    f"the scores of {loaded.pipeline.name} are in {before.state.table} with the "
                    f"state in {before.state.root}, and {new} is there too, or inside, or around "
                    "it. Name another place"
                )
    return target


def move(loaded: Loaded, target: Loaded, say: Callable[[str], None]) -> list[Moved]:
    """Copy every published night that is not there yet, and verify it there.

    Args:
        target: the pipeline as it is to be published: see ``moved_pipeline``.

    Raises:
        ConfigError, PublishError: the new place can't be published into.
        StoreUnavailable: a store does not answer; what was moved stays.
    """
    before, after = Places.of(loaded), Places.of(target)
    require_signer(target)
    after.claim()
    for kind in ("trials", "tuning", "stopped"):
        made = below(before.state.root / kind)
        copy_files({n: p for n, p in made.items() if n[0] != "."}, after.state.root / kind)
    nights = []
    for key, partition in sorted({p.key: p for p in known_partitions(loaded)}.items()):
        output = before.output(partition)
        try:
            manifest = table.published_manifest(output)
            if manifest is None:
                _require_unpublished(output)
                continue
            require_signed(loaded, output.state, manifest)
            there, note = move_night(output, after.output(partition), manifest, target)
            truths = below(output.state.place("truth"))
            copy_files(truths, after.output(partition).state.place("truth"))
            night = Moved(key, note=note)
            if there is not None:
                problem = _unlike(target, partition)
                night = Moved(key, there.id, there.rows_published, problem, note)
        except StoreUnavailable:
            raise
        except (NocturneError, OSError) as error:
            night = Moved(key, problem=str(error))
        nights.append(night)
        done = f"{night.rows} rows, {night.manifest}" if night.manifest else ""
        said = [night.problem] if night.problem else [done, night.note]
        say(f"{night.partition}: {', '.join(part for part in said if part)}")
    return nights


def _require_unpublished(output: TablePartition) -> None:
    """Raises: StateError if a night was published of which the place has nothing any more."""
    if ids := output.state.manifest_ids():
        raise StateError(
            f"it has manifest {ids[-1]}, and {output.location} has no rows of it: they were "
            "removed, or a publish is not finished. Score it in the old place; if it is to stay "
            f"away, move {output.state.place('manifests')} elsewhere"
        )


def _unlike(target: Loaded, partition: Partition) -> str:
    """What is wrong with a night in its new place; "" if nothing is."""
    verified = verify_partition(target, partition)
    output = Places.of(target).output(partition)
    manifest = table.published_manifest(output)
    if manifest is not None and not manifest.adopted:
        run = output.state.run(manifest.run_key)
        for path in (run.plan_file, run.settings_file, run.profile_file, run.judgement_file):
            if not path.is_file():
                return f"{path} is missing, in the old place too. Score it there with --force"
    return "; ".join(f"{p.file or 'the partition'}: {p.problem}" for p in verified.problems)
