"""The balance of many networks at once, read off or checked: that of `Network` for each of them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastlin.kernels.compiler.jit import Array
from fastlin.kernels.tolerances import ROUNDING
from fastlin.networks.network import Network
from fastlin.weights.balance import BALANCE_TOLERANCE, LEAST_SHARE
from fastlin.weights.fit import fit_balance, imbalance, narrow


class Balances(NamedTuple):
    """Balances of P networks. lam and kappa are NaN where weights have none."""

    lam: Array  # (P,)
    kappa: Array  # (P,)
    kind: NDArray[np.str_]  # (P,) "strict", "support", "two-sided" or "none"


class _Scaled(NamedTuple):
    """Q of networks over its largest entry (see `balance.Scaled`)."""

    q: Array  # (P, N, min(H, N))
    d: Array
    scale: Array  # (P,)
    n_i: int
    n_h: int


def read_balances(w1: Array, w2: Array, lam: Array | None = None, kappa: Array | None = None) -> Balances:
    """Return the balances of networks, w1 (P, N_h, N_i) and w2 (P, N_o, N_h).

    Parameters
    ----------
    w1, w2 : ndarray
        Weights, of entries up to `balance.MAX_WEIGHT`.
    lam, kappa : ndarray, (P,), optional
        Given balances, both or none. The kind is "none" where they are not those of the weights.
    """
    weights = _scaled(w1, w2)
    value = _support_lam(weights) if lam is None else lam
    residual = _one_sided_residual(weights, value)
    one_sided = residual <= BALANCE_TOLERANCE
    if kappa is not None:
        one_sided &= kappa == 0.0
    fitted = np.where(one_sided, 0.0, np.nan) if kappa is None else np.asarray(kappa)
    kind = np.where(one_sided, _one_sided_kinds(weights, value), "none").astype("U9")
    balances = Balances(np.where(one_sided | (kappa is not None), value, np.nan), fitted, kind)
    _read_two_sided(balances, weights, w1, w2, given=kappa is not None)
    return balances


def _scaled(w1: Array, w2: Array) -> _Scaled:
    largest = np.maximum(np.abs(w1).max(axis=(-2, -1)), np.abs(w2).max(axis=(-2, -1)))
    scale, (n_h, n_i) = np.where(largest > 0.0, largest, 1.0), w1.shape[-2:]
    q = np.concatenate([np.swapaxes(w1, -1, -2), w2], axis=-2)
    q = narrow(q / scale[:, None, None])
    first, second = q[:, :n_i], q[:, n_i:]
    d = np.swapaxes(second, -1, -2) @ second - np.swapaxes(first, -1, -2) @ first
    return _Scaled(q, d, scale, n_i, n_h)


def _support_lam(weights: _Scaled) -> Array:
    q, d, scale, *_ = weights
    square = np.sum(q**2, axis=(-2, -1))
    lam = np.sum((q @ d) * q, axis=(-2, -1)) / np.where(square > 0.0, square, 1.0)
    return np.where(np.abs(lam) > ROUNDING * square, lam * scale * scale, 0.0)


def _one_sided_residual(weights: _Scaled, lam: Array) -> Array:
    q, d, scale, *_ = weights
    size = np.linalg.norm(q, axis=(-2, -1))
    with np.errstate(over="ignore"):
        rest = q @ d - (lam / scale / scale)[:, None, None] * q
        residual = np.linalg.norm(rest, axis=(-2, -1)) / np.where(size > 0.0, size, 1.0) ** 3
    return np.asarray(residual)


def _one_sided_kinds(weights: _Scaled, lam: Array) -> NDArray[Any]:
    q, d, scale, _, n_h = weights
    unit, columns = lam / scale / scale, q.shape[-1]
    off = np.linalg.norm(d - unit[:, None, None] * np.eye(columns), axis=(-2, -1))
    deviation = np.hypot(off, unit * np.sqrt(n_h - columns))
    strict = deviation <= BALANCE_TOLERANCE * np.sum(q**2, axis=(-2, -1))
    return np.where(strict, "strict", "support")


def _read_two_sided(balances: Balances, weights: _Scaled, w1: Array, w2: Array, given: bool) -> None:
    """Write the balance of networks that have kappa > 0: checked where it is given, else fitted."""
    rest = np.flatnonzero(balances.kind == "none")
    if rest.size == 0 or weights.n_h < weights.q.shape[-2]:
        return
    q = weights.q[rest]
    if given:
        scale, kappa = weights.scale[rest], balances.kappa[rest]
        residual = imbalance(q * scale[:, None, None], weights.n_i, balances.lam[rest], kappa)
        usable = (kappa > 0.0) & (kappa >= LEAST_SHARE * scale * scale)
        balances.kind[rest[usable & (residual <= BALANCE_TOLERANCE)]] = "two-sided"
        return
    fit = fit_balance(q, weights.n_i, weights.n_h)
    for point in rest[(fit.kappa > 0.0) & (fit.residual <= BALANCE_TOLERANCE)]:
        net = Network(w1[point], w2[point])
        balances.lam[point], balances.kappa[point], balances.kind[point] = net.lam, net.kappa, net.balance
