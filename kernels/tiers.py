"""The one interface of the tiers: vectors of eight networks, or one large network at a time by BLAS."""

import numpy as np

from fastlin.kernels import problems
from fastlin.kernels.blas import dynamics as blas_dynamics
from fastlin.kernels.blas import problems as blas_problems
from fastlin.kernels.blas import time_scales as blas_time_scales
from fastlin.kernels.closed_form import Paths, empty_paths
from fastlin.kernels.closed_form import closed_form as closed_form_of_lanes
from fastlin.kernels.closed_form import follow as follow_lanes
from fastlin.kernels.gradient_descent import gradient_descent as gradient_descent_of_lanes
from fastlin.kernels.jit import Array, Codes, Integers
from fastlin.kernels.points import padded
from fastlin.kernels.problems import Factors
from fastlin.kernels.sizes import Given, Sizes
from fastlin.kernels.time_scales import time_scales as time_scales_of_lanes


def closed_form(
    sizes: Sizes, records: Array, lam: Array, times: Array, rows: Integers, out: Array, status: Codes
) -> None:
    """Observables of the exact solution for a block: S seeds, all lam, all times.

    records: `Record` of S seeds; lam (L,); times (T,), any order, inf allowed; rows (R,) codes of `Row`.
    Writes out (R, padded(S L), T) and status (padded(S L),), points seed by seed.
    """
    _check_room(len(records) * lam.size, out, status)
    run = closed_form_of_lanes if sizes.fits_lanes else blas_dynamics.closed_form
    run(sizes, records, lam, times, rows, out, status)


def gradient_descent(
    sizes: Sizes,
    records: Array,
    lam: Array,
    learning_rate: float,
    steps: Integers,
    rows: Integers,
    out: Array,
    status: Codes,
) -> None:
    """Observables of gradient descent for a block: S seeds, all lam, recorded after each of `steps`.

    As `closed_form`, for steps (T,) ascending; NaN from the first recorded step at which a run has diverged.
    """
    _check_room(len(records) * lam.size, out, status)
    run = gradient_descent_of_lanes if sizes.fits_lanes_to_descend else blas_dynamics.gradient_descent
    run(sizes, records, lam, learning_rate, steps, rows, out, status)


def time_scales(
    sizes: Sizes, records: Array, lam: Array, fraction: float, which: Integers, out: Array, status: Codes
) -> None:
    """Time scales of the exact flow for a block: S seeds, all lam.

    records: `Record` of S seeds; lam (L,); fraction in (0, 1), of the fall of the loss; which (R,) codes of
    `Scale`. Writes out (R, padded(S L)) and status (padded(S L),), points seed by seed.
    """
    _check_room(len(records) * lam.size, out, status)
    run = time_scales_of_lanes if sizes.fits_lanes else blas_time_scales.time_scales
    run(sizes, records, lam, fraction, which, out, status)


def network_time_scales(
    sizes: Given, lam: float, s: Array, q0: Array, fraction: float, which: Integers
) -> list[float]:
    """Time scales of one network with a given start q0 (n, width) in the SVD basis of its target, s (m,)."""
    return blas_time_scales.scales_of(sizes, lam, s, q0, fraction, which)


def draw_records(
    sizes: Sizes,
    seeds: Integers,
    n_samples: int,
    target_scale: float,
    init_kind: str,
    init_scale: float,
) -> Array:
    """Return the records (S, length) of the problems of `seeds` under one architecture and init_scale.

    The bits do not depend on a seed's neighbours.
    """
    draw = problems.draw_records if sizes.fits_setup else blas_problems.draw_records
    return draw(sizes, seeds, n_samples, target_scale, init_kind, init_scale)


def factorise(product: Array, n_h: int) -> Factors:
    """Return the singular vectors of a product W2 W1 (N_o, N_i) that N_h hidden units reach.

    The very ones that `draw_records` takes, also where they are any completion of an orthonormal basis.
    """
    fits = Sizes(product.shape[1], n_h, product.shape[0]).fits_setup
    return (problems.factorise if fits else blas_problems.factorise)(product, n_h)


def _check_room(points: int, out: Array, status: Codes) -> None:
    """Raise where compiled code would write past the end of an array."""
    needed = padded(points)
    if out.shape[1] < needed or status.size < needed:
        raise ValueError(f"out {out.shape} and status {status.shape} need room for {needed} points")


def follow(sizes: Given, lam: Array, s: Array, q0: Array, times: Array) -> Paths:
    """Solve networks with given starts in the SVD basis of their targets.

    lam (G, WIDTH); s (G, m, WIDTH); q0 (G, n, width, WIDTH); times (T,), any order, inf allowed.
    """
    if sizes.fits_lanes:
        return follow_lanes(sizes, lam, s, q0, times)
    paths = empty_paths(sizes, len(lam), times.size)
    for group, lane in np.ndindex(lam.shape):
        here = (float(lam[group, lane]), s[group, :, lane], q0[group, :, :, lane])
        if lane and all(np.array_equal(x[group, ..., lane], x[group, ..., lane - 1]) for x in (lam, s, q0)):
            for x in paths:  # the last network fills the vector up
                x[group, ..., lane] = x[group, ..., lane - 1]
            continue
        found = blas_dynamics.follow(sizes, *here, times)
        for x, value in zip(paths, found, strict=True):
            x[group, ..., lane] = value
    return paths
