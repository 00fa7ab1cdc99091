"""LoRA (Hu et al. 2022): a frozen map W0 with a trained update of low rank, as a two-layer network."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from fastlin.architecture import Architecture
from fastlin.errors import InputError
from fastlin.kernels.compiler.jit import Array
from fastlin.kernels.random import MAX_SEED, MAX_SIZE, Stream, generator
from fastlin.networks.network import Network
from fastlin.tasks.adapted import adapted, residual_task
from fastlin.tasks.related import similar
from fastlin.tasks.task import Task, check_scale
from fastlin.validation import check_array, check_choice, check_instance, check_int
from fastlin.weights.rates import Rates

SCALINGS = {"alpha/r": 1.0, "alpha/sqrt(r)": 0.5}  # powers of 1 / r
ADAPTERS = ("orthonormal", "gaussian", "spectral")


def lora(
    task: Task,
    w0: ArrayLike | Network,
    rank: int,
    alpha: float = 1.0,
    scaling: str = "alpha/r",
    init: str = "orthonormal",
    init_scale: float = 1.0,
    learning_rates: tuple[float, float] = (1.0, 1.0),
    seed: int = 0,
) -> tuple[Task, Network]:
    """Return the task and the network of low-rank adaptation: the map ``W0 + c B A`` with B = 0 at the start.

    ``A' = eta_A c B^T E``, ``B' = eta_B c E A^T``, ``E = Sigma_yx - (W0 + c B A) Sigma_xx``. With ``U1 = c
    sqrt(eta_B) A``, ``U2 = c sqrt(eta_A) B`` and the target ``c sqrt(eta_A eta_B) (Sigma_yx - W0)`` this is
    the flow of a two-layer network, which is balanced for ``A A^T = a^2 I``: ``lam_U = -c^2 eta_B a^2``.

    Parameters
    ----------
    task : Task
        The task of the fine-tuning.
    w0 : array_like (N_o, N_i), or Network
        The pre-trained map, which is frozen. A network stands for its map W2 W1.
    rank : int
        Rank r >= 1 of the adapter. From min(N_i, N_o) on, the adapter can learn the whole task.
    alpha : float
        Scale of the adapter, > 0.
    scaling : {"alpha/r", "alpha/sqrt(r)"}
        The factor c: that of LoRA (Hu et al. 2022), or of rsLoRA (Kalajdzievski 2023).
    init : {"orthonormal", "gaussian", "spectral"}
        Law of A (r, N_i). "orthonormal": random orthonormal rows on the span of the inputs (columns, if r is
        larger than their number). "gaussian": normal entries of variance 1 / N_i, so that ``A A^T`` has the
        mean I. "spectral": the top right singular vectors of ``Sigma_yx - W0 Sigma_xx``, the gradient of W0
        (as in LoRA-GA, Wang et al. 2024); rows beyond their number are 0. All are multiplied by init_scale.
    init_scale : float
        The scale a of A, > 0.
    learning_rates : (float, float)
        Rates (eta_A, eta_B). LoRA+ has eta_B > eta_A (Hayou et al. 2024).
    seed : int
        The draws are a function of (seed, N_i, r, N_o) alone, and of `init`.

    Returns
    -------
    task : Task
        The task with `offset` W0, `gain` c and `learning_rates`. `exact`, `flow` and `gradient_descent` give
        their results in the variables of the user: loss, "w2w1" and "network_function" are those of
        ``W0 + c B A``, and the NTK is that of its parameters A and B.
    net : Network
        ``w1`` is A (r, N_i), and ``w2`` is B (N_o, r).

    Raises
    ------
    InputError
        If a number is out of range, or the shape of w0 is not that of the task.

    Notes
    -----
    `exact` takes "orthonormal" and "spectral" adapters on inputs that are not "general". A Gaussian A has no
    balance, so `flow` solves it. Both use the rates of the task, and `gradient_descent` multiplies them by
    its learning_rate. Rates that contradict them are refused. The observables "adapter_norm",
    "adapter_alignment" and "recovered_rank" are made for adapters.

    Examples
    --------
    >>> arch = fl.Architecture(6, 6, 4)
    >>> task = fl.random_regression(arch, n_samples=20)
    >>> adapted, net = fl.lora(task, np.zeros((4, 6)), rank=2, alpha=4.0, learning_rates=(1.0, 16.0))
    >>> adapted.gain, net
    (2.0, <bottleneck Network 6-2-4 (N_i-N_h-N_o), lam -1, balance 'strict'>)
    >>> ds = fl.exact(adapted, net, [0.0, np.inf], ["loss", "recovered_rank"])
    >>> ds.recovered_rank.values.tolist()
    [0.0, 2.0]
    """
    check_instance("task", task, Task, "random_regression or Task(x, y)")
    rank, alpha = check_int("rank", rank, 1, MAX_SIZE), check_scale("alpha", alpha)
    gain = alpha / rank ** SCALINGS[check_choice("scaling", scaling, list(SCALINGS))]
    kind, scale = check_choice("init", init, ADAPTERS), check_scale("init_scale", init_scale)
    rates = Rates.read("learning_rates", learning_rates)
    seed = check_int("seed", seed, 0, MAX_SEED)
    tuned = adapted(task, _pretrained(w0, task), gain, (rates.first, rates.second))
    a = scale * _adapter(kind, tuned, rank, seed)
    return tuned, Network(a, np.zeros((task.n_o, rank)))


@dataclass(frozen=True)
class AdapterStart:
    """LoRA: an adapter A, B = 0 of low rank on a map that was pre-trained on another target (see `lora`).

    The frozen map W0 is the end of the training of a network of the architecture on the target `similar` to
    that of the task: the target itself, truncated to rank N_h. init_scale is the scale of A, and rate_ratio
    is eta_B / eta_A (LoRA+).

    Attributes
    ----------
    rank : int
        Rank of the adapter.
    alpha : float
        Scale of the adapter.
    scaling : str
        "alpha/r" or "alpha/sqrt(r)".
    adapter : str
        Law of A: "orthonormal", "gaussian" or "spectral".
    similarity : float
        Cosine of the angle between the targets of pre-training and of the task.
    """

    rank: int
    alpha: float
    scaling: str
    adapter: str
    similarity: float

    def tuned(
        self, task: Task, architecture: Architecture, seed: int, init_scale: float, rates: Rates
    ) -> tuple[Task, Network]:
        """Return the adapted task and the adapter of a seed."""
        w0 = pretrained_map(similar(task, self.similarity, seed), architecture.n_h)
        return lora(
            task,
            w0,
            self.rank,
            self.alpha,
            self.scaling,
            self.adapter,
            init_scale,
            (rates.first, rates.second),
            seed,
        )


def pretrained_map(task: Task, n_h: int) -> Array:
    """Return the map (N_o, N_i) at which the flow of a network of N_h hidden units on a task ends.

    It is the map of rank N_h with the least loss, on the span of the inputs.
    """
    if task.whitened:
        return _truncated(task.sigma_yx, n_h)
    return task.moments.on_inputs(_truncated(task.moments.target, n_h))


def _truncated(matrix: Array, rank: int) -> Array:
    u, s, vt = np.linalg.svd(matrix, full_matrices=False)
    return np.asarray((u[:, :rank] * s[:rank]) @ vt[:rank])


def _pretrained(w0: ArrayLike | Network, task: Task) -> Array:
    """Return the frozen map (N_o, N_i), checked."""
    offset = w0.w2 @ w0.w1 if isinstance(w0, Network) else check_array("w0", w0, "(N_o, N_i)")
    if offset.shape != task.sigma_yx.shape:
        raise InputError(
            f"w0 has shape {offset.shape}; needed is {task.sigma_yx.shape}, as the task maps {task.n_i} "
            f"inputs to {task.n_o} outputs"
        )
    return offset


def _adapter(kind: str, task: Task, rank: int, seed: int) -> Array:
    """Return A (r, N_i) at init_scale 1."""
    stream = generator(Stream.ADAPTER, seed, Architecture(task.n_i, rank, task.n_o).sizes)
    if kind == "gaussian":
        return stream.standard_normal((rank, task.n_i)) / math.sqrt(task.n_i)
    span = task.span
    if kind == "orthonormal":
        return _orthonormal(stream.standard_normal((rank, span.shape[1]))) @ span.T
    left = residual_task(task)
    vectors = np.linalg.svd(left.sigma_yx @ span)[2][:rank] @ span.T
    return np.concatenate([vectors, np.zeros((rank - len(vectors), task.n_i))])


def _orthonormal(raw: Array) -> Array:
    """Return orthonormal rows, or columns of a matrix that has more rows, uniform for normal entries."""
    tall = raw if len(raw) >= raw.shape[1] else raw.T
    q, r = np.linalg.qr(tall)
    q = q * np.where(np.diagonal(r) < 0, -1.0, 1.0)
    return np.asarray(q if tall is raw else q.T)
