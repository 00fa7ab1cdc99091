"""System calls that fail, as on a full or broken disk: the error is clear, and nothing is lost."""

import errno
import itertools
import os
import random
import shutil
import threading

import pytest
from distributed import Client, LocalCluster

import fastlin as fl
from tests import fault_injection
from tests.campaign import combinations, trials
from tests.fault_injection import FREE_PORT
from tests.faults.test_kills import REDUCED, tiny
from tests.sweeping import content, marks

THREADS = 2
ERRORS = {"ENOSPC": errno.ENOSPC, "EIO": errno.EIO, "EACCES": errno.EACCES}


@pytest.fixture(scope="module")
def client():
    with (
        LocalCluster(processes=False, threads_per_worker=THREADS, dashboard_address=FREE_PORT) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


MEETING = threading.Barrier(THREADS)


def meet(_):
    MEETING.wait(fault_injection.PATIENCE)


def wait_for_threads(client):
    """Wait until no thread computes a block.

    A run ends after one block has failed, while others may still be written.
    """
    client.gather(client.map(meet, range(THREADS), pure=False))


class Failing:
    """Make call number `number` of a kind fail, or all calls from that one on."""

    def __init__(self, kind, number, code, forever=False):
        self._kind, self._number, self._code, self._forever = kind, number, code, forever
        self._counter = itertools.count()
        self.failed = 0

    def __call__(self, name, arguments):
        if name == self._kind:
            count = next(self._counter)
            if count == self._number or (self._forever and count > self._number):
                self.failed += 1
                raise OSError(self._code, os.strerror(self._code), str(arguments[0]))


def count(kind, action):
    """Return the number of calls of a kind that an action makes."""
    counter = Failing(kind, -1, 0)
    with fault_injection.intercepting(counter):
        action()
    return next(counter._counter)


def outcome(action, code):
    """Run an action, and return whether it failed. A failure must have a clear error."""
    try:
        action()
    except (fl.StoppedError, fl.InputError) as error:
        assert os.strerror(code) in str(error)
        assert len(str(error).splitlines()) == 1
        return True
    return False


def check_every(action, path, tmp_path, kind, code, chance, share):
    """Make each call of a kind fail, once or from then on. Then verify, complete and compare the store.

    `action` works on the store at `path`, which may exist already.
    """
    base = tmp_path / "base"
    if path.exists():
        shutil.copytree(path, base)
    total = count(kind, action)
    whole, failures = content(path), 0
    for number in range(total):
        if chance.random() >= share:
            continue
        shutil.rmtree(path, ignore_errors=True)
        if base.exists():
            shutil.copytree(base, path)
        with fault_injection.intercepting(Failing(kind, number, code, forever=chance.random() < 0.5)):
            failures += outcome(action, code)
        fault_injection.check_recovery(path, action, whole)
    assert failures or kind == "unlink"  # the next run deletes what cannot be deleted now


KINDS = ("open", "write", "replace", "mkdir", "fsync")
CALLS = ["write", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("open", "replace", "unlink"))]


@trials(1, 0)
@combinations(
    [*itertools.product(KINDS, ["ENOSPC"]), ("write", "EIO"), ("mkdir", "EACCES")],
    kind=dict(zip(KINDS, KINDS, strict=True)),
    code=ERRORS,
)
def test_any_call_of_a_run_may_fail(client, tmp_path, trials, kind, code):
    path = tmp_path / "s.zarr"
    spec = tiny() | {"output": {"observables": ["loss"]}}

    def action():
        try:
            fl.run_sweep(spec, path, client, durable=kind == "fsync")
        finally:
            wait_for_threads(client)

    quick = {"write": 1.0, "mkdir": 1.0, "replace": 0.5, "open": 0.2, "fsync": 0.2}[kind]
    share = 1.0 if trials == 0 else quick if code == errno.ENOSPC else 0.05
    check_every(action, path, tmp_path, kind, code, random.Random(6), share)


@trials(1, 0)
@pytest.mark.parametrize("kind", CALLS)
def test_any_call_of_a_growth_may_fail(tmp_path, trials, kind):
    path = tmp_path / "s.zarr"
    with fault_injection.blocks_in_turn():
        fl.run_sweep(tiny(), path)

        def action():
            fl.run_sweep(tiny(seeds=5, times=3), path)

        share = 1.0 if trials == 0 else 0.1
        check_every(action, path, tmp_path, kind, errno.EIO, random.Random(7), share)


@trials(1, 0)
@pytest.mark.parametrize("kind", CALLS)
def test_any_call_of_a_reduced_sweep_may_fail(tmp_path, trials, kind):
    path = tmp_path / "s.zarr"

    def action():
        fl.run_sweep(tiny() | {"output": REDUCED}, path)

    with fault_injection.blocks_in_turn():
        share = 1.0 if trials == 0 else 0.1
        check_every(action, path, tmp_path, kind, errno.ENOSPC, random.Random(8), share)


BIG = """
[axes]
architecture = [[2, 1, 2], [2, 2, 2]]
init_scale = [0.5, 1.0]
seed = { start = 0, num = 1000 }
lam = { start = -1.0, stop = 1.0, num = 20 }
[task]
n_samples = 5
[dynamics]
times = [0.0, 1.0]
"""


@pytest.mark.processes
@pytest.mark.parametrize("options", [[], pytest.param(["--workers", "1"], marks=pytest.mark.campaign)])
def test_the_command_reports_a_failed_write_and_resumes_later(tmp_path, options):
    """The system allows no file above 100 kB, so that real writes fail in real processes."""
    source, path, whole = tmp_path / "big.toml", tmp_path / "s.zarr", tmp_path / "whole.zarr"
    source.write_text(BIG)
    fl.run_sweep(source, whole)
    with fault_injection.started("run", source, "--store", path, *options, limit=100_000) as process:
        errors = process.communicate(timeout=fault_injection.PATIENCE)[1].splitlines()
    assert process.returncode == 1
    messages = [line for line in errors if "kernels" not in line]
    assert len(messages) == 1, errors
    assert messages[0].startswith(
        f"fastlin: writing to {path} failed: File too large; what is complete stays"
    )
    assert marks(path) == {}
    fl.run_sweep(source, path)
    assert content(path) == content(whole)
