"""Where a sweep runs: each engine computes, ends what it started, and says in a line what is wrong."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import warnings
from pathlib import Path

import dask
import psutil
import pytest
from distributed import KilledWorker

import fastlin as fl
from fastlin.sweeps import engines
from fastlin.sweeps.engines import Processes, Scheduler, Slurm, Threads, connect
from tests import slurm

ROOT = Path(__file__).parents[1]
DASK = [sys.executable, "-m", "dask"]


def scale_of_a_network(seed):
    """Compute something real."""
    net = fl.balanced_init(fl.Architecture(2, 2, 2), lam=1.0, seed=seed)
    return float(abs(net.w1).sum())


def process_of_worker():
    return os.getpid(), {name: os.environ.get(name) for name in engines.PINNED}


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def until(condition, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def workers_of(process):
    """Return its children; Python's own tracker of shared memory stays as long as the parent."""
    found = []
    for child in process.children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "resource_tracker" not in " ".join(child.cmdline()):
                found.append(child)
    return found


def listening(process):
    return {
        connection.laddr.ip
        for each in (process, *workers_of(process))
        for connection in each.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }


def one_line(error):
    assert "\n" not in str(error.value)
    return str(error.value)


def test_threads_compute_and_listen_on_loopback_only():
    with connect(Threads()) as client:
        assert client.submit(scale_of_a_network, 3).result() == scale_of_a_network(3)
        assert list(client.nthreads().values()) == [engines.blocks_at_once(Threads())]
        assert not workers_of(psutil.Process())
        assert listening(psutil.Process()) <= {"127.0.0.1"}


def test_processes_are_pinned_restarted_and_gone_at_the_end():
    environment = dict(os.environ)
    with connect(Processes(2)) as client:
        assert client.submit(scale_of_a_network, 3).result() == scale_of_a_network(3)
        assert listening(psutil.Process()) == {"127.0.0.1"}
        assert set(client.nthreads().values()) == {1}
        first = client.run(process_of_worker).values()
        assert all(pins == engines.PINNED for _, pins in first)
        assert os.getpid() not in dict(first)

        with pytest.raises(KilledWorker):
            client.submit(die).result()
        until(lambda: len(client.nthreads()) == 2)
        again = client.run(process_of_worker).values()
        assert len({pid for pid, _ in first} & {pid for pid, _ in again}) == 1
        assert all(pins == engines.PINNED for _, pins in again)
        handlers = client.run(lambda: signal.getsignal(signal.SIGINT)).values()
        assert set(handlers) == {signal.SIG_IGN}
    assert not workers_of(psutil.Process())
    assert dict(os.environ) == environment
    assert dask.config.get("distributed.scheduler.allowed-failures") > 0


ABANDONING = """
import os, signal, sys, time
from fastlin.sweeps import engines

def stop(number, _):
    engines.abandon()
    os._exit(143)

def stuck():
    import re
    re.match("(a|a)*b", "a" * 100)  # keeps Python's lock, so that nothing else runs in its process

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stop)
    with engines.connect(ENGINE) as client:
        task = client.submit(WORK)
        print("ready", flush=True)
        time.sleep(60)
"""


@contextlib.contextmanager
def abandoning(folder, engine, work, **options):
    """Run a process that abandons its engine on SIGTERM, as the command line does."""
    script = folder / "abandoning.py"
    script.write_text(ABANDONING.replace("ENGINE", f"engines.{engine}").replace("WORK", work))
    process = subprocess.Popen(
        [sys.executable, str(script)],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )
    try:
        assert process.stdout.readline() == "ready\n", process.communicate()[1]
        yield process
    finally:
        process.kill()
        process.communicate()


def test_abandoned_processes_do_not_outlive_their_parent(tmp_path):
    with abandoning(tmp_path, "Processes(1)", "stuck") as process:
        (worker,) = workers_of(psutil.Process(process.pid))
        until(lambda: worker.cpu_percent(0.2) > 50)
        process.terminate()
        assert process.communicate(timeout=5) == ("", "")
        assert process.returncode == 143
        until(lambda: not worker.is_running(), 2)


@pytest.mark.parametrize("workers", [0, -1, 1.5, "2", True, 10**6, None])
def test_numbers_of_workers_are_checked(workers):
    for kind in (Processes, Slurm):
        with pytest.raises(fl.InputError, match="^workers is "):
            kind(workers)


def test_blocks_in_memory_of_this_machine():
    assert engines.blocks_at_once(Threads()) == engines.local_threads() + engines.SPARE_THREADS
    assert engines.blocks_at_once(Processes(3)) == 3
    assert engines.blocks_at_once(Scheduler("tcp://127.0.0.1:8786")) is None


def test_what_is_no_engine_is_named():
    with pytest.raises(fl.InputError, match="the engine is 'threads'; needed is Threads"), connect("threads"):
        pass


@contextlib.contextmanager
def dask_process(folder, *arguments, **changes):
    process = subprocess.Popen(
        [*DASK, *arguments, "--no-dashboard"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **changes},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        process.terminate()
        process.wait(10)


@contextlib.contextmanager
def dask_scheduler(folder, *options, **changes):
    """Run a scheduler; yields its address, which it wrote to the file scheduler.json."""
    file = folder / "scheduler.json"
    arguments = ("scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file))
    with dask_process(folder, *arguments, *options, **changes):
        until(lambda: file.exists() and file.stat().st_size > 0)
        yield json.loads(file.read_text())["address"]


def dask_worker(folder, address, *options, **changes):
    arguments = ("worker", address, "--nthreads", "1", "--no-nanny", "--host", "127.0.0.1")
    return dask_process(folder, *arguments, *options, **changes)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scheduler")
    with dask_scheduler(folder) as address, dask_worker(folder, address):
        yield address, folder / "scheduler.json"


def check(engine):
    """Compute on an engine of others, the way a sweep does."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with connect(engine) as client:
            engines.check_versions(client)
            arguments = (engines.on_same_build, engines.build(), scale_of_a_network, 3)
            assert client.submit(*arguments).result(30) == scale_of_a_network(3)
            engines.check_versions(client)
            assert client.nthreads()


def test_a_scheduler_is_found_by_address_and_by_file(cluster):
    address, file = cluster
    check(Scheduler(address))
    check(Scheduler(str(file)))
    check(Scheduler(file))


def test_other_versions_of_dask_are_no_matter(cluster, monkeypatch):
    from distributed import versions

    real = versions.get_versions()
    altered = {**real, "packages": {**real["packages"], "dask": "2020.1.0"}}
    monkeypatch.setattr(versions, "get_versions", lambda: altered)
    check(Scheduler(cluster[0]))
