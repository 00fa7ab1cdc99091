"""Algorithm 1: the lam-balanced factorisation of a product of weights."""

from __future__ import annotations

from typing import Any

from fastlin.kernels.codes import Start
from fastlin.kernels.compiler.arithmetic import absolute, select, sqrt
from fastlin.kernels.compiler.elementary import hypotenuse
from fastlin.kernels.compiler.protocols import Code, Number, Operand, Row, Whole
from fastlin.kernels.compiler.workspace import part
from fastlin.kernels.sizes import Record
from fastlin.kernels.vector.state import Dynamics


def balanced_scales(p: Any, lam: Any) -> tuple[Any, Any]:
    """Return (s1, s2) with s1 s2 = p and s2^2 - s1^2 = lam, for numbers, arrays or lanes.

    This is Algorithm 1 with lam moved out of the inner root: ``s2^2 = (sqrt(lam^2 + 4 p^2) + lam) / 2``. The
    larger of both is computed without cancellation, and the smaller follows from the product. At p = 0 one of
    them is sqrt(abs(lam)), which the wider layer carries past min(N_i, N_o).
    """
    larger = sqrt(0.5 * hypotenuse(lam, 2.0 * p) + 0.5 * absolute(lam))
    smaller = p / select(larger > 0.0, larger, 1.0)
    return select(lam >= 0.0, smaller, larger), select(lam >= 0.0, larger, smaller)


def two_sided_scales(p: Any, lam: Any, kappa: Any) -> tuple[Any, Any, Any]:
    """Return the norms (b, c, d) of the layers of one mode, for numbers, arrays or lanes.

    A mode of the product with singular value p has two hidden directions. The larger layer (W2 where lam >=
    0) has b in the first of them, the smaller c in the first and d in the second: ``b c = p``, and
    ``b^2 - c^2 - d^2 = lam``. At p = 0 ``b^2 = max(alpha, beta)`` and ``d^2 = min(alpha, beta)``.
    """
    half = 0.5 * absolute(lam)
    larger = sqrt(hypotenuse(hypotenuse(p, half), kappa) + half)
    return larger, p / larger, kappa / larger


@part(writes="floor s")
def read_task(code: Code, ws: Dynamics, record: Row) -> None:
    """Read the singular values of the task and the least loss from the `Record` of each network."""
    sizes, at = code.sizes, Record(code.sizes)
    ws.floor[()] = record[at.floor]
    for a in code.loop(0, sizes.m):
        ws.s[a] = record[at.s + a]


@part(writes="lam")
def start_point(code: Code, ws: Dynamics, lam: Number, record: Row) -> None:
    """Write the task and the balanced start of a point (seed, lam)."""
    ws.lam[()] = lam
    read_task(code, ws, record)
    balanced_start(code, ws, record)


@part(reads="lam", writes="q0")
def balanced_start(code: Code, ws: Dynamics, record: Row) -> None:
    """Write Q(0) in the SVD basis of the task, from the `Record` of each network."""
    sizes, at = code.sizes, Record(code.sizes)
    for h in code.columns(0, sizes.k):
        _write_column(code, ws, record, h, record[at.p + h], True, True)
    for h in code.columns(sizes.k, sizes.k_i):
        _write_column(code, ws, record, h, code.constant(0.0), True, False)
    for h in code.columns(sizes.k, sizes.k_o):
        _write_column(code, ws, record, h, code.constant(0.0), False, True)


@part(writes="floor s")
def write_start(code: Code, ws: Dynamics, start: int, record: Row, kappa: Number) -> None:
    """Write the task and the start of a point of any kind. Its lam is in the workspace."""
    if start == Start.TWO_SIDED:
        sizes = code.sizes
        for a in code.loop(0, sizes.m):
            ws.s[a] = record[a]
        ws.floor[()] = record[sizes.m + sizes.m]
        two_sided_start(code, ws, record, kappa)
        return
    read_task(code, ws, record)
    (raw_start if start == Start.RAW else balanced_start)(code, ws, record)


@part(reads="lam", writes="q0")
def two_sided_start(code: Code, ws: Dynamics, record: Row, kappa: Number) -> None:
    """Write the start with ``Q (D - lam I) Q^T = -kappa^2 J`` in the SVD basis of the task.

    The record is that of the balanced start, with all N_i right and all N_o left singular vectors. A mode has
    two hidden directions (see `two_sided_scales`), and a direction of the wider layer past m has one.
    """
    sizes, lam = code.sizes, ws.lam[()]
    v = sizes.m + sizes.m + 1
    u = v + sizes.n_i * sizes.n_i
    more_outputs = lam >= 0.0

    def write(h: Whole, column: Whole, inputs: Operand, outputs: Operand) -> None:
        for i in code.loop(0, sizes.rows_i):
            ws.q0[i, h] = inputs * record[v + i * sizes.n_i + column]
        for o in code.loop(0, sizes.rows_o):
            ws.q0[sizes.rows_i + o, h] = outputs * record[u + o * sizes.n_o + column]

    for h in code.loop(0, sizes.m):
        larger, share, rest = two_sided_scales(record[sizes.m + h], lam, kappa)
        write(h, h, select(more_outputs, share, larger), select(more_outputs, larger, share))
        write(sizes.m + h, h, select(more_outputs, rest, 0.0), select(more_outputs, 0.0, rest))
    larger, _, rest = two_sided_scales(code.constant(0.0), lam, kappa)

    def beyond(rows: Whole, other: Whole, first: Whole, columns: Whole, at: Whole, size: Number) -> None:
        """Write the directions of one side past m."""
        for h in code.loop(sizes.m + sizes.m, sizes.n):
            for i in code.loop(0, columns):
                ws.q0[rows + i, h] = size * record[at + i * columns + (h - sizes.m)]
            for i in code.loop(0, first):
                ws.q0[other + i, h] = 0.0

    code.given(
        sizes.more_outputs,
        lambda: beyond(sizes.rows_i, 0, sizes.n_i, sizes.n_o, u, select(more_outputs, larger, rest)),
        lambda: beyond(0, sizes.rows_i, sizes.n_o, sizes.n_i, v, select(more_outputs, rest, larger)),
    )


@part(writes="q0")
def raw_start(code: Code, ws: Dynamics, record: Row) -> None:
    """Write Q(0) as the `Record` of a network with given weights holds it, in the SVD basis of the task."""
    sizes, at = code.sizes, Record(code.sizes)
    for h in code.columns(0, sizes.width):
        for i in code.loop(0, sizes.rows_i):
            ws.q0[i, h] = record[at.v + i * sizes.k_i + h]
        for o in code.loop(0, sizes.rows_o):
            ws.q0[sizes.rows_i + o, h] = record[at.u + o * sizes.k_o + h]


def _write_column(
    code: Code, ws: Dynamics, record: Row, h: Whole, p: Operand, inputs: bool, outputs: bool
) -> None:
    """Write one hidden direction of Q(0). It reaches inputs, outputs or both."""
    sizes, at = code.sizes, Record(code.sizes)
    s1, s2 = balanced_scales(p, ws.lam[()])
    for i in code.loop(0, sizes.rows_i):
        ws.q0[i, h] = s1 * record[at.v + i * sizes.k_i + h] if inputs else 0.0
    for o in code.loop(0, sizes.rows_o):
        ws.q0[sizes.rows_i + o, h] = s2 * record[at.u + o * sizes.k_o + h] if outputs else 0.0
