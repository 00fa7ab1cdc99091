"""A folder as the location of a store."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, TypeVar

from fastlin.sweeps.store.location import SCRATCH, Entry, Location

if TYPE_CHECKING:
    from zarr.abc.store import Store as ZarrStore

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

T = TypeVar("T")
LONGEST_WAIT = 10.0  # seconds for the lock of a process that is stopped; results do not depend on it


@dataclass(frozen=True)
class LocalFolder(Location):
    """A folder on a file system, which several machines may share."""

    root: str = ""

    def _path(self, key: str) -> str:
        return os.path.join(self.root, key)

    @property
    def folder(self) -> Path:
        """The folder."""
        return Path(self.root)

    def exists(self) -> bool:
        """Tell whether there is anything at this path, be it a broken link.

        Folders without files do not count: a run leaves them that dies before its first file.
        """
        if os.path.isdir(self.root):
            return next(self.entries(""), None) is not None
        return os.path.lexists(self.root)

    def for_zarr(self) -> ZarrStore:
        """Return zarr's store for the folder, read-only."""
        from zarr.storage import LocalStore

        return LocalStore(self.root, read_only=True)

    def read(self, key: str) -> bytes | None:
        """Return the content of a file, or None where there is no file."""
        try:
            file = os.open(self._path(key), os.O_RDONLY)
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            size = os.fstat(file).st_size
            # One byte more than there should be, to see the end.
            parts = [os.read(file, size + 1)]
            while parts[-1] and sum(map(len, parts)) < size:
                parts.append(os.read(file, size + 1))
            return b"".join(parts)
        finally:
            os.close(file)

    def write(self, key: str, *parts: Any) -> None:
        """Write a temporary file and rename it."""
        scratch = self._path(f"{SCRATCH}/{self.writer}.{uuid.uuid4().hex}.partial")
        target = self._path(key)
        try:
            self._fill(scratch, parts)
            self._in_folder_of(target, lambda: os.rename(scratch, target))
        except OSError as error:
            with suppress(OSError):
                os.unlink(scratch)
            # The name of the temporary file means nothing to anybody.
            raise OSError(error.errno, error.strerror or str(error), key) from None
        if self.durable:
            _sync_folder(os.path.dirname(target))

    def _fill(self, path: str, parts: tuple[Any, ...]) -> None:
        file = self._open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        try:
            for part in parts:
                left = memoryview(part).cast("B")
                while left:
                    left = left[os.write(file, left) :]
            if self.durable:
                os.fsync(file)
        finally:
            os.close(file)

    def _open(self, path: str, flags: int) -> int:
        return self._in_folder_of(path, lambda: os.open(path, flags, 0o666))

    def _in_folder_of(self, path: str, action: Callable[[], T]) -> T:
        """Do something that needs the folder of a path, which is made if it turns out to be missing."""
        try:
            return action()
        except FileNotFoundError:
            self._make(os.path.dirname(path))
            return action()

    def _make(self, folder: str) -> None:
        """Make a folder and those above it, where they are not there yet."""
        if os.path.isdir(folder):
            return
        parent = os.path.dirname(folder)
        self._make(parent)
        with suppress(FileExistsError):
            os.mkdir(folder)
            if self.durable:
                _sync_folder(parent)

    def swap(self, key: str, old: bytes | None, new: bytes) -> bool:
        """Compare and replace under a lock between processes, and machines where the file system has it."""
        with self._locked():
            if self.read(key) != old:
                return False
            self.write(key, new)
            return True

    @contextmanager
    def _locked(self) -> Iterator[None]:
        file = self._open(self._path(f"{SCRATCH}/lock"), os.O_RDWR | os.O_CREAT)
        try:
            _lock(file)
            yield
        finally:
            os.close(file)

    def delete(self, key: str) -> None:
        """Unlink a file."""
        with suppress(FileNotFoundError, NotADirectoryError):
            os.unlink(self._path(key))
            if self.durable:
                _sync_folder(os.path.dirname(self._path(key)))

    def entries(self, prefix: str) -> Iterator[Entry]:
        """Yield the files below a folder."""
        waiting = [prefix]
        while waiting:
            key = waiting.pop()
            with suppress(FileNotFoundError, NotADirectoryError), os.scandir(self._path(key)) as found:
                for item in found:
                    below = f"{key}/{item.name}" if key else item.name
                    if item.is_dir(follow_symlinks=False):
                        waiting.append(below)
                        continue
                    with suppress(FileNotFoundError):
                        about = item.stat()
                        yield Entry(below, about.st_size, about.st_mtime)


def _lock(file: int) -> None:
    """Wait for a lock; where a file system has none, or its holder is stopped, go on without."""
    if fcntl is None:
        return
    end = monotonic() + LONGEST_WAIT
    while monotonic() < end:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            sleep(0.01)
        except OSError:
            return
        else:
            return


def _sync_folder(folder: str) -> None:
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
