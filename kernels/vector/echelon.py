"""Rotation of the hidden space that brings the factor K to lower echelon form, fastest direction first."""

from __future__ import annotations

from fastlin.kernels.compiler.arithmetic import absolute, fma, select, sqrt
from fastlin.kernels.compiler.protocols import Array, Code, Operand, Whole
from fastlin.kernels.compiler.workspace import part
from fastlin.kernels.tolerances import MAX_ANGLE
from fastlin.kernels.vector.state import Dynamics


@part(reads="k w excess_rate row_error column_rate column_excess", writes="k column_rate column_excess")
def echelon(code: Code, ws: Dynamics) -> None:
    """Bring k to lower echelon form by rotations of the hidden space, in place.

    Column h then begins at the row of the fastest direction that no column before it reaches, and grows at
    most at the rate column_rate[h] = max(w, 0) of that row. A row that the columns before span already, to
    rounding, takes no column. Such starts are common: half of all with lam = 0 and N_i = N_o <= N_h lie on
    the inset of a saddle, because the sign of det W2 W1 is conserved. Without this rule rounding errors would
    grow like exp(wt) and leave the saddle. The next column then differs between lanes, so `unassigned` masks
    the columns that have no row yet.
    """
    sizes = code.sizes
    unassigned, angle = code.local(sizes.width), code.local(sizes.width)
    for h in code.columns(0, sizes.width):
        unassigned[h], angle[h], ws.column_rate[h], ws.column_excess[h] = 1.0, 0.0, 0.0, 0.0
    # These are all rows if every row takes a column, as it nearly always does.
    for i in code.loop(0, sizes.width):
        _take(code, ws, i, unassigned, angle)
    for i in code.loop(sizes.width, sizes.n):
        with code.when(unassigned[sizes.width - 1] > 0.0):
            _take(code, ws, i, unassigned, angle)


def _take(code: Code, ws: Dynamics, i: Whole, unassigned: Array, angle: Array) -> None:
    """Reflect the columns without a row so that only the first of them reaches row i, or clear the row."""
    sizes = code.sizes
    first, free = code.local(sizes.width), code.local(sizes.width)
    rest, error, pivot = code.variable(0.0), code.variable(ws.row_error[i]), code.variable(0.0)
    before = code.variable(0.0)
    for h in code.columns(0, sizes.width):
        entry = ws.k[i, h]
        first[h] = unassigned[h] - before.value
        before.value = unassigned[h]
        free[h] = unassigned[h] * entry
        rest.value = fma(free[h], free[h], rest.value)
        pivot.value = fma(first[h], entry, pivot.value)
        # The angular error of a pivot turns the entries along it.
        error.value = fma(absolute(entry), angle[h], error.value)
    usable = rest.value > error.value * error.value
    norm = sqrt(rest.value)
    diagonal = select(usable, select(pivot.value < 0.0, norm, -norm), 0.0)
    scale = select(usable, 1.0 / (norm * (absolute(pivot.value) + norm)), 0.0)
    uncertain = error.value / norm
    uncertain = select(uncertain < MAX_ANGLE, uncertain, MAX_ANGLE)
    rate = select(ws.w[i] > 0.0, ws.w[i], 0.0)
    for h in code.columns(0, sizes.width):
        taken = select(usable, first[h], 0.0)
        ws.k[i, h] = select(unassigned[h] > 0.0, taken * diagonal, ws.k[i, h])
        ws.column_rate[h] = fma(taken, rate, ws.column_rate[h])
        ws.column_excess[h] = fma(taken, ws.excess_rate[i], ws.column_excess[h])
        angle[h] = angle[h] + select(taken > 0.0, uncertain, 0.0)
        free[h] = free[h] - taken * diagonal
        unassigned[h] = unassigned[h] - taken
    reflect_rows(code, ws, i + 1, free, scale)


def reflect_rows(code: Code, ws: Dynamics, first: Whole, along: Array, scale: Operand) -> None:
    """Apply the reflection I - scale along along^T to the rows of K from `first` on."""
    sizes = code.sizes
    for r in code.loop(first, sizes.n):
        product = code.variable(0.0)
        for h in code.columns(0, sizes.width):
            product.value = fma(along[h], ws.k[r, h], product.value)
        product.value = product.value * scale
        for h in code.columns(0, sizes.width):
            ws.k[r, h] = fma(-product.value, along[h], ws.k[r, h])
