"""Networks: two weight matrices and how they are balanced."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from fastlin.architecture import Architecture
from fastlin.errors import InputError
from fastlin.fit import Fit, fit_balance, imbalance, narrow
from fastlin.initialisation import INIT_KINDS, RAW_KINDS
from fastlin.kernels import Factors, Problem, balanced_scales, factorise
from fastlin.kernels.compiler.jit import Array
from fastlin.kernels.draws import StartLaw, strength
from fastlin.kernels.random import MAX_SEED, Stream, generator
from fastlin.kernels.tolerances import ROUNDING
from fastlin.task import MAX_SAMPLES, Task, check_scale
from fastlin.validation import check_array, check_choice, check_float, check_instance, check_int, check_pair

BalanceKind = Literal["strict", "support", "two-sided", "none"]

# Bound of the imbalance of weights over the power of |Q| that has its unit, so that weights that were written
# with ten digits count as balanced.
BALANCE_TOLERANCE = 1e-9
MAX_WEIGHT = 1.3e154  # its square is about the largest double


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


class _Scaled(NamedTuple):
    """Q = [W1, W2^T]^T of at most N columns over its largest entry, so that squares stay in range."""

    q: Array  # (N, min(H, N))
    d: Array  # D of the scaled weights, in the hidden basis of q
    scale: float
    n_i: int
    n_h: int


def _scaled(w1: Array, w2: Array) -> _Scaled:
    scale = max(np.abs(w1).max(), np.abs(w2).max()) or 1.0
    if scale > MAX_WEIGHT:
        raise InputError(f"weights have entries up to {scale:g}; QQ^T of them overflows above {MAX_WEIGHT:g}")
    n_h, n_i = w1.shape
    q = narrow(np.concatenate([w1.T / scale, w2 / scale]))
    first, second = q[:n_i], q[n_i:]
    return _Scaled(q, second.T @ second - first.T @ first, float(scale), n_i, n_h)


def _one_sided_residual(weights: _Scaled, lam: float) -> float:
    """Return ``|Q (D - lam I)| / |Q|^3``, 0 for zero weights."""
    q, size = weights.q, np.linalg.norm(weights.q)
    if size == 0.0:
        return 0.0
    return float(np.linalg.norm(q @ weights.d - (lam / weights.scale / weights.scale) * q) / size**3)


def _support_lam(weights: _Scaled) -> float:
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
    weights = _scaled(w1, w2)
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


def _two_sided_balance(weights: _Scaled, lam: float | None, kappa: float) -> Balance:
    """Return a balance with the given kappa > 0, checked."""
    check_width(weights.n_i, weights.n_h, len(weights.q) - weights.n_i, kappa)
    scale = weights.scale
    value = fit_balance(weights.q * scale, weights.n_i, weights.n_h).lam if lam is None else lam
    residual = imbalance(weights.q * scale, weights.n_i, float(value), kappa)
    if not residual <= BALANCE_TOLERANCE:
        raise InputError(
            f"the weights have another balance: |Q (D - lam I) Q^T + kappa^2 J| / |Q|^4 is {residual:.1e} at "
            f"lam = {value:g}, kappa = {kappa:g}; at most {BALANCE_TOLERANCE:g} is allowed"
        )
    return Balance(float(value), kappa)


def _fitted(weights: _Scaled, lam: float | None) -> Balance | None:
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


def check_width(n_i: int, n_h: int, n_o: int, kappa: float) -> None:
    """Raise if a network is too narrow for kappa > 0."""
    if kappa > 0.0 and n_h < n_i + n_o:
        raise InputError(
            f"kappa is {kappa:g}, and N_h = {n_h} hidden units are fewer than N_i + N_o = {n_i + n_o}: "
            "two-sided balance needs QQ^T of full rank; allowed is kappa = 0, or a wider network"
        )


class Network:
    """A two-layer linear network ``y = W2 W1 x`` at initialisation.

    Parameters
    ----------
    w1 : array_like, (N_h, N_i)
        Input weights.
    w2 : array_like, (N_o, N_h)
        Output weights.
    lam, kappa : float, optional
        The balance. By default it is determined from the weights.

    Attributes
    ----------
    w1, w2 : ndarray
        The weights.
    lam : float
        Relative scale of the layers, or NaN where the weights have no balance.
    kappa : float
        Width of the balance, ``Q (D - lam I) Q^T = -kappa^2 J`` with ``D = W2^T W2 - W1 W1^T`` and
        ``J = diag(I, -I)``. It is 0 for "strict" and "support", and NaN where the weights have no balance.
    balance : {"strict", "support", "two-sided", "none"}
        "strict" if ``D = lam I``, "support" if that holds on the support of Q, "two-sided" if kappa > 0,
        and "none" otherwise. The closed form takes all but "none".

    Raises
    ------
    InputError
        If shapes do not fit, entries are not finite, or a given balance is not that of the weights.
    """

    def __init__(
        self, w1: ArrayLike, w2: ArrayLike, lam: float | None = None, kappa: float | None = None
    ) -> None:
        self.w1, self.w2 = check_array("w1", w1, "(N_h, N_i)"), check_array("w2", w2, "(N_o, N_h)")
        if self.w1.shape[0] != self.w2.shape[1]:
            raise InputError(
                f"w1 {self.w1.shape} and w2 {self.w2.shape} disagree on N_h; "
                "needed are (N_h, N_i) and (N_o, N_h)"
            )
        self.balance: BalanceKind
        try:
            self.lam, self.kappa = checked_balance(self.w1, self.w2, lam, kappa)
        except InputError:
            if lam is not None or kappa is not None:
                raise
            _scaled(self.w1, self.w2)  # raises for weights whose squares overflow
            self.lam, self.kappa, self.balance = float("nan"), float("nan"), "none"
            return
        self.balance = "two-sided" if self.kappa > 0.0 else self._one_sided_kind()

    def _one_sided_kind(self) -> BalanceKind:
        q, d, scale, _, n_h = _scaled(self.w1, self.w2)
        lam, columns = self.lam / scale / scale, q.shape[1]
        off = np.linalg.norm(d - lam * np.eye(columns))
        deviation = np.hypot(off, lam * np.sqrt(n_h - columns))  # D is 0 on hidden directions beyond q
        return "strict" if deviation <= BALANCE_TOLERANCE * np.sum(q**2) else "support"

    def __repr__(self) -> str:
        shape = self.architecture
        if self.balance == "none":
            fit = self.fit()
            numbers = f"fitted lam {fit.lam:g}, kappa {fit.kappa:g}, residual {fit.residual:.1e}"
        else:
            numbers = f"lam {self.lam:g}" + (f", kappa {self.kappa:g}" if self.kappa > 0.0 else "")
        return f"<{shape.family} Network {shape} (N_i-N_h-N_o), {numbers}, balance {self.balance!r}>"

    @property
    def architecture(self) -> Architecture:
        """Sizes of the network."""
        return Architecture(self.w1.shape[1], self.w1.shape[0], self.w2.shape[0])

    def fit(self) -> Fit:
        """Return the balance that is nearest to the weights, and how far they are from it.

        Returns
        -------
        Fit
            ``lam`` and ``kappa`` in the unit of squared weights, the least squares of ``Q (D - lam I) Q^T =
            -kappa^2 J``, and ``residual``, its norm over ``|Q|^4``. kappa is 0 where N_h < N_i + N_o. Wide
            Gaussian networks have a residual that falls like 1 / sqrt(N_h).

        Examples
        --------
        >>> net = fl.balanced_init(fl.Architecture(2, 6, 2), lam=0.5, kappa=1.0)
        >>> lam, kappa, residual = net.fit()
        >>> round(lam, 9), round(kappa, 9), residual < 1e-12
        (0.5, 1.0, True)
        """
        q = narrow(np.concatenate([self.w1.T, self.w2]))
        return Fit(*(float(value) for value in fit_balance(q, self.w1.shape[1], self.w1.shape[0])))


def balanced_init(
    architecture: Architecture,
    lam: float,
    init_scale: float = 1.0,
    seed: int = 0,
    kind: str = "gaussian",
    *,
    kappa: float = 0.0,
    learning_rates: tuple[float, float] = (1.0, 1.0),
    n_samples: int | None = None,
    task: Task | None = None,
    weights: tuple[ArrayLike, ArrayLike] | None = None,
) -> Network:
    """Draw balanced weights (Algorithm 1 of the paper, corrected and extended to kappa > 0).

    The SVD ``U diag(p) V^T`` of an unbalanced product W2 W1 is split as ``W1 = R S1 V^T``,
    ``W2 = U S2 R^T`` with ``s1 s2 = p``, ``s2^2 - s1^2 = lam`` and R a random rotation. The loop runs to
    N_h: past min(N_i, N_o), where p = 0, the wider layer carries sqrt(abs(lam)). With kappa > 0 each
    singular direction takes a second hidden direction, so that ``Q (D - lam I) Q^T = -kappa^2 J``.

    Parameters
    ----------
    architecture : Architecture
        Sizes of the network; any are allowed.
    lam : float
        Relative scale of the layers, any finite number.
    init_scale : float
        Scale of the weights before balancing, > 0.
    seed : int
        The draws are a function of (seed, N_i, N_h, N_o, kind) alone.
    kind : str
        The unbalanced product: that of raw weights of a standard law ("gaussian", of standard deviation
        init_scale, or "lecun", "he", "xavier", "ntk", "torch", "lora"); "random_regression", the Sigma_yx of
        an independent random regression task of `n_samples` samples and target_scale init_scale (B.4); or
        "aligned", the singular vectors of `task`, each mode with strength init_scale^2 (Saxe et al. 2014).
    kappa : float
        Width of the balance, >= 0, in the unit of squared weights. kappa > 0 needs N_h >= N_i + N_o. Wide
        networks with Gaussian weights of variances s1^2 and s2^2 tend to ``lam = (s2^2 - s1^2) N_h``,
        ``kappa = s1 s2 N_h``.
    learning_rates : (float, float)
        Learning rates (eta1, eta2) of the layers. The balance is that of ``sqrt(eta2) W1`` and ``sqrt(eta1)
        W2``, which follow the flow of equal rates, so `exact` needs the same rates.
    n_samples : int, optional
        For "random_regression".
    task : Task, optional
        For "aligned".
    weights : (w1, w2), optional
        Raw weights in place of drawn weights. They are multiplied by init_scale.

    Returns
    -------
    Network
        Its `balance` is "two-sided" for kappa > 0. For kappa = 0 it is "strict" where ``W2^T W2 - W1 W1^T =
        lam I`` is feasible (lam = 0, or lam > 0 and N_h <= N_o, or lam < 0 and N_h <= N_i), and "support"
        otherwise.

    Raises
    ------
    InputError
        If a number is out of range, an argument that the kind needs is missing, or N_h is too small.

    Notes
    -----
    Of given `weights` the product W2 W1 is kept and all else is dropped. To solve these weights as they are,
    use `flow`. A wide network with a standard start is lazy, and its rebalanced product with kappa = 0 is
    rich: the kernel distance of 4-16-4 Xavier is 0.0021 and becomes 0.147. The nearest exact solution of a
    wide network has lam and kappa of `Network.fit`, with 0.0022.

    Examples
    --------
    >>> net = fl.balanced_init(fl.Architecture(4, 2, 4), lam=-1.0, seed=0)
    >>> net
    <bottleneck Network 4-2-4 (N_i-N_h-N_o), lam -1, balance 'strict'>
    >>> bool(np.allclose(net.w2.T @ net.w2 - net.w1 @ net.w1.T, -np.eye(2)))
    True
    """
    check_instance("architecture", architecture, Architecture, "Architecture(n_i, n_h, n_o)")
    lam, kappa = check_float("lam", lam), check_float("kappa", kappa, 0.0)
    check_width(architecture.n_i, architecture.n_h, architecture.n_o, kappa)
    rates = check_pair("learning_rates", learning_rates, above=True)
    scale, seed = check_scale("init_scale", init_scale), check_int("seed", seed, 0, MAX_SEED)
    samples = None if n_samples is None else check_int("n_samples", n_samples, 1, MAX_SAMPLES)
    start = INIT_KINDS[check_choice("kind", kind, list(INIT_KINDS))].law(samples)
    factors = (
        _drawn_factors(start, architecture, seed, task)
        if weights is None
        else _factors_of(weights, architecture, kind)
    )
    factors = factors._replace(p=math.sqrt(rates[0] * rates[1]) * strength(start, scale) * factors.p)
    return _balanced(architecture, Balance(lam, kappa), seed, factors, rates)


def draw_network(
    architecture: Architecture,
    lam: float,
    seed: int,
    problem: Problem,
    task: Task,
    kappa: float = 0.0,
    learning_rates: tuple[float, float] = (1.0, 1.0),
) -> Network:
    """Return the balanced network that a seed has under the laws of a problem, of checked inputs."""
    factors = _drawn_factors(problem.start, architecture, seed, task)
    strength = math.sqrt(learning_rates[0] * learning_rates[1]) * problem.strength
    factors = factors._replace(p=strength * factors.p)
    return _balanced(architecture, Balance(lam, kappa), seed, factors, learning_rates)


def random_init(
    architecture: Architecture, kind: str = "lecun", init_scale: float = 1.0, seed: int = 0
) -> Network:
    """Draw raw weights of a standard law, without any balance.

    Parameters
    ----------
    architecture : Architecture
        Sizes of the network.
    kind : str
        "lecun", normal of variance 1 / fan_in; "he", 2 / fan_in; "xavier", 2 / (fan_in + fan_out); "ntk",
        1 / N_h in both layers; "torch", uniform in +-1 / sqrt(fan_in), the default of PyTorch; "lora", that
        for W1, and W2 = 0; "gaussian", standard normal.
    init_scale : float
        Factor of both layers, > 0.
    seed : int
        The draws are a function of (seed, N_i, N_h, N_o, kind) alone.

    Returns
    -------
    Network
        Its balance is "none", apart from special cases, so that `flow` solves it. `Network.fit` tells how far
        it is from an exact solution.

    Raises
    ------
    InputError
        If a number is out of range, or the kind has no weights.

    Examples
    --------
    >>> fl.random_init(fl.Architecture(4, 16, 4), "xavier").balance
    'none'
    """
    check_instance("architecture", architecture, Architecture, "Architecture(n_i, n_h, n_o)")
    law = INIT_KINDS[check_choice("kind", kind, list(RAW_KINDS))].law(None)
    scale, seed = check_scale("init_scale", init_scale), check_int("seed", seed, 0, MAX_SEED)
    w1, w2 = law.weights(seed, architecture.sizes)
    return Network(scale * w1, scale * w2)


def _balanced(
    architecture: Architecture, balance: Balance, seed: int, factors: Factors, rates: tuple[float, float]
) -> Network:
    """Return weights of a balance at some learning rates, with the product that the factors are of."""
    u, p, v = factors
    x, y = (_two_sided_scales if balance.kappa > 0.0 else _one_sided_scales)(architecture, balance, p)
    frame = _frame(architecture, seed)[:, : len(x)]
    w1, w2 = frame @ x @ v.T, u @ y @ frame.T
    if rates[0] == rates[1] == 1.0:
        return Network(w1, w2, *balance)
    return Network(w1 / math.sqrt(rates[1]), w2 / math.sqrt(rates[0]))


def _one_sided_scales(architecture: Architecture, balance: Balance, p: Array) -> tuple[Array, Array]:
    """Return S1 (columns, k_i) and S2 (k_o, columns) of Algorithm 1."""
    columns = min(architecture.n_h, max(architecture.n_i, architecture.n_o))
    strengths = np.zeros(columns)
    strengths[: p.size] = p
    scales1, scales2 = balanced_scales(strengths, balance.lam)
    s1 = np.eye(columns, min(architecture.n_h, architecture.n_i)) * scales1[:, None]
    return s1, np.eye(min(architecture.n_h, architecture.n_o), columns) * scales2


def _two_sided_scales(architecture: Architecture, balance: Balance, p: Array) -> tuple[Array, Array]:
    """Return S1 (N, N_i) and S2 (N_o, N) for kappa > 0.

    The rows of both layers of a mode are the Cholesky factor of ``[[om - lam/2, p], [p, om + lam/2]]``, om =
    sqrt(p^2 + lam^2/4 + kappa^2), whose determinant is kappa^2. The larger diagonal entry comes first. Past
    min(N_i, N_o), where p = 0, the factor is diagonal.
    """
    n_i, n_o = architecture.n_i, architecture.n_o
    half, kappa = 0.5 * abs(balance.lam), balance.kappa
    larger_first = n_o if balance.lam >= 0.0 else n_i

    def larger(strengths: Array) -> Array:
        return np.asarray(np.sqrt(np.hypot(np.hypot(strengths, half), kappa) + half))

    strengths = np.zeros(larger_first)
    strengths[: p.size] = p
    b = larger(strengths)
    big = np.zeros((larger_first, n_i + n_o))  # of the layer with the larger diagonal entry
    big[:, :larger_first] = np.diag(b)
    small = np.zeros((n_i + n_o - larger_first, n_i + n_o))
    coupled = np.arange(p.size)
    small[coupled, coupled] = p / b[: p.size]
    others = np.zeros(len(small))
    others[: p.size] = p
    small[:, larger_first:] = np.diag(kappa / larger(others))
    return (small.T, big) if balance.lam >= 0.0 else (big.T, small)


def _factors_of(weights: tuple[ArrayLike, ArrayLike], architecture: Architecture, kind: str) -> Factors:
    """Return the factors of the product of given weights."""
    if kind != "gaussian":
        raise InputError(f'weights are given, and kind is {kind!r}; they take the place of "gaussian" ones')
    try:
        first, second = weights
    except (TypeError, ValueError):
        raise InputError("weights are not a pair (w1, w2)") from None
    raw = Network(first, second)
    if raw.architecture != architecture:
        raise InputError(f"the weights are those of {raw.architecture}, not of {architecture}")
    return factorise(raw.w2 @ raw.w1, architecture.n_h)


def _drawn_factors(law: StartLaw, architecture: Architecture, seed: int, task: Task | None) -> Factors:
    """Return the factors of the product that a law draws, or of the task where it has none."""
    product = law.product(seed, architecture.sizes)
    if product is not None:
        return factorise(product, architecture.n_h)
    if task is None:
        raise InputError('kind "aligned" needs the task to align with: task=...')
    check_instance("task", task, Task, "random_regression or Task(x, y)")
    if (task.n_i, task.n_o) != (architecture.n_i, architecture.n_o):
        raise InputError(f"the task maps {task.n_i} to {task.n_o}, the network is {architecture}")
    return factorise(task.sigma_yx, architecture.n_h)._replace(p=np.ones(architecture.sizes.k))


def _frame(architecture: Architecture, seed: int) -> Array:
    """Return random orthonormal columns (N_h, min(N_h, N)), uniform by the signs of the diagonal of R."""
    n_h = architecture.n_h
    stream = generator(Stream.ROTATION, seed, architecture.sizes)
    q, r = np.linalg.qr(stream.standard_normal((n_h, min(n_h, architecture.n_i + architecture.n_o))))
    return np.asarray(q * np.where(np.diagonal(r) < 0, -1.0, 1.0))
