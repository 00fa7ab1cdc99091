"""What `fastlin bench` compares with: the same results by NumPy and by JAX, as fast as plain code gets.

Each function is the fastest of the variants tried on small networks. Two choices matter most: the
batch is the last axis ("lanes"), so that one operation runs over contiguous rows of many networks and
not over tiny matrices, and the batch is cut into pieces that stay in cache. NumPy runs on one core,
JAX on all. W2^T (N_h, N_o) is called `w2t`; side by side with W1 it is `q` (N_h, N).
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

NUMPY_LANES = 1024  # the 1 us of a NumPy call is spread over many lanes, yet (4, 2, 4) fits in L2
NUMPY_MATRICES = 256
JAX_LANES = 64
# From this N_i N_h N_o on, numpy.matmul of separate matrices beats einsum over lanes: 2 times at 1024.
MATMUL_FROM = 512
MAX_EXPONENT = 10.0  # of e^{2 r dt}: beyond it a step of the closed form loses digits


class Batch(NamedTuple):
    """Configurations of one architecture, one an entry of the leading axis."""

    sigma: Array  # (B, N_o, N_i)
    lam: Array  # (B,)
    floor: Array  # (B,), the loss that no weights avoid
    w1: Array  # (B, N_h, N_i)
    w2: Array  # (B, N_o, N_h)


# ---------------------------------------------------------------- shared by NumPy and JAX


def _kernel_inner(shape: tuple[int, ...], grams: Any, traces: Any, others: Any) -> Any:
    """<K, K'> / P^2 from |W1 W1'^T|^2 and |W2^T W2'|^2, and |W1|^2, |W2|^2 of either network."""
    n_o, n_i = shape
    return n_o * grams[0] + n_i * grams[1] + traces[0] * others[1] + traces[1] * others[0]


def _growth(xp: Any, w: Any, dt: Any) -> tuple[Any, Any]:
    """Return e^{w dt} and the integral of e^{2 w s} over 0 <= s <= dt."""
    safe = xp.where(w == 0, 1.0, w)
    return xp.exp(w * dt), xp.where(w == 0, dt, xp.expm1(2 * safe * dt) / (2 * safe))


class _Spectral(NamedTuple):
    """Start of the closed form in the SVD basis of Sigma, where F mixes the inputs and outputs in pairs."""

    s: Any  # (m, B)
    w: Any  # (N, B), eigenvalues of F: r, -lam/2 of unpaired inputs, -r, lam/2 of unpaired outputs
    cos: Any  # (m, B)
    sin: Any  # (m, B)
    q: Any  # (N_h, N, B)


def _spectral(xp: Any, batch: Batch) -> _Spectral:
    """Return the eigen-system of F from the SVD of Sigma, which takes half the time of `eigh` of F."""
    n_o, n_i = batch.sigma.shape[1:]
    u, s, vt = xp.linalg.svd(batch.sigma)
    q = xp.concatenate([batch.w1 @ xp.swapaxes(vt, 1, 2), xp.swapaxes(batch.w2, 1, 2) @ u], axis=2)
    s, half = s.T, batch.lam / 2
    r = xp.hypot(s, half)
    safe = xp.where(r > 0, r, 1.0)
    larger = xp.sqrt((1 + xp.where(r > 0, abs(half) / safe, 1.0)) / 2)
    smaller = s / (2 * safe * larger)
    inputs = xp.broadcast_to(-half, (n_i - len(s), len(half)))
    outputs = xp.broadcast_to(half, (n_o - len(s), len(half)))
    return _Spectral(
        s=s,
        w=xp.concatenate([r, inputs, -r, outputs]),
        cos=xp.where(half >= 0, smaller, larger),
        sin=xp.where(half >= 0, larger, smaller),
        q=xp.moveaxis(q, 0, -1),
    )


def _gaps(times: Array) -> tuple[Array, bool]:
    """Return the gaps between successive times, from 0 on, and whether all but the first are equal."""
    gaps = np.diff(times, prepend=0.0)
    mean = (times[-1] - times[0]) / max(len(times) - 1, 1)
    uniform = bool(np.all(np.abs(gaps[1:] - mean) <= 4 * np.finfo(float).eps * times[-1]))
    if uniform:  # but for the rounding of a linspace; made equal, they share their exponentials
        gaps[1:] = mean
    return gaps, uniform


# ---------------------------------------------------------------- NumPy


