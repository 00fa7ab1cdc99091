"""Householder reflections of eight matrices at a time: orthonormal completions and triangular forms."""

from __future__ import annotations

from fastlin.kernels.compiler.arithmetic import absolute, fma, select, sqrt
from fastlin.kernels.compiler.protocols import Array, Code, Number, Whole


def triangularise(code: Code, a: Array, first: Whole, scales: Array, other: Array | None = None) -> None:
    """Reflect rows `first` and below of a until they are upper triangular, and `other` with them.

    Column j of a then holds the vector of reflection j from row first + j on, and above it the triangle.
    scales[j] holds the scale of the reflection and the diagonal of the triangle.
    """
    columns = a.shape[1]
    for j in code.loop(0, columns):
        top = j + first
        square = code.variable(0.0)
        for row in code.loop(top, a.shape[0]):
            square.value = fma(a[row, j], a[row, j], square.value)
        norm, head = sqrt(square.value), a[top, j]
        diagonal = select(head < 0.0, norm, -norm)
        product = norm * (absolute(head) + norm)
        scales[j, 0] = select(product > 0.0, 1.0 / select(product > 0.0, product, 1.0), 0.0)
        scales[j, 1] = diagonal
        a[top, j] = head - diagonal
        reflect(code, a, j, top, scales[j, 0], a, j + 1, columns)
        if other is not None:
            reflect(code, a, j, top, scales[j, 0], other, 0, other.shape[1])


def reflect(
    code: Code, a: Array, j: Whole, top: Whole, scale: Number, b: Array, first: Whole, last: Whole
) -> None:
    """Apply the reflection that column j of a holds to columns first..last-1 of b."""
    for column in code.loop(first, last):
        along = code.variable(0.0)
        for row in code.loop(top, a.shape[0]):
            along.value = fma(a[row, j], b[row, column], along.value)
        along.value = along.value * scale
        for row in code.loop(top, a.shape[0]):
            b[row, column] = fma(-along.value, a[row, j], b[row, column])
