"""Mend a store: write its metadata again, and compute damaged blocks again."""

from __future__ import annotations

from pathlib import Path

from distributed import Client

from fastlin.sweeps.run import compatibility
from fastlin.sweeps.run.options import RunOptions
from fastlin.sweeps.run.progress import NoProgress
from fastlin.sweeps.run.run import Report, chosen_executor, run
from fastlin.sweeps.store import lease, metadata, store
from fastlin.sweeps.store.locate import locate
from fastlin.sweeps.store.location import stopping
from fastlin.sweeps.store.metadata import ROOT, ROOT_COPY
from fastlin.sweeps.store.store import Store
from fastlin.sweeps.store.verify import Damage, damage_below_root, open_damaged


def repair(
    path: str | Path,
    client: Client | None = None,
    *,
    workers: int | None = None,
    progress: NoProgress | None = None,
) -> tuple[list[Damage], Report]:
    """Mend a store: write its documents anew, and compute the blocks again that are damaged, and no others.

    Parameters
    ----------
    path : str or Path
        The store. Nobody else may be writing it.
    client : distributed.Client, optional
        Where to compute; by default threads of this process.
    workers : int, optional
        Compute in so many processes.
    progress : optional
        One of `fastlin.sweeps.run.progress`; silent by default.

    Returns
    -------
    list of Damage
        What was damaged.
    Report
        What was computed, and what the store holds now.

    Raises
    ------
    InputError
        If there is no store, both copies of its root document are damaged, or other versions wrote it.
    StoppedError
        If somebody writes it.
    """
    location = locate(path)
    opened, found = open_damaged(location)
    holder = lease.new_holder(opened.layout.spec.hash)
    location = locate(path, durable=opened.layout.spec.durable, writer=holder.id)
    with lease.held(location, holder), stopping(location):
        if found:
            metadata.write_metadata(location, {ROOT: opened.root, ROOT_COPY: opened.root})
        opened = Store.open(location)
        compatibility.check(opened, allow=False)
        found += damage_below_root(opened)
        store.repair_metadata(opened)
        broken = {damage.block for damage in found if damage.block is not None}
        for number in broken:
            opened.withdraw(opened.layout.index(number))
    options = RunOptions(only=frozenset(broken))
    return found, run(
        opened.layout.spec, path, chosen_executor(client, None, workers), options, progress or NoProgress()
    )
