"""The one place that owns compilation: flags, and an on-disk cache that cannot be stale."""

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import numpy as np
from numba.core import caching
from numba.core.config import CACHE_DIR  # type: ignore[attr-defined]
from numba.misc.appdirs import AppDirs
from numpy.typing import NDArray

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Codes = NDArray[np.uint8]
# Lanes (lam of a block) that are worked on together: small networks stay in the first-level cache.
LANES = 64

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
    _impl_class = _Implementation


def jit(function: Function) -> Function:
    """Compile `function` for nopython use, with the project's flags and its cache."""
    dispatcher = numba.njit(**_FLAGS)(function)
    # Numba raises where no folder is writable: that costs compile time, not the run.
    with suppress(RuntimeError):
        dispatcher._cache = _FunctionCache(function)  # type: ignore[no-untyped-call]
    return cast(Function, dispatcher)
