"""A folder as the location of a store."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from errno import ENOENT
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING, Any, TypeVar

from filelock import lock_descriptor

from fastlin.sweeps.store.location import LOCK, PARTIAL, SCRATCH, Entry, Identity, Location

if TYPE_CHECKING:
    from zarr.abc.store import Store as ZarrStore

T = TypeVar("T")
LOCK_SECONDS = 10.0  # after which a lock is ignored: its process may be suspended
# Windows refuses to open, replace or delete a file while another process has it open or replaces it.
SHARING_SECONDS = 2.0 if os.name == "nt" else 0.0
POLL_SECONDS = 0.01
SWAP = "swap"  # begins the names of temporary files that are written under the lock


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

    def identity(self) -> Identity:
        """Return the path and the inode number of the folder."""
        with suppress(FileNotFoundError, NotADirectoryError):
            return Identity(self.root, os.stat(self.root).st_ino)
        return Identity(self.root, 0)

    def make(self) -> None:
        """Make the folder, and the one for the lease."""
        self._make(self._path(SCRATCH))

    def exists(self) -> bool:
        """Return whether there is anything at this path, also a broken link.

        Folders without files do not count: a run leaves them if it dies before it writes its first file.
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
            file = _retried(lambda: _open(self._path(key), os.O_RDONLY))
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            size = os.fstat(file).st_size
            # One byte more than the size, so that the first read usually meets the end.
            parts = [os.read(file, size + 1)]
            while parts[-1] and sum(map(len, parts)) < size:
                parts.append(os.read(file, size + 1))
            return b"".join(parts)
        except OSError as error:  # `os.read` does not name the file
            raise OSError(error.errno, error.strerror, self._path(key)) from None
        finally:
            os.close(file)

    def write(self, key: str, *parts: Any) -> None:
        """Write a temporary file and rename it."""
        self._write(self.writer, key, parts)

    def _write(self, writer: str, key: str, parts: tuple[Any, ...]) -> None:
        scratch = self._path(f"{SCRATCH}/{writer}.{uuid.uuid4().hex}{PARTIAL}")
        target = self._path(key)
        try:
            self._fill(scratch, parts)
            self._in_folder_of(target, lambda: _retried(lambda: os.replace(scratch, target)))
        except OSError as error:
            with suppress(OSError):
                os.unlink(scratch)
            # The message names the key, because users do not know the temporary file.
            raise OSError(error.errno, error.strerror or str(error), key) from None
        if self.durable:
            _sync_folder(os.path.dirname(target))

    def _fill(self, path: str, parts: tuple[Any, ...]) -> None:
        file = self._in_folder_of(path, lambda: _open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
        try:
            for part in parts:
                left = memoryview(part).cast("B")
                while left:
                    left = left[os.write(file, left) :]
            if self.durable:
                os.fsync(file)
        finally:
            os.close(file)

    def _in_folder_of(self, path: str, action: Callable[[], T]) -> T:
        """Do something that needs the folder of a path, which is made if it turns out to be missing."""
        try:
            return action()
        except FileNotFoundError:
            self._make(os.path.dirname(path))
            return action()

    def _make(self, folder: str) -> None:
        """Make a folder and its parents where they are missing, but not that of a store which was opened."""
        if os.path.isdir(folder):
            return
        if self.opened and folder == self.root:
            raise FileNotFoundError(ENOENT, "the folder was moved or removed", folder)
        parent = os.path.dirname(folder)
        self._make(parent)
        with suppress(FileExistsError):
            os.mkdir(folder)
            if self.durable:
                _sync_folder(parent)

    def swap(self, key: str, old: bytes | None, new: bytes) -> bool:
        """Compare and replace under a lock between processes, and machines where the file system has it."""
        with self._locked() as alone:
            if self.read(key) != old:
                return False
            if alone:
                # Only swaps that died under the lock leave such files.
                self.clean({SWAP})
            try:
                self._write(SWAP, key, (new,))
            except FileNotFoundError:
                if not os.path.isdir(self.root):
                    raise
                # The file system has no real locks, and another swap has removed the temporary file.
                return False
            return True

    @contextmanager
    def _locked(self) -> Iterator[bool]:
        """Hold the lock as far as that is possible, and yield whether it is held."""
        path = self._path(LOCK)
        file = self._in_folder_of(path, lambda: _open(path, os.O_RDWR | os.O_CREAT))
        try:
            yield _lock(file)
        finally:
            os.close(file)

    def delete(self, key: str) -> None:
        """Unlink a file."""
        with suppress(FileNotFoundError, NotADirectoryError):
            _retried(lambda: os.unlink(self._path(key)))
            if self.durable:
                _sync_folder(os.path.dirname(self._path(key)))

    def entries(self, prefix: str) -> Iterator[Entry]:
        """Yield the files below a folder."""
        waiting = [prefix]
        while waiting:
            key = waiting.pop()
            with suppress(FileNotFoundError, NotADirectoryError), os.scandir(self._path(key)) as items:
                for item in items:
                    below = f"{key}/{item.name}" if key else item.name
                    if item.is_dir(follow_symlinks=False):
                        waiting.append(below)
                        continue
                    with suppress(FileNotFoundError):
                        status = item.stat()
                        yield Entry(below, status.st_size, status.st_mtime)


def _open(path: str, flags: int) -> int:
    # Without O_BINARY, Windows would change line ends.
    return os.open(path, flags | getattr(os, "O_BINARY", 0), 0o666)


def _retried(action: Callable[[], T]) -> T:
    """Do something to a file, again for a while where Windows refuses it because the file is in use."""
    end = monotonic() + SHARING_SECONDS
    while True:
        try:
            return action()
        except PermissionError:
            if monotonic() >= end:
                raise
        sleep(POLL_SECONDS)


def _lock(file: int) -> bool:
    """Wait for a lock, and return whether it is held.

    The caller continues without it if the file system has no locks, or if its holder keeps it for too long.
    """
    end = monotonic() + LOCK_SECONDS
    with suppress(OSError):
        while monotonic() < end:
            if lock_descriptor(file, blocking=False):
                return True
            sleep(POLL_SECONDS)
    return False


def _sync_folder(folder: str) -> None:
    """Sync the entries of a folder. Windows opens no folders: NTFS keeps a journal of renames."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
