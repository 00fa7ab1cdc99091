"""Checks before a run: processes, networks and limits that would make it hang are reported in one line."""

import asyncio
import errno
import multiprocessing
import os
import shutil
import socket
import subprocess
import sys
import tomllib
import warnings
from pathlib import Path
from types import SimpleNamespace

import pytest
from distributed import Client, LocalCluster
from distributed.comm import inproc

import fastlin as fl
from fastlin.sweeps.run import startup
from fastlin.sweeps.run.cluster import connect
from fastlin.sweeps.run.executors import Threads
from tests.executors import one_line, scale_of_a_network
from tests.fault_injection import FREE_PORT, PATIENCE

ROOT = Path(__file__).parents[2]
TOML = """
[axes]
architecture = [2, 1, 2]
seed = { start = 0, num = 2 }
lam = 1.0
[task]
n_samples = 8
[dynamics]
times = [0.0, 1.0]
"""
TINY = tomllib.loads(TOML)
FORKING = """
import multiprocessing, sys
import fastlin as fl

def run(name):
    try:
        return str(fl.run_sweep("s.toml", name).ok)
    except fl.InputError as error:
        return str(error)

if __name__ == "__main__":
    if sys.argv[1] == "before":
        print(run("parent.zarr"))
    with multiprocessing.get_context("fork").Pool(1) as pool:
        print(pool.apply_async(run, ["child.zarr"]).get(60))
"""


@pytest.mark.processes
@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="there is no fork here")
@pytest.mark.parametrize("sweep", ["before", "none"])
def test_a_fork_of_a_process_in_which_dask_has_run_is_refused(tmp_path, sweep):
    """A process may be forked in which Dask has not run."""
    (tmp_path / "forking.py").write_text(FORKING)
    (tmp_path / "s.toml").write_text(TOML)
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "forking.py", sweep],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    *_, child = done.stdout.splitlines()
    if sweep == "none":
        assert child == "2"
        return
    assert done.stdout.splitlines()[0] == "2"
    assert "this process is a fork of one in which Dask has run" in child
    assert 'multiprocessing.get_context("spawn")' in child
    assert not (tmp_path / "child.zarr").exists()


def environment():
    """Return the environment of this process, with this checkout on the path."""
    return os.environ | {"PYTHONPATH": str(ROOT)}


def refused(path, *arguments, **options):
    """Return the reason for which a sweep is refused before it writes anything."""
    with pytest.raises(fl.InputError) as error:
        fl.run_sweep(TINY, path, *arguments, **options)
    assert not path.exists()
    return one_line(error)


def test_worker_processes_of_a_daemonic_process(tmp_path, monkeypatch):
    monkeypatch.setattr(startup.multiprocessing, "current_process", lambda: SimpleNamespace(daemon=True))
    assert "a daemonic process" in refused(tmp_path / "s.zarr", workers=1)
    assert fl.run_sweep(TINY, tmp_path / "s.zarr").ok == 2


LOCAL = {"processes": False, "n_workers": 1, "dashboard_address": FREE_PORT}


def test_an_asynchronous_client_is_refused(tmp_path):
    async def ask():
        async with (
            LocalCluster(**LOCAL, worker_dashboard_address=FREE_PORT, asynchronous=True) as cluster,
            Client(cluster, asynchronous=True, set_as_default=False) as client,
        ):
            return refused(tmp_path / "s.zarr", client)

    assert "the client is asynchronous" in asyncio.run(ask())


def test_a_closed_client_is_refused(tmp_path):
    with LocalCluster(**LOCAL, worker_dashboard_address=FREE_PORT) as cluster:
        with Client(cluster, set_as_default=False) as client:
            pass
        assert "the client is closed" in refused(tmp_path / "s.zarr", client)


def test_threads_ask_no_network(monkeypatch):
    """Dask looks for the address by which this machine reaches 8.8.8.8, and warns if there is none."""

    address = inproc.global_manager.ip

    def get_ip():
        message = "Couldn't detect a suitable IP address for reaching '8.8.8.8', defaulting to hostname"
        warnings.warn(message, RuntimeWarning, stacklevel=2)
        return address

    monkeypatch.setattr(inproc, "get_ip", get_ip)
    monkeypatch.setattr(inproc.global_manager, "_ip", None)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with connect(Threads()) as client:
            assert client.submit(scale_of_a_network, 3).result() == scale_of_a_network(3)
    assert [str(warning.message) for warning in caught] == []


def stopped(path, **options):
    """Return the reason for which a run with workers stops."""
    with pytest.raises(fl.StoppedError) as error:
        fl.run_sweep(TINY, path, workers=2, **options)
    return one_line(error)


def test_worker_processes_without_a_loopback_interface(tmp_path, monkeypatch):
    def unreachable(*_arguments, **_options):
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    monkeypatch.setattr(socket, "create_connection", unreachable)
    reason = stopped(tmp_path / "s.zarr")
    assert reason.endswith("127.0.0.1 cannot be reached: Network is unreachable; use threads")


def test_worker_processes_beyond_the_limit_of_open_files(tmp_path, monkeypatch):
    resource = pytest.importorskip("resource", reason="this system has no limits of resources")
    monkeypatch.setattr(resource, "getrlimit", lambda _kind: (32, 32))
    reason = stopped(tmp_path / "s.zarr")
    assert reason.startswith("2 worker processes take about ")
    assert "32 are allowed; raise the limit (ulimit -n)" in reason


def test_missing_limits_of_open_files_are_no_error(monkeypatch):
    """Windows has no module `resource`, and other systems may have no limit."""
    resource = pytest.importorskip("resource", reason="this system has no limits of resources")
    with monkeypatch.context() as patch:
        patch.setattr(resource, "getrlimit", lambda _kind: (resource.RLIM_INFINITY,) * 2)
        startup._check_open_files(4096)
    monkeypatch.setitem(sys.modules, "resource", None)
    startup._check_open_files(4096)


def without_network(script, *arguments, cwd):
    """Run a shell script in a namespace without a network, and return the completed process."""
    if shutil.which("unshare") is None or subprocess.run(["unshare", "-rn", "true"]).returncode:
        pytest.skip("networks cannot be taken away here: no unshare, or not permitted")
    return subprocess.run(
        ["unshare", "-rn", "sh", "-c", script, "sh", sys.executable, *arguments],
        cwd=cwd,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )


@pytest.mark.processes
def test_commands_without_a_network(tmp_path):
    """Threads need no network. Worker processes need the loopback interface, and the error says so."""
    (tmp_path / "s.toml").write_text(TOML)
    run = '"$@" -m fastlin run s.toml --store'
    done = without_network(f"{run} threads.zarr", cwd=tmp_path)
    assert done.returncode == 0
    assert "Warning" not in done.stderr
    done = without_network(f"{run} workers.zarr --workers 2", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("Network is unreachable; use threads")


@pytest.mark.processes
def test_too_few_open_files_for_workers_are_one_line(tmp_path):
    (tmp_path / "s.toml").write_text(TOML)
    command = ["sh", "-c", 'ulimit -n 32; exec "$@"', "sh", sys.executable, "-m", "fastlin", "run", "s.toml"]
    done = subprocess.run(
        [*command, "--store", "s.zarr", "--workers", "2"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if "kernels" not in line]
    assert len(lines) == 1
    assert lines[0].startswith("fastlin: 2 worker processes take about ")
