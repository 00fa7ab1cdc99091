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
    add_products(code, total, q, q, lambda: code.loop(first, last), symmetric=True)
    return total


def add_products(
    code: Code,
    total: Array,
    x: Array,
    y: Array,
    rows: Callable[[], Iterable[Any]],
    *,
    symmetric: bool = False,
) -> None:
    """Write X^T Y to `total`, summed over `rows` in their order. It is `symmetric` where Y is X."""
    width = code.sizes.width

    def columns_of(h: Whole) -> Whole:
        return h + 1 if symmetric else width

    if code.sizes.unrolled:
        for h in code.columns(0, width):
            for g in code.columns(0, columns_of(h)):
                total[h, g] = code.constant(0.0)
        for i in rows():
            for h in code.columns(0, width):
                for g in code.columns(0, columns_of(h)):
                    total[h, g] = fma(x[i, h], y[i, g], total[h, g])
        if symmetric:
            for h in code.columns(0, width):
                for g in code.columns(0, h):
                    total[g, h] = total[h, g]
        return
    for across in code.blocks(width):
        for along in code.blocks(columns_of(across[-1])):
            sums = [[code.variable(code.constant(0.0)) for _ in along] for _ in across]
            for i in rows():
                heads = [x[i, h] for h in across]
                for place, g in enumerate(along):
                    entry = y[i, g]
                    for head, row in zip(heads, sums, strict=True):
                        row[place].value = fma(head, entry, row[place].value)
            for h, row in zip(across, sums, strict=True):
                for g, each in zip(along, row, strict=True):
                    total[h, g] = each.value
                    if symmetric:
                        total[g, h] = each.value


def subtract_product(
    code: Code,
    start: Callable[[int, Whole], Number],
    rows: list[Array],
    matrix: Array,
    put: Callable[[int, Whole, Number], None],
) -> None:
    """Put start(r, h) - (row matrix)[h] for every column h of each of some rows, whose number is r."""
    width = code.sizes.width
    for block in code.blocks(width):
        rest = [[code.variable(start(r, h)) for h in block] for r in range(len(rows))]
        for g in code.columns(0, width):
            heads = [-row[g] for row in rows]
            for place, h in enumerate(block):
                entry = matrix[g, h]
                for head, sums in zip(heads, rest, strict=True):
                    sums[place].value = fma(head, entry, sums[place].value)
        for r, sums in enumerate(rest):
            for h, each in zip(block, sums, strict=True):
                put(r, h, each.value)


def copy_rows(code: Code, x: Array, rows: list[Whole]) -> list[Array]:
    """Return copies of some rows of x (n, width)."""
    copies = [code.local(code.sizes.width) for _ in rows]
    for block in code.blocks(code.sizes.width):
        for row, copy in zip(rows, copies, strict=True):
            for h in block:
                copy[h] = x[row, h]
    return copies
