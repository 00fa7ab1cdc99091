"""What a worker does with one block: see which of its points are wanted, compute them, write them."""

from __future__ import annotations

import faulthandler
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cache
from time import perf_counter, thread_time
from typing import Any

import numpy as np
from distributed import get_worker
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from fastlin.kernels import Status
from fastlin.sweeps import block as blocks
from fastlin.sweeps import store
from fastlin.sweeps.block import Block, Result
from fastlin.sweeps.folding import fold_block
from fastlin.sweeps.isolation import Apart, Compute, Outcome, evaluate
from fastlin.sweeps.places import Place
from fastlin.sweeps.tally import BAD


@dataclass(frozen=True)
class Order:
    """What the coordinator asks of every block.

    Attributes
    ----------
    place : Place
        The store.
    seconds : float
        After which a block counts as hung, where its process can be ended for it.
    retry : bool
        Whether points that diverged or failed are wanted too.
    apart : bool
        Whether the block has taken a process with it, and is now computed apart.
    """

    place: Place
    seconds: float
    retry: bool = False
    apart: bool = False


@dataclass(frozen=True)
class Receipt:
    """What a worker sends back: no data, only what became of the block."""

    index: tuple[int, ...]
    points: int  # that were computed; all seeds of those that are folded
    kernel_seconds: float  # of the processor, to set up and compute
    seconds: float  # by the clock, that and writing
    reasons: list[tuple[dict[str, Any], str]] = field(default_factory=list)


def run_blocks(order: Order, indices: list[tuple[int, ...]]) -> list[Receipt]:
    """Run some blocks; the task that Dask runs."""
    return [run_block(order, index) for index in indices]


def run_block(order: Order, index: tuple[int, ...]) -> Receipt:
    """Compute what a block lacks and write it."""
    start = perf_counter()
    _one_blas_thread()
    opened = store.reopen(order.place)
    before = opened.read_status(index)
    wanted = np.isin(before, (Status.PENDING, *BAD) if order.retry else Status.PENDING)
    if not wanted.any():
        return Receipt(index, 0, 0.0, perf_counter() - start)
    there = None
    if not wanted.all():
        try:
            there = opened.read_values(index)
        except store.DamagedBlockError:  # what is complete of it is lost, too
            wanted[:] = True
    worked = thread_time()
    block = opened.layout.block(index)
    reduce = opened.layout.spec.reduce
    with _computing(order, block) as compute:
        outcome = fold_block(block, wanted, compute, reduce) if reduce else _points(block, wanted, compute)
    values, status = outcome.result
    if there is not None:
        values = {name: np.where(_spread(wanted, part), part, there[name]) for name, part in values.items()}
        status = np.where(wanted, status, before)
    kernel_seconds = thread_time() - worked
    opened.write_block(index, values, status)
    reasons = [(opened.layout.where(index, row, column), why) for row, column, why in outcome.reasons]
    points = int(wanted.sum()) * (block.seeds.size if opened.layout.spec.reduce else 1)
    return Receipt(index, points, kernel_seconds, perf_counter() - start, reasons)


def _points(block: Block, wanted: NDArray[np.bool_], compute: Compute) -> Outcome:
    """Compute the wanted points of a block, in the dimensions of its chunks."""
    values, status = (outcome := evaluate(block, wanted.reshape(wanted.shape[-2:]), compute)).result
    ones = (1,) * (wanted.ndim - 2)
    spread = {name: part.reshape(ones + part.shape) for name, part in values.items()}
    return outcome._replace(result=Result(spread, status.reshape(wanted.shape)))


def _spread(points: NDArray[np.bool_], values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return a mask of points with as many dimensions as their values."""
    return points.reshape(points.shape + (1,) * (values.ndim - points.ndim))


@cache
def _one_blas_thread() -> None:
    """Keep BLAS of this process on one thread: blocks run side by side, and bits must not depend on it."""
    threadpool_limits(limits=1, user_api="blas")


@contextmanager
def _computing(order: Order, block: Block) -> Iterator[Compute]:
    """Yield what computes: a process apart, or this one, ended if it hangs and may be."""
    if order.apart:
        with closing(Apart(order.seconds, block.seeds.size * block.lams.size)) as apart:
            yield apart
    elif not _may_be_ended():
        yield blocks.compute
    else:
        # Of all ways to end a process that hangs in compiled code, the one that needs nothing of it.
        with open(os.devnull, "w") as nowhere:
            faulthandler.dump_traceback_later(order.seconds, exit=True, file=nowhere)
            try:
                yield blocks.compute
            finally:
                faulthandler.cancel_dump_traceback_later()


def _may_be_ended() -> bool:
    """Tell whether this is a worker process of one thread, which its nanny starts again."""
    try:
        worker = get_worker()
    except ValueError:
        return False
    return worker.nanny is not None and worker.state.nthreads == 1
