"""The two forms of a kernel: compiled for one architecture, or once for all architectures of a width.

Both forms are written by the same traced functions, whose operations are explicit, so they give the same
bits. The form for all architectures knows only the hidden width on compilation, up to `WIDEST_UNROLLED`. One
kernel serves all wider networks. All other sizes are loaded from a table.
"""

from __future__ import annotations

from functools import lru_cache

from fastlin.kernels.compiler.static import CompileTime, Table
from fastlin.kernels.compiler.workspace import Workspace
from fastlin.kernels.sizes import CONSTANTS, COUNTS, FLAGS, WHOLE, Sizes

Form = CompileTime | Table


def form(sizes: Sizes, workspace: type[Workspace], *, specialise: bool = False, unroll: bool = True) -> Form:
    """Return the sizes that a kernel is compiled for and called with.

    Parameters
    ----------
    sizes : Sizes
    workspace : type of Workspace
        The workspace of the kernel.
    specialise : bool
        Compile for these sizes alone.
    unroll : bool
        False for kernels without unrolled columns, of which one form serves all widths.
    """
    return CompileTime(sizes) if specialise else _table(sizes, workspace, unroll)  # type: ignore[arg-type]


@lru_cache(maxsize=4096)
def _table(sizes: Sizes, workspace: type[Workspace], unroll: bool) -> Table:
    counts: tuple[str, ...] = COUNTS
    known = tuple((name, getattr(sizes, name)) for name in CONSTANTS)
    if unroll and sizes.unrolled:
        counts = tuple(name for name in COUNTS if name != "width")
        known = (*known, ("width", sizes.width), ("unrolled", 1))
    else:
        known = (*known, ("unrolled", 0))
    numbers = [int(getattr(sizes, name)) for name in (*counts, *WHOLE, *FLAGS)]
    return Table(counts, WHOLE, FLAGS, known, numbers + workspace.places(sizes))
