"""A batch: the points of one architecture that a kernel runs in one call."""

from typing import Any, NamedTuple

import numpy as np

from fastlin.kernels.compiler.jit import Array
from fastlin.kernels.compiler.values import WIDTH

# The closed form works on so many vectors in turn. One computes while the other waits for a root or a
# division.
VECTORS = 2


class Batch(NamedTuple):
    """P points (record, lam), and the arrays for their results.

    The points are the product of S records and L lam, P = S L, records outermost. In a paired batch, point i
    has record i and lam[i], P = S = L. The bits of a point are the same in both. In a traced function the
    same fields are arrays of vector code.
    """

    records: Any  # (S, length) `Record` of each seed, or of each point
    lam: Any  # (L,)
    times: Any  # (T,) times, or steps of gradient descent (int64, ascending); (0,) for time scales
    outputs: Any  # (R, padded(P), T), or (R, padded(P), 1) for time scales; written
    status: Any  # (padded(P),) codes of `Status`; written
    paired: Any = False  # bool

    @property
    def per_record(self) -> int:
        """Number of points of each record. Point i has record i // per_record and lam[i % L]."""
        return 1 if self.paired else int(self.lam.size)

    @property
    def points(self) -> int:
        """Number of points."""
        return len(self.records) * self.per_record


def kappas_of(batch: Batch, kappa: float | Array) -> Array:
    """Return kappa as kernels take it: one number (1,), or that of each point of a paired batch, (P,).

    Point i has entry i % size.
    """
    kappas = np.atleast_1d(np.asarray(kappa, dtype=np.float64))
    if kappas.shape != (1,) and not (batch.paired and kappas.shape == (batch.points,)):
        kind = "paired" if batch.paired else "not paired"
        raise ValueError(
            f"kappa has the shape {kappas.shape}, but the batch of {batch.points} points is {kind}"
        )
    return np.ascontiguousarray(kappas)


class FlowControl(NamedTuple):
    """The error control of the flow."""

    tolerance: float  # largest error of a step, relative to |Q|
    max_steps: int  # of a network, repeated ones included


def padded(count: int, lanes: int = VECTORS * WIDTH) -> int:
    """Return a number of points rounded up to whole rounds of lanes: a kernel writes outputs of all lanes."""
    return -(-count // lanes) * lanes


def empty_batch(records: Array, lam: Array, times: Any, outputs: int, paired: bool = False) -> Batch:
    """Return a batch with empty arrays for so many outputs. Without times, each is one number a point."""
    points = padded(len(records) * (1 if paired else lam.size))
    values = np.empty((outputs, points, max(1, times.size)))
    return Batch(records, lam, times, values, np.empty(points, dtype=np.uint8), paired)
