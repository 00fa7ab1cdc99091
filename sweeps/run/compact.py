"""Drop the partial sums of a reduced store that is complete, after which it takes no more seeds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from fastlin.errors import InputError
from fastlin.sweeps.run.progress import Progress, as_progress
from fastlin.sweeps.run.reduce import finish
from fastlin.sweeps.store import store
from fastlin.sweeps.store.counts import count_points
from fastlin.sweeps.store.lease import acquired
from fastlin.sweeps.store.lease_holders import new_holder
from fastlin.sweeps.store.locate import locate
from fastlin.sweeps.store.location import stopping
from fastlin.sweeps.store.store import Store


@dataclass(frozen=True)
class Compaction:
    """Sizes of a store before and after it was compacted.

    Attributes
    ----------
    store : str
        Its path.
    bytes_before, bytes_after : int
        Sizes of all its files.
    """

    store: str
    bytes_before: int
    bytes_after: int


def compact(path: str | Path, *, progress: bool | Progress = False) -> Compaction:
    """Drop the partial sums of a reduced store, from which added seeds go on.

    The statistics stay. Afterwards the store can grow along every axis but the seeds.

    Parameters
    ----------
    path : str or Path
        The store. It is complete, and no other process writes it.
    progress : bool or Progress
        Where to say that the lease of another run is waited for; see `run_sweep`.

    Returns
    -------
    Compaction
        Sizes before and after.

    Raises
    ------
    InputError
        If there is no store, it holds every point, or points are pending.
    StoppedError
        If another process writes it.

    Notes
    -----
    The partial sums of a lam at which a point is bad (diverged, failed, too stiff) stay, because
    ``--retry-failed`` needs them.
    """
    opened = Store.open(locate(path))
    _check(opened)
    holder = new_holder(opened.layout.spec.hash)
    location = locate(path, durable=opened.layout.spec.durable, writer=holder.id)
    with acquired(location, holder, as_progress(progress).note) as lease, stopping(location):
        location = lease.location
        before = location.usage().bytes
        opened = Store.open(location)
        _check(opened)
        store.grow(opened, replace(opened.layout, compacted=True), opened.made_with)
        lost = [number for cell_index in opened.layout.cells for number in finish(location, cell_index)]
        if lost:
            raise InputError(
                f"{location.text} is compacted, but {len(lost)} of its blocks are damaged and pending now; "
                "fastlin run computes them again"
            )
        return Compaction(str(path), before, location.usage().bytes)


def _check(opened: Store) -> None:
    """Raise if a store has no partial sums, or still needs them."""
    text = opened.location.text
    if not opened.layout.statistics:
        raise InputError(
            f"{text} holds every point, so there is nothing to compact; stores of specs with [output.reduce] "
            "have partial sums"
        )
    if pending := count_points(opened).pending:
        raise InputError(
            f"{text} has {pending:,} pending points; complete it with fastlin run, then compact it"
        )
