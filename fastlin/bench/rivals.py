"""The rivals: the same results as they are computed in NumPy and in JAX.

The formulas are written once, for one network and for a stack of networks. NumPy runs them on one network at
a time, or on stacks: `numpy.matmul` and LAPACK go through the matrices of a stack. JAX compiles them under
`vmap` and `lax.scan`, in float64.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from importlib import import_module
from multiprocessing import get_context
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class Networks(NamedTuple):
    """One network, or a stack of B networks, in arrays of NumPy or of JAX."""

    sigma: Any  # (B, N_o, N_i)
    lam: Any  # (B,) NaN for weights that are not balanced
    floor: Any  # (B,) the smallest loss of a linear map
    w1: Any  # (B, N_h, N_i)
    w2: Any  # (B, N_o, N_h)

    def part(self, index: Any) -> Networks:
        """Return one network of a stack, or some."""
        return Networks(*(array[index] for array in self))


def _transposed(a: Any) -> Any:
    return a.swapaxes(-1, -2)


def _square(a: Any) -> Any:
    return (a * a).sum(axis=(-2, -1))


def _kernels(a: tuple[Any, Any], b: tuple[Any, Any]) -> Any:
    """Return <K_a, K_b> / P^2 of the kernels of two networks (W1, W2)."""
    n_i, n_o = a[0].shape[-1], a[1].shape[-2]
    grams = n_o * _square(a[0] @ _transposed(b[0])) + n_i * _square(_transposed(a[1]) @ b[1])
    return grams + _square(a[0]) * _square(b[1]) + _square(b[0]) * _square(a[1])


def observed(start: Networks, w1: Any, w2: Any) -> tuple[Any, Any]:
    """Return the loss and the kernel distance from the start."""
    now, first = (w1, w2), (start.w1, start.w2)
    loss = start.floor + _square(start.sigma - w2 @ w1) / 2
    return loss, 1 - _kernels(now, first) / (_kernels(now, now) * _kernels(first, first)) ** 0.5


def _step(net: Networks, rate: float, w1: Any, w2: Any) -> tuple[Any, Any]:
    error = rate * (net.sigma - w2 @ w1)
    return w1 + _transposed(w2) @ error, w2 + error @ _transposed(w1)


def _eigenbasis(xp: Any, net: Networks) -> tuple[Any, Any, Any]:
    """Return eigenvalues (N,) and eigenvectors (N, N) of F, and the start in that basis (N, N_h)."""
    half = net.lam[..., None, None] / 2
    n_o, n_i = net.sigma.shape[-2:]
    above = xp.concatenate([-half * xp.eye(n_i), _transposed(net.sigma)], axis=-1)
    below = xp.concatenate([net.sigma, half * xp.eye(n_o)], axis=-1)
    w, vectors = xp.linalg.eigh(xp.concatenate([above, below], axis=-2))
    return w, vectors, _transposed(vectors) @ xp.concatenate([_transposed(net.w1), net.w2], axis=-2)


def _growth(xp: Any, w: Any, dt: float) -> tuple[Any, Any]:
    """Return e^(w dt) and the integral of e^(2 w t) over 0 <= t <= dt."""
    safe = xp.where(w == 0, 1.0, w)
    return xp.exp(w * dt), xp.where(w == 0, dt, xp.expm1(2 * safe * dt) / (2 * safe))


def _advanced(xp: Any, k: Any, growth: Any, integral: Any) -> Any:
    """Return K after a step of Eq 2 in the eigenbasis: e^(w dt) K C^-T with C C^T = I + K^T phi K."""
    gram = xp.eye(k.shape[-1]) + _transposed(k) @ (integral[..., None] * k)
    return growth[..., None] * _transposed(xp.linalg.solve(xp.linalg.cholesky(gram), _transposed(k)))


def _weights(vectors: Any, k: Any, n_i: int) -> tuple[Any, Any]:
    q = vectors @ k
    return _transposed(q[..., :n_i, :]), q[..., n_i:, :]


def numpy_descent(net: Networks, rate: float, steps: int) -> Array:
    """Return loss and kernel distance (..., 1, 2) after gradient descent of one network or of a stack."""
    w1, w2 = net.w1, net.w2
    for _ in range(steps):
        w1, w2 = _step(net, rate, w1, w2)
    return np.stack(observed(net, w1, w2), axis=-1)[..., None, :]


def numpy_closed_form(net: Networks, dt: float, count: int) -> Array:
    """Return loss and kernel distance (..., T, 2) of the closed form at 0, dt, .. (T - 1) dt."""
    w, vectors, k = _eigenbasis(np, net)
    powers = _growth(np, w, dt)
    rows = []
    for index in range(count):
        if index:
            k = _advanced(np, k, *powers)
        rows.append(np.stack(observed(net, *_weights(vectors, k, net.sigma.shape[-1])), axis=-1))
    return np.stack(rows, axis=-2)


class Jax:
    """`numpy_descent` and `numpy_closed_form` of a stack in JAX, on all cores.

    Each core has one process and a share of the stack. XLA runs most of a loop over small matrices on one
    core, and its LAPACK calls from two threads block each other for ever.
    """

    def __init__(self, cores: int) -> None:
        self._cores = cores
        context = get_context("spawn")
        self._pool = ProcessPoolExecutor(cores, context, _take_core, (context.Value("i", 0),))

    def __enter__(self) -> Jax:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def descent(self, net: Networks, rate: float, steps: int) -> Array:
        """Return the result of `numpy_descent`."""
        return self.solve(net, _jax_descent, rate, steps)

    def closed_form(self, net: Networks, dt: float, count: int) -> Array:
        """Return the result of `numpy_closed_form`."""
        return self.solve(net, jax_closed_form, dt, count)

    def solve(self, net: Networks, method: Callable[..., Any], *arguments: float) -> Array:
        """Return ``method(jax, network, *arguments)`` of all networks, compiled for stacks, on all cores.

        The method is a function of a module, because it is sent to other processes.
        """
        parts = [net.part(slice(core, None, self._cores)) for core in range(self._cores)]
        results = list(self._pool.map(partial(_run_jax, method, arguments), parts))
        whole = np.empty((len(net.lam), *results[0].shape[1:]))
        for core, result in enumerate(results):
            whole[core :: self._cores] = result
        return whole


def _take_core(taken: Any) -> None:
    """Bind this process to one core, before JAX counts the cores that it may use."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent process
    if hasattr(os, "sched_setaffinity"):
        with taken.get_lock():
            cores = sorted(os.sched_getaffinity(0))
            os.sched_setaffinity(0, {cores[taken.value % len(cores)]})
            taken.value += 1


