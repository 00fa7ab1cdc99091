"""Sums of products of columns: Gram matrices, and products of a row with a matrix.

Where a row fits the registers, rows are the outer loop and all sums are in registers. In wider networks the
sums of some columns at a time are, and rows are the inner loop. Each sum has the same order in both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from fastlin.kernels.compiler.arithmetic import fma
from fastlin.kernels.compiler.protocols import Array, Code, Number, Whole


def gram(code: Code, q: Array, first: Whole, last: Whole) -> Array:
    """Return the Gram matrix X^T X (width, width) of the rows first..last-1 of q."""
    width = code.sizes.width
    total = code.local(width, width)
    add_products(code, total, q, q, lambda: code.loop(first, last), lower=True)
    for h in code.columns(0, width):
        for g in code.columns(0, h):
            total[g, h] = total[h, g]
    return total


def add_products(
    code: Code, total: Array, x: Array, y: Array, rows: Callable[[], Iterable[Any]], *, lower: bool = False
) -> None:
    """Write X^T Y to `total`, summed over `rows` in their order, or only its lower triangle."""
    width = code.sizes.width

    def columns_of(h: Whole) -> Whole:
        return h + 1 if lower else width

    if code.sizes.unrolled:
        for h in code.columns(0, width):
            for g in code.columns(0, columns_of(h)):
                total[h, g] = code.constant(0.0)
        for i in rows():
            for h in code.columns(0, width):
                for g in code.columns(0, columns_of(h)):
                    total[h, g] = fma(x[i, h], y[i, g], total[h, g])
        return
    for h in code.columns(0, width):
        for block in code.blocks(0, columns_of(h)):
            sums = [code.variable(code.constant(0.0)) for _ in block]
            for i in rows():
                head = x[i, h]
                for g, each in zip(block, sums, strict=True):
                    each.value = fma(head, y[i, g], each.value)
            for g, each in zip(block, sums, strict=True):
                total[h, g] = each.value


def subtract_product(
    code: Code,
    start: Callable[[Whole], Number],
    row: Array,
    matrix: Array,
    put: Callable[[Whole, Number], None],
) -> None:
    """Put start(h) - (row matrix)[h] for every column h."""
    width = code.sizes.width
    for block in code.blocks(0, width):
        rest = [code.variable(start(h)) for h in block]
        for g in code.columns(0, width):
            head = -row[g]
            for h, each in zip(block, rest, strict=True):
                each.value = fma(head, matrix[g, h], each.value)
        for h, each in zip(block, rest, strict=True):
            put(h, each.value)
