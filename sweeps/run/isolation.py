"""Isolation of points that raise, hang or kill their process: all others are computed.

A group that fails is computed again in parts: seed by seed, then point by point, until only those points are
left that fail alone. Other groups of the block are not affected. If a failure ends the process, the parts are
computed in a separate process, which is restarted as often as needed. Results do not depend on the parts by a
single bit.

An installation that cannot compute at all, as one with a broken library, is told from bad points by a network
that cannot fail. If that fails too, the run stops, and no point is marked as failed.
"""

from __future__ import annotations

import faulthandler
import itertools
import pickle
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from queue import Empty, SimpleQueue
from threading import Thread
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastlin.architecture import Architecture
from fastlin.errors import StoppedError
from fastlin.kernels import Problem, Status
from fastlin.kernels.codes import Start
from fastlin.kernels.draws import RegressionTask, WeightStart
from fastlin.sweeps.run import block as blocks
from fastlin.sweeps.run.block import Result
from fastlin.sweeps.spec.group import Group, Variant

LEAST_SECONDS = 10.0  # lowest time limit of a part, unless the limit of the block is lower
START_SECONDS = 60.0  # time limit of starting a process and loading its kernels
ORPHAN_SECONDS = 5.0  # after its time limit, a process whose parent is dead ends itself
END_SECONDS = 0.2  # time for a process to end by itself before it is killed
SLACK = 8.0  # time limit of a part over its share of the time limit of the block
KEPT_REASONS = 3  # reasons that are kept of a group and of a block; the first few tell the fault
_LENGTH = struct.Struct("<Q")

Compute = Callable[[Group], Result]
Rows = NDArray[np.intp]
Part = tuple[Rows, Rows, Result | str]  # rows and columns of a group, and their result or why they failed


class FailedError(Exception):
    """A part of a block could not be computed. The text has the reason."""


class HungError(FailedError):
    """A part of a block took longer than it may."""


class Outcome(NamedTuple):
    """The result of a group, and (row, column, reason) of the first few points that failed."""

    result: Result
    reasons: list[tuple[int, int, str]]


def evaluate(group: Group, wanted: NDArray[np.bool_], compute: Compute) -> Outcome:
    """Compute the wanted points (S, L) of a group.

    Points that fail alone get the status FAILED. Points that are not wanted get the status PENDING.

    Raises
    ------
    StoppedError
        If this installation cannot compute any network.
    """
    parts = _parts_of(group, wanted, _checked(compute))
    first = next(parts)
    if isinstance(first[-1], Result) and first[-1].status.shape == wanted.shape:
        return Outcome(first[-1], [])
    result, reasons = blocks.unset(group, Status.PENDING), []
    for rows, columns, part in itertools.chain([first], parts):
        at = np.ix_(rows, columns)
        if isinstance(part, str):
            result.status[at] = Status.FAILED
            reasons.append((int(rows[0]), int(columns[0]), part))
            continue
        for name, values in part.values.items():
            result.values[name][at] = values
        result.status[at] = part.status
    return Outcome(result, reasons[:KEPT_REASONS])


def _checked(compute: Compute) -> Compute:
    """Return `compute` with a check of the environment, which raises a StoppedError.

    The check is made when the first part fails, before that is cut into points, because an error of the
    environment may take a second for each point.
    """
    proven = False

    def checked(part: Group) -> Result:
        nonlocal proven
        try:
            result = compute(part)
        except MemoryError:
            raise
        except OSError as error:
            raise StoppedError(f"{_CANNOT_COMPUTE}: {reason(error)}") from None
        except Exception:
            if not proven:
                check_environment(part, compute)
            proven = True
            raise
        proven = True
        return result

    return checked


_CANNOT_COMPUTE = "networks cannot be computed in this environment, so no point was marked as failed"


def check_environment(group: Group, compute: Compute) -> None:
    """Raise a StoppedError if a network that cannot fail does so, with the settings of a group."""
    try:
        # Two hidden units, the fewest that two-sided balance has.
        least = Architecture(1, 2 if group.settings.start == Start.TWO_SIDED else 1, 1)
        compute(replace(_of_any_size(single_point(group)), architecture=least, specialise=False))
    except HungError:  # a busy machine, and no evidence of a fault
        return
    except MemoryError:
        raise
    except Exception as error:
        raise StoppedError(f"{_CANNOT_COMPUTE}: {reason(error)}") from None


def _of_any_size(group: Group) -> Group:
    """Return a group like another one whose task and start exist for every architecture."""
    if group.problem.in_lanes:
        return group
    noise = group.settings.noise
    task = RegressionTask(noise.batch_size if noise else 1, 1.0)
    problem = Problem(task, WeightStart("gaussian"), group.init_scale)
    return replace(group, task_kind="random_regression", problem=problem)


def reason(error: Exception) -> str:
    """Return in one line why a part could not be computed."""
    text = str(error) if isinstance(error, FailedError) else f"{type(error).__name__}: {error}"
    return next(iter(text.splitlines()), type(error).__name__).removesuffix(": ")


