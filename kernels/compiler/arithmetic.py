"""Operations that lanes and NumPy arrays share."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastlin.kernels.compiler.values import Lane, LaneMask


def fma(x: Any, y: Any, z: Any) -> Any:
    """Return x y + z, rounded once for lanes and twice for NumPy arrays."""
    if isinstance(x, Lane):
        return x.call("fma", y, z)
    if isinstance(y, Lane):
        return y.call("fma", x, z)
    return x.fma(y, z) if hasattr(x, "fma") else x * y + z


def sqrt(x: Any) -> Any:
    """Return the square root, correctly rounded."""
    return x.call("sqrt") if isinstance(x, Lane) else np.sqrt(x)


def absolute(x: Any) -> Any:
    """Return abs(x)."""
    return x.call("fabs") if isinstance(x, Lane) else np.abs(x)


def select(mask: Any, yes: Any, no: Any) -> Any:
    """Return `yes` where the mask holds and `no` elsewhere."""
    if isinstance(mask, LaneMask):
        code = mask.code
        return Lane(code, code.builder.select(mask.ir, code.vector(yes), code.vector(no)))
    return np.where(mask, yes, no)
