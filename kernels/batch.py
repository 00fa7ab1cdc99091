"""A batch: the points (seed, lam) of one architecture that a kernel runs in one call."""

from typing import Any, NamedTuple

import numpy as np

from fastlin.kernels.compiler.jit import Array
from fastlin.kernels.compiler.values import WIDTH

# The closed form works on so many vectors in turn. One computes while the other waits for a root or a
# division.
VECTORS = 2


class Batch(NamedTuple):
    """Points (seed, lam), seeds outermost, and the arrays for their results.

    In a traced function the same fields are arrays of vector code.
    """

    records: Any  # (S, length) `Record` of each seed
    lam: Any  # (L,)
    times: Any  # (T,) times, or steps of gradient descent (int64, ascending); (0,) for time scales
    outputs: Any  # (R, padded(S L), T), or (R, padded(S L), 1) for time scales; written
    status: Any  # (padded(S L),) codes of `Status`; written


class FlowControl(NamedTuple):
    """The error control of the flow."""

    tolerance: float  # largest error of a step, relative to |Q|
    max_steps: int  # of a network, repeated ones included


def padded(count: int, lanes: int = VECTORS * WIDTH) -> int:
    """Return a number of points rounded up to whole rounds of lanes: a kernel writes outputs of all lanes."""
    return -(-count // lanes) * lanes


def empty_batch(records: Array, lam: Array, times: Any, outputs: int) -> Batch:
    """Return a batch with empty arrays for so many outputs. Without times, each is one number a point."""
    points = padded(len(records) * lam.size)
    values = np.empty((outputs, points, max(1, times.size)))
    return Batch(records, lam, times, values, np.empty(points, dtype=np.uint8))
