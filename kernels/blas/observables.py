"""The outputs of one network, from its factor Q in the SVD basis of the task; see `vector.observables`.

Norms and kernels need traces of products of Gram matrices. As |X^T X| = |X X^T|, the smaller Gram matrix is
computed, of the rows of a layer or of its columns.
"""

from typing import NamedTuple

import numpy as np

from fastlin.kernels.blas.matrices import (
    copy,
    gram_of_columns,
    gram_of_rows,
    has_whole_gram,
    symmetric_product,
)
from fastlin.kernels.blas.routines import ddot, dgemm_nt, dgemm_tn, dgeqrf, dgesdd_n
from fastlin.kernels.blas.workspace import TALLEST, Observing, Shape
from fastlin.kernels.codes import Output
from fastlin.kernels.compiler.callee import callee
from fastlin.kernels.compiler.jit import Array, Integers

# Least |S - W2 W1|^2 / (|S|^2 + |W2 W1|^2) that is computed from Gram matrices, which lose two digits there.
_CANCELLING = 1e-2


class Plan(NamedTuple):
    """The work for the requested outputs of a network with so many columns."""

    columns: int
    target: float  # |S|^2
    floor: float
    grams: bool
    size_i: int  # of the Gram matrix of W1^T, of its rows or of its columns
    size_o: int
    whole_i: bool  # whether both of its triangles are written
    whole_o: bool
    distance: bool
    drift: bool
    loss_by_grams: bool


class Start(NamedTuple):
    """The norms of the start, with which the kernel of a network is compared."""

    trace_i: float
    trace_o: float
    norm: float


@callee
def _asks_for(outputs: Integers, output: int) -> bool:
    asked = False
    for other in outputs:
        asked |= other == output
    return asked


@callee
def plan(shape: Shape, columns: int, s: Array, floor: float, outputs: Integers, drifts: bool) -> Plan:
    """Return the plan with the least work for the requested outputs."""
    rows_i, rows_o = shape.rows_i, shape.rows_o
    distance = _asks_for(outputs, Output.KERNEL_DISTANCE)
    drift = drifts and _asks_for(outputs, Output.BALANCE_DRIFT)
    loss = _asks_for(outputs, Output.LOSS)
    grams = distance or drift or _asks_for(outputs, Output.NTK_NORM)
    # The product with the kernel of the start would be another matrix by columns, which doubles the
    # operations.
    tallest = TALLEST * columns if distance else columns
    by_rows_i, by_rows_o = not drift and rows_i < tallest, not drift and rows_o < tallest
    if loss and not grams and columns * (rows_i + rows_o) < 2 * rows_i * rows_o:
        grams, by_rows_i, by_rows_o = True, False, False
    size_i, size_o = rows_i if by_rows_i else columns, rows_o if by_rows_o else columns
    return Plan(
        columns,
        ddot(s.size, s, 1, s, 1),
        floor,
        grams,
        size_i,
        size_o,
        has_whole_gram(size_i, size_i == columns),
        has_whole_gram(size_o, size_o == columns),
        distance,
        drift,
        loss and grams and not by_rows_i and not by_rows_o,
    )


@callee
def _write_gram(size: int, rows: int, columns: int, x: Array, n: int, out: Array) -> None:
    if size == columns:
        gram_of_columns(columns, rows, x, n, out)
    else:
        gram_of_rows(columns, rows, x, n, out)


@callee
def _trace(size: int, gram: Array) -> float:
    total = 0.0
    for h in range(size):
        total += gram[h * (size + 1)]
    return total


@callee
def _see(shape: Shape, plan: Plan, q: Array, view: Observing) -> tuple[float, float]:
    """Write the Gram matrices of both layers, and return their traces, |W1|^2 and |W2|^2."""
    n, rows_i, rows_o, columns = shape.n, shape.rows_i, shape.rows_o, plan.columns
    if plan.grams:
        _write_gram(plan.size_i, rows_i, columns, q, n, view.gram_i)
        _write_gram(plan.size_o, rows_o, columns, q[:, rows_i:], n, view.gram_o)
        return _trace(plan.size_i, view.gram_i), _trace(plan.size_o, view.gram_o)
    trace_i, trace_o = 0.0, 0.0
    for h in range(columns):
        x, y = q[h, :rows_i], q[h, rows_i:]
        trace_i += ddot(rows_i, x, 1, x, 1)
        trace_o += ddot(rows_o, y, 1, y, 1)
    return trace_i, trace_o


