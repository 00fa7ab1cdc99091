"""Algorithm 1: the lam-balanced factorisation of a product of weights."""

from typing import Any

from fastlin.kernels.functions import hypotenuse
from fastlin.kernels.lanes import absolute, select, sqrt
from fastlin.kernels.sizes import Record


def balanced_scales(p: Any, lam: Any) -> tuple[Any, Any]:
    """Return (s1, s2) with s1 s2 = p and s2^2 - s1^2 = lam, for numbers, arrays or lanes.

    Algorithm 1, with lam moved out of the inner root: ``s2^2 = (sqrt(lam^2 + 4 p^2) + lam) / 2``. The
    larger of the two has no cancellation; the smaller follows from the product. At p = 0 one of them is
    sqrt(abs(lam)), which is what the wider layer carries past min(N_i, N_o).
    """
    larger = sqrt(0.5 * hypotenuse(lam, 2.0 * p) + 0.5 * absolute(lam))
    smaller = p / select(larger > 0.0, larger, 1.0)
    return select(lam >= 0.0, smaller, larger), select(lam >= 0.0, larger, smaller)


def balanced_start(code: Any, room: Any, numbers: Any) -> None:
    """Write s, floor and Q(0) in the SVD basis of the task, from the `Record` of each lane's problem."""
    sizes, record = code.sizes, Record(code.sizes)
    room.floor[()] = numbers[record.floor]
    for a in code.loop(0, sizes.m):
        room.s[a] = numbers[record.s + a]
    for h in code.columns(0, sizes.k):
        _column(code, room, numbers, h, numbers[record.p + h], True, True)
    for h in code.columns(sizes.k, sizes.width):
        _column(code, room, numbers, h, code.constant(0.0), sizes.k_i > sizes.k, sizes.k_o > sizes.k)


def _column(code: Any, room: Any, numbers: Any, h: Any, p: Any, inputs: bool, outputs: bool) -> None:
    """Write one hidden direction of Q(0), which reaches inputs, outputs or both."""
    sizes, record = code.sizes, Record(code.sizes)
    s1, s2 = balanced_scales(p, room.lam[()])
    for i in code.loop(0, sizes.rows_i):
        room.q0[i, h] = s1 * numbers[record.v + i * sizes.k_i + h] if inputs else 0.0
    for o in code.loop(0, sizes.rows_o):
        room.q0[sizes.rows_i + o, h] = s2 * numbers[record.u + o * sizes.k_o + h] if outputs else 0.0
