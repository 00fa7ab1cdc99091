"""Verify a store: find every file that is damaged or missing, and count the points that are not computed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fastlin.sweeps.store import codec, metadata, store
from fastlin.sweeps.store.array_spec import SEPARATOR, ArraySpec
from fastlin.sweeps.store.cell import read_cell
from fastlin.sweeps.store.layout import STATUS
from fastlin.sweeps.store.locate import locate
from fastlin.sweeps.store.location import Location
from fastlin.sweeps.store.metadata import ROOT, ROOT_COPY
from fastlin.sweeps.store.resume import is_missing
from fastlin.sweeps.store.store import DamagedBlockError, Store


@dataclass(frozen=True)
class Damage:
    """One file or object of a store that is damaged or missing.

    Attributes
    ----------
    key : str
        Its path below the store.
    what : str
        The fault.
    block : int or None
        The number of the block that has to be computed again.
    """

    key: str
    what: str
    block: int | None = None


@dataclass(frozen=True)
class Verification:
    """The state of a store after every byte of it was read.

    Attributes
    ----------
    damaged : list of Damage
        Empty if no file is damaged.
    blocks, points : int
        Blocks and points of the sweep.
    missing_blocks, missing_points : int
        Blocks that are not complete, and their points that are still to be computed. Damaged blocks do not
        count.
    """

    damaged: list[Damage]
    blocks: int
    points: int
    missing_blocks: int
    missing_points: int


def verify(path: str | Path) -> list[Damage]:
    """Read every byte of a store and return the damage: of metadata, commit markers, values and statistics.

    Parameters
    ----------
    path : str or Path
        The store, complete or not, also one that is being written.

    Returns
    -------
    list of Damage
        Empty if no file is damaged.

    Raises
    ------
    InputError
        If there is no store, or both copies of its root document are damaged.
    """
    return inspect(path).damaged


def inspect(path: str | Path) -> Verification:
    """Read every byte of a store. Return its damage, and the number of missing blocks and points.

    Parameters
    ----------
    path : str or Path
        The store, complete or not, also one that is being written.

    Returns
    -------
    Verification
        The damage, and the numbers of blocks and points.

    Raises
    ------
    InputError
        If there is no store, or both copies of its root document are damaged.
    """
    opened, damaged_roots = open_damaged(locate(path))
    damaged = [*damaged_roots, *damages(opened)]
    missing = _missing_points(opened, {entry.block for entry in damaged})
    return Verification(
        damaged=damaged,
        blocks=opened.layout.block_count,
        points=opened.layout.spec.points,
        missing_blocks=len(missing),
        missing_points=sum(missing),
    )


def _missing_points(opened: Store, damaged: set[int | None]) -> list[int]:
    """Return the number of missing points of each block that is neither complete nor damaged."""
    layout, counts = opened.layout, []
    for number, (index, status) in enumerate(opened.commit_markers()):
        points = int(is_missing(status).sum()) * layout.seeds_per_status(index)
        if points and number not in damaged:
            counts.append(points)
    return counts


def lost_chunks(opened: Store) -> list[str]:
    """Return the chunks of values that are missing from blocks that are there, by the names of files alone.

    The list is empty for a bucket, because its listing takes long, and for a reduced store, because its
    statistics are written when a run ends. `verify` looks at those, too, and into every file.
    """
    folder, layout = opened.location.folder, opened.layout
    lasting = {name: form for name, form in layout.values.items() if not form.transient}
    if folder is None or not lasting:
        return []
    # First, because of each block the status is written last.
    begun = [name for name in _names(folder / STATUS) if name.startswith("c.")]
    first = layout.index(0)
    lost = []
    for array, form in lasting.items():
        present = _names(folder / array)
        for chunk, _ in form.parts(first):
            suffix = "".join(f"{SEPARATOR}{number}" for number in chunk[len(first) :])
            lost += [f"{array}/{name}{suffix}" for name in begun if f"{name}{suffix}" not in present]
    # A listing of a network file system may be older than its files are.
    return [key for key in lost if not (folder / key).exists()]


def _names(folder: Path) -> set[str]:
    try:
        return set(os.listdir(folder))
    except FileNotFoundError:
        return set()


def open_damaged(location: Location) -> tuple[Store, list[Damage]]:
    """Open a store by its root document, or by the copy of it, and return which of them is damaged."""
    root, copy = location.read(ROOT), location.read(ROOT_COPY)
    good = {key: metadata.read_root(content) for key, content in ((ROOT, root), (ROOT_COPY, copy))}
    if good[ROOT] is None and good[ROOT_COPY] is None:
        metadata.read_attributes(location)  # raises an error that names the other content
    if good[ROOT] is not None:
        damaged = [] if copy == root else [Damage(ROOT_COPY, _missing_or(copy, f"is not that of {ROOT}"))]
        return Store.open(location), damaged
    attributes = good[ROOT_COPY]
    assert attributes is not None and copy is not None
    layout = metadata.read_layout(attributes, location)
    damage = Damage(ROOT, _missing_or(root, "does not fit its checksum"))
    return Store(location, layout, attributes, copy), [damage]


def _missing_or(content: bytes | None, fault: str) -> str:
    return "is missing" if content is None else fault


def damages(opened: Store) -> Iterator[Damage]:
    """Yield the damage of a store, except that of its root document."""
    yield from damaged_metadata(opened)
    yield from damaged_blocks(opened)
    yield from lost_partials(opened)
    yield from damaged_statistics(opened)


def damaged_metadata(opened: Store) -> Iterator[Damage]:
    """Yield the metadata that do not match the root document."""
    for key in store.stale_metadata(opened):
        if key != ROOT_COPY:
            yield Damage(key, _missing_or(opened.location.read(key), "does not fit its checksum"))


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
    begun = not opened.missing(index).all()
    for name, values in opened.layout.values.items():
        for chunk, _ in values.parts(index):
            key = values.key(name, chunk)
            content = opened.location.read(key)
            if content is None:
                if begun and not values.transient:
                    yield Damage(key, "is missing", number)
            elif fault := _fault(values, chunk, content):
                yield Damage(key, fault, number)


def _fault(form: ArraySpec, index: tuple[int, ...], content: bytes) -> str:
    """Return the fault of a chunk, or an empty text."""
    try:
        codec.decode(form, index, content)
    except codec.DamagedError as error:
        return str(error)
    return ""


def damaged_statistics(opened: Store) -> Iterator[Damage]:
    """Yield the chunks of statistics that are damaged, or missing although all their blocks are complete."""
    layout = opened.layout
    for cell_index in layout.cells:
        complete = _complete(opened, cell_index)
        for name, form in layout.statistics.items():
            for chunk, _ in form.parts(cell_index):
                key = form.key(name, chunk)
                content = opened.location.read(key)
                if content is not None and (fault := _fault(form, chunk, content)):
                    yield Damage(key, fault)
                elif content is None and complete:
                    yield Damage(key, "is missing")


def lost_partials(opened: Store) -> Iterator[Damage]:
    """Yield the chunks of partial sums that are missing from cells whose blocks are complete.

    If the first block of a cell is lost, only this block is named, because it may have held the sums of the
    others. If no sums are kept, damaged statistics are named instead. A run finds all blocks to be computed
    again.
    """
    layout = opened.layout
    for cell_index in layout.cells:
        with suppress(DamagedBlockError):  # `damaged_blocks` names it
            cell = read_cell(opened, cell_index)
            if cell is None or not (layout.keeps_values or cell.bad.any()):
                continue
            lost = cell.lost[:1] if cell.lost[:1] == layout.seed_blocks(cell_index)[:1] else cell.lost
            for index in lost:
                for key in opened.value_keys(index):
                    if opened.location.read(key) is None:
                        yield Damage(key, "is missing", layout.number(index))


def in_words(path: str, verification: Verification) -> str:
    """Return the state of a store for people to read."""
    lines = [f"{entry.key}: {entry.what}" for entry in verification.damaged]
    if verification.damaged:
        lines.append(f"{path}: {len(verification.damaged)} damaged; fastlin repair {path} mends them")
    if verification.missing_blocks:
        lines.append(
            f"{path}: {verification.missing_points:,} of {verification.points:,} points are not computed yet "
            f"({verification.missing_blocks:,} of {verification.blocks:,} blocks); fastlin run goes on"
        )
    return "\n".join(lines or [f"{path}: all is well"])


def _complete(opened: Store, cell_index: tuple[int, ...]) -> bool:
    return all(opened.is_complete(index) for index in opened.layout.seed_blocks(cell_index))