@callee
def _norm(shape: Shape, plan: Plan, trace_i: float, trace_o: float, view: Observing) -> float:
    """Return the norm of the NTK."""
    square_i = symmetric_product(plan.size_i, plan.whole_i, view.gram_i, view.gram_i)
    square_o = symmetric_product(plan.size_o, plan.whole_o, view.gram_o, view.gram_o)
    return float(np.sqrt(shape.n_o * square_i + shape.n_i * square_o + 2.0 * trace_i * trace_o))


@callee
def _drift(columns: int, whole: bool, view: Observing) -> float:
    """Return |D(t) - D(0)|, D = W2^T W2 - W1 W1^T."""
    for index in range(columns * columns):
        now = view.gram_o[index] - view.gram_i[index]
        view.drift[index] = now - (view.start_o[index] - view.start_i[index])
    return float(np.sqrt(symmetric_product(columns, whole, view.drift, view.drift)))


@callee
def first_view(shape: Shape, plan: Plan, q: Array, view: Observing) -> Start:
    """Keep the norms and Gram matrices of the start q (H, N)."""
    for gram in (view.gram_i, view.gram_o):
        gram[:] = 0.0
    trace_i, trace_o = _see(shape, plan, q, view)
    norm = 0.0
    if plan.grams:
        norm = _norm(shape, plan, trace_i, trace_o, view)
        copy(plan.size_i**2, view.gram_i, view.start_i)
        copy(plan.size_o**2, view.gram_o, view.start_o)
    return Start(trace_i, trace_o, norm)


@callee
def _loss(shape: Shape, plan: Plan, s: Array, q: Array, view: Observing) -> float:
    """Return floor + |S - W2 W1|^2 / 2, from Gram matrices in O(m H + H^2) where that does not cancel."""
    rows_i, rows_o, square = shape.rows_i, shape.rows_o, 0.0
    if plan.loss_by_grams:
        overlap = symmetric_product(plan.columns, plan.whole_i, view.gram_i, view.gram_o)
        whole, along = plan.target + overlap, 0.0
        for h in range(plan.columns):
            for a in range(shape.m):
                along += s[a] * q[h, a] * q[h, rows_i + a]
        square = whole - 2.0 * along
        if square > _CANCELLING * whole:
            return plan.floor + 0.5 * square
    product = view.product
    dgemm_nt(rows_o, rows_i, plan.columns, 1.0, q[:, rows_i:], shape.n, q, shape.n, 0.0, product, rows_o)
    for a in range(shape.m):
        product[a * (rows_o + 1)] -= s[a]
    square = float(ddot(rows_o * rows_i, product, 1, product, 1))
    return plan.floor + 0.5 * square


@callee
def _kernel_product(
    columns: int,
    n: int,
    rows: int,
    x: Array,
    y: Array,
    size: int,
    whole: bool,
    gram: Array,
    start: Array,
    cross: Array,
) -> float:
    """Return <X X^T, Y Y^T> of a layer X and its start Y, from their Gram matrices if these are of rows."""
    if size != columns:
        return symmetric_product(size, whole, gram, start)
    dgemm_tn(columns, columns, rows, 1.0, x, n, y, n, 0.0, cross, columns)
    return float(ddot(columns * columns, cross, 1, cross, 1))


