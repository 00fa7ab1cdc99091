"""Scratch memory for a vector of networks: named arrays in one block, in which a vector is one cache line.

A workspace is a class whose fields are arrays. A part is a step of a kernel that declares the arrays that it
reads and writes. Tracing raises an error where a part touches another one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import nullcontext
from functools import lru_cache, wraps
from itertools import accumulate
from typing import Any, ClassVar, Self, TypeVar, overload

import numpy as np
from llvmlite import ir
from numpy.typing import NDArray

from fastlin.kernels.compiler.code import VectorCode
from fastlin.kernels.compiler.memory import Memory, Numbers
from fastlin.kernels.compiler.plain import PlainArray
from fastlin.kernels.compiler.protocols import Access, Array
from fastlin.kernels.compiler.static import Loaded
from fastlin.kernels.compiler.values import WIDTH

Part = TypeVar("Part", bound=Callable[..., Any])


def aligned(vectors: int) -> NDArray[np.float64]:
    """Return memory (vectors, WIDTH) that starts at a cache line. A vector across two takes twice as long."""
    memory = np.zeros(vectors * WIDTH + WIDTH)
    skip = -memory.ctypes.data // memory.itemsize % WIDTH
    return memory[skip : skip + vectors * WIDTH].reshape(vectors, WIDTH)


@lru_cache(maxsize=4096)
def _vectors(workspace: type[Workspace], sizes: Any) -> int:
    """Return the number of vectors of a workspace. To add up its arrays takes 50 us, in each kernel call."""
    return workspace.places(sizes)[-1]


class Field:
    """An array of a workspace. `dims` are names of attributes of the sizes. Without any, use ``x[()]``."""

    def __init__(self, dims: str = "") -> None:
        self.dims = tuple(dims.split())

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, workspace: None, owner: type) -> Field: ...
    @overload
    def __get__(self, workspace: Workspace, owner: type) -> Array: ...
    def __get__(self, workspace: Workspace | None, owner: type) -> Field | Array:
        return self if workspace is None else workspace.array(self.name)


class Workspace:
    """Arrays for one vector of networks: memory of vector code, or NumPy arrays.

    Subclasses have a `Field` for each array. The fields of a base class come first, so that a workspace can
    be used as one of its base class.
    """

    def __init__(
        self,
        arrays: dict[str, Any],
        memory: Numbers | None = None,
        reads: frozenset[str] | None = None,
        writes: frozenset[str] | None = None,
    ) -> None:
        self._arrays, self._memory = arrays, memory
        self._reads = frozenset(self.dims) if reads is None else reads
        self._writes = frozenset(self.dims) if writes is None else writes

    def array(self, name: str) -> Any:
        """Return an array, with the access that the part of this workspace declares."""
        reads, writes = name in self._reads, name in self._writes
        if reads and writes:
            return self._arrays[name]
        if not reads and not writes:
            raise TypeError(f"a part touches {name}, which it declares neither to read nor to write")
        return self._arrays[name].restricted(Access(name, reads, writes))

    def only(self, reads: frozenset[str], writes: frozenset[str]) -> Self:
        """Return the workspace for a part that declares these arrays."""
        return type(self)(self._arrays, self._memory, reads, writes)

    def call(self, code: Any, part: Callable[..., None], *indices: Any) -> None:
        """Write ``part(code, workspace, *indices)`` as a function of its own and a call of it."""
        if self._memory is None:
            part(code, self, *indices)
            return

        def inside(inner: VectorCode, memory: Numbers, *numbers: Any) -> None:
            part(inner, type(self).open(inner, memory, at_head=True), *numbers)

        code.call(inside, self._memory, *indices, name=(type(self), part))

    # Layout

    dims: ClassVar[dict[str, tuple[str, ...]]] = {}  # of all arrays, in their order in memory

    def __init_subclass__(cls) -> None:
        cls.dims = {
            name: field.dims
            for base in reversed(cls.__mro__)
            for name, field in vars(base).items()
            if isinstance(field, Field)
        }

    @classmethod
    def shapes(cls, sizes: Any) -> dict[str, tuple[Any, ...]]:
        """Return the shapes of all arrays, without the lanes."""
        return {name: tuple(getattr(sizes, dim) for dim in dims) for name, dims in cls.dims.items()}

    @classmethod
    def places(cls, sizes: Any) -> list[int]:
        """Return the places where each array begins and where the last one ends, in vectors."""
        return [0, *accumulate(math.prod(shape) for shape in cls.shapes(sizes).values())]

    @classmethod
    def doubles(cls, sizes: Any) -> Any:
        """Return the number of doubles of a workspace."""
        if isinstance(sizes, Loaded):
            return sizes.place(len(cls.dims)) * WIDTH
        return cls.places(sizes)[-1] * WIDTH

    @classmethod
    def allocate(cls, sizes: Any, count: int = 1) -> NDArray[np.float64]:
        """Return memory (vectors, WIDTH) for successive workspaces of networks of these sizes."""
        return aligned(count * _vectors(cls, sizes))  # type: ignore[arg-type]

    @classmethod
    def views(cls, sizes: Any, memory: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        """Return the arrays of a workspace, (shape, WIDTH) each."""
        shapes = cls.shapes(sizes)
        parts = np.split(memory, cls.places(sizes)[1:-1])
        return {
            name: part.reshape(*shape, WIDTH)
            for (name, shape), part in zip(shapes.items(), parts, strict=True)
        }

    @classmethod
    def plain(cls, sizes: Any) -> Self:
        """Return a workspace on NumPy arrays, for `Plain`."""
        views = cls.views(sizes, cls.allocate(sizes))
        return cls({name: PlainArray(view, view.shape[:-1]) for name, view in views.items()})

    @classmethod
    def open(cls, code: VectorCode, memory: Numbers, *, at_head: bool = False) -> Self:
        """Return the arrays of a workspace in vector code.

        With `at_head` an array is opened at the entry of the function, when it is first used.
        """
        arrays = _Arrays(cls, code, memory, at_head)
        if not at_head:
            for name in cls.dims:
                arrays[name]
        return cls(arrays, memory)


class _Arrays(dict[str, Memory]):
    """The arrays of a workspace in vector code, by name. Each is opened when it is first used."""

    def __init__(self, kind: type[Workspace], code: VectorCode, memory: Numbers, at_head: bool) -> None:
        super().__init__()
        self._code, self._memory, self._at_head = code, memory, at_head
        self._shapes, self._numbers = kind.dims, {name: number for number, name in enumerate(kind.dims)}
        self._marks = _marks(code.builder.module, tuple(kind.dims))
        self._places = None if isinstance(code.sizes, Loaded) else kind.places(code.sizes)

    def __missing__(self, name: str) -> Memory:
        # Sizes may be loaded at the entry, too. They come first, because the builder moves there itself.
        shape = tuple(getattr(self._code.sizes, dim) for dim in self._shapes[name])
        with self._code.builder.goto_entry_block() if self._at_head else nullcontext():
            self[name] = Memory(self._code, self._start(self._numbers[name]), shape, self._marks[name])
        return self[name]

    def _start(self, number: int) -> ir.Value:
        code = self._code
        place = code.sizes.place(number) if self._places is None else self._places[number]
        return code.builder.gep(self._memory.pointer, [code.integer(place * WIDTH)])


def _marks(module: ir.Module, names: tuple[str, ...]) -> dict[str, tuple[Any, ...]]:
    """Return the metadata that tell LLVM that arrays of different names do not overlap."""
    found: dict[str, tuple[Any, ...]] | None = getattr(module, "fastlin_marks", {}).get(names)
    if found is None:

        def node(*operands: Any) -> Any:
            return module.add_metadata(list(operands))

        domain = node(ir.MetaDataString(module, "fastlin"))
        scopes = {name: node(ir.MetaDataString(module, f"fastlin.{name}"), domain) for name in names}
        found = {
            name: (
                ("alias.scope", node(scope)),
                ("noalias", node(*(other for other in scopes.values() if other is not scope))),
            )
            for name, scope in scopes.items()
        }
        # Every part of a kernel asks for them. Making them once saves a tenth of the compile time.
        module.fastlin_marks = {**getattr(module, "fastlin_marks", {}), names: found}
    return found


def part(reads: str = "", writes: str = "") -> Callable[[Part], Part]:
    """Declare the arrays of a workspace that ``function(code, workspace, ...)`` reads and writes.

    Names are separated by spaces. They hold for the function itself. Parts that it calls declare their own.
    """
    readable, writable = frozenset(reads.split()), frozenset(writes.split())

    def decorate(function: Part) -> Part:
        @wraps(function)
        def restricted(code: Any, workspace: Workspace, *rest: Any) -> Any:
            return function(code, workspace.only(readable, writable), *rest)

        restricted.reads, restricted.writes = readable, writable  # type: ignore[attr-defined]
        return restricted  # type: ignore[return-value]

    return decorate
