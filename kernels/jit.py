"""The one place that owns compilation: flags, and an on-disk cache that cannot be stale."""

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from time import monotonic, sleep
from typing import IO, Any, TypeVar, cast

import numba
import numpy as np
from numba.core import caching
from numba.core.config import CACHE_DIR  # type: ignore[attr-defined]
from numba.misc.appdirs import AppDirs
from numpy.typing import NDArray

try:
    import fcntl
except ImportError:  # Windows: every process compiles for itself
    fcntl = None  # type: ignore[assignment]

LONGEST_WAIT = 60.0  # seconds for another process's compilation

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Codes = NDArray[np.uint8]

Function = TypeVar("Function", bound=Callable[..., Any])

# nogil: Dask's threads share one process. numpy error model: a division by zero gives inf, which the
# drivers turn into a status. No fastmath, not even contract: whether a*b+c becomes an FMA would depend on
# what is inlined where, and code loaded from the cache would differ in the last bit from code just
# compiled (seen: 4e-14 in the loss). test_compiled_and_cached_code_give_the_same_bits would break.
_FLAGS: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "boundscheck": False,
}


def _source_hash() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


SOURCE_HASH = _source_hash()


class _Locator(caching._CacheLocator):
    """Numba looks at the time stamp of one file; a kernel calls others, so all sources are the key."""

    def __init__(self, py_func: Callable[..., Any], py_file: str) -> None:
        self._py_file = py_file
        self._line = py_func.__code__.co_firstlineno

    def get_cache_path(self) -> str:
        base = CACHE_DIR or AppDirs(appname="fastlin", appauthor=False).user_cache_dir
        return os.path.join(base, f"fastlin-{SOURCE_HASH}")

    def get_source_stamp(self) -> str:
        return SOURCE_HASH

    def get_disambiguator(self) -> str:
        return str(self._line)

    @classmethod
    def from_function(cls, py_func: Callable[..., Any], py_file: str) -> "_Locator | None":
        locator = cls(py_func, py_file)
        try:
            locator.ensure_cache_path()  # type: ignore[no-untyped-call]
        except OSError:
            return None  # nowhere to write: Numba then refuses to cache, and jit() goes on without
        return locator


class _Implementation(caching.CompileResultCacheImpl):
    _locator_classes = [_Locator]  # noqa: RUF012 - the name and type are Numba's


class _FunctionCache(caching.FunctionCache):
    """Numba's cache, where of many processes that start at once one compiles and the others wait for it."""

    _impl_class = _Implementation

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Load compiled code; where there is none, this process is to compile it, and holds the lock."""
        loaded = super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]
        if loaded is None and not self._lock.held:
            self._lock.acquire()
            loaded = super().load_overload(sig, target_context)  # type: ignore[no-untyped-call]
            if loaded is not None:
                self._lock.release()
        return loaded

    def save_overload(self, sig: Any, data: Any) -> None:
        """Save what was compiled, and let others load it; a full disk costs time, not the run."""
        with suppress(OSError):
            super().save_overload(sig, data)  # type: ignore[no-untyped-call]
        self._lock.release()

    @cached_property
    def _lock(self) -> "_Lock":
        return _Lock(Path(self.cache_path, f"{self._impl.filename_base}.lock"))


class _Lock:
    """A lock between processes, which ends with the one that holds it.

    Nobody waits longer than compilation takes: a second copy of the work does no harm, a process that
    waits for one that is stopped does.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None

    @property
    def held(self) -> bool:
        """Whether this process holds the lock."""
        return self._file is not None

    def acquire(self) -> None:
        """Wait for the lock, but not for ever, nor where there are no such locks."""
        if fcntl is None:
            return
        with suppress(OSError):
            file = self._path.open("wb")
            end = monotonic() + LONGEST_WAIT
            while monotonic() < end:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    sleep(0.05)
                else:
                    self._file = file
                    return
            file.close()

    def release(self) -> None:
        """Let the next one on."""
        if self._file is not None:
            self._file.close()
            self._file = None


def jit(function: Function) -> Function:
    """Compile `function` for nopython use, with the project's flags and its cache."""
    dispatcher = numba.njit(**_FLAGS)(function)
    # Numba raises where no folder is writable: that costs compile time, not the run.
    with suppress(RuntimeError):
        dispatcher._cache = _FunctionCache(function)  # type: ignore[no-untyped-call]
    return cast(Function, dispatcher)