class _Algebra(NamedTuple):
    """The matrix operations of one memory layout."""

    axes: tuple[int, int]  # rows and columns
    product: Callable[..., Any]  # given `out`, as the page faults of fresh arrays cost more than the sums
    square_norm: Callable[[Array], Any]  # sum of the squared entries of each matrix

    def transpose(self, a: Array) -> Array:
        """Return a view of the transposed matrices."""
        return a.swapaxes(*self.axes)


_ONE = _Algebra((0, 1), np.dot, lambda a: np.vdot(a, a))  # less overhead a call than matmul
_MATRICES = _Algebra((1, 2), np.matmul, lambda a: np.einsum("bij,bij->b", a, a))
_LANES = _Algebra((0, 1), partial(np.einsum, "ikb,kjb->ijb"), lambda a: np.einsum("ijb,ijb->b", a, a))


class _Observer:
    """Loss, and kernel distance from a start: no hidden rotation of either changes them."""

    def __init__(self, algebra: _Algebra, sigma: Array, floor: Any, w1: Array, w2t: Array) -> None:
        self._algebra, self._sigma, self._floor = algebra, sigma, floor
        self._shape = tuple(sigma.shape[axis] for axis in algebra.axes)
        self._residual = np.empty_like(sigma)
        self._gram = np.empty_like(algebra.product(w1, algebra.transpose(w1)))
        self._start = w1.copy(), w2t.copy()
        self._start_traces = self._traces(self._start)
        self._start_norm = self._inner(self._start, self._start_traces, self._start, self._start_traces)

    def __call__(self, w1: Array, w2t: Array) -> tuple[Any, Any]:
        """Return the loss and the kernel distance."""
        residual = self._algebra.product(self._algebra.transpose(w2t), w1, out=self._residual)
        np.subtract(self._sigma, residual, out=residual)
        loss = self._floor + self._algebra.square_norm(residual) / 2
        now = w1, w2t
        traces = self._traces(now)
        cross = self._inner(now, traces, self._start, self._start_traces)
        return loss, 1 - cross / np.sqrt(self._inner(now, traces, now, traces) * self._start_norm)

    def _traces(self, net: tuple[Array, Array]) -> list[Any]:
        return [self._algebra.square_norm(w) for w in net]

    def _inner(self, net: tuple[Array, Array], traces: Any, other: tuple[Array, Array], others: Any) -> Any:
        grams = [self._square_gram(a, b) for a, b in zip(net, other, strict=True)]
        return _kernel_inner(self._shape, grams, traces, others)

    def _square_gram(self, a: Array, b: Array) -> Any:
        # Through the hidden layer, (N_h, N_h), the smaller Gram matrix of a bottleneck.
        return self._algebra.square_norm(self._algebra.product(a, self._algebra.transpose(b), out=self._gram))


def _pieces(batch: Batch, size: int) -> Iterator[tuple[slice, Batch]]:
    """Cut a batch into pieces."""
    for start in range(0, len(batch.lam), size):
        where = slice(start, start + size)
        yield where, Batch(*(a[where] for a in batch))


def _single(batch: Batch) -> Iterator[tuple[int, Batch]]:
    """Take the networks of a batch one by one."""
    for index in range(len(batch.lam)):
        yield index, Batch(*(a[index] for a in batch))


def _lanes(a: Any) -> Array:
    """Move the batch to the last axis."""
    return np.ascontiguousarray(np.moveaxis(a, 0, -1))


def _descend(algebra: _Algebra, net: Batch, learning_rate: float, steps: int) -> tuple[Any, Any]:
    """Return loss and kernel distance after gradient descent, in any layout."""
    w1, w2 = net.w1.copy(), net.w2.copy()
    w1t, w2t = algebra.transpose(w1), algebra.transpose(w2)  # views: they follow the steps
    error, step1, step2 = np.empty_like(net.sigma), np.empty_like(w1), np.empty_like(w2)
    for _ in range(steps):
        algebra.product(w2, w1, out=error)
        np.subtract(net.sigma, error, out=error)
        error *= learning_rate
        algebra.product(w2t, error, out=step1)
        algebra.product(error, w1t, out=step2)
        w1 += step1
        w2 += step2
    return _Observer(algebra, net.sigma, net.floor, net.w1, algebra.transpose(net.w2))(w1, w2t)


