"""The cache of compiled code on disk. Code of other sources is never loaded from it.

The folder of compiled code may be read-only, as in the image of a container that was built with a warm cache.
It is read all the same, and code that it lacks is kept in the next folder that can be written.
"""

import hashlib
import os
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import filelock
from numba.core import caching  # private: Numba has no public cache that many processes can share
from numba.core.config import CACHE_DIR  # type: ignore[attr-defined] # private: NUMBA_CACHE_DIR as Numba reads it
from numba.misc.appdirs import AppDirs  # private: the user's cache folder as in Numba's own cache

from fastlin.kernels.source import HASH_LENGTH, ROOT, bytes_hash, syntax_hash

COMPILE_WAIT = 60.0  # seconds for another process's compilation; a second copy of the work does no harm
SAVE_WAIT = 10.0  # seconds for another process to write its entry into the index of a function's cache


class Folders(NamedTuple):
    """The folders of compiled code."""

    read_only: tuple[Path, ...]  # these are read first
    written: Path


@cache
def folders() -> Folders:
    """Return the first folder that can be written, and those before it that can only be read.

    If none can be written, every attempt to save fails, which costs compile time and not the run.
    """
    tried: list[Path] = []
    for base in _bases():
        folder = base / f"fastlin-{bytes_hash()}"
        if _is_writable(folder):
            return Folders(_existing(tried), folder)
        tried.append(folder)
    return Folders(_existing(tried), tried[0])


def _bases() -> Iterator[Path]:
    """Return the folder of NUMBA_CACHE_DIR, the user's cache folder and a temporary folder of the user."""
    if CACHE_DIR:
        yield Path(CACHE_DIR)
    yield Path(AppDirs(appname="fastlin", appauthor=False).user_cache_dir)
    temporary = _temporary_folder()
    if temporary is not None:
        yield temporary


def _existing(candidates: list[Path]) -> tuple[Path, ...]:
    return tuple(folder for folder in candidates if folder.is_dir())


def _is_writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError:
        return False
    return True


def _temporary_folder() -> Path | None:
    """Return a temporary folder that all processes of this user share, None if another user may write to it.

    Loading compiled code runs it, so a folder that someone else has put there must not be read.
    """
    try:
        if sys.platform == "win32":  # temporary folders belong to one user there
            return Path(tempfile.gettempdir(), "fastlin")
        folder = Path(tempfile.gettempdir(), f"fastlin-{os.getuid()}")
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError:
        return None
    mine = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
    return folder if mine and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) else None


@cache
def kept_syntax_hash() -> str:
    """Return `syntax_hash`, which is kept beside the compiled code because it takes 0.15 s to compute."""
    for folder in (*folders().read_only, folders().written):
        with suppress(OSError, UnicodeDecodeError):
            found = (folder / "syntax-hash").read_text(encoding="ascii")
            if len(found) == HASH_LENGTH:
                return found
    computed = syntax_hash()
    with suppress(OSError), tempfile.NamedTemporaryFile("w", dir=folders().written, delete=False) as file:
        file.write(computed)
        file.close()
        os.replace(file.name, folders().written / "syntax-hash")
    return computed


class _Locator(caching._CacheLocator):
    """The place of a function's code in the folder that is written.

    Numba's own locators take the hash of one file. A kernel calls functions of others, so here it is the hash
    of all sources.
    """

    def __init__(self, py_func: Callable[..., Any], py_file: str) -> None:
        self._py_file = py_file
        self._line = py_func.__code__.co_firstlineno

    def get_cache_path(self) -> str:
        return str(folders().written)

    def get_source_stamp(self) -> str:
        return bytes_hash()

    def get_disambiguator(self) -> str:
        # Numba names a file by the base name of the source, the function and this. Two sources of one name in
        # two packages need their path.
        path = Path(self._py_file)
        package = path.parent.relative_to(ROOT) if path.is_relative_to(ROOT) else path
        return f"{package.as_posix().replace('/', '-')}-{self._line}"

    @classmethod
    def from_function(cls, py_func: Callable[..., Any], py_file: str) -> "_Locator":
        return cls(py_func, py_file)


class _Implementation(caching.CompileResultCacheImpl):
    _locator_classes = [_Locator]  # noqa: RUF012 - the name and type are Numba's


class _CacheFile(caching.IndexDataCacheFile):
    """The code of one function: it is written to one folder, and also read from the read-only folders."""

    def __init__(self, base: str) -> None:
        super().__init__(str(folders().written), base, bytes_hash())  # type: ignore[no-untyped-call]
        self._read_only = [
            caching.IndexDataCacheFile(str(folder), base, bytes_hash()) for folder in folders().read_only
        ]

    def load(self, key: Any) -> Any:
        for read in (*(file.load for file in self._read_only), super().load):
            with suppress(OSError):  # a folder that cannot be read holds nothing for us
                found = read(key)  # type: ignore[no-untyped-call]
                if found is not None:
                    return found
        return None


class FunctionCache(caching.FunctionCache):
    """Numba's cache for many processes. One process compiles a missing kernel, and the others wait.

    Different kernels of one function are compiled at the same time, so each has a lock. Numba reads its index
    of a function's kernels and writes it back, so another lock guards the index.
    """

    _impl_class = _Implementation

    def __init__(self, py_func: Callable[..., Any]) -> None:
        super().__init__(py_func)  # type: ignore[no-untyped-call]
        self._cache_file = _CacheFile(self._impl.filename_base)
        self._held: dict[Any, filelock.BaseFileLock] = {}

    def holds(self, sig: Any, target_context: Any) -> bool:
        """Return whether the cache has compiled code for these types."""
        return super().load_overload(sig, target_context) is not None  # type: ignore[no-untyped-call]

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Load compiled code. If there is none, take the lock, because this process will compile it."""
        loaded = super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]
        if loaded is None and sig not in self._held:
            lock = self._lock(hashlib.sha256(str(sig).encode()).hexdigest()[:16])
            with suppress(OSError, filelock.Timeout, NotImplementedError):
                lock.acquire(timeout=COMPILE_WAIT)
            self._held[sig] = lock
            loaded = super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]
            if loaded is not None:
                self._release(sig)
        return loaded

    def save_overload(self, sig: Any, data: Any) -> None:
        """Save compiled code and release the lock. An error costs compile time later, not the run."""
        with suppress(OSError, filelock.Timeout, NotImplementedError), self._lock("index").acquire(SAVE_WAIT):
            super().save_overload(sig, data)  # type: ignore[no-untyped-call]
        self._release(sig)

    def _lock(self, name: str) -> filelock.BaseFileLock:
        return filelock.FileLock(Path(self.cache_path, f"{self._impl.filename_base}.{name}.lock"))

    def _release(self, sig: Any) -> None:
        lock = self._held.pop(sig, None)
        if lock is not None:
            lock.release(force=True)
