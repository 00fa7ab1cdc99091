"""A block: some seeds of one architecture and init_scale, with all lam and all times. The unit of work."""

from dataclasses import dataclass
from functools import cache
from time import perf_counter, thread_time
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from fastlin import kernels
from fastlin.architecture import Architecture
from fastlin.kernels import Status
from fastlin.observables import REGISTRY
from fastlin.sweeps import store


@dataclass(frozen=True, eq=False)
class Block:
    """All that a worker needs to compute one chunk of every array of a store."""

    region: tuple[slice, ...]  # of the grid of points: (architecture, init_scale, ..., seed, lam)
    architecture: Architecture
    init_scale: float
    method: str
    learning_rate: float
    seeds: NDArray[np.int64]
    lams: NDArray[np.float64]
    times: NDArray[np.float64]
    n_samples: int
    target_scale: float
    init_kind: str
    observables: tuple[str, ...]
    dtype: str


class Receipt(NamedTuple):
    """What a worker sends back: no data, only what became of the block."""

    points: int
    kernel_seconds: float  # of the processor, to set up and compute
    seconds: float  # by the clock, that and writing


class Result(NamedTuple):
    """Values of a block: one array (S, L, T) or (S, L, T, rows) per observable, and status (S, L)."""

    values: dict[str, NDArray[np.floating[Any]]]
    status: NDArray[np.uint8]


def recorded_steps(times: NDArray[np.float64], learning_rate: float) -> NDArray[np.int64]:
    """Return the whole steps of gradient descent that are nearest to `times`."""
    return np.rint(times / learning_rate).astype(np.int64)


def compute(block: Block) -> Result:
    """Compute one block."""
    shape = block.architecture
    rows = [row for name in block.observables for row in REGISTRY[name].rows]
    codes = np.array(rows, dtype=np.int64)
    # Arrays that came over the wire may be read-only, which would compile the kernel a second time.
    seeds, lams, times = np.array(block.seeds), np.array(block.lams), np.array(block.times)
    points = seeds.size * lams.size
    out = np.empty((codes.size, kernels.padded(points), times.size))
    status = np.empty(kernels.padded(points), dtype=np.uint8)
    records = kernels.draw_records(
        shape, seeds, block.n_samples, block.target_scale, block.init_kind, block.init_scale
    )
    if block.method == "exact":
        kernels.closed_form(shape, records, lams, times, codes, out, status)
    else:
        steps = recorded_steps(times, block.learning_rate)
        kernels.gradient_descent(shape, records, lams, block.learning_rate, steps, codes, out, status)
    out, status = out[:, :points], status[:points]
    if block.dtype != "float64":
        with np.errstate(over="ignore"):  # what does not fit float32 is inf, and the point has failed
            out = out.astype(block.dtype)
        lost = ~np.isfinite(out).all(axis=(0, 2))
        status[lost & (status == Status.OK)] = Status.FAILED
    grid = (seeds.size, lams.size)
    return Result(_by_observable(block.observables, out.reshape(-1, *grid, times.size)), status.reshape(grid))


def _by_observable(
    names: tuple[str, ...], out: NDArray[np.floating[Any]]
) -> dict[str, NDArray[np.floating[Any]]]:
    """Split out (R, S, L, T) into the layout of the store: (S, L, T), and a last axis for layers."""
    values, first = {}, 0
    for name in names:
        count = len(REGISTRY[name].rows)
        values[name] = np.moveaxis(out[first : first + count], 0, -1) if REGISTRY[name].dims else out[first]
        first += count
    return values


@cache
def _one_blas_thread() -> None:
    """Keep BLAS of this process on one thread: blocks run side by side, and bits must not depend on it."""
    threadpool_limits(limits=1, user_api="blas")


def run_block(block: Block, path: str) -> Receipt:
    """Compute one block and write it to the store at `path`; the task that Dask runs."""
    start, worked = perf_counter(), thread_time()
    _one_blas_thread()
    result = compute(block)
    kernel_seconds = thread_time() - worked
    store.write(path, block.region, result.values, result.status)
    return Receipt(result.status.size, kernel_seconds, perf_counter() - start)
