"""Steps before the first block: check a store, create, repair or extend it, and choose its blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from distributed.system import MEMORY_LIMIT  # private: psutil does not know limits of containers
from numpy.typing import NDArray

from fastlin.errors import InputError
from fastlin.sweeps.run import compatibility
from fastlin.sweeps.run.options import RunOptions
from fastlin.sweeps.run.plan import Plan
from fastlin.sweeps.run.reduce import is_finished
from fastlin.sweeps.spec import extension
from fastlin.sweeps.spec.spec import Spec
from fastlin.sweeps.store import store, versions
from fastlin.sweeps.store.counts import PointCounts, count_points
from fastlin.sweeps.store.layout import StoreLayout
from fastlin.sweeps.store.location import Location, stopping
from fastlin.sweeps.store.resume import is_missing
from fastlin.sweeps.store.store import Marker, Store


def check_before(spec: Spec, location: Location, at_once: int | None, options: RunOptions) -> Store | None:
    """Return the store, or None if it is to be made.

    Raises before anything is written, also before the lease is, if the store cannot be made or continued.
    """
    if store.is_new(location):
        check_resources(Plan.of(spec).layout, location, at_once)
        return None
    if not options.resume:
        raise InputError(f"{location.text} exists already; remove it, choose another, or allow --resume")
    opened = Store.open(location)
    layout_for(opened, spec)
    return opened


def counts_if_done(opened: Store, spec: Spec, options: RunOptions) -> PointCounts | None:
    """Return the counts of a store if this run has nothing to write there, else None.

    Such a run takes no lease, so the store may be read-only.
    """
    layout = opened.layout
    if spec.hash != layout.spec.hash or store.stale_metadata(opened):
        return None
    counts = count_points(opened, _markers_until_missing(opened, options))
    if wanted_blocks(layout, counts, options).size:
        return None
    if options.allow_version and compatibility.differences(opened):
        return None  # samples are compared under the lease, because the store's versions are written then
    compatibility.check(opened, allow=False)
    done = all(is_finished(opened, cell_index) for cell_index in layout.cells)
    return counts if done else None


def _markers_until_missing(opened: Store, options: RunOptions) -> Iterator[Marker]:
    """Yield the commit markers of a store as far as the first block that this run is to compute."""
    chosen = set(_chosen(opened.layout, np.arange(opened.layout.block_count), options).tolist())
    for number, (index, status) in enumerate(opened.commit_markers()):
        if number in chosen and is_missing(status, options.retry_failed).any():
            return
        yield index, status


def check_resources(layout: StoreLayout, location: Location, at_once: int | None, done: int = 0) -> None:
    """Raise if the disk or the memory of this machine cannot hold the blocks that are not done."""
    Plan(layout).check_resources(location, at_once, MEMORY_LIMIT, done)


def layout_for(opened: Store, spec: Spec) -> StoreLayout:
    """Return the layout that a store has once it holds the points of a spec.

    Raises
    ------
    InputError
        If the store does not grow to the spec.
    """
    lines = extension.obstacles(opened.layout.spec, spec)
    if lines:
        raise InputError(
            f"the store {opened.location.text} was made from another spec, and grows only to a spec with all "
            "its values; choose another --store, or change the spec:\n"
            + "\n".join(f"  {line}" for line in lines)
        )
    if opened.layout.compacted and spec.seeds.size > opened.layout.spec.seeds.size:
        raise InputError(
            f"{opened.location.text} was compacted, so seeds can no longer be added; run the larger spec "
            "into another --store"
        )
    if spec.hash == opened.layout.spec.hash:
        return opened.layout
    return replace(opened.layout, specs=(*opened.layout.specs, spec))


def prepared_store(spec: Spec, location: Location, options: RunOptions) -> Store:
    """Create, repair or grow the store, and return it. The lease keeps others from doing so at the same time.

    It stays open for the blocks that threads of this process compute,
    because a large spec takes long to read.
    """
    with stopping(location):
        if store.is_new(location):
            store.create(location, Plan.of(spec).layout)
        opened = store.reopen(location)
        store.repair_metadata(opened)
        made_with = compatibility.check(opened, options.allow_version)
        layout = layout_for(opened, spec)
        if layout is not opened.layout:
            # A sweep that gains large architectures depends on the processor from here on.
            made_with = [*made_with[:-1], versions.of(spec) | made_with[-1]]
        if layout is not opened.layout or made_with != opened.made_with:
            store.grow(opened, layout, made_with)
            opened = store.reopen(location)
    return opened


def wanted_blocks(layout: StoreLayout, before: PointCounts, options: RunOptions) -> NDArray[np.int64]:
    """Return the numbers of the blocks that this run is to compute."""
    return _chosen(layout, np.flatnonzero(before.missing(options.retry_failed)), options)


def _chosen(layout: StoreLayout, numbers: NDArray[np.int64], options: RunOptions) -> NDArray[np.int64]:
    """Return those of some blocks that belong to the slice of this run, or that it is restricted to."""
    if options.slice is not None:
        numbers = numbers[layout.turns[numbers] % options.slice.of == options.slice.number - 1]
    if options.only is not None:
        numbers = numbers[np.isin(numbers, list(options.only))]
    return numbers
