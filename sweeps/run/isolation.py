"""Points that raise, hang, or kill their process: the others finish, and each bad one is known.

A group that fails is computed again in parts, seed by seed and then point by point, until only the points
are left that fail alone; the other groups of its block do not notice. Where a failure takes the process with
it the parts are computed in a process of their own, which is started again as often as needed. Bits do not
depend on the parts.
"""

from __future__ import annotations

import faulthandler
import itertools
import pickle
import selectors
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastlin.architecture import Architecture
from fastlin.kernels import Status
from fastlin.observables import REGISTRY
from fastlin.sweeps.run import block as blocks
from fastlin.sweeps.run.block import Result
from fastlin.sweeps.spec.group import Group

LEAST_SECONDS = 10.0  # that a part may take, if a block may take as long
START_SECONDS = 60.0  # that a process may take to start and load its kernels
ORPHAN_SECONDS = 5.0  # after which a process ends by itself, if it is not ended when its time is up
SLACK = 8.0  # how much longer than its share of a block a part may take
KEPT_REASONS = 3  # of a group, and of a block: the first few tell what is wrong
_LENGTH = struct.Struct("<Q")

Compute = Callable[[Group], Result]
Rows = NDArray[np.intp]
Part = tuple[Rows, Rows, Result | str]  # rows and columns of a group, and their result or why there is none


class FailedError(Exception):
    """A part of a block could not be computed; the text says why."""


class Outcome(NamedTuple):
    """A group, and why points of it failed: (row, column, reason) of the first few."""

    result: Result
    reasons: list[tuple[int, int, str]]


def evaluate(group: Group, wanted: NDArray[np.bool_], compute: Compute) -> Outcome:
    """Compute the wanted points (S, L) of a group; those that fail alone have failed, the rest is pending."""
    parts = _parts_of(group, wanted, compute)
    first = next(parts)
    if isinstance(first[-1], Result) and first[-1].status.shape == wanted.shape:
        return Outcome(first[-1], [])
    result, reasons = _nothing(group), []
    for rows, columns, found in itertools.chain([first], parts):
        at = np.ix_(rows, columns)
        if isinstance(found, str):
            result.status[at] = Status.FAILED
            reasons.append((int(rows[0]), int(columns[0]), found))
            continue
        for name, values in found.values.items():
            result.values[name][at] = values
        result.status[at] = found.status
    return Outcome(result, reasons[:KEPT_REASONS])


def _parts_of(group: Group, wanted: NDArray[np.bool_], compute: Compute) -> Iterator[Part]:
    for rows, columns in rectangles(wanted):
        yield from _parts(group, rows, columns, compute)


def rectangles(wanted: NDArray[np.bool_]) -> Iterator[tuple[Rows, Rows]]:
    """Cut points (S, L) into products of rows and columns: those of rows that want the same columns."""
    if wanted.all():
        yield np.arange(wanted.shape[0]), np.arange(wanted.shape[1])
        return
    patterns, belongs = np.unique(wanted, axis=0, return_inverse=True)
    for number, pattern in enumerate(patterns):
        if pattern.any():
            yield np.flatnonzero(belongs.ravel() == number), np.flatnonzero(pattern)


def _parts(group: Group, rows: Rows, columns: Rows, compute: Compute) -> Iterator[Part]:
    """Yield results of a rectangle of points, or of its parts where it fails; of a point, why it fails."""
    part = replace(group, seeds=group.seeds[rows], lams=group.lams[columns])
    try:
        yield rows, columns, compute(part)
    except (MemoryError, OSError):  # not the fault of a point
        raise
    except Exception as error:
        if rows.size * columns.size == 1:
            reason = str(error) if isinstance(error, FailedError) else f"{type(error).__name__}: {error}"
            yield rows, columns, reason
        elif rows.size > 1:
            for row in rows:
                yield from _parts(group, np.array([row]), columns, compute)
        else:
            for column in columns:
                yield from _parts(group, rows, np.array([column]), compute)