@callee
def _kernel_distance(
    shape: Shape,
    plan: Plan,
    start: Start,
    trace_i: float,
    trace_o: float,
    q0: Array,
    q: Array,
    view: Observing,
) -> float:
    """Return 1 - <K_0, K_t> / (|K_0| |K_t|). Rounding must not make it negative."""
    n, columns, rows_i = shape.n, plan.columns, shape.rows_i
    size, whole, cross = plan.size_i, plan.whole_i, view.cross
    product_i = _kernel_product(columns, n, rows_i, q, q0, size, whole, view.gram_i, view.start_i, cross)
    size, whole = plan.size_o, plan.whole_o
    x, y = q[:, rows_i:], q0[:, rows_i:]
    product_o = _kernel_product(columns, n, shape.rows_o, x, y, size, whole, view.gram_o, view.start_o, cross)
    product = shape.n_o * product_i + shape.n_i * product_o
    product += start.trace_i * trace_o + start.trace_o * trace_i
    cosine = product / (start.norm * _norm(shape, plan, trace_i, trace_o, view))
    # Written so that NaN stays NaN.
    return 0.0 if cosine > 1.0 else 1.0 - cosine


@callee
def _triangle_of(columns: int, n: int, rows: int, q: Array, out: Array, view: Observing) -> int:
    """Write a layer, or the triangle of its QR decomposition if it is tall. Return its rows, or -1 if bad."""
    for h in range(columns):
        copy(rows, q[h], out[h * rows :])
    if rows <= columns:
        return rows
    if dgeqrf(rows, columns, out, rows, view.tau, view.scratch, view.scratch.size) != 0:
        return -1
    for h in range(columns):
        for i in range(columns):
            out[h * columns + i] = out[h * rows + i] if i <= h else 0.0
    return columns


@callee
def effective_rank(shape: Shape, columns: int, q: Array, view: Observing) -> float:
    """Return the effective rank of W2 W1, whose singular values are those of the triangles of tall layers."""
    first = _triangle_of(columns, shape.n, shape.rows_i, q, view.first, view)
    second = _triangle_of(columns, shape.n, shape.rows_o, q[:, shape.rows_i :], view.second, view)
    if min(first, second) < 0:
        return np.nan
    count, unused = min(first, second), view.tau[:1]
    dgemm_nt(second, first, columns, 1.0, view.second, second, view.first, first, 0.0, view.product, second)
    error = dgesdd_n(
        second,
        first,
        view.product,
        second,
        view.values,
        unused,
        1,
        unused,
        1,
        view.scratch,
        view.scratch.size,
        view.integers,
    )
    if error != 0:
        return np.nan
    return rank_of(view.values[:count])


@callee
def rank_of(values: Array) -> float:
    """Return the effective rank of a map with these singular values."""
    total, entropy = 0.0, 0.0
    for value in values:
        total += value
    if not total > 0.0:
        return total
    for value in values:
        if value > 1e-300 * total:
            entropy -= value / total * np.log(value / total)
    return float(np.exp(entropy))


@callee
def observe(
    shape: Shape,
    plan: Plan,
    start: Start,
    outputs: Integers,
    s: Array,
    q0: Array,
    q: Array,
    out: Array,
    index: int,
    view: Observing,
) -> bool:
    """Write the outputs of q (H, N) to out[:, index], or NaN, and return whether all are finite."""
    trace_i, trace_o = _see(shape, plan, q, view)
    if not np.isfinite(trace_i) or not np.isfinite(trace_o):
        out[:, index] = np.nan
        return False
    finite = True
    for place in range(outputs.size):
        output, value = outputs[place], 0.0
        if output == Output.LOSS:
            value = _loss(shape, plan, s, q, view)
        elif output == Output.KERNEL_DISTANCE:
            value = _kernel_distance(shape, plan, start, trace_i, trace_o, q0, q, view)
        elif output == Output.NTK_NORM:
            value = _norm(shape, plan, trace_i, trace_o, view)
        elif output == Output.W1_NORM:
            value = np.sqrt(trace_i)
        elif output == Output.W2_NORM:
            value = np.sqrt(trace_o)
        elif output == Output.BALANCE_DRIFT and plan.drift:
            value = _drift(plan.columns, plan.whole_i, view)
        elif output == Output.EFFECTIVE_RANK:
            value = effective_rank(shape, plan.columns, q, view)
        out[place, index] = value
        finite &= np.isfinite(value)
    return finite
