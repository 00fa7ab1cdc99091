"""Algorithm 1: the lam-balanced factorisation of a product of weights."""

from __future__ import annotations

from typing import Any

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
