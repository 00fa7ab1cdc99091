"""Counts of floating-point operations: the code of kernels is run on numbers that count operations."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastlin.kernels.compiler.plain import Plain
from fastlin.kernels.sizes import Sizes
from fastlin.kernels.vector.gradient_descent import step


class _Tally:
    """The number of operations so far."""

    def __init__(self) -> None:
        self.flops = 0


class _Counted:
    """A number without a value. Each operation on it is counted."""

    def __init__(self, tally: _Tally, constant: bool = False) -> None:
        self._tally, self._constant = tally, constant

    def _done(self, flops: int) -> _Counted:
        self._tally.flops += flops
        return _Counted(self._tally)

    def fma(self, _factor: Any, rest: Any) -> _Counted:
        """Count a product and a sum, or only the product where `rest` is a constant that begins a sum."""
        return self._done(1 if rest._constant else 2)

    def __neg__(self) -> _Counted:
        return self  # an FMA includes the sign


def flops_per_step(sizes: Sizes) -> int:
    """Return the operations of a step of gradient descent of one network, in the Gram form of the kernels."""
    tally = _Tally()
    q: Any = np.array([[_Counted(tally) for _ in range(sizes.width)] for _ in range(sizes.n)], dtype=object)
    s: Any = np.array([_Counted(tally) for _ in range(sizes.m)], dtype=object)
    step(Plain(lambda _: _Counted(tally, constant=True), sizes), q, s)
    return tally.flops
