"""Balance of weights: lam and kappa of ``Q (D - lam I) Q^T = -kappa^2 J``, read off or checked."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np

from fastlin.errors import InputError
from fastlin.kernels.compiler.jit import Array
from fastlin.kernels.tolerances import ROUNDING
from fastlin.validation import check_float
from fastlin.weights.fit import fit_balance, imbalance, narrow

BalanceKind = Literal["strict", "support", "two-sided", "none"]

# Bound of the imbalance of weights over the power of |Q| that has its unit, so that weights that were written
# with ten digits count as balanced.
BALANCE_TOLERANCE = 1e-9
MAX_WEIGHT = 1.3e154  # its square is about the largest double
# Squares of kappa, also over those of all rates of a flow, stay in the range of doubles.
LEAST_KAPPA, MAX_KAPPA = 1e-60, 1e60
LEAST_SHARE = 1e-90  # of kappa in the largest square of a weight, for the same reason


class Balance(NamedTuple):
    """Balance of weights, ``Q (D - lam I) Q^T = -kappa^2 J`` with ``D = W2^T W2 - W1 W1^T``."""

    lam: float
    kappa: float


def reduced_width(w1: Array, w2: Array) -> tuple[Array, Array]:
    """Return weights of at most N hidden units that have the same QQ^T at all times, and the same |D|."""
    n_i = w1.shape[1]
    if len(w1) <= n_i + len(w2):
        return w1, w2
    q = narrow(np.concatenate([w1.T, w2]))
    return np.ascontiguousarray(q[:n_i].T), np.ascontiguousarray(q[n_i:])


class Scaled(NamedTuple):
    """Q = [W1, W2^T]^T of at most N columns over its largest entry, so that squares stay in range."""

    q: Array  # (N, min(H, N))
    d: Array  # D of the scaled weights, in the hidden basis of q
    scale: float
    n_i: int
    n_h: int


def scaled(w1: Array, w2: Array) -> Scaled:
    """Return weights over their largest entry, without columns beyond N."""
    scale = max(np.abs(w1).max(), np.abs(w2).max()) or 1.0
    if scale > MAX_WEIGHT:
        raise InputError(f"weights have entries up to {scale:g}; QQ^T of them overflows above {MAX_WEIGHT:g}")
    n_h, n_i = w1.shape
    q = narrow(np.concatenate([w1.T / scale, w2 / scale]))
    first, second = q[:n_i], q[n_i:]
    return Scaled(q, second.T @ second - first.T @ first, float(scale), n_i, n_h)


def _one_sided_residual(weights: Scaled, lam: float) -> float:
    """Return ``|Q (D - lam I)| / |Q|^3``, 0 for zero weights."""
    q, size = weights.q, np.linalg.norm(weights.q)
    if size == 0.0:
        return 0.0
    with np.errstate(over="ignore"):
        return float(np.linalg.norm(q @ weights.d - (lam / weights.scale / weights.scale) * q) / size**3)


def _support_lam(weights: Scaled) -> float:
    """Return the lam that fits ``Q (D - lam I) = 0`` best, ``tr(Q D Q^T) / |Q|^2``.

    A lam that is only the rounding of the weights is 0, which keeps the saddles of lam = 0. It is 0 for zero
    weights, too.
    """
    q, scale = weights.q, weights.scale
    square = float(np.sum(q**2))
    lam = float(np.sum((q @ weights.d) * q) / square) if square else 0.0
    return lam * scale * scale if abs(lam) > ROUNDING * square else 0.0


def checked_balance(w1: Array, w2: Array, lam: float | None = None, kappa: float | None = None) -> Balance:
    """Return the balance of weights, given or read off.

    Raises
    ------
    InputError
        If the weights have no balance, or not the given one: the message states the imbalance.
    """
    return balance_of(scaled(w1, w2), lam, kappa)


def balance_of(weights: Scaled, lam: float | None, kappa: float | None) -> Balance:
    """Return the balance of scaled weights (see `checked_balance`)."""
    given = None if lam is None else check_float("lam", lam)
    if kappa is not None and check_float("kappa", kappa, 0.0) > 0.0:
        return _two_sided_balance(weights, given, kappa)
    value = _support_lam(weights) if given is None else given
    residual = _one_sided_residual(weights, value)
    if residual <= BALANCE_TOLERANCE:
        return Balance(value, 0.0)
    if kappa is None and (fitted := _fitted(weights, given)) is not None:
        return fitted
    best = "" if given is None else f", and lam = {_support_lam(weights):g} fits best"
    raise InputError(
        f"the weights are not balanced: |Q (D - lam I)| / |Q|^3 is {residual:.1e} at lam = {value:g}"
        f"{best}; the closed form needs at most {BALANCE_TOLERANCE:g} (fastlin.flow takes any weights; "
        "balanced_init(..., weights=(w1, w2)) keeps their product W2 W1 and drops all else)"
    )


def _two_sided_balance(weights: Scaled, lam: float | None, kappa: float) -> Balance:
    """Return a balance with the given kappa > 0, checked."""
    check_width(weights.n_i, weights.n_h, len(weights.q) - weights.n_i, kappa)
    scale = weights.scale
    if kappa < (least := LEAST_SHARE * scale * scale):
        raise InputError(
            f"kappa is {kappa:g}, and weights have entries up to {scale:g}; allowed is 0 or from {least:g} on"
        )
    value = fit_balance(weights.q * scale, weights.n_i, weights.n_h).lam if lam is None else lam
    residual = imbalance(weights.q * scale, weights.n_i, float(value), kappa)
    if not residual <= BALANCE_TOLERANCE:
        raise InputError(
            f"the weights have another balance: |Q (D - lam I) Q^T + kappa^2 J| / |Q|^4 is {residual:.1e} at "
            f"lam = {value:g}, kappa = {kappa:g}; at most {BALANCE_TOLERANCE:g} is allowed"
        )
    return Balance(float(value), kappa)


def _fitted(weights: Scaled, lam: float | None) -> Balance | None:
    """Return the two-sided balance that weights have, or None. A given lam has to be that of the fit."""
    fit = fit_balance(weights.q, weights.n_i, weights.n_h)
    square = weights.scale * weights.scale
    if not (fit.kappa > 0.0 and fit.residual <= BALANCE_TOLERANCE):
        return None
    value = float(fit.lam) * square if lam is None else lam
    kappa = float(fit.kappa) * square
    if imbalance(weights.q, weights.n_i, value / square, float(fit.kappa)) > BALANCE_TOLERANCE:
        return None
    return Balance(value, kappa)


def one_sided_kind(weights: Scaled, lam: float) -> BalanceKind:
    """Return "strict" if ``D = lam I``, and "support" if that holds on the support of Q alone."""
    q, d, scale, _, n_h = weights
    unit, columns = lam / scale / scale, q.shape[1]
    off = np.linalg.norm(d - unit * np.eye(columns))
    deviation = np.hypot(off, unit * np.sqrt(n_h - columns))  # D is 0 on hidden directions beyond q
    return "strict" if deviation <= BALANCE_TOLERANCE * np.sum(q**2) else "support"


def check_kappa(name: str, value: Any) -> float:
    """Return kappa, 0 or a number in range."""
    kappa = check_float(name, value, 0.0, MAX_KAPPA)
    if 0.0 < kappa < LEAST_KAPPA:
        raise InputError(f"{name} is {kappa:g}; allowed is 0, or {LEAST_KAPPA:g} to {MAX_KAPPA:g}")
    return kappa


def check_width(n_i: int, n_h: int, n_o: int, kappa: float) -> None:
    """Raise if a network is too narrow for kappa > 0."""
    if kappa > 0.0 and n_h < n_i + n_o:
        raise InputError(
            f"kappa is {kappa:g}, and N_h = {n_h} hidden units are fewer than N_i + N_o = {n_i + n_o}: "
            "two-sided balance needs QQ^T of full rank; allowed is kappa = 0, or a wider network"
        )
