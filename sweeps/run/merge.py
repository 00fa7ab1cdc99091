"""Merge stores: those of slices, of other seeds, or of other values on any axes, into one of the product.

Numbers are copied, never computed. The target is extended to the union of all specs, as a store grows, so no
number of it moves. Each block of the target is then put together from all stores. The stores are read twice:
first to check all of them, then to copy. A damaged chunk or two values of one point therefore stop a merge
before anything is written. A block is written as workers write it, its commit marker last, so a merge that is
killed is continued by the same call.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastlin.errors import InputError, StoppedError
from fastlin.formatting import format_duration
from fastlin.kernels import Status
from fastlin.sweeps.run import compatibility
from fastlin.sweeps.run.prepare import check_resources
from fastlin.sweeps.run.progress import Progress, as_progress
from fastlin.sweeps.run.reduce import finish, spread
from fastlin.sweeps.spec import extension
from fastlin.sweeps.store import store
from fastlin.sweeps.store.array_spec import Values
from fastlin.sweeps.store.contribution import Contribution, Index, StatisticsReader, reader_of
from fastlin.sweeps.store.counts import PointCounts, count_points
from fastlin.sweeps.store.layout import StoreLayout
from fastlin.sweeps.store.lease import acquired, writing
from fastlin.sweeps.store.lease_holders import holders, new_holder
from fastlin.sweeps.store.locate import locate
from fastlin.sweeps.store.location import Location, stopping
from fastlin.sweeps.store.store import DamagedBlockError, Store
from fastlin.validation import check_bool, shown

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Merge:
    """Result of a merge, and content of the store after it.

    Attributes
    ----------
    store : str
        Path of the merged store.
    merged : list of str
        Paths of the stores whose points were copied into it.
    points, ok, diverged, failed, too_stiff, absent, pending : int
        Number of points of the merged sweep, in total and by status.
    blocks, complete_blocks : int
        Number of its blocks, and of those without pending points.
    copied_points : int
        Number of points that the merge added to the store.
    seconds : float
        Duration of the merge.
    """

    store: str
    merged: list[str]
    points: int
    ok: int
    diverged: int
    failed: int
    too_stiff: int
    absent: int
    pending: int
    blocks: int
    complete_blocks: int
    copied_points: int
    seconds: float

    @property
    def summary(self) -> str:
        """The counts in one line, and in a second one how to go on if points are pending."""
        done = self.points - self.pending
        line = (
            f"{self.store}: {self.copied_points:,} points copied, {done:,} of {self.points:,} points done in "
            f"{format_duration(self.seconds)}"
        )
        go_on = f"fastlin run {self.store} --store {self.store} computes them"
        return line + (f"\n{self.pending:,} points are in no store; {go_on}" if self.pending else "")


class _Target(NamedTuple):
    """The merged store as it will be: its layout, and the versions that wrote its numbers."""

    layout: StoreLayout
    made_with: list[dict[str, str]]


def merge_sweeps(
    stores: Sequence[str | Path],
    into: str | Path | None = None,
    *,
    allow_version: bool = False,
    durable: bool = False,
    progress: bool | Progress = False,
) -> Merge:
    """Merge the stores of parts of one sweep: slices, seeds, or other values on any axes.

    The merged store holds the product of all values on the axes. Points that none of the stores has stay
    pending, and a run computes them. Numbers are copied bit for bit, and no store but the merged one changes.

    Parameters
    ----------
    stores : sequence of str or Path
        The stores, which no run may be writing. They are parts of one sweep if their specs differ at most in
        the values of axes other than times. Reduced stores of other seeds must still have their partial sums.
    into : str or Path, optional
        The merged store. It is made, or points are added to it. By default the first store gets the points of
        the others.
    allow_version : bool
        Merge stores that other versions made, if a sample of the points of each comes out the same here.
    durable : bool
        Sync everything that is written to disk.
    progress : bool or Progress
        As in `run_sweep`.

    Returns
    -------
    Merge
        The number of points that were copied, and the counts of points and blocks afterwards.

    Raises
    ------
    InputError
        If the stores are not parts of one sweep, other versions wrote them, a chunk is damaged, two stores
        have different values of one point, or partial sums are needed and not kept. Nothing is written then.
    StoppedError
        If a run writes one of the stores, or the merged store cannot be written. The same call goes on.

    Examples
    --------
    >>> spec = fl.open_sweep("small.zarr").attrs["spec"]
    >>> for part in ("1/2", "2/2"):
    ...     report = fl.run_sweep(spec, f"slice-{part[0]}.zarr", slice=part)
    >>> merge = fl.merge_sweeps(["slice-1.zarr", "slice-2.zarr"], into="merged.zarr")
    >>> merge.points, merge.pending
    (180, 0)
    """
    start = perf_counter()
    for name, value in {"allow_version": allow_version, "durable": durable}.items():
        check_bool(name, value)
    show = as_progress(progress)
    path, sources = _named(stores, into)
    location = locate(path)
    target = _target(location, sources, allow_version)
    holder = new_holder(target.layout.spec.hash)
    location = locate(path, durable=durable or target.layout.spec.durable, writer=holder.id)
    with stopping(location):
        _check(location, sources, target.layout, show)
    with acquired(location, holder, show.note) as lease, stopping(lease.location):
        target = _target(
            lease.location, sources, allow_version
        )  # as it is now, and no other process changes it
        opened = _prepared(lease.location, target)
        show.note(f"copying into {location.text}")
        before = count_points(opened)
        _copy(opened, sources)
        lost = [number for cell in opened.layout.cells for number in finish(lease.location, cell)]
        if lost:
            show.note(f"the partial sums of {len(lost)} blocks are missing; these blocks are pending")
        after = count_points(opened)
        opened.check_current()
    return _result(str(path), sources, before, after, perf_counter() - start)


def _result(
    path: str, sources: list[Store], before: PointCounts, after: PointCounts, seconds: float
) -> Merge:
    return Merge(
        store=path,
        merged=[source.location.text for source in sources],
        **after.totals,
        complete_blocks=int(after.complete.sum()),
        copied_points=after.done - before.done,
        seconds=seconds,
    )


def _named(stores: Sequence[str | Path], into: str | Path | None) -> tuple[str | Path, list[Store]]:
    """Return the path of the merged store, and the other stores."""
    if isinstance(stores, str | Path) or not isinstance(stores, Sequence) or not stores:
        raise InputError(f"stores is {shown(stores)}; needed is a list of paths of stores")
    path = stores[0] if into is None else into
    others = [*stores[1:]] if into is None else [each for each in stores if not _is_same(each, into)]
    if not others:
        raise InputError(f"there is one store, {path}; needed are two or more, or one and `into`")
    named = [path, *others]
    for at, one in enumerate(named):
        if any(_is_same(one, other) for other in named[:at]):
            raise InputError(f"{one} is named twice; name each store once")
    return path, [_source(each) for each in others]


def _is_same(one: str | Path, other: str | Path) -> bool:
    return locate(one).identity().is_same(locate(other).identity())


def _source(path: str | Path) -> Store:
    """Open a store whose points are copied.

    Raises
    ------
    StoppedError
        If a run of this machine writes it.
    """
    opened = Store.open(locate(path))
    live = [holder for holder in holders(opened.location) if holder.ended is False]
    if live:
        raise StoppedError(
            f"{opened.location.text} is being written by {live[0]}; wait for it, or end it first"
        )
    return opened


def _target(location: Location, sources: list[Store], allow_version: bool) -> _Target:
    """Return the merged store as it will be, after checks of the specs and versions of all stores."""
    stores = [*([] if store.is_new(location) else [Store.open(location)]), *sources]
    first = stores[0]
    names = [each.location.text for each in stores]
    specs = [*first.layout.specs]
    for source in stores[1:]:
        lines = extension.obstacles_to_union(specs[-1], source.layout.spec, (names[0], source.location.text))
        if lines:
            raise InputError(
                f"{names[0]} and {source.location.text} are not parts of one sweep. Specs may differ in the "
                "values of axes other than times:\n" + "\n".join(f"  {line}" for line in lines)
            )
        for spec in source.layout.specs:
            larger = extension.union(specs[-1], spec)
            specs += [larger] if larger.hash != specs[-1].hash else []
    _check_sums(stores, specs[-1].seeds)
    compacted = any(each.layout.compacted for each in stores)
    layout = replace(first.layout, specs=tuple(specs), compacted=compacted)
    return _Target(layout, compatibility.joint_versions(stores, specs[-1], allow_version))


def _check_sums(stores: list[Store], seeds: NDArray[np.int64]) -> None:
    """Raise if seeds are to be joined of which a store keeps no partial sums."""
    for each in stores:
        layout = each.layout
        if layout.spec.seeds.size < seeds.size and not layout.keeps_values:
            reason = "was compacted" if layout.compacted else "has too few seeds to keep them"
            raise InputError(
                f"{each.location.text} has no partial sums over its seeds ({reason}), so other seeds cannot "
                "be merged with it; run the spec with all seeds into another store"
            )


def _check(location: Location, sources: list[Store], layout: StoreLayout, show: Progress) -> None:
    """Read all stores. Raise if a chunk is damaged or two values of one point differ, or the disk is full."""
    present = [] if store.is_new(location) else [Store.open(location)]
    show.note(f"checking {len(present) + len(sources)} stores")
    for _ in _merged(layout, [*present, *sources]):
        pass
    done = sum(int(count_points(each).complete.sum()) for each in present)
    check_resources(layout, location, None, done)


def _prepared(location: Location, target: _Target) -> Store:
    """Create, repair or extend the merged store, and return it."""
    if store.is_new(location):
        store.create(location, target.layout, target.made_with)
    opened = store.reopen(location)
    store.repair_metadata(opened)
    unchanged = target.layout.spec.hash == opened.layout.spec.hash and target.made_with == opened.made_with
    if not unchanged or target.layout.compacted != opened.layout.compacted:
        store.grow(opened, target.layout, target.made_with)
    return store.reopen(location)


def _copy(opened: Store, sources: list[Store]) -> None:
    """Copy the points of all sources that the merged store lacks."""
    for block in _merged(opened.layout, [opened, *sources]):
        with writing(opened.location):
            if isinstance(block, _Statistics):
                opened.write_statistics(block.cell_index, _over_stored(opened, block))
            else:
                values = None if block.sums_are_elsewhere else block.content.values
                opened.update_block(block.at, values, block.content.status)


class _Statistics(NamedTuple):
    """The statistics of those points of a cell of which some store keeps no partial sums."""

    cell_index: Index
    known: Mask
    values: Values


class _Block(NamedTuple):
    """A block of the merged store that is not all pending."""

    at: Index
    content: Contribution
    sums_are_elsewhere: bool  # in another block of the cell, or dropped


def _over_stored(opened: Store, new: _Statistics) -> Values:
    """Return the statistics of a cell in the store, with those that are new put over them."""
    try:
        stored = opened.read_statistics(new.cell_index)
    except DamagedBlockError:  # `finish` has written none yet
        return new.values
    return {name: np.where(spread(new.known, part), part, stored[name]) for name, part in new.values.items()}


def _merged(layout: StoreLayout, stores: list[Store]) -> Iterator[_Statistics | _Block]:
    """Yield each block of the merged store that has points, and before them the statistics of its cell.

    The blocks of seeds of a cell come from the last to the first, because the first may hold the partial sums
    of the others, and must not be complete before they are.
    """
    readers = [reader_of(each, layout) for each in stores]
    *leading, seeds, lams = layout.grid
    for cell_index in np.ndindex(*leading, lams):
        statistics = [_statistics(each, cell_index) for each in readers if isinstance(each, StatisticsReader)]
        joined = _joined_statistics(layout, stores, cell_index, statistics) if statistics else None
        if joined is not None and joined.known.any():
            yield joined
        for number in reversed(range(seeds)):
            index = (*cell_index[:-1], number, cell_index[-1])
            parts = [each.read(index) for each in readers]
            if joined is not None:
                for part, own in zip(parts, statistics, strict=True):
                    part.without_seeds().status[joined.known & ~own.known] = Status.PENDING
            content = _joined(layout, stores, index, parts)
            if content.done.any():
                elsewhere = bool(layout.statistics) and not content.blocks.any()
                yield _Block(index, content, elsewhere)


def _statistics(reader: StatisticsReader, cell_index: Index) -> _Statistics:
    return _Statistics(cell_index, *reader.dropped(cell_index))


def _joined_statistics(
    layout: StoreLayout, stores: list[Store], cell_index: Index, parts: list[_Statistics]
) -> _Statistics:
    """Return the statistics of a cell that several stores have. They agree where two have them."""
    joined, origin = parts[0], np.zeros(parts[0].known.shape, int)
    for number, part in enumerate(parts[1:], start=1):
        differs = joined.known & part.known & _differ(joined.values, part.values, joined.known.ndim)
        if differs.any():
            *position, column = np.argwhere(differs)[0].tolist()
            index = (*cell_index[:-1], 0, cell_index[-1])
            _refuse(
                layout, [stores[origin[*position, column]], stores[number]], index, (*position, 0, column)
            )
        new = part.known & ~joined.known
        origin[new] = number
        joined.known[new] = True
        for name, values in part.values.items():
            joined.values[name][new] = values[new]
    return joined


def _joined(
    layout: StoreLayout, stores: list[Store], index: Index, parts: list[Contribution]
) -> Contribution:
    """Return one block, put together from what all stores have of it."""
    joined, origin = parts[0], np.zeros(parts[0].status.shape, int)
    for number, part in enumerate(parts[1:], start=1):
        # A point that failed (a process that was killed) has no value, so another store's result replaces it.
        failed, better = joined.status == Status.FAILED, part.status == Status.FAILED
        both = joined.done & part.done & (failed == better)
        same_seeds = both & (joined.blocks == part.blocks)
        differs = same_seeds & (
            (joined.status != part.status) | _differ(joined.values, part.values, joined.status.ndim)
        )
        if differs.any():
            position = tuple(np.argwhere(differs)[0].tolist())
            _refuse(layout, [stores[origin[position]], stores[number]], index, position)
        new = part.done & (~joined.done | (failed & ~better) | (both & (part.blocks > joined.blocks)))
        origin[new] = number
        joined.status[new], joined.blocks[new] = part.status[new], part.blocks[new]
        for name, values in part.values.items():
            joined.values[name][new] = values[new]
    return joined


def _differ(some: Values, others: Values, rank: int) -> Mask:
    """Return a mask of the points whose values differ in any bit."""
    masks = [
        (_bits(some[name]) != _bits(others[name])).any(axis=tuple(range(rank, some[name].ndim)))
        for name in some
    ]
    differ: Mask = np.any(masks, axis=0)
    return differ


def _bits(values: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(values).view(f"u{values.itemsize}")


def _refuse(layout: StoreLayout, two: list[Store], index: Index, position: Index) -> None:
    """Raise because two stores have different values of a point of a block."""
    *group, row, column = position
    point = layout.where(index, tuple(group), row, column) | layout.seed_range(index)
    where = ", ".join(f"{name}={value}" for name, value in point.items())
    one, other = (each.location.text for each in two)
    raise InputError(
        f"{one} and {other} have different values at {where}; fastlin verify tells if one of them is "
        "damaged, else leave one of them out"
    )