def numpy_batched_descent(batch: Batch, learning_rate: float, steps: int) -> Array:
    """Return loss and kernel distance (B, 2) after gradient descent, many networks at a time."""
    result = np.empty((len(batch.lam), 2))
    small = batch.sigma[0].size * batch.w1.shape[1] < MATMUL_FROM
    for where, piece in _pieces(batch, NUMPY_LANES if small else NUMPY_MATRICES):
        algebra, net = (_LANES, Batch(*map(_lanes, piece))) if small else (_MATRICES, piece)
        result[where] = np.stack(_descend(algebra, net, learning_rate, steps), axis=-1)
    return result


def numpy_single_descent(batch: Batch, learning_rate: float, steps: int) -> Array:
    """Return loss and kernel distance (B, 2) after gradient descent, one network at a time."""
    result = np.empty((len(batch.lam), 2))
    for index, net in _single(batch):
        result[index] = _descend(_ONE, net, learning_rate, steps)
    return result


def _march(
    times: Array,
    w: Array,
    k: Array,
    advance: Callable[[Array, Array, Array], Array],
    observe: Callable[[Array], tuple[Any, Any]],
    out: Array,
) -> None:
    """Fill `out` (T, 2, ...) from steps of the factor `k` of QQ^T in the eigenbasis of F."""
    rate, known, growth = float(np.abs(w).max()), -1.0, (w, w)
    for row, gap in zip(out, _gaps(times)[0].tolist(), strict=True):
        steps = max(math.ceil(2 * rate * gap / MAX_EXPONENT), int(gap > 0))
        if steps and gap != known:
            known, growth = gap, _growth(np, w, gap / steps)
        for _ in range(steps):
            k = advance(k, *growth)
        row[0], row[1] = observe(k)


class _LaneMarch:
    """The closed form of a piece of a batch, lanes last."""

    def __init__(self, batch: Batch) -> None:
        spectral = _spectral(np, batch)
        self.w, s, q = (np.ascontiguousarray(a) for a in (spectral.w, spectral.s, spectral.q))
        self._cos, self._sin = np.ascontiguousarray(spectral.cos), np.ascontiguousarray(spectral.sin)
        n_o, n_i = batch.sigma.shape[1:]
        self._n_i, self._upper, self._lower = n_i, slice(0, len(s)), slice(n_i, n_i + len(s))
        self._scratch, self._q, self.k = np.empty_like(q), q.copy(), np.empty_like(q)
        self._gram = np.empty((len(q), len(q), q.shape[-1]))
        sigma = np.zeros((n_o, n_i, q.shape[-1]))
        np.einsum("iib->ib", sigma[: len(s), : len(s)])[...] = s
        self._observer = _Observer(_LANES, sigma, batch.floor, q[:, :n_i], q[:, n_i:])
        self._reflect(q, self.k)

    def advance(self, k: Array, growth: Array, integral: Array) -> Array:
        """Step K^T in place to C^{-1} K^T e^{w dt}, C C^T = I + K^T phi K by a hand-written Cholesky."""
        gram, scratch = self._gram, self._scratch
        np.multiply(k, integral, out=scratch)
        _LANES.product(scratch, _LANES.transpose(k), out=gram)
        k *= growth
        for i in range(len(k)):
            pivot = 1 / np.sqrt(1 + gram[i, i])
            k[i] *= pivot
            column = gram[i + 1 :, i] * pivot
            k[i + 1 :] -= np.multiply(column[:, None], k[i], out=scratch[i + 1 :])
            gram[i + 1 :, i + 1 :] -= column[:, None] * column
        return k

    def observe(self, k: Array) -> tuple[Any, Any]:
        """Return the loss and the kernel distance."""
        self._reflect(k, self._q)
        return self._observer(self._q[:, : self._n_i], self._q[:, self._n_i :])

    def _reflect(self, a: Array, out: Array) -> None:
        """Change between the SVD basis and the eigenbasis of F: one reflection for both directions."""
        upper, lower, scratch = a[:, self._upper], a[:, self._lower], self._scratch[:, self._upper]
        np.copyto(out, a)
        np.multiply(self._cos, upper, out=out[:, self._upper])
        out[:, self._upper] += np.multiply(self._sin, lower, out=scratch)
        np.multiply(self._sin, upper, out=out[:, self._lower])
        out[:, self._lower] -= np.multiply(self._cos, lower, out=scratch)


