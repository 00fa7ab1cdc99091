"""What a worker does with one block: see which of its points are wanted, compute them, write them."""

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

from fastlin.architecture import Architecture
from fastlin.kernels import Status
from fastlin.sweeps.run import block as blocks
from fastlin.sweeps.run.block import Result
from fastlin.sweeps.run.isolation import KEPT_REASONS, Apart, Compute, evaluate
from fastlin.sweeps.run.reduce import fold_group, spread
from fastlin.sweeps.spec.group import Group
from fastlin.sweeps.store import lease, store
from fastlin.sweeps.store.cell import BAD
from fastlin.sweeps.store.costs import point_seconds
from fastlin.sweeps.store.layout import StoreLayout
from fastlin.sweeps.store.location import Location

# Returns what computes a group, or parts of it, given its share of the estimated time of the block.
Computing = Callable[[Group, float], Compute]


@dataclass(frozen=True)
class BlockRequest:
    """What the coordinator asks of every block.

    Attributes
    ----------
    location : Location
        The store.
    seconds : float
        After which a block, with all its groups, counts as hung, where its process can be ended for it.
    retry : bool
        Whether points that diverged or failed are wanted too.
    apart : bool
        Whether the block has taken a process with it, and is now computed apart.
    specialised : frozenset of (Architecture, solver)
        Those whose work pays for kernels of their own; see `costs.specialised`.
    """

    location: Location
    seconds: float
    retry: bool = False
    apart: bool = False
    specialised: frozenset[tuple[Architecture, str]] = frozenset()

    def prepared(self, group: Group) -> Group:
        """Return a group with the kernels chosen that compute it."""
        special = (group.architecture, group.solver) in self.specialised
        return replace(group, specialise=True) if special else group


@dataclass(frozen=True)
class BlockReport:
    """What a worker sends back: no data, only what became of the block."""

    index: tuple[int, ...]
    points: int  # that were computed; all seeds of those that are folded
    kernel_seconds: float  # of the processor, to set up and compute
    seconds: float  # by the clock, that and writing
    reasons: list[tuple[dict[str, Any], str]] = field(default_factory=list)


class BlockOutcome(NamedTuple):
    """The points of a block that were computed, the others pending, and why points failed: the first few."""

    result: Result
    reasons: list[tuple[dict[str, Any], str]]


def run_blocks(request: BlockRequest, indices: list[tuple[int, ...]]) -> list[BlockReport]:
    """Run some blocks; the task that Dask runs."""
    return [run_block(request, index) for index in indices]


def run_block(request: BlockRequest, index: tuple[int, ...]) -> BlockReport:
    """Compute what a block lacks and write it."""
    start = perf_counter()
    _one_blas_thread()
    opened = store.reopen(request.location)
    before = opened.read_status(index)
    wanted = np.isin(before, (Status.PENDING, *BAD) if request.retry else Status.PENDING)
    if not wanted.any():
        return BlockReport(index, 0, 0.0, perf_counter() - start)
    there = None
    if not wanted.all():
        try:
            there = opened.read_values(index)
        except store.DamagedBlockError:  # the values that are complete are lost, too
            wanted[:] = True
    worked = thread_time()
    outcome = _computed(request, opened.layout, index, wanted)
    values, status = outcome.result
    if there is not None:
        values = {name: np.where(spread(wanted, part), part, there[name]) for name, part in values.items()}
        status = np.where(wanted, status, before)
    kernel_seconds = thread_time() - worked
    with lease.writing(request.location):
        opened.write_block(index, values, status)
    points = int(wanted.sum()) * (opened.layout.block_seeds(index).size if opened.layout.spec.reduce else 1)
    return BlockReport(index, points, kernel_seconds, perf_counter() - start, outcome.reasons)


def _computed(
    request: BlockRequest, layout: StoreLayout, index: tuple[int, ...], wanted: NDArray[np.bool_]
) -> BlockOutcome:
    """Compute the wanted points of a block, group by group, in the dimensions of its chunks."""
    block, reduce = layout.block(index), layout.spec.reduce
    seconds = point_seconds(layout)[layout.status.region(index)[:-2]]
    shares = seconds / seconds.sum()
    whole = _unset(layout, wanted.shape) if len(block) > 1 else None
    reasons: list[tuple[dict[str, Any], str]] = []
    with _computing(request) as computing:
        for place, plain in block:
            group = request.prepared(plain)
            mine = wanted[place]
            if not mine.any():
                continue
            compute = computing(group, float(shares[place]))
            evaluated = fold_group(group, mine, compute, reduce) if reduce else evaluate(group, mine, compute)
            reasons += [(layout.where(index, place, *at), why) for *at, why in evaluated.reasons]
            if whole is None:  # one group: its arrays are those of the block
                ones = (1,) * len(place)
                values, status = evaluated.result
                spread = {name: part.reshape(ones + part.shape) for name, part in values.items()}
                whole = Result(spread, status.reshape(wanted.shape))
                break
            for name, part in evaluated.result.values.items():
                whole.values[name][place] = part
            whole.status[place] = evaluated.result.status
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
    """Keep BLAS of this process on one thread: blocks run side by side, and bits must not depend on it."""
    threadpool_limits(limits=1, user_api="blas")


@contextmanager
def _computing(request: BlockRequest) -> Iterator[Computing]:
    """Yield what computes groups: a process apart, or this one, ended if it hangs and may be."""
    if request.apart:
        with closing(Apart(request.seconds)) as apart:
            yield apart.of
    elif not _may_be_ended():
        yield _here
    else:
        # Of all ways to end a process that hangs in compiled code, the one that needs nothing of it.
        with open(os.devnull, "w") as nowhere:
            faulthandler.dump_traceback_later(request.seconds, exit=True, file=nowhere)
            try:
                yield _here
            finally:
                faulthandler.cancel_dump_traceback_later()


def _here(_group: Group, _share: float) -> Compute:
    """Return what computes a group in this process."""
    return blocks.compute


def _may_be_ended() -> bool:
    """Tell whether this is a worker process of one thread, which its nanny starts again."""
    try:
        worker = get_worker()
    except ValueError:
        return False
    return worker.nanny is not None and worker.state.nthreads == 1
