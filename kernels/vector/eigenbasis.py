"""The eigenvectors of F = [[-lam/2 I, Sigma^T], [Sigma, lam/2 I]], by formula from the SVD of Sigma.

Rows are ordered by falling eigenvalue, which is the same order for every lam: +r_1 .. +r_m, then the
abs(N_o - N_i) directions outside the planes (+lam/2 for outputs, -lam/2 for inputs), then -r_m .. -r_1.
"""

from __future__ import annotations

from fastlin.kernels.compiler.arithmetic import absolute, fma, select, sqrt
from fastlin.kernels.compiler.elementary import hypotenuse
from fastlin.kernels.compiler.protocols import Code
from fastlin.kernels.compiler.workspace import part
from fastlin.kernels.tolerances import ROUNDING
from fastlin.kernels.vector.state import Dynamics


@part(reads="lam s", writes="w excess_rate sine cosine")
def eigen_system(code: Code, ws: Dynamics) -> None:
    """Write the eigenvalues w and, for each singular value, the angle of the eigenvector of +r.

    ``r = hypot(s, lam/2)`` and ``sin^2 a = (1 + lam/(2r)) / 2``. The smaller of sine and cosine follows from
    ``sin a cos a = s / (2r)``, without cancellation (Eq 7-8 with H = (lam/2) / (r + s)). Where abs(lam) is
    large, all rates of growth are nearly abs(lam) / 2, and their differences turn the hidden space. Therefore
    differences are taken between the excess rates ``r - abs(lam)/2 = s^2 / (r + abs(lam)/2)``.
    """
    sizes = code.sizes
    half = 0.5 * ws.lam[()]
    for a in code.loop(0, sizes.m):
        r = hypotenuse(ws.s[a], half)
        ws.w[a] = r
        ws.w[sizes.n - 1 - a] = -r
        ws.excess_rate[a] = ws.s[a] * (ws.s[a] / select(r > 0.0, r + absolute(half), 1.0))
        ws.excess_rate[sizes.n - 1 - a] = 0.0
        scale = 1.0 / select(r > 0.0, r, 1.0)
        larger = sqrt(fma(absolute(half), 0.5 * scale, 0.5))
        smaller = select(r > 0.0, 0.5 * (ws.s[a] * scale) / larger, larger)
        ws.sine[a] = select(half >= 0.0, larger, smaller)
        ws.cosine[a] = select(half >= 0.0, smaller, larger)
    for a in code.loop(sizes.m, sizes.n - sizes.m):
        ws.w[a] = code.choose(sizes.more_outputs, half, -half)
        ws.excess_rate[a] = 0.0


@part(reads="w shrinkage", writes="w")
def shift_eigenvalues(code: Code, ws: Dynamics) -> None:
    """Subtract weight decay from all eigenvalues, which is exact at lam = 0."""
    for i in code.loop(0, code.sizes.n):
        ws.w[i] = ws.w[i] - ws.shrinkage[()]


@part(reads="cosine sine q0", writes="k row_error")
def to_eigenbasis(code: Code, ws: Dynamics) -> None:
    """Write K = P^T Q(0), and the rounding error of each row: that of the rows of Q(0) that it mixes."""
    sizes = code.sizes
    for a in code.loop(0, sizes.m):
        cosine, sine = ws.cosine[a], ws.sine[a]
        square = code.variable(0.0)
        for h in code.columns(0, sizes.width):
            along_v, along_u = ws.q0[a, h], ws.q0[sizes.rows_i + a, h]
            ws.k[a, h] = fma(cosine, along_v, sine * along_u)
            ws.k[sizes.n - 1 - a, h] = fma(cosine, along_u, -(sine * along_v))
            square.value = fma(along_v, along_v, fma(along_u, along_u, square.value))
        error = ROUNDING * sqrt(square.value)
        ws.row_error[a] = error
        ws.row_error[sizes.n - 1 - a] = error
    for a in code.loop(sizes.m, sizes.n - sizes.m):
        square = code.variable(0.0)
        for h in code.columns(0, sizes.width):
            entry = ws.q0[a + sizes.outside_shift, h]
            ws.k[a, h] = entry
            square.value = fma(entry, entry, square.value)
        ws.row_error[a] = ROUNDING * sqrt(square.value)
