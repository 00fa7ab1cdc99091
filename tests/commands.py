"""The command line in real processes that are forked from one server, so that dozens take seconds."""

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
BLOCKS = 12  # blocks of SMALL, as smaller_blocks cuts it


@dataclass
class CompletedCommand:
    """A command that has ended: its exit code and its output."""

    code: int
    out: str
    err: str

    @property
    def report(self):
        """The content that `--json` printed."""
        return json.loads(self.out)

    @property
    def line(self):
        """The one line of the error message, without lines of progress."""
        lines = [line for line in self.err.splitlines() if line.startswith("fastlin: ")]
        assert len(lines) == 1, self.err
        return lines[0].removeprefix("fastlin: ")


class Command:
    """One running command."""

    def __init__(self, process, folder):
        self._process, self._folder = process, folder
        self.pid = process.pid

    @property
    def running(self):
        """Whether the command has not ended."""
        return self._process.is_alive()

    @property
    def stopped(self):
        """Whether the process is stopped by SIGSTOP."""
        with suppress(psutil.Error):
            return psutil.Process(self.pid).status() == psutil.STATUS_STOPPED
        return False

    def send(self, number):
        """Send a signal to the process."""
        os.kill(self.pid, number)

    def kill(self):
        """Kill the process by SIGKILL."""
        self._process.kill()
        self._process.join()

    def end(self):
        """Wait until the command ends, and return its exit code and output."""
        self._process.join(PATIENCE)
        assert not self.running, f"not ended within {PATIENCE:g} s"
        out, err = (Path(self._folder, name).read_text() for name in ("out", "err"))
        return CompletedCommand(self._process.exitcode, out, err)


@functools.cache
def _context():
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.warmed", "tests.commands"])
    return context


@contextmanager
def commands(*several, patches=(), environment=None):
    """Run several commands that begin at the same moment, and yield them.

    Parameters
    ----------
    *several : list
        Arguments of each command.
    patches : sequence
        Functions that change each process before it begins, such as those of this module.
    environment : dict, optional
        Variables of their environment.
    """
    together = _context().Barrier(len(several))
    with TemporaryDirectory() as folder:
        running = []
        for number, arguments in enumerate(several):
            own = Path(folder, str(number))
            own.mkdir()
            own_arguments = (own, [str(entry) for entry in arguments], patches, environment or {}, together)
            process = _context().Process(target=_serve, args=own_arguments)
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


def run_to_end(*arguments, patches=(), environment=None):
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
    """Cut a sweep into blocks of a few seeds and of `sizes` values of the other axes (default: one each)."""
    Plan.of = lambda spec: Plan(StoreLayout((spec,), cutting.shape_of(spec, seeds=seeds, **sizes)))


def hold_blocks(folder):
    """Make blocks wait at the gate in a folder, see `tests.planting.Gate`."""
    gate.hold(block, folder)


def share_lease():
    """Let every process write while others write."""
    lease_holders.LeaseHolder.excludes = lambda _holder, _other: False


def shorten_heartbeats():
    """Shorten the interval of heartbeats to 0.05 s."""
    lease.HEARTBEAT_SECONDS = 0.05


def record_heartbeats(file):
    """Shorten the interval of heartbeats, and append a byte to a file after each."""
    shorten_heartbeats()
    real = lease.Lease._change

    def change(own_lease, action):
        done = real(own_lease, action)
        with open(file, "ab") as notes:
            notes.write(b".")
        return done

    lease.Lease._change = change


def shorten_expiry(seconds):
    """Treat a holder as dead after `seconds` without a heartbeat, and check every 0.01 s."""
    lease.EXPIRY_SECONDS, lease.WATCH_SECONDS = seconds, 0.01


def make_read_only():
    """Make the file system of the stores read-only."""
    folder.os = System(fault_injection.read_only)


def retry_once():
    """Retry a request to a bucket only once."""
    importlib.import_module("fastlin.sweeps.store.s3").RETRIES = 1


def stop_in_write(at):
    """Stop the process in the middle of its write number `at`, until it gets SIGCONT."""
    numbers = itertools.count(1)

    def write(file, data):
        if next(numbers) != at:
            return os.write(file, data)
        done = os.write(file, data[: len(data) // 2])
        os.kill(os.getpid(), signal.SIGSTOP)
        return done

    folder.os = SimpleNamespace(**{**vars(os), "write": write})


def stop_in_call(module, name, at=1):
    """Stop the process before call number `at` of a function."""
    where = importlib.import_module(module)
    real, numbers = getattr(where, name), itertools.count(1)

    def call(*arguments):
        if next(numbers) == at:
            os.kill(os.getpid(), signal.SIGSTOP)
        return real(*arguments)

    setattr(where, name, call)


def lease_file(path):
    """Return the path of the lease of a store in a folder."""
    return Path(path, lease_holders.KEY)


NO_PROCESS = 2**22 + 1  # above the largest process id


def write_lease(path, **changes):
    """Change each holder in the lease of a store in a folder."""
    file = lease_file(path)
    content = json.loads(file.read_bytes())
    holders = [holder | changes for holder in content["holders"]]
    file.write_text(json.dumps(content | {"holders": holders}))


def wait_until_stopped(only):
    """Wait until a command has stopped itself or has ended. Return whether it still runs."""
    until(lambda: not only.running or only.stopped)
    return only.running
