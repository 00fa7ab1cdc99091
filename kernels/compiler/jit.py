"""The flags of compilation, and calls of compiled functions."""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar, cast

import numba
import numpy as np
from numba.core.config import DISABLE_JIT  # type: ignore[attr-defined] # private: NUMBA_DISABLE_JIT as Numba reads it
from numpy.typing import NDArray

from fastlin.kernels.compiler.cache import FunctionCache

Array = NDArray[np.float64]
Integers = NDArray[np.int64]
Codes = NDArray[np.uint8]

Function = TypeVar("Function", bound=Callable[..., Any])

if DISABLE_JIT:
    # Traced functions have no meaning in Python, so every point of a sweep would fail.
    raise ImportError(
        "NUMBA_DISABLE_JIT is set, so that Numba compiles nothing; unset it, as fastlin has no other kernels",
        name="fastlin.kernels",
    )

# nogil: threads of Dask share one process. NumPy's error model: a division by zero gives inf, which kernels
# turn into a status. No fastmath, not even contract: whether a*b+c became an FMA would depend on what LLVM
# inlines, and code from the cache would differ in the last bit from code just compiled (seen: 4e-14 in the
# loss). test_compiled_and_cached_code_give_the_same_bits checks that.
FLAGS: dict[str, Any] = {
    "nogil": True,
    "error_model": "numpy",
    "boundscheck": False,
}


def jit(function: Function) -> Function:
    """Compile `function` for nopython use, with the project's flags and its cache."""
    dispatcher = numba.njit(**FLAGS)(function)
    dispatcher._cache = FunctionCache(function)
    return cast(Function, dispatcher)


class Call(NamedTuple):
    """A call of a jitted function, which is compiled first if necessary."""

    function: Any  # a dispatcher of Numba
    arguments: tuple[Any, ...]

    def __call__(self) -> None:
        """Run the function."""
        self.function(*self.arguments)

    @property
    def _types(self) -> tuple[numba.types.Type, ...]:
        return tuple(numba.typeof(argument) for argument in self.arguments)

    @property
    def compiled(self) -> bool:
        """Whether compiled code exists in this process or in the cache on disk."""
        types, cache = self._types, self.function._cache
        return types in self.function.overloads or cache.holds(types, self.function.targetctx)

    def compile(self) -> None:
        """Load or compile the function for these arguments, and do not run it."""
        self.function.compile(self._types)