def numpy_batched_closed_form(batch: Batch, times: Array) -> Array:
    """Return loss and kernel distance (B, T, 2) of the closed form, many networks at a time."""
    result: Array = np.empty((len(times), 2, len(batch.lam)))
    for where, piece in _pieces(batch, NUMPY_LANES):
        lanes = _LaneMarch(piece)
        _march(times, lanes.w, lanes.k, lanes.advance, lanes.observe, result[..., where])
    return np.moveaxis(result, -1, 0)


def _advance_one(k: Array, growth: Array, integral: Array) -> Array:
    """Return the stepped K^T of one network."""
    gram: Array = np.dot(k * integral, k.T)
    gram.flat[:: len(k) + 1] += 1
    stepped: Array = np.linalg.solve(np.linalg.cholesky(gram), k * growth)
    return stepped


def _march_one(net: Batch, times: Array, out: Array) -> None:
    """Fill `out` (T, 2) with the closed form of one network."""
    n_o, n_i = net.sigma.shape
    f = np.diag(np.repeat([-net.lam / 2, net.lam / 2], [n_i, n_o]))
    f[n_i:, :n_i] = net.sigma  # eigh reads the lower triangle
    w, vectors = np.linalg.eigh(f)
    back = np.ascontiguousarray(vectors.T)
    observer = _Observer(_ONE, net.sigma, net.floor, net.w1, net.w2.T)

    def observe(k: Array) -> tuple[Any, Any]:
        q = np.dot(k, back)
        return observer(q[:, :n_i], q[:, n_i:])

    _march(times, w, np.concatenate([net.w1, net.w2.T], axis=1) @ vectors, _advance_one, observe, out)


def numpy_single_closed_form(batch: Batch, times: Array) -> Array:
    """Return loss and kernel distance (B, T, 2) of the closed form, one network at a time."""
    result = np.empty((len(batch.lam), len(times), 2))
    for index, net in _single(batch):
        _march_one(net, times, result[index])
    return result


# ---------------------------------------------------------------- JAX


def _jax() -> Any:
    """Import JAX, which is optional, and switch this process to its float64."""
    jax = import_module("jax")
    jax.config.update("jax_enable_x64", True)
    return jax


def _product(a: Any, b: Any) -> Any:
    """Multiply matrices, lanes last: XLA fuses written-out multiply-adds, not batched dots of this size."""
    return sum(a[:, k, None] * b[None, k] for k in range(a.shape[1]))


def _transpose(a: Any) -> Any:
    return a.swapaxes(0, 1)


def _square_norm(a: Any) -> Any:
    """Sum the squares of each matrix; written out because XLA does not vectorise a reduction over rows."""
    return sum(a[i, j] ** 2 for i in range(a.shape[0]) for j in range(a.shape[1]))


def _jax_observer(jnp: Any, sigma: Any, floor: Any, w1: Any, w2t: Any) -> Callable[[Any, Any], Any]:
    """Return the function from weights, lanes last, to loss and kernel distance (2, lanes)."""

    def traces(net: tuple[Any, Any]) -> list[Any]:
        return [_square_norm(w) for w in net]

    def inner(net: tuple[Any, Any], other: tuple[Any, Any]) -> Any:
        grams = [_square_norm(_product(a, _transpose(b))) for a, b in zip(net, other, strict=True)]
        return _kernel_inner(sigma.shape[:2], grams, traces(net), traces(other))

    start = w1, w2t
    start_norm = inner(start, start)

    def observe(*now: Any) -> Any:
        loss = floor + _square_norm(sigma - _product(_transpose(now[1]), now[0])) / 2
        return jnp.stack([loss, 1 - inner(now, start) / jnp.sqrt(inner(now, now) * start_norm)])

    return observe


