"""Repair a store: write damaged metadata again, and compute damaged blocks again."""

from __future__ import annotations

from pathlib import Path

from distributed import Client

from fastlin.sweeps.run import compatibility
from fastlin.sweeps.run.options import RunOptions
from fastlin.sweeps.run.progress import Progress, as_progress
from fastlin.sweeps.run.report import Report
from fastlin.sweeps.run.run import chosen_executor, run
from fastlin.sweeps.store import metadata, store
from fastlin.sweeps.store.lease import acquired
from fastlin.sweeps.store.lease_holders import new_holder
from fastlin.sweeps.store.locate import locate
from fastlin.sweeps.store.location import Location, stopping
from fastlin.sweeps.store.metadata import ROOT, ROOT_COPY
from fastlin.sweeps.store.store import Store
from fastlin.sweeps.store.verify import Damage, damages, open_damaged


def repair(
    path: str | Path,
    client: Client | None = None,
    *,
    workers: int | None = None,
    progress: bool | Progress = False,
) -> tuple[list[Damage], Report]:
    """Repair a store: write its damaged metadata again, and compute its damaged blocks again, and no others.

    Parameters
    ----------
    path : str or Path
        The store. No other run may be writing to it.
    client : distributed.Client, optional
        Dask client to compute on; by default threads of this process.
    workers : int, optional
        Number of worker processes, instead of threads.
    progress : bool or Progress
        As in `run_sweep`.

    Returns
    -------
    list of Damage
        All files that were damaged or missing.
    Report
        The numbers of points and blocks that were computed, and of those in the store.

    Raises
    ------
    InputError
        If there is no store, both copies of its root document are damaged, or other versions wrote it.
    StoppedError
        If another run writes to it.
    """
    show = as_progress(progress)
    opened, damaged_roots = open_damaged(locate(path))
    spec = opened.layout.spec
    damaged: list[Damage] = []
    # A store without damage may be read-only.
    if damaged_roots or _is_damaged(opened):
        holder = new_holder(spec.hash)
        location = locate(path, durable=spec.durable, writer=holder.id)
        with acquired(location, holder, show.note) as lease, stopping(location):
            damaged = _withdraw_damaged(lease.location)
    options = RunOptions(only=frozenset(entry.block for entry in damaged if entry.block is not None))
    return damaged, run(spec, path, chosen_executor(client, None, workers), options, show)


def _is_damaged(opened: Store) -> bool:
    return next(damages(opened), None) is not None


def _withdraw_damaged(location: Location) -> list[Damage]:
    """Write damaged metadata again, make damaged blocks pending, and return the damage."""
    opened, damaged = open_damaged(location)
    if damaged:
        metadata.write_metadata(location, {ROOT: opened.root, ROOT_COPY: opened.root})
    compatibility.check(opened, allow=False)
    damaged += damages(opened)
    store.repair_metadata(opened)
    for number in {entry.block for entry in damaged if entry.block is not None}:
        opened.withdraw(opened.layout.index(number))
    return damaged
