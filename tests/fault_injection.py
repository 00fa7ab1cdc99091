"""Fault injection: system calls that fail or kill the process, and processes to kill."""

import errno
import itertools
import json
import multiprocessing
import os
import resource
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path
from unittest import mock

import psutil

import fastlin as fl
from fastlin.sweeps.run import dispatch, run
from fastlin.sweeps.store import folder
from fastlin.sweeps.store.counts import count_points
from fastlin.sweeps.store.locate import locate
from fastlin.sweeps.store.location import SCRATCH
from fastlin.sweeps.store.store import Store
from fastlin.sweeps.store.verify import verify
from tests import cutting
from tests.sweeping import content, marks

COMMAND = [sys.executable, "-m", "tests.launched"]
# Seconds after which a test counts as hung. It is no measurement, so a busy machine changes no result.
PATIENCE = 300.0
# Address for servers of Dask. They take port 8787 even without a dashboard, and warn where it is in use.
FREE_PORT = "127.0.0.1:0"
# Blocks of about 0.1 s, and enough blocks that most are incomplete at a kill.
LONG = """
name = "long"
[axes]
architecture = [[4, 2, 4], [4, 4, 4]]
init_scale = { start = 0.5, stop = 2.0, num = 40 }
seed = { start = 0, num = 8 }
lam = { start = -3.0, stop = 3.0, num = 33 }
[task]
n_samples = 10
[dynamics]
solver = "gradient_descent"
learning_rate = 0.01
times = [0.0, 40.0]
"""
SHORT = LONG.replace("40.0]", "4.0]").replace('"long"', '"short"')  # its blocks take almost no time


def until(condition):
    """Wait until the condition returns a true value, and return that value."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.002)
    raise AssertionError(f"not within {PATIENCE:g} s")


@contextmanager
def started(*arguments, limit=None, **changes):
    """Start a command, and kill what is left of it at the end of the context.

    `limit` is the largest size of a file in bytes. `changes` are variables of the command's environment.
    """
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | changes,
        preexec_fn=limit and partial(resource.setrlimit, resource.RLIMIT_FSIZE, (limit, limit)),
    )
    family = psutil.Process(process.pid)
    try:
        yield process
    finally:
        if process.poll() is None:
            for member in [*family.children(recursive=True), family]:
                with suppress(psutil.Error):
                    member.kill()
        process.communicate()


def worker_processes(process):
    """Return the worker processes of a running command."""
    processes = []
    with suppress(psutil.Error):
        for child in psutil.Process(process.pid).children():
            with suppress(psutil.Error):
                if "spawn_main" in " ".join(child.cmdline()):
                    processes.append(child)
    return processes


def descendants(process):
    """Return all descendants of a process."""
    with suppress(psutil.Error):
        return psutil.Process(process.pid).children(recursive=True)
    return []


def still_running(processes):
    """Return the processes that still run."""

    def runs(process):
        with suppress(psutil.Error):
            return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        return False

    return [process for process in processes if runs(process)]


def blocks_in_turn():
    """Compute the blocks of sweeps in this process in turn, so that their steps have one order."""

    def results(_client, tasks, place, _lease):
        for task in tasks:
            try:
                result = task.function(task.request, task.where)
            except Exception as error:
                dispatch.retried(task, error, place)
                raise
            yield result

    client = nullcontext(mock.Mock(nthreads=lambda: {"here": 1}))
    return mock.patch.multiple(run, _client=lambda _where: client, results=results)


class System:
    """The module `os`, but it calls `intercept(name, arguments)` before each call in STEPS.

    Parameters
    ----------
    intercept : callable
        Returns None, and may raise an error.
    """

    def __init__(self, intercept):
        self._intercept = intercept

    def __getattr__(self, name):
        attribute = getattr(os, name)
        return partial(self._call, name, attribute) if name in STEPS else attribute

    def _call(self, name, function, *arguments):
        self._intercept(name, arguments)
        return function(*arguments)


STEPS = ("open", "write", "replace", "mkdir", "fsync", "unlink")


def changes_something(name, arguments):
    """Return whether a call changes the file system."""
    return name != "open" or bool(arguments[1] & os.O_CREAT)


def read_only(name, arguments):
    """Raise the error of a read-only file system for a call that would change something."""
    if changes_something(name, arguments):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(arguments[0]))


def intercepting(intercept):
    """Call `intercept(name, arguments)` before each step of a store in the file system."""
    return mock.patch.object(folder, "os", System(intercept))


def recorded_steps(action):
    """Return the steps of `action` that change something, as (name, arguments)."""
    recorded = []

    def note(name, arguments):
        if changes_something(name, arguments):
            recorded.append((name, arguments))

    with intercepting(note):
        action()
    return recorded


def _act_and_die(action, at, torn, sizes):
    counter = itertools.count()

    def die(name, arguments):
        if changes_something(name, arguments) and next(counter) == at:
            if torn and name == "write":
                os.write(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
            os.kill(os.getpid(), signal.SIGKILL)

    cutting.groups_apart()
    with blocks_in_turn(), intercepting(die), cutting.into(**sizes) if sizes else nullcontext():
        action()


def die_at(at, spec, path, torn=False, sizes=None, **options):
    """Run a sweep in a process that kills itself before its step `at` (if `torn`, in the middle of a write).

    `sizes` are the sizes of blocks, as `cutting.into` takes them.
    """
    kill_at(at, partial(fl.run_sweep, spec, path, **options), torn, sizes)


def kill_at(at, action, torn=False, sizes=None):
    """Call `action` in a process that kills itself, as `die_at` does."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.warmed", "tests.fault_injection"])
    process = context.Process(target=_act_and_die, args=(action, at, torn, sizes))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def spread(total, count, chance):
    """Return `count` numbers below `total`: one at random from each of `count` equal parts."""
    edges = [total * part // count for part in range(count + 1)]
    return [chance.randrange(low, high) for low, high in itertools.pairwise(edges) if high > low]


def temporary_files(path):
    """Return the temporary files of a store."""
    return sorted(Path(path, SCRATCH).glob("*.partial"))


def check_recovery(path, action, whole, leftover=()):
    """Verify the store after a fault, complete it by `action`, and compare its content with `whole`.

    `leftover` files are ignored. Markers of complete blocks must not change unless the store grows.
    """
    spec = spec_hash(path)
    before = complete_marks(path) if spec else {}
    if spec:
        assert [damage for damage in verify(path) if damage.block is not None] == []
    action()
    assert spec != spec_hash(path) or before.items() <= marks(path).items()
    assert {key: value for key, value in content(path).items() if key not in leftover} == whole
    assert [damage for damage in verify(path) if damage.key not in leftover] == []


def complete_marks(path):
    """Return the commit markers of complete blocks, and the time at which each was written."""
    opened = Store.open(locate(path))
    complete = count_points(opened).complete
    keys = {
        opened.layout.status.key("status", opened.layout.index(number)) for number in complete.nonzero()[0]
    }
    return {file: stamp for file, stamp in marks(path).items() if f"status/{file.name}" in keys}


def spec_hash(path):
    """Return the hash of the spec of a store, or None if there is no store."""
    try:
        return json.loads(Path(path, "zarr.json").read_bytes())["attributes"]["spec_hash"]
    except FileNotFoundError:
        return None
