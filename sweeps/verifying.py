"""Find what is damaged in a store, and mend just that."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from distributed import Client

from fastlin.kernels import Status
from fastlin.sweeps import chunks, documents, lease, places, store, versions
from fastlin.sweeps.choices import Choices
from fastlin.sweeps.documents import ROOT, ROOT_COPY
from fastlin.sweeps.layout import STATUS, ArraySpec
from fastlin.sweeps.places import Place
from fastlin.sweeps.progress import Silent
from fastlin.sweeps.running import Report, chosen_engine, run
from fastlin.sweeps.store import Store


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
    opened, found = _open(places.of(path))
    return [*found, *_damaged_documents(opened), *_damaged_blocks(opened), *_damaged_statistics(opened)]


def repair(
    path: str | Path,
    client: Client | None = None,
    *,
    workers: int | None = None,
    progress: Silent | None = None,
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
        One of `fastlin.sweeps.progress`; silent by default.

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
    place = places.of(path)
    opened, found = _open(place)
    holder = lease.new_holder(opened.layout.spec.hash)
    place = places.of(path, durable=opened.layout.spec.durable, writer=holder.id)
    with lease.held(place, holder), places.stopping(place):
        if found:
            documents.install(place, {ROOT: opened.root, ROOT_COPY: opened.root})
        opened = Store.open(place)
        versions.check(opened, allow=False)
        found += [*_damaged_documents(opened), *_damaged_blocks(opened), *_damaged_statistics(opened)]
        store.settle(opened)
        broken = {damage.block for damage in found if damage.block is not None}
        for number in broken:
            opened.clear_mark(opened.layout.index(number))
    choices = Choices(only=frozenset(broken))
    return found, run(
        opened.layout.spec, path, chosen_engine(client, None, workers), choices, progress or Silent()
    )


def _open(place: Place) -> tuple[Store, list[Damage]]:
    """Open a store by its root document, or by the copy of it; say which of them is damaged."""
    root, copy = place.read(ROOT), place.read(ROOT_COPY)
    good = {key: documents.read_root(content) for key, content in ((ROOT, root), (ROOT_COPY, copy))}
    if good[ROOT] is None and good[ROOT_COPY] is None:
        documents.read_attributes(place)  # which says what it is instead
    if good[ROOT] is not None:
        damaged = [] if copy == root else [Damage(ROOT_COPY, _what(copy, f"is not that of {ROOT}"))]
        return Store.open(place), damaged
    attributes = good[ROOT_COPY]
    assert attributes is not None and copy is not None
    layout = documents.read_layout(attributes)
    return Store(place, layout, attributes, copy), [Damage(ROOT, _what(root, "does not fit its checksum"))]


def _what(content: bytes | None, otherwise: str) -> str:
    return "is missing" if content is None else otherwise


def _damaged_documents(opened: Store) -> Iterator[Damage]:
    for key in store.stale_documents(opened):
        if key != ROOT_COPY:
            yield Damage(key, _what(opened.place.read(key), "does not fit its checksum"))


def _damaged_blocks(opened: Store) -> Iterator[Damage]:
    for number in range(opened.layout.block_count):
        index = opened.layout.index(number)
        yield from _damaged_block(opened, number, index)


def _damaged_block(opened: Store, number: int, index: tuple[int, ...]) -> Iterator[Damage]:
    form = opened.layout.status
    key = form.key(STATUS, index)
    content = opened.place.read(key)
    fault = content is not None and _fault(form, index, content)
    if fault:
        yield Damage(key, fault, number)
    begun = bool((opened.read_status(index) != Status.PENDING).any())
    for name, values in opened.layout.values.items():
        for chunk, _ in opened.layout.parts(index, values):
            key = values.key(name, chunk)
            content = opened.place.read(key)
            if content is None:
                if begun:
                    yield Damage(key, "is missing", number)
            elif fault := _fault(values, chunk, content):
                yield Damage(key, fault, number)


def _fault(form: ArraySpec, index: tuple[int, ...], content: bytes) -> str:
    """Return what is wrong with a chunk, or nothing."""
    try:
        chunks.decode(form, index, content)
    except chunks.DamagedError as error:
        return str(error)
    return ""


def _damaged_statistics(opened: Store) -> Iterator[Damage]:
    """Yield chunks of statistics that are damaged, or missing though all their blocks are complete."""
    layout = opened.layout
    for cell in layout.cells if layout.spec.reduce else ():
        for name, form in layout.statistics.items():
            for chunk, _ in layout.parts(cell, form):
                key = form.key(name, chunk)
                content = opened.place.read(key)
                if content is not None and (fault := _fault(form, chunk, content)):
                    yield Damage(key, fault)
                elif content is None and _complete(opened, cell):
                    yield Damage(key, "is missing")


def _complete(opened: Store, cell: tuple[int, ...]) -> bool:
    blocks = ((*cell[:-1], number, cell[-1]) for number in range(opened.layout.grid[-2]))
    return all(bool(np.all(opened.read_status(index) != Status.PENDING)) for index in blocks)
