"""Find all files of a store that are not as they were written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fastlin.kernels import Status
from fastlin.sweeps.store import codec, metadata, partials, store
from fastlin.sweeps.store.cell import read_cell
from fastlin.sweeps.store.layout import STATUS, ArraySpec
from fastlin.sweeps.store.locate import locate
from fastlin.sweeps.store.location import Location
from fastlin.sweeps.store.metadata import ROOT, ROOT_COPY
from fastlin.sweeps.store.store import DamagedBlockError, Store


@dataclass(frozen=True)
class Damage:
    """One file or object of a store that is not what was written.

    Attributes
    ----------
    key : str
        Where it is, below the store.
    what : str
        What is wrong with it.
    block : int or None
        The number of the block that has to be computed again.
    """

    key: str
    what: str
    block: int | None = None


def verify(path: str | Path) -> list[Damage]:
    """Read every byte of a store and return what is damaged: documents, marks, values and statistics.

    Parameters
    ----------
    path : str or Path
        The store, complete or not, also one that is being written.

    Returns
    -------
    list of Damage
        Empty where all is well.

    Raises
    ------
    InputError
        If there is no store, or both copies of its root document are damaged.
    """
    opened, found = open_damaged(locate(path))
    return [*found, *damage_below_root(opened)]


def damage_below_root(opened: Store) -> Iterator[Damage]:
    """Yield all that is damaged in a store whose root document is intact."""
    yield from damaged_metadata(opened)
    yield from damaged_blocks(opened)
    yield from lost_partials(opened)
    yield from damaged_statistics(opened)


def open_damaged(location: Location) -> tuple[Store, list[Damage]]:
    """Open a store by its root document, or by the copy of it; say which of them is damaged."""
    root, copy = location.read(ROOT), location.read(ROOT_COPY)
    good = {key: metadata.read_root(content) for key, content in ((ROOT, root), (ROOT_COPY, copy))}
    if good[ROOT] is None and good[ROOT_COPY] is None:
        metadata.read_attributes(location)  # which says what it is instead
    if good[ROOT] is not None:
        damaged = [] if copy == root else [Damage(ROOT_COPY, _what(copy, f"is not that of {ROOT}"))]
        return Store.open(location), damaged
    attributes = good[ROOT_COPY]
    assert attributes is not None and copy is not None
    layout = metadata.read_layout(attributes)
    return Store(location, layout, attributes, copy), [Damage(ROOT, _what(root, "does not fit its checksum"))]


def _what(content: bytes | None, otherwise: str) -> str:
    return "is missing" if content is None else otherwise


def damaged_metadata(opened: Store) -> Iterator[Damage]:
    """Yield the metadata that do not match the root document, which itself is read before."""
    for key in store.stale_metadata(opened):
        if key != ROOT_COPY:
            yield Damage(key, _what(opened.location.read(key), "does not fit its checksum"))


def damaged_blocks(opened: Store) -> Iterator[Damage]:
    """Yield the chunks of blocks that are missing or damaged."""
    for number in range(opened.layout.block_count):
        index = opened.layout.index(number)
        yield from _damaged_block(opened, number, index)


def _damaged_block(opened: Store, number: int, index: tuple[int, ...]) -> Iterator[Damage]:
    form = opened.layout.status
    key = form.key(STATUS, index)
    content = opened.location.read(key)
    fault = content is not None and _fault(form, index, content)
    if fault:
        yield Damage(key, fault, number)
    begun = bool((opened.read_status(index) != Status.PENDING).any())
    for name, values in opened.layout.values.items():
        for chunk, _ in opened.layout.parts(index, values):
            key = values.key(name, chunk)
            content = opened.location.read(key)
            if content is None:
                if begun and not values.transient:
                    yield Damage(key, "is missing", number)
            elif fault := _fault(values, chunk, content):
                yield Damage(key, fault, number)


def _fault(form: ArraySpec, index: tuple[int, ...], content: bytes) -> str:
    """Return what is wrong with a chunk, or nothing."""
    try:
        codec.decode(form, index, content)
    except codec.DamagedError as error:
        return str(error)
    return ""


def damaged_statistics(opened: Store) -> Iterator[Damage]:
    """Yield chunks of statistics that are damaged, or missing though all their blocks are complete."""
    layout = opened.layout
    for place in layout.cells if layout.spec.reduce else ():
        complete = _complete(opened, place)
        for name, form in layout.statistics.items():
            for chunk, _ in layout.parts(place, form):
                key = form.key(name, chunk)
                content = opened.location.read(key)
                if content is not None and (fault := _fault(form, chunk, content)):
                    yield Damage(key, fault)
                elif content is None and complete:
                    yield Damage(key, "is missing")


def lost_partials(opened: Store) -> Iterator[Damage]:
    """Yield the chunks of partial sums that are missing from cells whose blocks are complete.

    Of a cell whose first block is lost only that one is named: the sums of the others may have been in it.
    Where no sums are kept, damaged statistics are named instead. A run finds all blocks to be computed again.
    """
    layout = opened.layout
    for place in layout.cells if layout.spec.reduce else ():
        with suppress(DamagedBlockError):  # `damaged_blocks` names it
            cell = read_cell(opened, place)
            if cell is None or not (partials.keeps(layout) or cell.bad.any()):
                continue
            lost = cell.lost[:1] if cell.lost[:1] == layout.seed_blocks(place)[:1] else cell.lost
            for index in lost:
                for key in opened.value_keys(index):
                    if opened.location.read(key) is None:
                        yield Damage(key, "is missing", layout.number(index))


def _complete(opened: Store, place: tuple[int, ...]) -> bool:
    blocks = opened.layout.seed_blocks(place)
    return all(bool(np.all(opened.read_status(index) != Status.PENDING)) for index in blocks)
