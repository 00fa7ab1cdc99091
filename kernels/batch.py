"""A batch: the points (seed, lam) of one architecture that a kernel runs in one call."""

from typing import Any, NamedTuple

import numpy as np

from fastlin.kernels.compiler.jit import Array
from fastlin.kernels.compiler.values import WIDTH

# Vectors that are worked on in turn, so that one computes while the other waits for a root or a division.
VECTORS = 2


class Batch(NamedTuple):
    """Points (seed, lam), seeds outermost, and the room for their results.

    In a traced function the same fields are arrays of vector code.
    """

    records: Any  # (S, length) `Record` of each seed
    lam: Any  # (L,)
    times: Any  # (T,) times, or steps of gradient descent (int64, ascending); (0,) for time scales
    outputs: Any  # (R, padded(S L), T), or (R, padded(S L), 1) for time scales; written
    status: Any  # (padded(S L),) codes of `Status`; written


def padded(count: int, lanes: int = VECTORS * WIDTH) -> int:
    """Return a number of points rounded up to the lanes of a round, for which outputs need room."""
    return -(-count // lanes) * lanes


def empty_batch(records: Array, lam: Array, times: Any, outputs: int) -> Batch:
    """Return a batch with room for so many outputs; without times there is one number for each."""
    points = padded(len(records) * lam.size)
    room = np.empty((outputs, points, max(1, times.size)))
    return Batch(records, lam, times, room, np.empty(points, dtype=np.uint8))
