"""The eigenvectors of F = [[-lam/2 I, Sigma^T], [Sigma, lam/2 I]], by formula from the SVD of Sigma.

Rows are ordered by falling eigenvalue, an order that no lam changes: +r_1 .. +r_m, then the
abs(N_o - N_i) directions outside the planes (+lam/2 for outputs, -lam/2 for inputs), then -r_m .. -r_1.
"""

from typing import Any

from fastlin.kernels.functions import hypotenuse
from fastlin.kernels.lanes import absolute, fma, select, sqrt

EPSILON = 2.0**-52
# A rotation of a plane and a reflection err by a few units in the last place of the plane's norm.
ROUNDING = 8.0 * EPSILON


def eigen_system(code: Any, room: Any) -> None:
    """Write the eigenvalues w and, for each singular value, the angle of the eigenvector of +r.

    ``r = hypot(s, lam/2)``, ``sin^2 a = (1 + lam/(2r)) / 2``; the smaller of sine and cosine comes from
    ``sin a cos a = s / (2r)``, without cancellation (Eq 7-8 with H = (lam/2) / (r + s)). Where abs(lam) is
    large all that grows does so by nearly abs(lam) / 2, and what turns the hidden space is the differences:
    these are taken of the lifts ``r - abs(lam)/2 = s^2 / (r + abs(lam)/2)``.
    """
    sizes = code.sizes
    half = 0.5 * room.lam[()]
    for a in code.loop(0, sizes.m):
        r = hypotenuse(room.s[a], half)
        room.w[a] = r
        room.w[sizes.n - 1 - a] = -r
        room.lift[a] = room.s[a] * (room.s[a] / select(r > 0.0, r + absolute(half), 1.0))
        room.lift[sizes.n - 1 - a] = 0.0
        scale = 1.0 / select(r > 0.0, r, 1.0)
        larger = sqrt(fma(absolute(half), 0.5 * scale, 0.5))
        smaller = select(r > 0.0, 0.5 * (room.s[a] * scale) / larger, larger)
        room.sine[a] = select(half >= 0.0, larger, smaller)
        room.cosine[a] = select(half >= 0.0, smaller, larger)
    for a in code.loop(sizes.m, sizes.n - sizes.m):
        room.w[a] = half if sizes.n_o > sizes.n_i else -half
        room.lift[a] = 0.0


def beyond(sizes: Any) -> int:
    """Return what is added to the index of an eigen-direction outside the planes to get its unit."""
    return 0 if sizes.n_i > sizes.n_o else int(sizes.rows_i)


def to_eigenbasis(code: Any, room: Any) -> None:
    """Write K = P^T Q(0), and the rounding error of its rows: that of what was rotated into them."""
    sizes = code.sizes
    for a in code.loop(0, sizes.m):
        cosine, sine = room.cosine[a], room.sine[a]
        square = code.variable(0.0)
        for h in code.columns(0, sizes.width):
            along_v, along_u = room.q0[a, h], room.q0[sizes.rows_i + a, h]
            room.k[a, h] = fma(cosine, along_v, sine * along_u)
            room.k[sizes.n - 1 - a, h] = fma(cosine, along_u, -(sine * along_v))
            square.now = fma(along_v, along_v, fma(along_u, along_u, square.now))
        noise = ROUNDING * sqrt(square.now)
        room.noise[a] = noise
        room.noise[sizes.n - 1 - a] = noise
    for a in code.loop(sizes.m, sizes.n - sizes.m):
        square = code.variable(0.0)
        for h in code.columns(0, sizes.width):
            entry = room.q0[a + beyond(sizes), h]
            room.k[a, h] = entry
            square.now = fma(entry, entry, square.now)
        room.noise[a] = ROUNDING * sqrt(square.now)
