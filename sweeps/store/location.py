"""The location of a store: the operations that all kinds of it have.

`folder` and `s3` are the kinds, and `locate` chooses. A key is a path below the location, with `/` between
its parts. Writes are atomic: a write replaces the whole content of a key or nothing of it, even if the writer
dies.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from fastlin.errors import CONTINUE, StoppedError

if TYPE_CHECKING:
    from zarr.abc.store import Store as ZarrStore

# Holds the lease, temporary files and a copy of the root document. It lies below the folder of an array,
# because neither zarr nor xarray reads files there.
SCRATCH = "status/lease"
LOCK = f"{SCRATCH}/lock"  # an empty file, which stays

PARTIAL = ".partial"  # end of the names of temporary files


class Identity(NamedTuple):
    """The identity of a location, by which it differs from a copy.

    The path may differ between machines that share a folder, but the inode number of the folder does not.
    Some file systems in user space (FUSE) give files new numbers, but their path stays. A copy differs in
    both.
    """

    path: str
    inode: int  # 0 where there is none

    def is_same(self, other: Identity) -> bool:
        """Return whether both are of one location."""
        return self.path == other.path or (self.inode == other.inode != 0)


class Usage(NamedTuple):
    """Bytes and number of all objects at a location."""

    bytes: int
    files: int


class Entry(NamedTuple):
    """One object at a location."""

    key: str
    size: int
    modified: float  # seconds since 1970


@dataclass(frozen=True)
class Location(ABC):
    """A location for one store.

    Parameters
    ----------
    text : str
        As it was given, for messages.
    durable : bool
        Whether files that are written must survive a loss of power.
    writer : str
        Id of the lease holder that writes; the names of its temporary files begin with it.
    opened : bool
        Whether the run that writes has found or made the store's folder. The folder is never made again then:
        if it is missing, it was moved or removed.
    """

    text: str
    durable: bool = False
    writer: str = "nobody"
    opened: bool = False

    @abstractmethod
    def read(self, key: str) -> bytes | None:
        """Return the content of `key`, or None where there is nothing."""

    def read_many(self, keys: Iterable[str]) -> Iterator[bytes | None]:
        """Yield the content of each key in turn."""
        return map(self.read, keys)

    @abstractmethod
    def write(self, key: str, *parts: Any) -> None:
        """Replace the content of `key` by some buffers in a row."""

    @abstractmethod
    def swap(self, key: str, old: bytes | None, new: bytes) -> bool:
        """Replace the content of `key` if it is still `old`, and tell whether it was."""

    @abstractmethod
    def delete(self, key: str) -> None:
        """Remove `key`, if it is there."""

    @abstractmethod
    def entries(self, prefix: str) -> Iterator[Entry]:
        """Yield all objects below `prefix`."""

    def usage(self) -> Usage:
        """Return the bytes and the number of all objects."""
        sizes = [entry.size for entry in self.entries("")]
        return Usage(sum(sizes), len(sizes))

    @abstractmethod
    def exists(self) -> bool:
        """Tell whether there is anything at this location."""

    @abstractmethod
    def for_zarr(self) -> ZarrStore:
        """Return the location as zarr reads it."""

    @property
    @abstractmethod
    def folder(self) -> Path | None:
        """The folder on this machine, or None."""

    @abstractmethod
    def identity(self) -> Identity:
        """Return the identity of this location, by which it differs from a copy."""

    @abstractmethod
    def make(self) -> None:
        """Make the folder of the location if there is none."""

    def clean(self, dead: set[str]) -> None:
        """Remove the temporary files of writers that are known to be dead.

        A writer that is not known at all may be alive: it writes before it is in the lease.
        """
        for entry in self.temporary_files() if dead else ():
            if writer_of(entry) in dead:
                self.delete(entry.key)

    def temporary_files(self) -> Iterator[Entry]:
        """Yield files that are being written, or were left half-written. A bucket has no temporary files."""
        entries = self.entries(SCRATCH) if self.folder is not None else ()
        return (entry for entry in entries if entry.key.endswith(PARTIAL))


def writer_of(entry: Entry) -> str:
    """Return the id of the writer of a temporary file."""
    return entry.key.rpartition("/")[2].partition(".")[0]


@contextmanager
def stopping(location: Location) -> Iterator[None]:
    """Turn an error of the system into a StoppedError, which says how to go on."""
    try:
        yield
    except OSError as error:
        raise stopped(location, error) from error


def stopped(location: Location, error: OSError) -> StoppedError:
    """Return the error that a run raises for an error of its location."""
    return StoppedError(f"writing to {location.text} failed: {error.strerror or error}; {CONTINUE}")
