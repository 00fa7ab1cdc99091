"""The command line in real processes, forked from one that has imported everything: dozens in seconds."""

import functools
import importlib
import itertools
import json
import multiprocessing
import os
import signal
import sys
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import psutil

from fastlin import cli
from fastlin.sweeps.run import block
from fastlin.sweeps.run.plan import Plan
from fastlin.sweeps.store import folder, lease, lease_holders
from fastlin.sweeps.store.layout import StoreLayout
from tests import cutting, fault_injection, gate
from tests.fault_injection import PATIENCE, System, until
from tests.launched import heed_signals

SMALL = """
name = "small"
[axes]
architecture = [[4, 2, 2], [3, 4, 3]]
init_scale = [0.5, 1.0]
seed = { start = 0, num = 6 }
lam = { start = -4.0, stop = 4.0, num = 5 }
[task]
n_samples = 8
[dynamics]
times = [0.0, 0.9, 9.0, inf]
"""
BLOCKS = 12  # of SMALL, as smaller_blocks cuts it


@dataclass
class Ended:
    """What a command left: its exit code and what it printed."""

    code: int
    out: str
    err: str

    @property
    def report(self):
        """What `--json` printed."""
        return json.loads(self.out)

    @property
    def line(self):
        """The one line that says what is wrong; progress is left out."""
        lines = [line for line in self.err.splitlines() if line.startswith("fastlin: ")]
        assert len(lines) == 1, self.err
        return lines[0].removeprefix("fastlin: ")


class Command:
    """One command that runs."""

    def __init__(self, process, folder):
        self._process, self._folder = process, folder
        self.pid = process.pid

    @property
    def running(self):
        """Whether it has not ended."""
        return self._process.is_alive()

    @property
    def stopped(self):
        """Whether it was stopped, by SIGSTOP."""
        with suppress(psutil.Error):
            return psutil.Process(self.pid).status() == psutil.STATUS_STOPPED
        return False

    def send(self, number):
        """Send a signal."""
        os.kill(self.pid, number)

    def kill(self):
        """End it without a warning, as SIGKILL does."""
        self._process.kill()
        self._process.join()

    def end(self):
        """Wait for the end, and return it."""
        self._process.join(PATIENCE)
        assert not self.running, f"not ended within {PATIENCE:g} s"
        out, err = (Path(self._folder, name).read_text() for name in ("out", "err"))
        return Ended(self._process.exitcode, out, err)


@functools.cache
def _context():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.warmed", "tests.commands"])
    return context


@contextmanager
def commands(*several, patches=(), environment=None):
    """Run some commands, all of which begin at the same moment; yields them.

    Parameters
    ----------
    *several : list
        Arguments of each.
    patches : sequence
        Functions that change something in each process before it begins; those of this module.
    environment : dict, optional
        Variables for them.
    """
    together = _context().Barrier(len(several))
    with TemporaryDirectory() as folder:
        running = []
        for number, arguments in enumerate(several):
            own = Path(folder, str(number))
            own.mkdir()
            given = (own, [str(entry) for entry in arguments], patches, environment or {}, together)
            process = _context().Process(target=_serve, args=given)
            process.start()
            running.append(Command(process, own))
        try:
            yield running
        finally:
            for command in running:
                if command.running:
                    command.kill()


@contextmanager
def command(*arguments, patches=(), environment=None):
    """Run one command."""
    with commands(arguments, patches=patches, environment=environment) as (only,):
        yield only


def ended(*arguments, patches=(), environment=None):
    """Run one command to its end."""
    with command(*arguments, patches=patches, environment=environment) as only:
        return only.end()


def _serve(folder, arguments, patches, environment, together):
    os.environ.update(environment)
    for stream, name in ((sys.stdout, "out"), (sys.stderr, "err")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT), stream.fileno())
    heed_signals()
    cutting.groups_apart()
    for patch in patches:
        patch()
    sys.argv = ["fastlin", *arguments]
    together.wait(PATIENCE)
    cli.main()


def smaller_blocks(seeds=2, **sizes):
    """Cut a sweep into blocks of a few seeds, and of so many values of other axes; by default of one each."""
    Plan.of = lambda spec: Plan(StoreLayout((spec,), cutting.shape_of(spec, seeds=seeds, **sizes)))


def held(folder):
    """Hold the blocks at the gate in a folder, see `tests.planting.Gate`."""
    gate.hold(block, folder)


def shared_lease():
    """Let anybody write at the same time as others."""
    lease_holders.LeaseHolder.excludes = lambda _holder, _other: False


def faster_beat():
    """Look at the lease all the time."""
    lease.HEARTBEAT_SECONDS = 0.05


def noted_beats(file):
    """Look at the lease all the time, and leave a byte in a file after each look."""
    faster_beat()
    real = lease.Lease._change

    def change(held, action):
        done = real(held, action)
        with open(file, "ab") as notes:
            notes.write(b".")
        return done

    lease.Lease._change = change


def impatient(seconds):
    """Take for dead who is silent for so long, and look at it all the time."""
    lease.EXPIRY_SECONDS, lease.WATCH_SECONDS = seconds, 0.01


def read_only():
    """Let the file system of the stores be read-only."""
    folder.os = System(fault_injection.read_only)


def two_tries():
    """Try a request to a bucket again just once."""
    importlib.import_module("fastlin.sweeps.store.s3").RETRIES = 1


def stopping(at):
    """Stop the process in the middle of its write number `at`, until somebody wakes it."""
    numbers = itertools.count(1)

    def write(file, data):
        if next(numbers) != at:
            return os.write(file, data)
        done = os.write(file, data[: len(data) // 2])
        os.kill(os.getpid(), signal.SIGSTOP)
        return done

    folder.os = SimpleNamespace(**{**vars(os), "write": write})


def stopping_in(module, name, at=1):
    """Stop the process when a function is about to be called for the time number `at`."""
    where = importlib.import_module(module)
    real, numbers = getattr(where, name), itertools.count(1)

    def call(*arguments):
        if next(numbers) == at:
            os.kill(os.getpid(), signal.SIGSTOP)
        return real(*arguments)

    setattr(where, name, call)


def lease_file(path):
    """Return where the lease of a store in a folder is."""
    return Path(path, lease_holders.KEY)


NO_PROCESS = 2**22 + 1  # above the largest number of a process


def write_lease(path, **changes):
    """Change each holder in the lease of a store in a folder."""
    file = lease_file(path)
    content = json.loads(file.read_bytes())
    holders = [holder | changes for holder in content["holders"]]
    file.write_text(json.dumps(content | {"holders": holders}))


def stopped(only):
    """Wait until a command was stopped, by itself; tell whether it was, or ended before."""
    until(lambda: not only.running or only.stopped)
    return only.running
