"""The exact solution that is nearest to any weights: the fit of lam and kappa to their balance."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from fastlin.kernels.compiler.jit import Array
from fastlin.kernels.tolerances import ROUNDING


def imbalance(q: Array, n_i: int, lam: Any, kappa: Any) -> Any:
    """Return ``|Q (D - lam I) Q^T + kappa^2 J| / |Q|^4`` of networks (...), 0 for zero weights.

    q (..., N, H), lam and kappa (...).
    """
    largest = np.abs(q).max(axis=(-2, -1))
    scale = np.where(largest > 0.0, largest, 1.0)
    unit = q / scale[..., None, None]
    n = q.shape[-2]
    j, m = signature(n_i, n - n_i), unit @ np.swapaxes(unit, -1, -2)
    width = kappa / scale / scale
    with np.errstate(over="ignore", invalid="ignore"):
        off = (width * width)[..., None, None] * np.diag(j)
        rest = -(m * j) @ m - (lam / scale / scale)[..., None, None] * m + off
        size = np.linalg.norm(unit, axis=(-2, -1))
        residual = np.linalg.norm(rest, axis=(-2, -1)) / np.where(size > 0.0, size, 1.0) ** 4
    return np.where(residual < np.inf, residual, np.inf)[()]


class Fit(NamedTuple):
    """Balance that fits weights best, and how far they are from it: numbers, or arrays (...).

    Attributes
    ----------
    lam : float or ndarray
        Relative scale of the layers.
    kappa : float or ndarray
        Width of the balance, 0 for networks of fewer than N_i + N_o hidden units.
    residual : float or ndarray
        ``|Q (D - lam I) Q^T + kappa^2 J| / |Q|^4``, 0 for an exact solution and for zero weights.
    """

    lam: Any
    kappa: Any
    residual: Any


def signature(n_i: int, n_o: int) -> Array:
    """Return the diagonal of ``J = diag(I_Ni, -I_No)``."""
    return np.repeat([1.0, -1.0], [n_i, n_o])


def narrow(q: Array) -> Array:
    """Return Q (..., N, H) with at most N columns and the same QQ^T.

    ``Q^T = (orthonormal) R`` leaves N of them, and the flow acts on Q from the left, so that R stands for Q.
    """
    if q.shape[-1] <= q.shape[-2]:
        return q
    return np.asarray(np.swapaxes(np.linalg.qr(np.swapaxes(q, -1, -2), mode="r"), -1, -2))


def fit_balance(q: Array, n_i: int, n_h: int) -> Fit:
    """Fit ``Q (D - lam I) Q^T = -kappa^2 J`` in the least squares of its entries.

    Parameters
    ----------
    q : ndarray, (..., N, H)
        ``[W1, W2^T]^T``, whose first N_i rows are inputs, or any factor of the same QQ^T.
    n_i : int
        Number of inputs.
    n_h : int
        Number of hidden units. kappa needs N of them.

    Returns
    -------
    Fit
    """
    scale = np.abs(q).max(axis=(-2, -1))
    unit = q / np.where(scale > 0.0, scale, 1.0)[..., None, None]
    n = q.shape[-2]
    j = signature(n_i, n - n_i)
    m = unit @ np.swapaxes(unit, -1, -2)
    difference = -(m * j) @ m  # Q D Q^T, as D = -Q^T J Q
    square, size = np.sum(m**2, axis=(-2, -1)), np.sum(unit**2, axis=(-2, -1)) ** 2
    safe = np.where(square > 0.0, square, 1.0)
    along = np.sum(difference * m, axis=(-2, -1))
    lam, kappa2 = along / safe, np.zeros_like(along)
    if n_h >= n:
        trace = np.sum(np.diagonal(m, axis1=-2, axis2=-1) * j, axis=-1)
        off = np.sum(np.diagonal(difference, axis1=-2, axis2=-1) * j, axis=-1)
        determinant = n * square - trace**2
        usable = determinant > 0.0
        both = (along * trace - off * square) / np.where(usable, determinant, 1.0)
        # A square that is only rounding of the entries counts as 0.
        kappa2 = np.where(usable & (both > ROUNDING * size), both, 0.0)
        lam = (along + kappa2 * trace) / safe
    rest = difference - lam[..., None, None] * m + kappa2[..., None, None] * np.diag(j)
    residual = np.sqrt(np.sum(rest**2, axis=(-2, -1))) / np.where(size > 0.0, size, 1.0)
    factor = scale * scale
    return Fit(lam * factor, np.sqrt(kappa2) * factor, np.where(size > 0.0, residual, 0.0))
