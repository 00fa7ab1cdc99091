"""Starts Q(0) of many points from the records of their problems, on NumPy.

Numbers of the start alone, such as the fit of its balance, are made of it. Compiled kernels write the same
starts in their own memory (`vector.balance`, `blas.starts`).
"""

from typing import Any

import numpy as np

from fastlin.kernels.codes import Start
from fastlin.kernels.compiler.jit import Array
from fastlin.kernels.draws import Factors
from fastlin.kernels.sizes import Record, Sizes
from fastlin.kernels.vector.balance import balanced_scales, two_sided_scales


def starts(
    sizes: Sizes,
    records: Array,
    lams: Array,
    start: Start,
    kappa: float | Array,
    paired: bool = False,
) -> Array:
    """Return Q(0) of all points, (S, L, n, columns), in the SVD basis of the task; (P, n, columns) if paired.

    Parameters
    ----------
    sizes : Sizes
        The architecture.
    records : ndarray, (S, length)
        `Record` of each seed, or of each point: that of ``sizes.unreduced`` for raw starts.
    lams : ndarray, (L,)
        Raw starts do not use it, and have one entry unless points are paired.
    start : Start
        The kind of start that the records hold.
    kappa : float or ndarray, (P,)
        Above 0 for two-sided starts. Paired points may have one each.
    paired : bool
        Whether point i has record i and lams[i], as in a paired `Batch`. Otherwise points are the product.
    """
    used = sizes.unreduced if start == Start.RAW else sizes
    at = Record(used)
    of_record = (len(records),) if paired else (len(records), 1)
    v = records[:, at.v : at.u].reshape(*of_record, used.rows_i, used.k_i)
    u = records[:, at.u :].reshape(*of_record, used.rows_o, used.k_o)
    if start == Start.RAW:
        return np.concatenate([v, u], axis=-2)
    p = records[:, at.p : at.p + used.k].reshape(*of_record, used.k)
    return start_of(Factors(u, p, v), lams[:, None], np.asarray(kappa)[..., None])


def start_of(factors: Factors, lam: Any, kappa: Any) -> Array:
    """Return Q(0) (..., n, columns) of a balance, with the product W2 W1 of the factors (Algorithm 1).

    Parameters
    ----------
    factors : Factors
        u (..., n_o, k_o), p (..., k), v (..., n_i, k_i). Whole bases for kappa > 0.
    lam : float or ndarray, (..., 1)
        Relative scale of the layers.
    kappa : float or ndarray, (..., 1)
        Above 0 for two-sided balance, of all starts or of none.
    """
    return (_two_sided if np.any(kappa > 0.0) else _one_sided)(factors, lam, kappa)


def _one_sided(factors: Factors, lam: Any, _kappa: Any) -> Array:
    u, p, v = factors
    k_i, k_o, n_i = v.shape[-1], u.shape[-1], v.shape[-2]
    width = max(k_i, k_o)
    strengths = np.concatenate([p, np.zeros((*p.shape[:-1], width - p.shape[-1]))], axis=-1)
    s1, s2 = balanced_scales(strengths, lam)
    q = np.zeros((*s1.shape[:-1], n_i + u.shape[-2], width))
    q[..., :n_i, :k_i] = v * s1[..., None, :k_i]
    q[..., n_i:, :k_o] = u * s2[..., None, :k_o]
    return q


def _two_sided(factors: Factors, lam: Any, kappa: Any) -> Array:
    """Return a start whose modes have two columns: one of both layers, and one of the smaller layer.

    Past min(N_i, N_o) each direction of the wider layer has a column of its own.
    """
    u, p, v = factors
    n_i, n_o, m = v.shape[-1], u.shape[-1], p.shape[-1]
    outputs_larger = np.asarray(lam) >= 0.0
    b, c, d = two_sided_scales(p, lam, kappa)
    largest, _, least = two_sided_scales(np.zeros_like(b[..., :1]), lam, kappa)
    q = np.zeros((*b.shape[:-1], n_i + n_o, n_i + n_o))
    q[..., :n_i, :m] = v[..., :m] * np.where(outputs_larger, c, b)[..., None, :]
    q[..., n_i:, :m] = u[..., :m] * np.where(outputs_larger, b, c)[..., None, :]
    q[..., :n_i, m : 2 * m] = v[..., :m] * np.where(outputs_larger, d, 0.0)[..., None, :]
    q[..., n_i:, m : 2 * m] = u[..., :m] * np.where(outputs_larger, 0.0, d)[..., None, :]
    q[..., :n_i, 2 * m : m + n_i] = v[..., m:] * np.where(outputs_larger, least, largest)[..., None]
    q[..., n_i:, m + n_i :] = u[..., m:] * np.where(outputs_larger, largest, least)[..., None]
    return q
