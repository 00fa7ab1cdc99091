"""Faults and how they are brought about: calls of the system that fail or kill, and processes to kill."""

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
# Seconds after which a test counts as hung. It measures nothing: no result depends on how busy a machine is.
PATIENCE = 300.0
# Of servers of Dask, which take port 8787 even where there is to be no dashboard, and warn where it is taken.
FREE_PORT = "127.0.0.1:0"
# Blocks of some 0.1 s, and enough of them that a kill finds most of them undone.
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
SHORT = LONG.replace("40.0]", "4.0]").replace('"long"', '"short"')  # of which a block takes no time


def until(condition):
    """Wait until something holds, and return it."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.002)
    raise AssertionError(f"not within {PATIENCE:g} s")


@contextmanager
def started(*arguments, limit=None, **changes):
    """Start a command, and end in any case what is left of it.

    `limit` is that of bytes in a file, `changes` are variables of its environment.
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


def workers(process):
    """Return the worker processes of a command that runs."""
    found = []
    with suppress(psutil.Error):
        for child in psutil.Process(process.pid).children():
            with suppress(psutil.Error):
                if "spawn_main" in " ".join(child.cmdline()):
                    found.append(child)
    return found


def family(process):
    """Return all processes below one."""
    with suppress(psutil.Error):
        return psutil.Process(process.pid).children(recursive=True)
    return []


def alive(processes):
    """Return those that still run."""

    def runs(process):
        with suppress(psutil.Error):
            return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        return False

    return [process for process in processes if runs(process)]


def in_turn():
    """Make sweeps of this process run block after block, so that their steps come in one order."""

    def results(_client, tasks, place, _held):
        for task in tasks:
            try:
                result = task.function(task.request, task.where)
            except Exception as error:
                dispatch.again(task, error, place)
                raise
            yield result

    client = nullcontext(mock.Mock(nthreads=lambda: {"here": 1}))
    return mock.patch.multiple(run, _client=lambda _where: client, results=results)


class System:
    """The module `os`, but that some of its calls strike: `strike(name, call)` is called before each.

    Parameters
    ----------
    strike : callable
        Returns None, or what the call is to return; may raise.
    """

    def __init__(self, strike):
        self._strike = strike

    def __getattr__(self, name):
        found = getattr(os, name)
        return partial(self._call, name, found) if name in STEPS else found

    def _call(self, name, function, *arguments):
        self._strike(name, arguments)
        return function(*arguments)


STEPS = ("open", "write", "replace", "mkdir", "fsync", "unlink")


def changes_something(name, arguments):
    """Tell whether a call leaves a trace in the file system."""
    return name != "open" or bool(arguments[1] & os.O_CREAT)


def read_only(name, arguments):
    """Refuse a call that would change something, as a read-only file system does."""
    if changes_something(name, arguments):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(arguments[0]))


def striking(strike):
    """Have `strike(name, arguments)` called before each step of a store in the file system."""
    return mock.patch.object(folder, "os", System(strike))


def steps(action):
    """Return the steps that change something, as (name, arguments), of what `action` does."""
    found = []

    def note(name, arguments):
        if changes_something(name, arguments):
            found.append((name, arguments))

    with striking(note):
        action()
    return found


def _run_and_die(spec, path, options, at, torn, sizes):
    counter = itertools.count()

    def die(name, arguments):
        if changes_something(name, arguments) and next(counter) == at:
            if torn and name == "write":
                os.write(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
            os.kill(os.getpid(), signal.SIGKILL)

    cutting.groups_apart()
    with in_turn(), striking(die), cutting.into(**sizes) if sizes else nullcontext():
        fl.run_sweep(spec, path, **options)


def die_at(at, spec, path, torn=False, sizes=None, **options):
    """Run a sweep in a process that kills itself before its step `at`; `torn`: in the middle of a write.

    `sizes` are those of blocks, as `cutting.into` takes them.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.warmed", "tests.fault_injection"])
    process = context.Process(target=_run_and_die, args=(spec, path, options, at, torn, sizes))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL


def spread(total, count, chance):
    """Return so many numbers below `total`, one at random of each of as many equal parts."""
    edges = [total * part // count for part in range(count + 1)]
    return [chance.randrange(low, high) for low, high in itertools.pairwise(edges) if high > low]


def scratch(path):
    """Return the temporary files of a store."""
    return sorted(Path(path, SCRATCH).glob("*.partial"))


def go_on(path, action, whole, leftover=()):
    """Check a store after a fault, if there is one, run it to its end by `action`, and compare.

    `leftover` files mean nothing. Marks of complete blocks stay as they are, but where the store grows.
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
    """Return the marks of the blocks that are complete, and when each was written."""
    opened = Store.open(locate(path))
    complete = count_points(opened).complete
    keys = {
        opened.layout.status.key("status", opened.layout.index(number)) for number in complete.nonzero()[0]
    }
    return {file: stamp for file, stamp in marks(path).items() if f"status/{file.name}" in keys}


def spec_hash(path):
    """Return by which spec a store is, if there is one."""
    try:
        return json.loads(Path(path, "zarr.json").read_bytes())["attributes"]["spec_hash"]
    except FileNotFoundError:
        return None