def _on_all_cores(piece: Callable[..., Any], workers: int | None) -> Callable[..., Any]:
    """Compile `piece` of JAX_LANES configurations into a function of a batch of any size.

    XLA splits large operations over cores but not loops over small ones, so each core gets its own call.
    """
    jax = _jax()

    def compute(batch: Batch, *args: Any) -> Any:
        count = batch.lam.shape[0]
        padding = -count % JAX_LANES

        def cut(a: Any) -> Any:
            widths = [(0, padding)] + [(0, 0)] * (a.ndim - 1)
            return jax.numpy.pad(a, widths, mode="edge").reshape(-1, JAX_LANES, *a.shape[1:])

        result = jax.lax.map(lambda part: piece(part, *args), jax.tree.map(cut, batch))
        return result.reshape(-1, *result.shape[2:])[:count]

    compiled = jax.jit(compute)
    cores = workers or os.cpu_count() or 1
    pool = ThreadPoolExecutor(cores)

    def run(batch: Batch, *args: Any) -> Any:
        parts = [part for _, part in _pieces(batch, -(-len(batch.lam) // cores))]
        return jax.numpy.concatenate(
            list(pool.map(lambda part: jax.block_until_ready(compiled(part, *args)), parts))
        )

    return run


def jax_descent(steps: int, workers: int | None = None) -> Callable[[Batch, float], Any]:
    """Return a compiled function (batch, learning_rate) -> loss and kernel distance (B, 2)."""
    jax = _jax()

    def piece(batch: Batch, learning_rate: Any) -> Any:
        sigma, w1, w2 = (jax.numpy.moveaxis(a, 0, -1) for a in (batch.sigma, batch.w1, batch.w2))

        def step(_: Any, weights: tuple[Any, Any]) -> tuple[Any, Any]:
            w1, w2 = weights
            error = learning_rate * (sigma - _product(w2, w1))
            return w1 + _product(_transpose(w2), error), w2 + _product(error, _transpose(w1))

        observe = _jax_observer(jax.numpy, sigma, batch.floor, w1, _transpose(w2))
        w1, w2 = jax.lax.fori_loop(0, steps, step, (w1, w2))
        return observe(w1, _transpose(w2)).T

    return _on_all_cores(piece, workers)


def _jax_advance(jnp: Any, k: Any, growth: Any, integral: Any) -> Any:
    """Step K^T to C^{-1} K^T e^{w dt}: `jnp.linalg.cholesky` would call LAPACK for each network."""
    gram = _product(k * integral, _transpose(k))
    left = {(i, j): gram[i, j] for i in range(len(k)) for j in range(i + 1)}
    rows = list(k * growth)
    for i in range(len(rows)):
        pivot = 1 / jnp.sqrt(1 + left[i, i])
        rows[i] = rows[i] * pivot
        for j in range(i + 1, len(rows)):
            left[j, i] = left[j, i] * pivot
            rows[j] = rows[j] - left[j, i] * rows[i]
            for col in range(i + 1, j + 1):
                left[j, col] = left[j, col] - left[j, i] * left[col, i]
    return jnp.stack(rows)


def jax_closed_form(count: int, workers: int | None = None) -> Callable[[Batch, Array], Any]:
    """Return a compiled function (batch, `count` evenly spaced times) -> (B, T, 2) as of NumPy."""
    jax = _jax()
    jnp = jax.numpy

    def piece(batch: Batch, first: Any, gap: Any) -> Any:
        s, w, cos, sin, q = _spectral(jnp, batch)
        n_o, n_i = batch.sigma.shape[1:]
        m = len(s)

        def reflect(a: Any) -> tuple[Any, Any]:
            plus, minus = a[:, :m], a[:, n_i : n_i + m]
            upper, lower = cos * plus + sin * minus, sin * plus - cos * minus
            return jnp.append(upper, a[:, m:n_i], axis=1), jnp.append(lower, a[:, n_i + m :], axis=1)

        def march(span: Any) -> Callable[[Any], Any]:
            needed = jnp.ceil(2 * jnp.abs(w).max() * span / MAX_EXPONENT)
            steps = jnp.maximum(needed, span > 0).astype(int)
            growth = _growth(jnp, w, span / jnp.maximum(steps, 1))
            return lambda k: jax.lax.fori_loop(0, steps, lambda _, k: _jax_advance(jnp, k, *growth), k)

        sigma = jnp.zeros((n_o, n_i, s.shape[1])).at[jnp.arange(m), jnp.arange(m)].set(s)
        observe = _jax_observer(jnp, sigma, batch.floor, q[:, :n_i], q[:, n_i:])
        advance = march(gap)
        start = march(first)(jnp.concatenate(reflect(q), axis=1))
        _, rows = jax.lax.scan(lambda k, _: (advance(k), observe(*reflect(k))), start, length=count)
        return jnp.moveaxis(rows, -1, 0)

    compiled = _on_all_cores(piece, workers)

    def run(batch: Batch, times: Array) -> Any:
        gaps, uniform = _gaps(times)
        if len(times) != count or not uniform:
            raise ValueError(f"times must be {count} evenly spaced values, got {len(times)}: {times}")
        return compiled(batch, gaps[0], gaps[-1])

    return run
