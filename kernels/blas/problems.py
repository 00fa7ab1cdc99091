"""Set-up of large problems: the steps of `vector.problems` on BLAS and LAPACK, one seed at a time.

Maps have their wider side in rows. `wide` and `small` name arrays of the wider and of the other side.
"""

from typing import NamedTuple

import numpy as np
from scipy.linalg import lapack

from fastlin.kernels.compiler.jit import Array, Integers
from fastlin.kernels.draws import Factors, Problem, StartLaw, TaskLaw, WeightLaw, WeightStart
from fastlin.kernels.sizes import Record, Sizes


class _Decomposed(NamedTuple):
    """Singular vectors and values of a map."""

    wide: Array  # (wide, columns)
    values: Array  # (columns,)
    small: Array  # (m, columns)


def _decompose(matrix: Array) -> _Decomposed:
    u, values, vt = np.linalg.svd(matrix, full_matrices=False)
    return _Decomposed(u, values, vt.T)


def _decompose_thin(wide: Array, small: Array) -> _Decomposed:
    """Decompose wide small^T of rank N_h < m. With small = Q R it takes the smaller SVD of wide R^T."""
    q, r = np.linalg.qr(small)
    parts = _decompose(wide @ r.T)
    return parts._replace(small=q @ parts.small)


def _reached(wide: Array, count: int) -> Array:
    """Return the first `count` singular vectors of the wider side, completed past the rank."""
    known = wide.shape[1]
    if count <= known:
        return wide[:, :count]
    reflectors, scales, _, _ = lapack.dgeqrf(wide)
    basis, _, _ = lapack.dorgqr(np.pad(reflectors, ((0, 0), (0, count - known))), scales)
    return np.concatenate([wide, basis[:, known:]], axis=1)


def _in_frame(task: Array, basis: Array) -> Array:
    """Return `basis` in the frame of the task, singular directions first."""
    known = task.shape[1]
    if len(task) == known:
        return np.asarray(task.T @ basis)
    reflectors, scales, _, _ = lapack.dgeqrf(task)
    length = int(lapack.dormqr("L", "T", reflectors, scales, basis, -1)[1][0])  # of LAPACK's workspace
    turned = np.asarray(lapack.dormqr("L", "T", reflectors, scales, basis, length)[0])
    turned[:known] *= np.sign(reflectors.diagonal())[:, None]
    return turned


def _aligned(task: Array, basis: Array) -> Array:
    """Return `basis` in the frame of the task, where as few directions as possible carry it."""
    known, count = task.shape[1], basis.shape[1]
    turned = _in_frame(task, basis)
    if len(task) - known <= count:
        return turned
    return np.concatenate([turned[:known], np.linalg.qr(turned[known:], "r")])


def _start_of(start: StartLaw, seed: int, sizes: Sizes) -> _Decomposed | None:
    """Draw and decompose the unbalanced product of a start.

    Return None for the singular vectors of the task.
    """
    if isinstance(start, WeightStart) and sizes.n_h < sizes.m:
        w1, w2 = start.factors(seed, sizes)
        return _decompose_thin(*((w2, w1.T) if sizes.outputs_wide else (w1.T, w2)))
    product = start.product(seed, sizes)
    return None if product is None else _decompose(product if sizes.outputs_wide else product.T)


def _whitened(law: TaskLaw, seed: int, sizes: Sizes) -> tuple[Array, float]:
    """Draw Sigma_yx and the loss floor of a task with whitened inputs."""
    sigma_yx, floor, sigma_xx = law.draw(seed, sizes)
    if sigma_xx is not None:
        raise ValueError("the inputs of the task are not whitened, and records hold whitened inputs only")
    return sigma_yx, floor


def draw_records(sizes: Sizes, seeds: Integers, problem: Problem, init_scales: Array) -> Array:
    """Return the records of problems, one seed at a time (see `dispatch.draw_records`)."""
    at, records = Record(sizes), np.zeros((seeds.size, Record(sizes).length))
    strengths = problem.strengths(init_scales)
    for record, seed, strength in zip(records, seeds.tolist(), strengths, strict=True):
        sigma, floor = _whitened(problem.task, seed, sizes)
        task = _decompose(sigma if sizes.outputs_wide else sigma.T)
        record[: at.p], record[at.floor] = task.values, floor
        v = record[at.v : at.u].reshape(sizes.rows_i, sizes.k_i)
        u = record[at.u : at.length].reshape(sizes.rows_o, sizes.k_o)
        start = _start_of(problem.start, seed, sizes)
        if start is None:
            record[at.p : at.floor] = strength
            np.fill_diagonal(v, 1.0)
            np.fill_diagonal(u, 1.0)
            continue
        record[at.p : at.floor] = strength * start.values[: sizes.k]
        wide, small = (u, v) if sizes.outputs_wide else (v, u)
        wide[:] = _aligned(task.wide, _reached(start.wide, sizes.k_wide))
        small[:] = task.small.T @ start.small[:, : small.shape[1]]
    return records


def draw_raw_records(sizes: Sizes, seeds: Integers, problem: Problem, init_scales: Array) -> Array:
    """Return the records of raw problems, one seed at a time (see `dispatch.draw_raw_records`)."""
    law, left = problem.start, sizes.unreduced
    assert isinstance(law, WeightLaw)
    at, records = Record(left), np.zeros((seeds.size, Record(left).length))
    for record, seed, scale in zip(records, seeds.tolist(), init_scales, strict=True):
        sigma, floor = _whitened(problem.task, seed, sizes)
        task = _decompose(sigma if sizes.outputs_wide else sigma.T)
        record[: at.p], record[at.floor] = task.values, floor
        w1, w2 = (scale * weights for weights in law.weights(seed, sizes))
        v, u = (task.small, task.wide) if sizes.outputs_wide else (task.wide, task.small)
        q = reduced(np.concatenate([_in_frame(v, w1.T), _in_frame(u, w2)]))
        record[at.v : at.length] = q.ravel()
    return records


def reduced(q: Array) -> Array:
    """Return Q (N, N_h) in at most N hidden directions. Past N it is the R^T of ``Q^T = (orthonormal) R``."""
    if q.shape[1] <= len(q):
        return q
    r = np.asarray(np.linalg.qr(q.T, "r"))
    return np.asarray((np.where(r.diagonal() < 0.0, -1.0, 1.0)[:, None] * r).T)


def factorise(product: Array, n_h: int) -> Factors:
    """Factorise one product (see `dispatch.factorise`)."""
    sizes = Sizes(product.shape[1], n_h, product.shape[0])
    parts = _decompose(product if sizes.outputs_wide else product.T)
    wide, small = _reached(parts.wide, sizes.k_wide), parts.small[:, : min(n_h, sizes.m)]
    u, v = (wide, small) if sizes.outputs_wide else (small, wide)
    return Factors(u, parts.values[: sizes.k], v)
