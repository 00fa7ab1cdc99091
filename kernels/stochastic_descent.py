"""Gradient descent of one network on batches of its samples, with noise on their targets.

The noise is a function of values: the order of the samples in an epoch follows from (seed, epoch), and the
noise on the targets of a step from (seed, step). Streams are keyed by N_i and N_o as those of tasks are, so
that networks of all N_h see the same noise.
"""

from typing import NamedTuple

import numpy as np

from fastlin.kernels.compiler.jit import Array, Integers, jit
from fastlin.kernels.compiler.values import WIDTH
from fastlin.kernels.compiler.workspace import aligned
from fastlin.kernels.random import Stream, draw_run, pairs_of, scratch, shared, stream_key
from fastlin.kernels.sizes import Sizes
from fastlin.kernels.weight_descent import move


class Noise(NamedTuple):
    """Noise of stochastic gradient descent."""

    batch_size: int  # B, from 1 to P
    label_noise: float  # standard deviation of the noise on each target
    seed: int


class _Streams(NamedTuple):
    """Keys of the streams of one run, and memory for their numbers."""

    seeds: Integers  # (WIDTH,) all the same
    order_key: np.uint64
    label_key: np.uint64
    uniforms: Array
    order: Array  # (rows, WIDTH) normal numbers of an epoch, one for each sample
    labels: Array  # (rows, WIDTH) normal numbers of a step, one for each target


def descend(
    w1: Array,
    w2: Array,
    x: Array,
    y: Array,
    rates: tuple[float, float],
    decay: tuple[float, float],
    noise: Noise,
    steps: Integers,
    path1: Array,
    path2: Array,
) -> None:
    """Run stochastic gradient descent: a step of `weight_descent` with E of a batch.

    ``E = (Y_b + noise - W2 W1 X_b) X_b^T / |b|``. An epoch takes the samples in a random order, B at a time;
    its last batch has the samples that are left. With B = P every batch is all samples in their own order.

    Parameters
    ----------
    w1, w2 : ndarray, (H, N_i) and (N_o, H)
        Weights, which are overwritten. The caller reduces their width to N_i + N_o.
    x, y : ndarray, (N_i, P) and (N_o, P)
        Data.
    rates, decay : pair of float
        (eta1, eta2) and (g1, g2).
    noise : Noise
        Size of batches, standard deviation of the noise on targets, and seed.
    steps : ndarray of int, (T,)
        Ascending.
    path1, path2 : ndarray, (T, H, N_i) and (T, N_o, H)
        Weights after so many steps, which are written.
    """
    (n_i, samples), n_o = x.shape, len(y)
    sizes = shared(Sizes(n_i, 0, n_o))
    streams = _Streams(
        np.full(WIDTH, noise.seed),
        np.uint64(stream_key(Stream.BATCHES, sizes)),
        np.uint64(stream_key(Stream.LABEL_NOISE, sizes)),
        scratch(),
        aligned(rows_of(samples)),
        aligned(rows_of(noise.batch_size * n_o)),
    )
    by_sample = np.ascontiguousarray(x.T), np.ascontiguousarray(y.T)
    _descend(
        w1, w2, *by_sample, rates, decay, noise.batch_size, noise.label_noise, streams, steps, path1, path2
    )


def rows_of(count: int) -> int:
    """Return the rows (of WIDTH) of whole blocks that hold `count` numbers of a stream."""
    return 2 * pairs_of(-(-count // WIDTH))


@jit
def _descend(
    w1: Array,
    w2: Array,
    x: Array,
    y: Array,
    rates: tuple[float, float],
    decay: tuple[float, float],
    batch_size: int,
    label_noise: float,
    streams: _Streams,
    steps: Integers,
    path1: Array,
    path2: Array,
) -> None:
    """See `descend`. x (P, N_i), y (P, N_o): a sample is a row."""
    samples = len(x)
    batches = (samples + batch_size - 1) // batch_size
    order = np.arange(samples)
    inputs, targets = np.empty((batch_size, x.shape[1])), np.empty((batch_size, y.shape[1]))
    step = 0
    for index in range(steps.size):
        while step < steps[index]:
            epoch, batch = step // batches, step % batches
            if batch == 0 and batches > 1:
                _shuffle(streams, epoch, order)
            members = order[batch * batch_size : (batch + 1) * batch_size]
            for row in range(members.size):
                inputs[row], targets[row] = x[members[row]], y[members[row]]
            if label_noise > 0.0:
                _add_noise(streams, step, label_noise, targets)
            _step(w1, w2, inputs[: members.size], targets[: members.size], rates, decay)
            step += 1
        path1[index], path2[index] = w1, w2


@jit
def _shuffle(streams: _Streams, epoch: int, order: Integers) -> None:
    """Write the order of the samples in an epoch, which is that of normal numbers: any order is as likely."""
    numbers = streams.order
    draw_run(streams.order_key, streams.seeds, epoch * (numbers.size // 2), streams.uniforms, numbers)
    order[:] = np.argsort(numbers.T.copy().reshape(-1)[: order.size], kind="mergesort")


@jit
def _add_noise(streams: _Streams, step: int, deviation: float, targets: Array) -> None:
    """Add the normal noise of a step to targets (B, N_o)."""
    numbers = streams.labels
    draw_run(streams.label_key, streams.seeds, step * (numbers.size // 2), streams.uniforms, numbers)
    for row in range(targets.shape[0]):
        for column in range(targets.shape[1]):
            place = row * targets.shape[1] + column
            targets[row, column] += deviation * numbers[place % len(numbers), place // len(numbers)]


@jit
def _step(
    w1: Array, w2: Array, x: Array, y: Array, rates: tuple[float, float], decay: tuple[float, float]
) -> None:
    """Take one step with samples x (B, N_i) and targets y (B, N_o)."""
    hidden = np.dot(x, w1.T)
    error = (rates[0] / len(x)) * (y - np.dot(hidden, w2.T))
    change1 = np.dot(np.dot(error, w2).T, x)
    move(w2, 1.0 - rates[1] * decay[1], rates[1] / rates[0], np.dot(error.T, hidden))
    move(w1, 1.0 - rates[0] * decay[0], 1.0, change1)


def nanoseconds(sizes: Sizes, batch_size: int, steps: float, records: int) -> Array:
    """Estimate the time of one network on one core, with the set-up of its samples and its observables."""
    step = 1500.0 + batch_size * (30.0 * sizes.n_o + 0.3 * sizes.n_h * sizes.units)
    return np.asarray(1e6 + steps * step + records * (2e4 + 3.0 * sizes.units**3))
