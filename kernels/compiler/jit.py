"""The one place that owns compilation: flags, and a cache on disk that cannot be stale."""

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import filelock
import numba
import numpy as np
from numba.core import caching  # private: Numba has no public cache that many processes can share
from numba.core.config import CACHE_DIR  # type: ignore[attr-defined] # private: NUMBA_CACHE_DIR as read by Numba
from numba.misc.appdirs import AppDirs  # private: the folder of caches of a user, as Numba's own cache has it
from numpy.typing import NDArray

COMPILE_WAIT = 60.0  # seconds for another process's compilation; a second copy of the work does no harm
SAVE_WAIT = 10.0  # seconds for another process to write its entry into the index of a function's cache

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Codes = NDArray[np.uint8]

Function = TypeVar("Function", bound=Callable[..., Any])

# nogil: Dask's threads share one process. numpy error model: a division by zero gives inf, which the
# drivers turn into a status. No fastmath, not even contract: whether a*b+c becomes an FMA would depend on
# what is inlined where, and code loaded from the cache would differ in the last bit from code just
# compiled (seen: 4e-14 in the loss). test_compiled_and_cached_code_give_the_same_bits would break.
FLAGS: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "boundscheck": False,
}
_ROOT = Path(__file__).parents[1]


def _source_hash() -> str:
    """Return a hash of all sources of kernels: compiled code of other sources is never loaded."""
    digest = hashlib.sha256()
    for path in sorted(_ROOT.rglob("*.py")):
        digest.update(path.relative_to(_ROOT).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
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
        # Numba names a file by the base name of the source, the function and this: two sources of one
        # name in two rooms need their path.
        path = Path(self._py_file)
        room = path.parent.relative_to(_ROOT).as_posix() if path.is_relative_to(_ROOT) else path.as_posix()
        return f"{room.replace('/', '-')}-{self._line}"

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
    """Numba's cache for many processes: of those that need one kernel, one compiles and the others wait.

    Different kernels of one function are compiled side by side, so each has a lock. Numba's index of a
    function's kernels is read and written back, so another lock guards that.
    """

    _impl_class = _Implementation

    def __init__(self, py_func: Callable[..., Any]) -> None:
        super().__init__(py_func)  # type: ignore[no-untyped-call]
        self._held: dict[Any, filelock.BaseFileLock] = {}

    def holds(self, sig: Any, target_context: Any) -> bool:
        """Return whether compiled code is there."""
        return super().load_overload(sig, target_context) is not None  # type: ignore[no-untyped-call]

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """Load compiled code; where there is none, this process is to compile it, and takes the lock."""
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
        """Save what was compiled, and let others load it; a full disk costs time, not the run."""
        with suppress(OSError, filelock.Timeout, NotImplementedError), self._lock("index").acquire(SAVE_WAIT):
            super().save_overload(sig, data)  # type: ignore[no-untyped-call]
        self._release(sig)

    def _lock(self, name: str) -> filelock.BaseFileLock:
        return filelock.FileLock(Path(self.cache_path, f"{self._impl.filename_base}.{name}.lock"))

    def _release(self, sig: Any) -> None:
        lock = self._held.pop(sig, None)
        if lock is not None:
            lock.release(force=True)


def jit(function: Function) -> Function:
    """Compile `function` for nopython use, with the project's flags and its cache."""
    dispatcher = numba.njit(**FLAGS)(function)
    # Numba raises where no folder is writable: that costs compile time, not the run.
    with suppress(RuntimeError):
        dispatcher._cache = _FunctionCache(function)
    return cast(Function, dispatcher)


class Call(NamedTuple):
    """A call of a compiled function, which may have to be compiled first."""

    function: Any
    arguments: tuple[Any, ...]

    def __call__(self) -> None:
        """Run the function."""
        self.function(*self.arguments)

    @property
    def _types(self) -> tuple[Any, ...]:
        return tuple(numba.typeof(argument) for argument in self.arguments)

    @property
    def compiled(self) -> bool:
        """Whether the machine code is at hand: in this process, or in the cache on disk."""
        dispatcher, types = self.function, self._types
        if types in dispatcher.overloads:
            return True
        cache = dispatcher._cache
        return isinstance(cache, _FunctionCache) and cache.holds(types, dispatcher.targetctx)

    def compile(self) -> None:
        """Load or compile the function for these arguments, and do not run it."""
        self.function.compile(self._types)
