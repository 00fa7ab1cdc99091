"""The location of a store: what every kind of it does. `folder` and `s3` are the two kinds, `locate` chooses.

A key is a path below the location, with `/` between its parts. What is written replaces what was there as a
whole, or not at all, whenever and however the writer dies.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from fastlin.errors import StoppedError

if TYPE_CHECKING:
    from zarr.abc.store import Store as ZarrStore

# Below an array's folder, where neither zarr nor xarray look: who writes, and what is being written.
SCRATCH = "status/lease"


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
        Whether what is written must survive a loss of power.
    writer : str
        Names this writer's temporary files.
    """

    text: str
    durable: bool = False
    writer: str = "nobody"

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
        """Yield everything below `prefix`."""

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

    def clean(self, live: set[str]) -> None:
        """Remove what writers that are not `live` left half-written."""
        for entry in self.entries(SCRATCH):
            name = entry.key.rpartition("/")[2]
            if name.endswith(".partial") and name.partition(".")[0] not in live:
                self.delete(entry.key)


@contextmanager
def stopping(location: Location) -> Iterator[None]:
    """Turn errors of the system into one that says what they mean for the run of a sweep."""
    try:
        yield
    except OSError as error:
        raise stopped(location, error) from error


def stopped(location: Location, error: OSError) -> StoppedError:
    """Return what a run of a sweep raises when its location fails it."""
    return StoppedError(
        f"writing to {location.text} failed: {error.strerror or error}; what is complete stays, "
        "run the same command again to go on"
    )
