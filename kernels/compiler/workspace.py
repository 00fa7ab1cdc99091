"""Scratch memory for a vector of networks: named arrays in one block, one cache line to a vector.

A workspace is a class whose fields are arrays. A part is a step of a kernel that declares which of them it
reads and writes; tracing it raises an error where it touches another.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps
from typing import Any, Self, TypeVar, overload

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
    """Return memory (vectors, WIDTH) that starts at a cache line: a vector across two takes twice as long."""
    memory = np.zeros(vectors * WIDTH + WIDTH)
    skip = -memory.ctypes.data // memory.itemsize % WIDTH
    return memory[skip : skip + vectors * WIDTH].reshape(vectors, WIDTH)


class Field:
    """An array of a workspace; `dims` are names of attributes of the sizes. Without any, it is ``x[()]``."""

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
    """Arrays for one vector of networks, in code that is written or on NumPy arrays.

    Subclasses have a `Field` for each array. Those of a base class come first, so that a workspace can be
    used as one of its base class.
    """

    def __init__(
        self,
        arrays: dict[str, Any],
        memory: Numbers | None = None,
        reads: frozenset[str] | None = None,
        writes: frozenset[str] | None = None,
    ) -> None:
        self._arrays, self._memory = arrays, memory
        self._reads = frozenset(arrays) if reads is None else reads
        self._writes = frozenset(arrays) if writes is None else writes

    def array(self, name: str) -> Any:
        """Return an array, as far as the part that this workspace is for may touch it."""
        reads, writes = name in self._reads, name in self._writes
        if reads and writes:
            return self._arrays[name]
        if not reads and not writes:
            raise TypeError(f"a part touches {name}, which it declares neither to read nor to write")
        return self._arrays[name].restricted(Access(name, reads, writes))

    def only(self, reads: frozenset[str], writes: frozenset[str]) -> Self:
        """Return the workspace for a part that declares to read and to write these."""
        return type(self)(self._arrays, self._memory, reads, writes)

    def call(self, code: Any, part: Callable[..., None], *indices: Any) -> None:
        """Write ``part(code, workspace, *indices)`` as a function of its own and a call of it."""
        if self._memory is None:
            part(code, self, *indices)
            return

        def inside(inner: VectorCode, memory: Numbers, *numbers: Any) -> None:
            part(inner, type(self).open(inner, memory), *numbers)

        code.call(inside, self._memory, *indices)

    # Layout

    @classmethod
    def fields(cls) -> dict[str, Field]:
        """Return all arrays by name, in their order in memory."""
        found: dict[str, Field] = {}
        for base in reversed(cls.__mro__):
            found |= {name: field for name, field in vars(base).items() if isinstance(field, Field)}
        return found

    @classmethod
    def shapes(cls, sizes: Any) -> dict[str, tuple[Any, ...]]:
        """Return the shapes of all arrays, without the lanes."""
        return {
            name: tuple(getattr(sizes, dim) for dim in field.dims) for name, field in cls.fields().items()
        }

    @classmethod
    def places(cls, sizes: Any) -> list[int]:
        """Return where each array begins, in vectors, and behind these where the last one ends."""
        counts = [math.prod(shape) for shape in cls.shapes(sizes).values()]
        return [sum(counts[:number]) for number in range(len(counts) + 1)]

    @classmethod
    def doubles(cls, sizes: Any) -> Any:
        """Return the size of a workspace."""
        if isinstance(sizes, Loaded):
            return sizes.place(len(cls.fields())) * WIDTH
        return cls.places(sizes)[-1] * WIDTH

    @classmethod
    def allocate(cls, sizes: Any, count: int = 1) -> NDArray[np.float64]:
        """Return workspaces for networks of these sizes, one behind the other, (vectors, WIDTH)."""
        return aligned(count * cls.doubles(sizes) // WIDTH)

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
    def open(cls, code: VectorCode, memory: Numbers) -> Self:
        """Return the arrays of a workspace, in code that is written."""
        sizes, shapes = code.sizes, cls.shapes(code.sizes)
        loaded = isinstance(sizes, Loaded)
        places = [sizes.place(number) for number in range(len(shapes))] if loaded else cls.places(sizes)[:-1]
        arrays = {}
        for (name, shape), place in zip(shapes.items(), places, strict=True):
            start = code.builder.gep(memory.pointer, [code.integer(place * WIDTH)])
            arrays[name] = Memory(code, start, shape, _marks(code.builder.module, name, list(shapes)))
        return cls(arrays, memory)


def _marks(module: Any, name: str, names: list[str]) -> tuple[Any, ...]:
    """Return the metadata by which LLVM knows that arrays of different names do not overlap."""

    def node(*operands: Any) -> Any:
        return module.add_metadata(list(operands))

    domain = node(ir.MetaDataString(module, "fastlin"))
    scopes = {each: node(ir.MetaDataString(module, f"fastlin.{each}"), domain) for each in names}
    others = [scope for each, scope in scopes.items() if each != name]
    return (("alias.scope", node(scopes[name])), ("noalias", node(*others)))


def part(reads: str = "", writes: str = "") -> Callable[[Part], Part]:
    """Declare which arrays of a workspace ``function(code, workspace, ...)`` reads and writes.

    Names are separated by spaces. They hold for the function itself; parts that it calls declare their own.
    """
    readable, writable = frozenset(reads.split()), frozenset(writes.split())

    def decorate(function: Part) -> Part:
        @wraps(function)
        def restricted(code: Any, workspace: Workspace, *rest: Any) -> Any:
            return function(code, workspace.only(readable, writable), *rest)

        restricted.reads, restricted.writes = readable, writable  # type: ignore[attr-defined]
        return restricted  # type: ignore[return-value]

    return decorate
