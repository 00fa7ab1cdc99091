"""The work on one block in a worker: find the points that are wanted, compute them and write them."""

from __future__ import annotations

import faulthandler
import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from time import perf_counter, thread_time
from typing import Any, NamedTuple

import numpy as np
from distributed import get_worker
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from fastlin.kernels import Status
from fastlin.sweeps.run import block as blocks
from fastlin.sweeps.run.block import Result
from fastlin.sweeps.run.evaluators import evaluator_of
from fastlin.sweeps.run.isolation import KEPT_REASONS, Compute, IsolatedProcess
from fastlin.sweeps.run.reduce import spread
from fastlin.sweeps.spec.group import Group, Variant
from fastlin.sweeps.store import lease, store
from fastlin.sweeps.store.costs import seconds_in_block
from fastlin.sweeps.store.layout import StoreLayout
from fastlin.sweeps.store.location import Location
from fastlin.sweeps.store.resume import is_missing

# Takes a group and its share of the estimated time of the block, and returns a function that computes parts.
Computing = Callable[[Group, float], Compute]


@dataclass(frozen=True)
class BlockRequest:
    """The request of the coordinator, which is the same for every block.

    Attributes
    ----------
    location : Location
        The store.
    seconds : float
        Time after which a block, with all its groups, counts as hung, if its process can be ended for that.
    retry : bool
        Whether points that diverged, failed or are too stiff are computed again.
    isolated : bool
        Whether the block is computed in another process, because it has ended the process of a worker.
    specialised : frozenset of Variant
        Those with so much work that it pays to compile kernels for them alone; see `costs.specialised`.
    """

    location: Location
    seconds: float
    retry: bool = False
    isolated: bool = False
    specialised: frozenset[Variant] = frozenset()

    def prepared(self, group: Group) -> Group:
        """Return a group with the choice of its kernels."""
        return replace(group, specialise=True) if group.variant in self.specialised else group


@dataclass(frozen=True)
class BlockReport:
    """The report of a worker on a block. It has no data, which the worker has written."""

    index: tuple[int, ...]
    points: int  # number of points that were computed, with all seeds of those that are folded
    kernel_seconds: float  # processor time to set up and compute
    seconds: float  # elapsed time, with reading and writing
    reasons: list[tuple[dict[str, Any], str]] = field(default_factory=list)


class BlockOutcome(NamedTuple):
    """The result of a block, whose other points are pending, and the reasons of the first few failures."""

    result: Result
    reasons: list[tuple[dict[str, Any], str]]


def run_blocks(request: BlockRequest, indices: list[tuple[int, ...]]) -> list[BlockReport]:
    """Run some blocks. This is the function of a Dask task."""
    return [run_block(request, index) for index in indices]


def run_block(request: BlockRequest, index: tuple[int, ...]) -> BlockReport:
    """Compute the points that a block lacks, and write the block."""
    start = perf_counter()
    _one_blas_thread()
    opened = store.reopen(request.location)
    before = opened.read_status(index)
    wanted = is_missing(before, request.retry)
    if not wanted.any():
        return BlockReport(index, 0, 0.0, perf_counter() - start)
    stored = None
    if not wanted.all():
        try:
            stored = opened.read_values(index)
        except store.DamagedBlockError:  # the values of complete points are lost, too
            wanted[:] = True
    worked = thread_time()
    outcome = _computed(request, opened.layout, index, wanted)
    values, status = outcome.result
    if stored is not None:
        values = {name: np.where(spread(wanted, part), part, stored[name]) for name, part in values.items()}
        status = np.where(wanted, status, before)
    kernel_seconds = thread_time() - worked
    with lease.writing(request.location):
        opened.write_block(index, values, status)
    points = int(wanted.sum()) * opened.layout.seeds_per_status(index)
    return BlockReport(index, points, kernel_seconds, perf_counter() - start, outcome.reasons)


def _computed(
    request: BlockRequest, layout: StoreLayout, index: tuple[int, ...], wanted: NDArray[np.bool_]
) -> BlockOutcome:
    """Compute the wanted points of a block, group by group, in the dimensions of its chunks."""
    block, evaluator = layout.block(index), evaluator_of(layout.spec)
    seconds = seconds_in_block(layout, index)
    shares = seconds / seconds.sum()
    whole = _unset(layout, wanted.shape) if len(block) > 1 else None
    reasons: list[tuple[dict[str, Any], str]] = []
    with _computing(request) as computing:
        for position, plain in block:
            group = request.prepared(plain)
            wanted_points = wanted[position]
            if not wanted_points.any():
                continue
            evaluated = evaluator.evaluate(
                group, wanted_points, computing(group, float(shares[position].sum()))
            )
            reasons += [(layout.where(index, position, *at), why) for *at, why in evaluated.reasons]
            if whole is None:  # the arrays of a single group are those of the block
                ones = (1,) * (wanted.ndim - wanted_points.ndim)
                values, status = evaluated.result
                placed = {name: part.reshape(ones + part.shape) for name, part in values.items()}
                whole = Result(placed, status.reshape(wanted.shape))
                break
            for name, part in evaluated.result.values.items():
                whole.values[name][position] = part
            whole.status[position] = evaluated.result.status
    assert whole is not None
    return BlockOutcome(whole, reasons[:KEPT_REASONS])


def _unset(layout: StoreLayout, shape: tuple[int, ...]) -> Result:
    """Return a block without values, all its points pending."""
    values = {
        name: np.full((*shape, *array.shape[len(shape) :]), array.fill, dtype=array.dtype)
        for name, array in layout.values.items()
    }
    return Result(values, np.full(shape, Status.PENDING, dtype=np.uint8))


@cache
def _one_blas_thread() -> None:
    """Limit BLAS to one thread in this process, because blocks run in parallel and bits must not differ."""
    threadpool_limits(limits=1, user_api="blas")


@contextmanager
def _computing(request: BlockRequest) -> Iterator[Computing]:
    """Yield a function that computes groups in another process or in this one.

    If this process is a worker that may be ended, it ends itself when the block hangs.
    """
    if request.isolated:
        with closing(IsolatedProcess(request.seconds)) as isolated:
            yield isolated.of
    elif not _may_be_ended():
        yield _in_this_process
    else:
        # A thread in C, which can end a process that hangs in compiled code with Python's lock held.
        with open(os.devnull, "w") as nowhere:
            faulthandler.dump_traceback_later(request.seconds, exit=True, file=nowhere)
            try:
                yield _in_this_process
            finally:
                faulthandler.cancel_dump_traceback_later()


def _in_this_process(_group: Group, _share: float) -> Compute:
    """Return the function that computes a group in this process."""
    return blocks.compute


def _may_be_ended() -> bool:
    """Return whether this is a worker process of one thread, which its nanny starts again."""
    try:
        worker = get_worker()
    except ValueError:
        return False
    return worker.nanny is not None and worker.state.nthreads == 1