def _nothing(group: Group) -> Result:
    grid = (group.seeds.size, group.lams.size)
    values = {}
    for name in group.observables:
        shape = REGISTRY[name].stored_shape(group.times.size)
        values[name] = np.full((*grid, *shape), np.nan, dtype=group.dtype)
    return Result(values, np.full(grid, Status.PENDING, dtype=np.uint8))


class Apart:
    """Computes in a process of its own, which may die or be ended; one that is ended is followed by another.

    Parameters
    ----------
    seconds : float
        That a block may take.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._loaded: set[tuple[Architecture, str]] = set()

    def of(self, group: Group, share: float) -> Compute:
        """Return what computes a group, or parts of it.

        Parameters
        ----------
        group : Group
        share : float
            Its part of the estimated time of the block.

        Returns
        -------
        callable
            Raises `FailedError` if the computation raised, the process died, or the time was up.
        """
        return partial(self._compute, share / group.points)

    def _compute(self, point_share: float, group: Group) -> Result:
        share = point_share * group.points
        allowed = min(self._seconds, max(LEAST_SECONDS, SLACK * share * self._seconds))
        if self._process is None:
            self._process = _started()
            self._loaded.clear()
        if (kernel := (group.architecture, group.solver)) not in self._loaded:
            self._ask(unsuspected(group), START_SECONDS)
            self._loaded.add(kernel)
        answer = self._ask(group, allowed)
        if isinstance(answer, str):
            raise FailedError(answer)
        return Result(*answer)

    def _ask(self, group: Group, seconds: float) -> Any:
        """Return the answer of the process to a group."""
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None
        try:
            _send(process.stdin, (group, seconds))
            return _receive_within(process.stdout, seconds)
        except TimeoutError:
            self.close()
            raise FailedError(f"took longer than {seconds:g} s") from None
        except (EOFError, BrokenPipeError):
            code = self.close()
            raise FailedError(f"its process died ({_manner(code)})") from None

    def close(self) -> int | None:
        """End the process, if there is one; return its exit code."""
        process, self._process = self._process, None
        if process is None:
            return None
        assert process.stdin is not None and process.stdout is not None
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):
                pipe.close()
        try:
            return process.wait(timeout=0.2)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


def _started() -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", f"from {__name__} import serve; serve()"]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)


def unsuspected(group: Group) -> Group:
    """Return a group of one point at t = 0.

    Computing it loads the kernels, so that loading does not count against the time of a part.
    """
    return replace(group, seeds=np.zeros(1, dtype=np.int64), lams=np.zeros(1), times=np.zeros(1))


def _manner(code: int | None) -> str:
    return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"


def serve() -> None:
    """Compute what comes in by standard input, until it ends: the other side of `Apart`."""
    incoming, outgoing = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # what somebody prints is no answer
    while True:
        try:
            group, seconds = _receive(incoming)
        except EOFError:
            return
        # Who waits for it may have been killed, and then nobody else ends what hangs.
        faulthandler.dump_traceback_later(seconds + ORPHAN_SECONDS, exit=True)
        try:
            answer: Any = tuple(blocks.compute(group))
        except Exception as error:
            answer = f"{type(error).__name__}: {error}"
        faulthandler.cancel_dump_traceback_later()
        _send(outgoing, answer)


def _send(pipe: IO[bytes], content: Any) -> None:
    data = pickle.dumps(content, protocol=5)
    pipe.write(_LENGTH.pack(len(data)) + data)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> Any:
    (length,) = _LENGTH.unpack(_exactly(pipe, _LENGTH.size))
    return pickle.loads(_exactly(pipe, length))


def _exactly(pipe: IO[bytes], length: int) -> bytes:
    data = pipe.read(length)
    if len(data) < length:
        raise EOFError
    return data


def _receive_within(pipe: IO[bytes], seconds: float) -> Any:
    with selectors.DefaultSelector() as selector:
        selector.register(pipe, selectors.EVENT_READ)
        if not selector.select(seconds):
            raise TimeoutError
    return _receive(pipe)