def _run_jax(method: Callable[..., Any], arguments: tuple[Any, ...], net: Networks) -> Array:
    return np.asarray(_compiled(method, *arguments)(net))


@cache
def _compiled(method: Callable[..., Any], *arguments: Any) -> Any:
    """Compile a method for stacks, in float64."""
    jax = import_module("jax")
    jax.config.update("jax_enable_x64", True)
    return jax.jit(jax.vmap(lambda net: method(jax, net, *arguments)))


def _jax_descent(jax: Any, net: Networks, rate: float, steps: int) -> Any:
    def body(weights: tuple[Any, Any], _: None) -> tuple[tuple[Any, Any], None]:
        return _step(net, rate, *weights), None

    weights, _ = jax.lax.scan(body, (net.w1, net.w2), length=steps)
    return jax.numpy.stack(observed(net, *weights), axis=-1)[None]


def jax_closed_form(jax: Any, net: Networks, dt: float, count: int) -> Any:
    """Return the result of `numpy_closed_form` of one network, as a function that JAX can compile."""
    xp = jax.numpy
    w, vectors, k = _eigenbasis(xp, net)
    powers = _growth(xp, w, dt)

    def body(k: Any, _: None) -> tuple[Any, Any]:
        weights = _weights(vectors, k, net.sigma.shape[-1])
        return _advanced(xp, k, *powers), xp.stack(observed(net, *weights), axis=-1)

    return jax.lax.scan(body, k, length=count)[1]
