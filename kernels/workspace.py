"""Scratch memory for a vector of networks: named arrays in one block, one cache line to a vector."""

import math
from collections.abc import Callable

import numpy as np

from fastlin.kernels.jit import Array
from fastlin.kernels.lanes import Code, Index, Memory, Numbers
from fastlin.kernels.sizes import WIDTH, Sizes


def aligned(vectors: int) -> Array:
    """Return memory (vectors, WIDTH) that starts at a cache line: a vector across two takes twice as long."""
    room = np.zeros(vectors * WIDTH + WIDTH)
    skip = -room.ctypes.data // room.itemsize % WIDTH
    return room[skip : skip + vectors * WIDTH].reshape(vectors, WIDTH)


class Room:
    """The arrays of a workspace, as attributes; what has no shape is read and assigned as ``x[()]``."""

    def __init__(self, layout: "Layout", code: Code, memory: Numbers) -> None:
        self._layout, self._code, self._memory = layout, code, memory

    def call(self, part: Callable[..., None], *indices: Index) -> None:
        """Write ``part(code, room, *indices)`` as a function of its own, and a call of it on this room."""

        def inside(code: Code, memory: Numbers, *numbers: Index) -> None:
            part(code, self._layout.open(code, memory), *numbers)

        self._code.call(inside, self._memory, *indices)

    def __getattr__(self, name: str) -> Memory:
        raise AttributeError(name)


class Layout:
    """Arrays by name, and their shapes by names of attributes of `Sizes`."""

    def __init__(self, arrays: dict[str, str]) -> None:
        self._arrays = arrays

    def with_more(self, arrays: dict[str, str]) -> "Layout":
        """Return a layout with further arrays, behind these."""
        return Layout(self._arrays | arrays)

    def _shapes(self, sizes: Sizes) -> dict[str, tuple[int, ...]]:
        return {
            name: tuple(getattr(sizes, dim) for dim in dims.split()) for name, dims in self._arrays.items()
        }

    def doubles(self, sizes: Sizes) -> int:
        """Size of a workspace."""
        return WIDTH * sum(math.prod(shape) for shape in self._shapes(sizes).values())

    def allocate(self, sizes: Sizes, count: int = 1) -> Array:
        """Return workspaces for networks of these sizes, one behind the other, (vectors, WIDTH)."""
        return aligned(count * self.doubles(sizes) // WIDTH)

    def views(self, sizes: Sizes, memory: Array) -> dict[str, Array]:
        """Return the arrays of a workspace, (shape, WIDTH) each."""
        views, place = {}, 0
        for name, shape in self._shapes(sizes).items():
            count = math.prod(shape)
            views[name] = memory[place : place + count].reshape(*shape, WIDTH)
            place += count
        return views

    def open(self, code: Code, memory: Numbers) -> Room:
        """Return the arrays of a workspace, in code that is written."""
        room, place = Room(self, code, memory), 0
        for name, shape in self._shapes(code.sizes).items():
            start = code.builder.gep(memory.pointer, [code.integer(place * WIDTH)])
            setattr(room, name, Memory(code, start, shape))
            place += math.prod(shape)
        return room


# Rows of Q are inputs first; rows of K are eigen-directions, fastest first.
DYNAMICS = Layout(
    {
        "lam": "",
        "time": "",
        "short": "",  # 1 where the steps of the march are short enough, 0 where each time is jumped to
        "jumping": "",  # 1 where a time is reached from the start, 0 where it is not
        "rows": "outputs",  # what is observed at a time
        "recent": "outputs lanes",  # the same of the last WIDTH times
        "start": "norms",  # |W1|^2, |W2|^2 and the norm of the NTK at the start
        "floor": "",
        "doubt": "",  # 0, or NaN
        "s": "m",  # singular values of Sigma_yx, the diagonal of the target
        "scaled": "m",  # the same times the learning rate
        "q0": "n width",  # the start in the SVD basis of the task
        "q": "n width",  # what is observed
        "w": "n",  # eigenvalues of F
        "lift": "n",  # how far those that grow are above abs(lam) / 2, which does not cancel
        "cosine": "m",  # of the angle of the eigenvectors of +-r
        "sine": "m",
        "noise": "n",  # rounding error of the rows of K
        "k": "n width",  # the start in the eigenbasis, in echelon form
        "growth": "width",  # the eigenvalue that a column grows by
        "lead": "width",  # its lift
        "state": "n width",  # of a march, or the scaled weights of gradient descent
        "moved": "n width",  # K(t)
        "stack": "n width",
        "power": "n",  # exp(w dt) of the march
        "root": "n",  # sqrt(phi(dt)), and what takes a state back to Q
        "to_cosine": "n",
        "to_sine": "n",
        "pivots": "width",
        "gram": "width width",
        "product": "large small",  # W2 W1 or its transpose, and its singular values
        "values": "small",
    }
)
