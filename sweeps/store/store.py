"""A store that is open: its blocks, read and written.

`status` is written last, so a block whose chunk of `status` holds no PENDING is complete: the store alone
says what is done.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.errors import InputError, StoppedError
from fastlin.sweeps.store import codec, metadata, partials, versions
from fastlin.sweeps.store.layout import STATUS, ArraySpec, StoreLayout
from fastlin.sweeps.store.location import SCRATCH, Entry, Location
from fastlin.sweeps.store.metadata import ROOT, ROOT_COPY

Values = dict[str, NDArray[Any]]
Codes = NDArray[np.uint8]


class DamagedBlockError(InputError):
    """Values of a block are missing or not what was written."""


@dataclass(frozen=True, eq=False)
class Store:
    """A location, and the layout of the store there as of one root document."""

    location: Location
    layout: StoreLayout
    attributes: dict[str, Any]
    root: bytes

    @classmethod
    def open(cls, location: Location) -> Store:
        """Open the store at a location.

        Raises
        ------
        InputError
            If there is none, or its root document is damaged.
        """
        attributes, root = metadata.read_attributes(location)
        try:
            return cls(location, metadata.read_layout(attributes), attributes, root)
        except InputError as error:
            raise InputError(f"{location.text}: this fastlin cannot read its spec: {error}") from None

    @property
    def made_with(self) -> list[dict[str, str]]:
        """Versions of what wrote the store, oldest first."""
        return [*self.attributes["earlier_versions"], self.attributes["versions"]]

    def read_status(self, index: tuple[int, ...]) -> Codes:
        """Return the status of the points of a block; a mark that is damaged marks nothing."""
        form = self.layout.status
        return _marker(form, index, self.location.read(form.key(STATUS, index)))

    def commit_markers(self) -> Iterator[tuple[tuple[int, ...], Codes]]:
        """Yield the status of every block in turn."""
        form, count = self.layout.status, self.layout.block_count
        keys = (form.key(STATUS, self.layout.index(number)) for number in range(count))
        for number, content in enumerate(self.location.read_many(keys)):
            index = self.layout.index(number)
            yield index, _marker(form, index, content)

    def marker_entries(self) -> Iterator[Entry]:
        """Yield the files of all marks, in no order."""
        return _marker_entries(self.location)

    def read_values(self, index: tuple[int, ...]) -> Values:
        """Return the values of a block.

        Raises
        ------
        DamagedBlockError
            If a chunk is missing or damaged. Partial sums that are missing are those of no block.
        """
        return {name: self._read(name, form, index) for name, form in self.layout.values.items()}

    def read_statistics(self, cell: tuple[int, ...]) -> Values:
        """Return the statistics of a cell.

        Raises
        ------
        DamagedBlockError
            If a chunk is missing or damaged.
        """
        return {name: self._read(name, form, cell) for name, form in self.layout.statistics.items()}

    def _read(self, name: str, form: ArraySpec, index: tuple[int, ...]) -> NDArray[Any]:
        parts = []
        for chunk, _ in self.layout.parts(index, form):
            key = form.key(name, chunk)
            content = self.location.read(key)
            try:
                if content is not None:
                    parts.append(codec.decode(form, chunk, content))
                elif form.transient:
                    parts.append(np.full(_shape(form, chunk), form.fill, dtype=form.dtype))
                else:
                    raise codec.DamagedError("is missing")
            except codec.DamagedError as error:
                path = self.location.text
                raise DamagedBlockError(f"{path}: {key} {error}; fastlin repair {path} mends it") from None
        return np.concatenate(parts, axis=len(index)) if len(parts) > 1 else parts[0]

    def write_block(self, index: tuple[int, ...], values: Values, status: Codes) -> None:
        """Write a block: its chunks of every array, then of `status`.

        Raises
        ------
        StoppedError
            If the store has grown, or been made anew, since the block was begun.
        """
        self.check_current()
        form = self.layout.status
        try:
            for key, content in self._encoded(index, values, self.layout.values):
                self.location.write(key, *content)
            self.location.write(form.key(STATUS, index), *codec.encode(form, status))
        except OSError:
            with suppress(OSError):
                self._withdraw_if_changed(index)
            raise
        self._withdraw_if_changed(index)

    def _withdraw_if_changed(self, index: tuple[int, ...]) -> None:
        """Make a block pending that may have been written over newer values, by a process that had slept."""
        try:
            self.check_current()
        except StoppedError:
            self.withdraw(index)
            raise

    def write_statistics(self, cell: tuple[int, ...], values: Values) -> None:
        """Write the chunks of statistics that are not what is there already."""
        for key, content in self._encoded(cell, values, self.layout.statistics):
            self._replace(key, content)

    def replace_partials(self, index: tuple[int, ...], values: Values | None) -> None:
        """Bring the partial sums of a block to `values`, or delete them."""
        if values is not None:
            for key, content in self._encoded(index, values, self.layout.values):
                self._replace(key, content)
            return
        for key in self.value_keys(index):
            if self.location.read(key) is not None:
                self.location.delete(key)

    def has_partials(self, index: tuple[int, ...]) -> bool:
        """Tell whether a chunk of partial sums of a block is there."""
        return any(self.location.read(key) is not None for key in self.value_keys(index))

    def value_keys(self, index: tuple[int, ...]) -> Iterator[str]:
        """Yield where the values of a block are stored."""
        for name, form in self.layout.values.items():
            for chunk, _ in self.layout.parts(index, form):
                yield form.key(name, chunk)

    def _replace(self, key: str, content: list[Any]) -> None:
        if self.location.read(key) != b"".join(content):
            self.location.write(key, *content)

    def _encoded(
        self, index: tuple[int, ...], values: Values, forms: dict[str, ArraySpec]
    ) -> Iterator[tuple[str, list[Any]]]:
        for name, form in forms.items():
            for chunk, part in self.layout.parts(index, form):
                yield form.key(name, chunk), codec.encode(form, values[name][part])

    @property
    def current(self) -> bool:
        """Whether this is still the store that was opened."""
        return self.location.read(ROOT) == self.root

    def check_current(self) -> None:
        """Raise if this is no longer the store that was opened."""
        if not self.current:
            raise StoppedError(f"{self.location.text} was changed by another run; run the same command again")

    def withdraw(self, index: tuple[int, ...]) -> None:
        """Make a block pending."""
        self.location.delete(self.layout.status.key(STATUS, index))


def _marker(form: ArraySpec, index: tuple[int, ...], content: bytes | None) -> Codes:
    if content is not None:
        with suppress(codec.DamagedError):
            return codec.decode(form, index, content)
    return np.full(_shape(form, index), form.fill, dtype=form.dtype)


def _shape(form: ArraySpec, index: tuple[int, ...]) -> list[int]:
    """Return the numbers of values of a chunk that lie in the array."""
    return [part.stop - part.start for part in form.region(index)]


@lru_cache(maxsize=4)
def _opened(location: Location, _root: bytes | None) -> Store:
    return Store.open(location)


def reopen(location: Location) -> Store:
    """Open a store for one more block: its specs are read again only where it is another one than before.

    Raises
    ------
    InputError
        If there is none, or its root document is damaged.
    """
    return _opened(location, location.read(ROOT))


def is_new(location: Location) -> bool:
    """Tell whether a store is to be made at a location: nothing is there, or its making was cut short."""
    if location.read(ROOT) is not None:
        return False
    # In this order: another run, which writes its lease first, may begin to make it at any moment.
    if not location.exists():
        return True
    scratch = f"{SCRATCH}/"
    if all(entry.key.startswith(scratch) for entry in location.entries("")):
        # A lease that is just being renamed is in no list of files.
        return location.folder is None or location.folder.is_dir()
    return next(location.entries(SCRATCH), None) is not None and next(_marker_entries(location), None) is None


def _marker_entries(location: Location) -> Iterator[Entry]:
    return (entry for entry in location.entries(STATUS) if entry.key.startswith(f"{STATUS}/c"))


def create(location: Location, layout: StoreLayout) -> None:
    """Create a store with all its arrays, all points pending; it is there when its root document is."""
    metadata.write_metadata(location, metadata.encode_metadata(layout, [versions.here()]))


def repair_metadata(store: Store) -> list[str]:
    """Write documents anew that are not what the root says: damaged ones, or a growth that was cut short.

    Returns the keys of those that were.
    """
    stale = stale_metadata(store)
    if stale:
        metadata.write_metadata(store.location, metadata.encode_metadata(store.layout, store.made_with))
    return stale


def stale_metadata(store: Store) -> list[str]:
    """Return the keys of documents that are not what the root says."""
    keys = [*store.attributes["documents"], ROOT_COPY]
    found = zip(keys, store.location.read_many(keys), strict=True)
    return [
        key
        for key, content in found
        if not (
            content == store.root if key == ROOT_COPY else metadata.intact(key, content, store.attributes)
        )
    ]


def grow(store: Store, layout: StoreLayout, made_with: list[dict[str, str]]) -> None:
    """Enlarge a store, in an order in which every reader sees the old one or the new one.

    Where time grows every block becomes pending first: its points need the new times, and what they
    hold stays readable until it is replaced. The same happens where seeds are added to a store that keeps no
    partial sums.
    """
    before, after = store.layout.spec, layout.spec
    more_seeds = before.reduce is not None and after.seeds.size > before.seeds.size
    if after.times.size > before.times.size or (more_seeds and not partials.keeps(store.layout)):
        for number in range(store.layout.block_count):
            store.withdraw(store.layout.index(number))
    metadata.write_metadata(store.location, metadata.encode_metadata(layout, made_with))
