"""The Gram matrix of some rows."""

from __future__ import annotations

from fastlin.kernels.compiler.arithmetic import fma
from fastlin.kernels.compiler.protocols import Array, Code, Whole


def gram(code: Code, q: Array, first: Whole, last: Whole) -> Array:
    """Return the Gram matrix X^T X (width, width) of the rows first..last-1 of q."""
    width = code.sizes.width
    total = code.local(width, width)
    for h in code.columns(0, width):
        for g in code.columns(0, h + 1):
            total[h, g] = code.constant(0.0)
    for i in code.loop(first, last):
        for h in code.columns(0, width):
            for g in code.columns(0, h + 1):
                total[h, g] = fma(q[i, h], q[i, g], total[h, g])
    for h in code.columns(0, width):
        for g in code.columns(0, h):
            total[g, h] = total[h, g]
    return total
