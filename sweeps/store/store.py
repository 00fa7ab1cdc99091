"""A store that is open: its blocks, read and written, and the rule of resume.

The chunk of `status` of a block is its commit marker, because it is written last. A block is complete if its
commit marker has no pending point. So the store alone shows which blocks are missing.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastlin.errors import InputError, StoppedError
from fastlin.sweeps.spec.spec import Spec
from fastlin.sweeps.store import codec, metadata, versions
from fastlin.sweeps.store.array_spec import ArraySpec, Values
from fastlin.sweeps.store.layout import STATUS, StoreLayout
from fastlin.sweeps.store.lease_holders import AT_REST, KEY
from fastlin.sweeps.store.location import LOCK, SCRATCH, Entry, Location
from fastlin.sweeps.store.metadata import ROOT, ROOT_COPY
from fastlin.sweeps.store.resume import Codes, is_missing

Marker = tuple[tuple[int, ...], Codes]  # the index of a block and the status of its points


class DamagedBlockError(InputError):
    """Values of a block are missing or damaged."""


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
            return cls(location, metadata.read_layout(attributes, location), attributes, root)
        except InputError as error:
            raise InputError(f"{location.text}: this fastlin cannot read its spec: {error}") from None

    @property
    def made_with(self) -> list[dict[str, str]]:
        """Versions of the programs that wrote the store, oldest first."""
        return [*self.attributes["earlier_versions"], self.attributes["versions"]]

    def read_status(self, index: tuple[int, ...]) -> Codes:
        """Return the status of the points of a block. All are pending if its commit marker is damaged."""
        form = self.layout.status
        return _marker(form, index, self.location.read(form.key(STATUS, index)))

    def checked_status(self, index: tuple[int, ...]) -> Codes:
        """Return the status of the points of a block. All are pending if there is no commit marker.

        Raises
        ------
        DamagedBlockError
            If the commit marker is damaged.
        """
        return self._read(STATUS, replace(self.layout.status, transient=True), index)

    def is_complete(self, index: tuple[int, ...]) -> bool:
        """Return whether no point of a block is pending."""
        return not self.missing(index).any()

    def missing(self, index: tuple[int, ...], retry: bool = False) -> NDArray[np.bool_]:
        """Return a mask of the points of a block that are still to be computed, see `is_missing`."""
        return is_missing(self.read_status(index), retry)

    def commit_markers(self) -> Iterator[Marker]:
        """Yield the commit marker of every block in turn."""
        form, count = self.layout.status, self.layout.block_count
        keys = (form.key(STATUS, self.layout.index(number)) for number in range(count))
        for number, content in enumerate(self.location.read_many(keys)):
            index = self.layout.index(number)
            yield index, _marker(form, index, content)

    def marker_entries(self) -> Iterator[Entry]:
        """Yield the files of all commit markers, in no order."""
        return _marker_entries(self.location)

    def read_values(self, index: tuple[int, ...]) -> Values:
        """Return the values of a block.

        Raises
        ------
        DamagedBlockError
            If a chunk is missing or damaged. Partial sums that are missing are those of no block.
        """
        return {name: self._read(name, form, index) for name, form in self.layout.values.items()}

    def read_statistics(self, cell_index: tuple[int, ...]) -> Values:
        """Return the statistics of a cell.

        Raises
        ------
        DamagedBlockError
            If a chunk is missing or damaged.
        """
        return {name: self._read(name, form, cell_index) for name, form in self.layout.statistics.items()}

    def _read(self, name: str, form: ArraySpec, index: tuple[int, ...]) -> NDArray[Any]:
        parts = []
        for chunk, _ in form.parts(index):
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
            If the store has grown, or been made again, since the block was begun.
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
        """Withdraw the block if the store changed while it was written.

        This process may have been suspended, and may have overwritten newer chunks.
        """
        try:
            self.check_current()
        except StoppedError:
            self.withdraw(index)
            raise

    def update_block(self, index: tuple[int, ...], values: Values | None, status: Codes) -> None:
        """Bring a block to `values` and `status`, the commit marker last. Chunks that have them stay.

        Without `values` their chunks are deleted, as those of partial sums that another block holds.
        """
        self.check_current()
        self.replace_partials(index, values)
        key, content = self.layout.status.key(STATUS, index), codec.encode(self.layout.status, status)
        if self.location.read(key) != b"".join(content):
            self.location.write(key, *content)
        self._withdraw_if_changed(index)

    def write_statistics(self, cell_index: tuple[int, ...], values: Values) -> None:
        """Write the chunks of statistics that differ from those in the store."""
        for key, content in self._stale_statistics(cell_index, values):
            self.location.write(key, *content)

    def has_statistics(self, cell_index: tuple[int, ...], values: Values) -> bool:
        """Return whether the chunks of statistics in the store have these values."""
        return next(self._stale_statistics(cell_index, values), None) is None

    def _stale_statistics(
        self, cell_index: tuple[int, ...], values: Values
    ) -> Iterator[tuple[str, list[Any]]]:
        for key, content in self._encoded(cell_index, values, self.layout.statistics):
            if self.location.read(key) != b"".join(content):
                yield key, content

    def replace_partials(self, index: tuple[int, ...], values: Values | None) -> None:
        """Bring the chunks of a block, which are partial sums, to `values`, or delete them."""
        for key, content in self._stale_partials(index, values):
            if content is None:
                self.location.delete(key)
            else:
                self.location.write(key, *content)

    def are_partials(self, index: tuple[int, ...], values: Values | None) -> bool:
        """Return whether the partial sums of a block are `values`, or absent if that is None."""
        return next(self._stale_partials(index, values), None) is None

    def _stale_partials(
        self, index: tuple[int, ...], values: Values | None
    ) -> Iterator[tuple[str, list[Any] | None]]:
        if values is None:
            yield from ((key, None) for key in self.value_keys(index) if self.location.read(key) is not None)
            return
        for key, content in self._encoded(index, values, self.layout.values):
            if self.location.read(key) != b"".join(content):
                yield key, content

    def value_keys(self, index: tuple[int, ...]) -> Iterator[str]:
        """Yield the keys of the values of a block."""
        for name, form in self.layout.values.items():
            for chunk, _ in form.parts(index):
                yield form.key(name, chunk)

    def _encoded(
        self, index: tuple[int, ...], values: Values, forms: dict[str, ArraySpec]
    ) -> Iterator[tuple[str, list[Any]]]:
        for name, form in forms.items():
            for chunk, part in form.parts(index):
                yield form.key(name, chunk), codec.encode(form, values[name][part])

    @property
    def current(self) -> bool:
        """Whether this is still the store that was opened."""
        return self.location.read(ROOT) == self.root

    def check_current(self) -> None:
        """Raise if this is no longer the store that was opened.

        Raises
        ------
        StoppedError
            If it was moved, removed, or changed by another run.
        """
        root = self.location.read(ROOT)
        if root is None:
            raise _gone(self.location)
        if root != self.root:
            raise StoppedError(f"{self.location.text} was changed by another run; run the same command again")

    def withdraw(self, index: tuple[int, ...]) -> None:
        """Make a block pending."""
        self.location.delete(self.layout.status.key(STATUS, index))


def _gone(location: Location) -> StoppedError:
    return StoppedError(f"{location.text} was moved or removed while this run wrote it")


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
    """Open a store for one more block. Its specs are read again only if its root document has changed.

    Raises
    ------
    InputError
        If there is none, or its root document is damaged.
    StoppedError
        If there is none any more.
    """
    root = location.read(ROOT)
    if root is None and location.opened:
        raise _gone(location)
    return _opened(location, root)


def is_new(location: Location) -> bool:
    """Return whether a store is to be made at a location: nothing is there, or its making was cut short."""
    if location.read(ROOT) is not None:
        return False
    # The order matters: another run may begin to make the store at any moment, and it writes its lease first.
    if not location.exists():
        return True
    scratch = f"{SCRATCH}/"
    if all(entry.key.startswith(scratch) for entry in location.entries("")):
        # The list may miss a lease that is just being renamed, but its folder is there.
        return location.folder is None or location.folder.is_dir()
    return next(location.entries(SCRATCH), None) is not None and next(_marker_entries(location), None) is None


def _marker_entries(location: Location) -> Iterator[Entry]:
    return (entry for entry in location.entries(STATUS) if entry.key.startswith(f"{STATUS}/c"))


def create(location: Location, layout: StoreLayout, made_with: list[dict[str, str]] | None = None) -> None:
    """Create a store with all its arrays and all points pending. It exists once its root document does.

    `made_with` are the versions that wrote the numbers it will hold, by default those of this installation.
    """
    documents = metadata.encode_metadata(layout, made_with) if made_with else _new_metadata(layout)
    metadata.write_metadata(location, documents)


def _new_metadata(layout: StoreLayout) -> metadata.Documents:
    return metadata.encode_metadata(layout, [versions.of(layout.spec)])


def documents_at_rest(layout: StoreLayout) -> metadata.Documents:
    """Return all files of a new store in a folder that are no chunks of blocks, as they are after a run.

    These are its metadata with the coordinates, and the lease without holders with its lock.
    """
    return {**_new_metadata(layout), KEY: AT_REST, LOCK: b""}


def repair_metadata(store: Store) -> list[str]:
    """Rewrite metadata that do not match the root document: damaged, or left by an interrupted growth.

    Returns their keys.
    """
    stale = stale_metadata(store)
    if stale:
        metadata.write_metadata(store.location, metadata.encode_metadata(store.layout, store.made_with))
    return stale


def stale_metadata(store: Store) -> list[str]:
    """Return the keys of the metadata that do not match the root document."""
    keys = [*store.attributes["documents"], ROOT_COPY]
    contents = zip(keys, store.location.read_many(keys), strict=True)
    return [
        key
        for key, content in contents
        if not (
            content == store.root if key == ROOT_COPY else metadata.intact(key, content, store.attributes)
        )
    ]


def begins_again(layout: StoreLayout, spec: Spec) -> bool:
    """Tell whether every point of a store is computed again when it grows to a spec."""
    more_times = spec.times.size > layout.spec.times.size
    more_seeds = spec.seeds.size > layout.spec.seeds.size
    return more_times or (more_seeds and not layout.keeps_values)


def grow(store: Store, layout: StoreLayout, made_with: list[dict[str, str]]) -> None:
    """Enlarge a store, in an order in which every reader sees the old one or the new one.

    If times are added, every block becomes pending first, because its points need the new times. Their old
    values stay readable until they are replaced. The same happens if seeds are added to a store that keeps no
    partial sums.
    """
    if begins_again(store.layout, layout.spec):
        for number in range(store.layout.block_count):
            store.withdraw(store.layout.index(number))
    metadata.write_metadata(store.location, metadata.encode_metadata(layout, made_with))
