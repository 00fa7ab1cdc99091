"""Sums of products of columns: Gram matrices, and products of rows with a matrix.

If a row fits the registers, rows are the outer loop and all sums are in registers. Rows are the inner loop in
wider networks, and the sums of a block of columns are in registers. Each sum has the same order in both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from fastlin.kernels.compiler.arithmetic import fma
from fastlin.kernels.compiler.protocols import Array, Code, Number, Whole


def gram(code: Code, q: Array, first: Whole, last: Whole) -> Array:
    """Return the Gram matrix X^T X (width, width) of the rows first..last-1 of q."""
    width = code.sizes.width
    total = code.local(width, width)
    add_products(code, first, last, [(total, q, q)])
    return total


def add_products(
    code: Code, first: Whole, last: Whole, products: Sequence[tuple[Array, Array, Array]]
) -> None:
    """For each (total, X, Y), write X^T Y, summed over the rows first..last-1 in turn, to `total`.

    Y may be X. One loop over the rows serves all products if a row fits the registers. Two loops for a kernel
    distance would make a step of the march of 16-4-16 slower by 8 %.
    """
    width = code.sizes.width
    if not code.sizes.unrolled:
        for total, x, y in products:
            code.apart(_add_products_by_blocks, total, x, y, first, last, 0, int(x is y))
        return

    def places(symmetric: bool) -> Iterator[tuple[Whole, Whole]]:
        for h in code.columns(0, width):
            for g in code.columns(0, h + 1 if symmetric else width):
                yield h, g

    for total, x, y in products:
        for h, g in places(x is y):
            total[h, g] = code.constant(0.0)
    for i in code.loop(first, last):
        for total, x, y in products:
            for h, g in places(x is y):
                total[h, g] = fma(x[i, h], y[i, g], total[h, g])
    for total, x, y in products:
        if x is y:
            for h in code.columns(0, width):
                for g in code.columns(0, h):
                    total[g, h] = total[h, g]


def gram_by_planes(code: Code, total: Array, x: Array) -> None:
    """Write X^T X of all rows to `total`, in the order of rows that a step of the march has.

    The order is both rows of each plane, a and n-1-a, and then those outside the planes. Columns must not be
    unrolled.
    """
    code.apart(
        _add_products_by_blocks, total, x, x, code.sizes.m, code.sizes.n - code.sizes.m, code.sizes.m, 1
    )


def _add_products_by_blocks(
    code: Code, total: Array, x: Array, y: Array, first: Whole, last: Whole, planes: Whole, symmetric: Whole
) -> None:
    sizes = code.sizes
    mirrored = code.equal(symmetric, 1)
    for across in together(code, code.blocks(sizes.width), code.columns(0, sizes.width)):
        for along in code.blocks(code.choose(mirrored, across[-1] + 1, sizes.width)):
            sums = [[code.variable(code.constant(0.0)) for _ in along] for _ in across]
            for i in _in_order(code, first, last, planes):
                heads = [x[i, h] for h in across]
                for place, g in enumerate(along):
                    entry = y[i, g]
                    for head, row in zip(heads, sums, strict=True):
                        row[place].value = fma(head, entry, row[place].value)
            entries = [(h, g, each.value) for h, row in zip(across, sums, strict=True)
                       for g, each in zip(along, row, strict=True)]  # fmt: skip
            for h, g, value in entries:
                total[h, g] = value

            def mirror(entries: list[tuple[Whole, Whole, Number]] = entries) -> None:
                for h, g, value in entries:
                    total[g, h] = value

            code.given(mirrored, mirror)


def _in_order(code: Code, first: Whole, last: Whole, planes: Whole) -> Iterator[Whole]:
    """Loop over both rows of so many planes, and then over rows first..last-1."""
    for a in code.loop(0, planes):
        yield a
        yield code.sizes.n - 1 - a
    yield from code.loop(first, last)


def together(code: Code, some: Iterable[Sequence[Whole]], each: Iterable[Whole]) -> Iterator[Sequence[Whole]]:
    """Loop over several numbers at a time if the registers hold all their sums, else over each alone."""
    yield from some if code.tiles else ([number] for number in each)


def subtract_product(
    code: Code,
    start: Callable[[Whole], Number],
    row: Array,
    matrix: Array,
    put: Callable[[Whole, Number], None],
) -> None:
    """Call `put` with start(h) - (row matrix)[h] for every column h."""
    width = code.sizes.width
    for h in code.columns(0, width):
        rest = code.variable(start(h))
        for g in code.columns(0, width):
            rest.value = fma(-row[g], matrix[g, h], rest.value)
        put(h, rest.value)


def subtract_products(
    code: Code, y: Array, x: Array, matrix: Array, first: Whole, count: Whole, first_x: Whole
) -> None:
    """Subtract rows of X, from `first_x` on, times a matrix from the rows of Y from `first` on, by blocks."""
    for some in together(code, code.rows(0, count), code.loop(0, count)):
        for block in code.blocks(code.sizes.width):
            rest = [[code.variable(y[first + i, h]) for h in block] for i in some]
            for g in code.columns(0, code.sizes.width):
                heads = [-x[first_x + i, g] for i in some]
                for place, h in enumerate(block):
                    entry = matrix[g, h]
                    for head, sums in zip(heads, rest, strict=True):
                        sums[place].value = fma(head, entry, sums[place].value)
            for i, sums in zip(some, rest, strict=True):
                for h, each in zip(block, sums, strict=True):
                    y[first + i, h] = each.value
