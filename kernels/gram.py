"""The Gram matrix of some rows."""

from typing import Any

from fastlin.kernels.lanes import fma


def gram(code: Any, q: Any, first: int, last: int) -> Any:
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
