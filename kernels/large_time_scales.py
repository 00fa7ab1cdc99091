"""Time scales of one network at a time, as `time_scales` has them for vectors: on BLAS and LAPACK."""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.optimize import brentq

from fastlin.kernels.codes import Output, Scale, Status
from fastlin.kernels.compiler.jit import Array, Codes, Integers
from fastlin.kernels.large import Basis, Flow, Observer, Start, starts
from fastlin.kernels.sizes import Sizes
from fastlin.kernels.tolerances import AT_REST, EPSILON

_STEPS = 100
_TINY = np.finfo(float).tiny
_BISECTIONS = 10_000  # from any number to its neighbour, in the worst case


def _rotation(sizes: Sizes, s: Array, lam: float) -> float:
    """1 / the least difference of an eigenvalue that is kept and one that is dropped."""
    half, outside = 0.5 * abs(lam), 0.5 * lam if sizes.n_o > sizes.n_i else -0.5 * lam
    r = np.hypot(s, half)
    w = np.concatenate([r, np.full(sizes.wide - sizes.m, outside), -r[::-1]])
    lift = np.zeros(w.size)
    lift[: sizes.m] = s * (s / np.where(r > 0.0, r + half, 1.0))
    kept, dropped = np.arange(w.size)[: sizes.n_h, None], np.arange(w.size)[sizes.n_h :]
    gaps = np.where(w[dropped] > 0.0, lift[kept] - lift[dropped], w[kept] - w[dropped])
    gaps = gaps[(w[kept] > 0.0) & (gaps > 8.0 * w.size * EPSILON * lift[0])]
    return float(1.0 / gaps.min()) if gaps.size else 0.0


def _escape(sizes: Sizes, basis: Basis, k: Array) -> float:
    """The first of log(2 w / x - 1) / (2 w), x the squared norm of a mode."""
    w, size = basis.w[: sizes.m], np.einsum("ah,ah->a", k[: sizes.m], k[: sizes.m])
    times = np.log(np.maximum((2.0 * w - size) / size, 1.0)) / (2.0 * w)
    times = times[(size > 0.0) & (w > 0.0)]
    return float(times.min()) if times.size else np.inf


def _convergence(start: Start, basis: Basis, flow: Flow, fraction: float) -> float:
    """The root of the exact loss, from a bracket that doubles twice a step."""
    sizes, s = start.sizes, start.s
    least = 0.5 * float(np.sum(s[min(sizes.n_h, sizes.m) :] ** 2))
    observer = Observer(start._replace(floor=-least), np.array([Output.LOSS]), drifts=False)
    q = np.empty_like(flow.state)
    first = observer.observe(start.q)[0]
    goal = (1.0 - fraction) * first

    def excess(t: float) -> float:
        flow.jump(t)
        basis.out_of(flow.state, q)
        return float(observer.observe(q)[0] - goal)

    if first <= AT_REST * (first + s @ s) or first <= goal:
        return 0.0
    if not excess(np.inf) < 0.0:
        return np.inf
    early, late = 0.0, 0.25 / (basis.w[0] or 1.0)
    for _ in range(_STEPS):
        if excess(late) <= 0.0:
            return float(brentq(excess, early, late, xtol=_TINY, rtol=4.0 * EPSILON, maxiter=_BISECTIONS))
        early, late = late, 4.0 * late
    return np.inf


@np.errstate(all="ignore")
def scales_of(start: Start, fraction: float, which: Integers) -> list[float]:
    """Return the time scales of `Scale` of one network."""
    basis = Basis(start)
    flow = Flow(basis.into(start.q), basis, start.sizes.m)
    make: dict[Scale, Callable[[], Any]] = {
        Scale.CONVERGENCE: lambda: _convergence(start, basis, flow, fraction),
        Scale.ROTATION: lambda: _rotation(start.sizes, start.s, start.lam),
        Scale.ESCAPE: lambda: _escape(start.sizes, basis, flow.k),
    }
    return [make[Scale(scale)]() for scale in which]


def time_scales(
    sizes: Sizes, records: Array, lam: Array, fraction: float, which: Integers, out: Array, status: Codes
) -> None:
    """Do what `time_scales.time_scales` does; points that only fill a vector are not written."""
    for point, start in enumerate(starts(sizes, records, lam)):
        out[:, point] = scales_of(start, fraction, which)
        status[point] = Status.FAILED if np.isnan(out[:, point]).any() else Status.OK
