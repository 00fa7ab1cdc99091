"""Networks: two weight matrices and how they are balanced."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from fastlin.architecture import Architecture
from fastlin.errors import InputError
from fastlin.initialisation import INIT_KINDS
from fastlin.kernels import Factors, Problem, balanced_scales, factorise
from fastlin.kernels.compiler.jit import Array
from fastlin.kernels.draws import StartLaw, strength
from fastlin.kernels.random import MAX_SEED, Stream, generator
from fastlin.task import MAX_SAMPLES, Task, check_scale
from fastlin.validation import check_array, check_choice, check_float, check_instance, check_int

Balance = Literal["strict", "support", "none"]

# Bound of |Q (D - lam I)| / |Q|^3, so that weights that were written with ten digits count as balanced.
BALANCE_TOLERANCE = 1e-9
MAX_WEIGHT = 1.3e154  # its square is about the largest double


class _Scaled(NamedTuple):
    """Q = [W1, W2^T]^T over its largest entry, so that squares neither overflow nor vanish."""

    q: Array  # (N, N_h)
    d: Array  # (N_h, N_h) balance W2^T W2 - W1 W1^T of the scaled weights
    scale: float


def _scaled(w1: Array, w2: Array) -> _Scaled:
    scale = max(np.abs(w1).max(), np.abs(w2).max()) or 1.0
    if scale > MAX_WEIGHT:
        raise InputError(f"weights have entries up to {scale:g}; QQ^T of them overflows above {MAX_WEIGHT:g}")
    first, second = w1 / scale, w2 / scale
    d = second.T @ second - first @ first.T
    return _Scaled(np.concatenate([first.T, second]), d, float(scale))


def imbalance(w1: Array, w2: Array, lam: float) -> float:
    """Return ``|Q (D - lam I)| / |Q|^3`` with ``D = W2^T W2 - W1 W1^T``, 0 for zero weights."""
    q, d, scale = _scaled(w1, w2)
    size = np.linalg.norm(q)
    if size == 0.0:
        return 0.0
    return float(np.linalg.norm(q @ d - (lam / scale / scale) * q) / size**3)


def support_lam(w1: Array, w2: Array) -> float:
    """Return the lam that fits ``Q (D - lam I) = 0`` best, ``tr(Q D Q^T) / |Q|^2``, or 0 for zero weights."""
    q, d, scale = _scaled(w1, w2)
    square = float(np.sum(q**2))
    return float(np.sum((q @ d) * q) / square * scale * scale) if square else 0.0


def checked_lam(w1: Array, w2: Array, lam: float | None) -> float:
    """Return lam, given or read off, of weights that are balanced on their support.

    Raises
    ------
    InputError
        If they are not: the message states the imbalance.
    """
    value = support_lam(w1, w2) if lam is None else check_float("lam", lam)
    residual = imbalance(w1, w2, value)
    if not residual <= BALANCE_TOLERANCE:
        best = "" if lam is None else f", and lam = {support_lam(w1, w2):g} fits best"
        raise InputError(
            f"the weights are not balanced: |Q (D - lam I)| / |Q|^3 is {residual:.1e} at lam = {value:g}"
            f"{best}; the closed form needs at most {BALANCE_TOLERANCE:g} "
            "(balanced_init(..., weights=(w1, w2)) balances them, gradient_descent needs no balance)"
        )
    return value


class Network:
    """A two-layer linear network ``y = W2 W1 x`` at initialisation.

    Parameters
    ----------
    w1 : array_like, (N_h, N_i)
        Input weights.
    w2 : array_like, (N_o, N_h)
        Output weights.
    lam : float, optional
        The balance. By default it is determined from the weights.

    Attributes
    ----------
    w1, w2 : ndarray
        The weights.
    lam : float
        Relative scale of the layers, or NaN where the weights have none.
    balance : {"strict", "support", "none"}
        "strict" if ``W2^T W2 - W1 W1^T = lam I``, "support" if that holds on the support of Q, and "none"
        otherwise. The closed form needs "support".

    Raises
    ------
    InputError
        If shapes do not fit, entries are not finite, or a given lam is not that of the weights.
    """

    def __init__(self, w1: ArrayLike, w2: ArrayLike, lam: float | None = None) -> None:
        self.w1, self.w2 = check_array("w1", w1, "(N_h, N_i)"), check_array("w2", w2, "(N_o, N_h)")
        if self.w1.shape[0] != self.w2.shape[1]:
            raise InputError(
                f"w1 {self.w1.shape} and w2 {self.w2.shape} disagree on N_h; "
                "needed are (N_h, N_i) and (N_o, N_h)"
            )
        q, d, scale = _scaled(self.w1, self.w2)
        self.balance: Balance
        try:
            self.lam = checked_lam(self.w1, self.w2, lam)
        except InputError:
            if lam is not None:
                raise
            self.lam, self.balance = float("nan"), "none"
            return
        deviation = np.linalg.norm(d - self.lam / scale / scale * np.eye(len(d)))
        self.balance = "strict" if deviation <= BALANCE_TOLERANCE * np.sum(q**2) else "support"

    def __repr__(self) -> str:
        shape = self.architecture
        return f"<{shape.family} Network {shape} (N_i-N_h-N_o), lam {self.lam:g}, balance {self.balance!r}>"

    @property
    def architecture(self) -> Architecture:
        """Sizes of the network."""
        return Architecture(self.w1.shape[1], self.w1.shape[0], self.w2.shape[0])


def balanced_init(
    architecture: Architecture,
    lam: float,
    init_scale: float = 1.0,
    seed: int = 0,
    kind: str = "gaussian",
    *,
    n_samples: int | None = None,
    task: Task | None = None,
    weights: tuple[ArrayLike, ArrayLike] | None = None,
) -> Network:
    """Draw lam-balanced weights (Algorithm 1 of the paper, corrected).

    The SVD ``U diag(p) V^T`` of an unbalanced product W2 W1 is split as ``W1 = R S1 V^T``,
    ``W2 = U S2 R^T`` with ``s1 s2 = p``, ``s2^2 - s1^2 = lam`` and R a random rotation. The loop runs to
    N_h: past min(N_i, N_o), where p = 0, the wider layer carries sqrt(abs(lam)).

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
    kind : {"gaussian", "random_regression", "aligned"}
        The unbalanced product: that of raw Gaussian weights of standard deviation init_scale; the Sigma_yx of
        an independent random regression task of `n_samples` samples and target_scale init_scale (B.4); or
        the singular vectors of `task`, each mode with strength init_scale^2 (Saxe et al. 2014).
    n_samples : int, optional
        For "random_regression".
    task : Task, optional
        For "aligned".
    weights : (w1, w2), optional
        Raw weights in place of Gaussian weights. They are multiplied by init_scale.

    Returns
    -------
    Network
        Its `balance` is "strict" where ``W2^T W2 - W1 W1^T = lam I`` is feasible (lam = 0, or lam > 0
        and N_h <= N_o, or lam < 0 and N_h <= N_i), and "support" otherwise.

    Raises
    ------
    InputError
        If a number is out of range, or an argument that the kind needs is missing.

    Examples
    --------
    >>> net = fl.balanced_init(fl.Architecture(4, 2, 4), lam=-1.0, seed=0)
    >>> net
    <bottleneck Network 4-2-4 (N_i-N_h-N_o), lam -1, balance 'strict'>
    >>> bool(np.allclose(net.w2.T @ net.w2 - net.w1 @ net.w1.T, -np.eye(2)))
    True
    """
    check_instance("architecture", architecture, Architecture, "Architecture(n_i, n_h, n_o)")
    lam = check_float("lam", lam)
    scale, seed = check_scale("init_scale", init_scale), check_int("seed", seed, 0, MAX_SEED)
    samples = None if n_samples is None else check_int("n_samples", n_samples, 1, MAX_SAMPLES)
    start = INIT_KINDS[check_choice("kind", kind, list(INIT_KINDS))].law(samples)
    factors = (
        _drawn_factors(start, architecture, seed, task)
        if weights is None
        else _factors_of(weights, architecture, kind)
    )
    return _balanced(architecture, lam, seed, factors._replace(p=strength(start, scale) * factors.p))


def draw_network(architecture: Architecture, lam: float, seed: int, problem: Problem, task: Task) -> Network:
    """Return the network that a seed has under the laws of a problem, of checked inputs."""
    factors = _drawn_factors(problem.start, architecture, seed, task)
    return _balanced(architecture, lam, seed, factors._replace(p=problem.strength * factors.p))


def _balanced(architecture: Architecture, lam: float, seed: int, factors: Factors) -> Network:
    """Return weights of a balance, with the product that the factors are of."""
    u, p, v = factors
    n_i, n_h, n_o = architecture.n_i, architecture.n_h, architecture.n_o
    strengths = np.zeros(n_h)
    strengths[: p.size] = p
    scales1, scales2 = balanced_scales(strengths, lam)
    s1, s2 = np.eye(n_h, min(n_h, n_i)) * scales1[:, None], np.eye(min(n_h, n_o), n_h) * scales2
    rotation = _rotation(architecture, seed)
    return Network(rotation @ s1 @ v.T, u @ s2 @ rotation.T, lam)


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


def _rotation(architecture: Architecture, seed: int) -> Array:
    """Return a random orthogonal matrix (N_h, N_h), uniform by the signs of the diagonal of R."""
    n_h = architecture.n_h
    stream = generator(Stream.ROTATION, seed, architecture.sizes)
    q, r = np.linalg.qr(stream.standard_normal((n_h, n_h)))
    return np.asarray(q * np.where(np.diagonal(r) < 0, -1.0, 1.0))
