"""Rotate the hidden space until the factor K is in lower echelon form, fastest direction first."""

from typing import Any

from fastlin.kernels.lanes import absolute, fma, select, sqrt

# Noise of a pivot that is worse than this tells nothing about the rows below it.
MAX_ANGLE = 1e-6


def echelon(code: Any, room: Any) -> None:
    """Bring k to lower echelon form by rotations of the hidden space, in place.

    Column h then starts at the row of the fastest direction that it alone can reach, and grows at most
    like the eigenvalue of that row: growth[h] = max(w, 0) there. A row that the columns before
    it span already, to rounding, takes no column. Such starts are common (half of all with lam = 0 and
    N_i = N_o <= N_h lie on the inset of a saddle, as the sign of det W2 W1 is conserved), and without
    this rule rounding errors would grow like exp(wt) and leave the saddle. As the next column differs
    between lanes then, `tail` masks the columns that have no row yet.
    """
    sizes = code.sizes
    tail, angle = code.local(sizes.width), code.local(sizes.width)
    for h in code.columns(0, sizes.width):
        tail[h], angle[h], room.growth[h], room.lead[h] = 1.0, 0.0, 0.0, 0.0
    # Where every row takes a column, as nearly always, these are all.
    for i in code.loop(0, sizes.width):
        _take(code, room, i, tail, angle)
    for i in code.loop(sizes.width, sizes.n):
        for _ in code.when(tail[sizes.width - 1] > 0.0):
            _take(code, room, i, tail, angle)


def _take(code: Any, room: Any, i: Any, tail: Any, angle: Any) -> None:
    """Reflect the columns without a row so that only the first of them reaches row i, or clear the row."""
    sizes = code.sizes
    first, free = code.local(sizes.width), code.local(sizes.width)
    rest, noise, pivot = code.variable(0.0), code.variable(room.noise[i]), code.variable(0.0)
    before = code.variable(0.0)
    for h in code.columns(0, sizes.width):
        entry = room.k[i, h]
        first[h] = tail[h] - before.now
        before.now = tail[h]
        free[h] = tail[h] * entry
        rest.now = fma(free[h], free[h], rest.now)
        pivot.now = fma(first[h], entry, pivot.now)
        # A pivot that is uncertain by an angle turns what lies along it.
        noise.now = fma(absolute(entry), angle[h], noise.now)
    usable = rest.now > noise.now * noise.now
    norm = sqrt(rest.now)
    diagonal = select(usable, select(pivot.now < 0.0, norm, -norm), 0.0)
    scale = select(usable, 1.0 / (norm * (absolute(pivot.now) + norm)), 0.0)
    uncertain = noise.now / norm
    uncertain = select(uncertain < MAX_ANGLE, uncertain, MAX_ANGLE)
    speed = select(room.w[i] > 0.0, room.w[i], 0.0)
    for h in code.columns(0, sizes.width):
        taken = select(usable, first[h], 0.0)
        room.k[i, h] = select(tail[h] > 0.0, taken * diagonal, room.k[i, h])
        room.growth[h] = fma(taken, speed, room.growth[h])
        room.lead[h] = fma(taken, room.lift[i], room.lead[h])
        angle[h] = angle[h] + select(taken > 0.0, uncertain, 0.0)
        free[h] = free[h] - taken * diagonal
        tail[h] = tail[h] - taken
    _reflect(code, room, i + 1, free, scale)


def _reflect(code: Any, room: Any, first: Any, along: Any, scale: Any) -> None:
    """Apply the reflection I - scale along along^T to the rows from `first`."""
    sizes = code.sizes
    for r in code.loop(first, sizes.n):
        product = code.variable(0.0)
        for h in code.columns(0, sizes.width):
            product.now = fma(along[h], room.k[r, h], product.now)
        product.now = product.now * scale
        for h in code.columns(0, sizes.width):
            room.k[r, h] = fma(-product.now, along[h], room.k[r, h])