def _parts_of(group: Group, wanted: NDArray[np.bool_], compute: Compute) -> Iterator[Part]:
    for rows, columns in rectangles(wanted):
        yield from _parts(group, rows, columns, compute)


def rectangles(wanted: NDArray[np.bool_]) -> Iterator[tuple[Rows, Rows]]:
    """Cut points (S, L) into products of rows and columns, one for all rows that want the same columns."""
    if wanted.all():
        yield np.arange(wanted.shape[0]), np.arange(wanted.shape[1])
        return
    patterns, belongs = np.unique(wanted, axis=0, return_inverse=True)
    for number, pattern in enumerate(patterns):
        if pattern.any():
            yield np.flatnonzero(belongs.ravel() == number), np.flatnonzero(pattern)


def _parts(group: Group, rows: Rows, columns: Rows, compute: Compute) -> Iterator[Part]:
    """Yield the result of a rectangle of points, or those of its parts if it fails.

    A single point that fails is yielded with the reason.
    """
    part = group.part(rows, columns)
    try:
        yield rows, columns, compute(part)
    except (MemoryError, StoppedError):  # no fault of a point
        raise
    except Exception as error:
        if rows.size * columns.size == 1:
            yield rows, columns, reason(error)
        elif rows.size > 1:
            for row in rows:
                yield from _parts(group, np.array([row]), columns, compute)
        else:
            for column in columns:
                yield from _parts(group, rows, np.array([column]), compute)


class IsolatedProcess:
    """Computes groups in another process, which may die or hang, and is replaced by a new one then.

    Parameters
    ----------
    seconds : float
        Time limit of a block.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._process: _Process | None = None
        self._loaded: set[Variant] = set()

    def of(self, group: Group, share: float) -> Compute:
        """Return a function that computes a group, or parts of it.

        Parameters
        ----------
        group : Group
        share : float
            Its part of the estimated time of the block.

        Returns
        -------
        callable
            Raises `FailedError` if the computation raised or the process died, `HungError` after the time
            limit.
        """
        return partial(self._compute, share / group.points)

    def _compute(self, point_share: float, group: Group) -> Result:
        share = point_share * group.points
        allowed = min(self._seconds, max(LEAST_SECONDS, SLACK * share * self._seconds))
        if self._process is None:
            self._process = _Process()
            self._loaded.clear()
        if group.variant not in self._loaded:
            self._ask(single_point(group), START_SECONDS)
            self._loaded.add(group.variant)
        answer = self._ask(group, allowed)
        if isinstance(answer, str):
            raise FailedError(answer)
        return Result(*answer)

    def _ask(self, group: Group, seconds: float) -> Any:
        """Return the answer of the process to a group."""
        assert self._process is not None
        try:
            return self._process.ask((group, seconds), seconds)
        except TimeoutError:
            self.close()
            raise HungError(f"took longer than {seconds:g} s") from None
        except EOFError:
            raise FailedError(f"its process died ({_ending(self.close())})") from None

    def close(self) -> int | None:
        """End the process, if there is one, and return its exit code."""
        process, self._process = self._process, None
        return None if process is None else process.end()


class _Process:
    """A process that runs `serve`.

    A thread reads its answers, because Windows cannot wait for a pipe with a time limit.
    """

    def __init__(self) -> None:
        command = [sys.executable, "-c", f"from {__name__} import serve; serve()"]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)
        self._answers: SimpleQueue[tuple[Any, ...]] = SimpleQueue()  # of one item each, and () at the end
        self._reader = Thread(target=self._read, name="answers", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        try:
            with suppress(EOFError):
                while True:
                    self._answers.put((_receive(self._process.stdout),))
        finally:
            self._answers.put(())

    def ask(self, content: Any, seconds: float) -> Any:
        """Send something and return the answer; raises TimeoutError, or EOFError if the process has ended."""
        assert self._process.stdin is not None
        try:
            _send(self._process.stdin, content)
        except OSError:  # BrokenPipeError, or another kind on Windows
            raise EOFError from None
        try:
            answer = self._answers.get(timeout=seconds)
        except Empty:
            raise TimeoutError from None
        if not answer:
            raise EOFError
        return answer[0]

    def end(self) -> int:
        """End the process, and return its exit code."""
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        with suppress(OSError):
            process.stdin.close()
        try:
            code = process.wait(timeout=END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        self._reader.join()
        process.stdout.close()
        return code


def single_point(group: Group) -> Group:
    """Return a group of one point at t = 0.

    Computing it loads the kernels, so that loading does not count against the time limit of a part.
    """
    one = replace(group, seeds=np.zeros(1, dtype=np.int64), lams=np.zeros(1), times=np.zeros(1))
    return replace(one, own=group.own.part([0])._replace(seeds=None))


def _ending(code: int | None) -> str:
    return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"


def serve() -> None:
    """Compute groups that come in by standard input, until it ends: the other side of `IsolatedProcess`."""
    incoming, outgoing = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # so that printed text does not mix with the answers
    while True:
        try:
            group, seconds = _receive(incoming)
        except EOFError:
            return
        # The process that waits for the answer may have been killed, and no other ends this one if it hangs.
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
