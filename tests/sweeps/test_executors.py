"""Executors: each computes, ends all that it started, and reports faults in one line."""

import contextlib
import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import dask
import psutil
import pytest
from distributed import KilledWorker

import fastlin as fl
from fastlin.sweeps.run import builds, cluster, executors, lifecycle
from fastlin.sweeps.run.cluster import connect
from fastlin.sweeps.run.executors import Processes, Scheduler, Slurm, Threads
from tests import slurm
from tests.executors import one_line, scale_of_a_network
from tests.fault_injection import PATIENCE, until

pytestmark = pytest.mark.processes


def process_of_worker():
    return os.getpid(), {name: os.environ.get(name) for name in lifecycle.PINNED}


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def workers_of(process):
    """Return the processes that Python's multiprocessing has spawned for a process."""
    processes = []
    for child in process.children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "spawn_main" in " ".join(child.cmdline()):
                processes.append(child)
    return processes


def listening(process):
    return {
        connection.laddr.ip
        for each in (process, *workers_of(process))
        for connection in each.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }


def test_threads_compute_and_listen_on_loopback_only():
    with connect(Threads()) as client:
        assert client.submit(scale_of_a_network, 3).result() == scale_of_a_network(3)
        assert list(client.nthreads().values()) == [executors.blocks_at_once(Threads())]
        assert not workers_of(psutil.Process())
        assert listening(psutil.Process()) <= {"127.0.0.1"}


def test_processes_are_pinned_restarted_and_gone_at_the_end():
    environment = dict(os.environ)
    with connect(Processes(2)) as client:
        assert client.submit(scale_of_a_network, 3).result() == scale_of_a_network(3)
        assert listening(psutil.Process()) == {"127.0.0.1"}
        assert set(client.nthreads().values()) == {1}
        first = client.run(process_of_worker).values()
        assert all(pins == lifecycle.PINNED for _, pins in first)
        assert os.getpid() not in dict(first)

        with pytest.raises(KilledWorker):
            client.submit(die).result()
        until(lambda: len(client.nthreads()) == 2)
        restarted = client.run(process_of_worker).values()
        assert len({pid for pid, _ in first} & {pid for pid, _ in restarted}) == 1
        assert all(pins == lifecycle.PINNED for _, pins in restarted)
        handlers = client.run(lambda: signal.getsignal(signal.SIGINT)).values()
        assert set(handlers) == {signal.SIG_IGN}
    assert not workers_of(psutil.Process())
    assert dict(os.environ) == environment
    assert dask.config.get("distributed.scheduler.allowed-failures") > 0


ABANDONING = """
import os, signal, sys, time
from fastlin.sweeps.run import cluster, executors, lifecycle

def stop(number, _):
    lifecycle.abandon()
    os._exit(143)

def stuck():
    import pathlib, re
    pathlib.Path("stuck").touch()
    re.match("(a|a)*b", "a" * 100)  # keeps Python's lock, so that nothing else runs in its process

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stop)
    with cluster.connect(ENGINE) as client:
        task = WORK
        print("ready", flush=True)
        time.sleep(10**6)
"""


@contextlib.contextmanager
def abandoning(folder, executor, work, **options):
    """Run a process that abandons its executor on SIGTERM, as the command line does."""
    script = folder / "abandoning.py"
    script.write_text(ABANDONING.replace("ENGINE", f"executors.{executor}").replace("WORK", work))
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
    with abandoning(tmp_path, "Processes(1)", "client.submit(stuck)") as process:
        (worker,) = workers_of(psutil.Process(process.pid))
        until((tmp_path / "stuck").exists)
        process.terminate()
        assert process.communicate(timeout=PATIENCE) == ("", "")
        assert process.returncode == 143
        until(lambda: not worker.is_running())


def test_a_worker_that_is_restarting_is_not_taken_for_this_process(monkeypatch):
    """Its nanny has no process id for a moment, and psutil takes None for the calling process."""
    requested = []

    def process(pid):
        requested.append(pid)
        raise psutil.NoSuchProcess(pid)

    monkeypatch.setattr(cluster, "psutil", SimpleNamespace(Process=process, Error=psutil.Error))
    nannies = [SimpleNamespace(pid=None), SimpleNamespace(pid=2**22 + 1)]
    cluster._kill_workers(SimpleNamespace(workers=dict(enumerate(nannies))))
    assert requested == [2**22 + 1]


@pytest.mark.parametrize("workers", [0, -1, 1.5, "2", True, 10**6, None])
def test_numbers_of_workers_are_checked(workers):
    for kind in (Processes, Slurm):
        with pytest.raises(fl.InputError, match=r"^workers is "):
            kind(workers)


def test_blocks_in_memory_of_this_machine():
    assert executors.blocks_at_once(Threads()) == executors.local_threads() + executors.SPARE_THREADS
    assert executors.blocks_at_once(Processes(3)) == 3
    assert executors.blocks_at_once(Scheduler("tcp://127.0.0.1:8786")) is None


def test_a_wrong_executor_is_named():
    with (
        pytest.raises(fl.InputError, match="the executor is 'threads'; needed is Threads"),
        connect("threads"),
    ):
        pass


SMALL = {"interface": "lo", "memory": "500MB"}


def test_slurm_computes_and_leaves_nothing(conf, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with connect(Slurm(2, partition="main", **SMALL)) as client:
        builds.check_versions(client)
        arguments = (builds.on_same_build, builds.build(), scale_of_a_network, 3)
        assert client.submit(*arguments).result(PATIENCE) == scale_of_a_network(3)
        client.wait_for_workers(2, timeout=PATIENCE)
        builds.check_versions(client)
        assert all(pins == lifecycle.PINNED for _, pins in client.run(process_of_worker).values())
        assert listening(psutil.Process()) == {"127.0.0.1"}
        assert len(slurm.jobs(conf)) == 2
        assert len(set(slurm.jobs(conf))) == 1
    until(lambda: not slurm.jobs(conf))
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_jobs_that_end_early_are_submitted_again(conf, tmp_path, monkeypatch):
    monkeypatch.setattr(lifecycle, "REFILL_SECONDS", 0.5)
    log = tmp_path / "job.log"
    with (
        dask.config.set({"distributed.deploy.lost-worker-timeout": "1s"}),
        connect(Slurm(1, directives=(f"--output={log}",), **SMALL)) as client,
    ):
        first = client.submit(os.getpid, pure=False).result(PATIENCE)
        slurm.ask(conf, "scancel", f"--name={slurm.jobs(conf)[0]}")
        until(lambda: not client.nthreads())
        assert client.submit(os.getpid, pure=False).result(PATIENCE) != first
    assert "Start worker at" in log.read_text()
    until(lambda: not slurm.jobs(conf))


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"partition": "nowhere"}, "invalid partition specified: nowhere"),
        ({"memory": "5TB"}, "Memory specification can not be satisfied"),
        ({"directives": ("--no-such-option",)}, "unrecognized option '--no-such-option'"),
    ],
)
def test_a_refusal_of_sbatch_is_one_line(conf, capfd, changes, reason):
    with pytest.raises(fl.StoppedError) as error, connect(Slurm(2, **(SMALL | changes))):
        pass
    assert one_line(error) == f"sbatch refuses 2 of 2 jobs: {reason}"
    assert capfd.readouterr() == ("", "")
    assert not slurm.jobs(conf)


@pytest.mark.slow
def test_abandoned_jobs_are_cancelled(conf, tmp_path):
    with abandoning(tmp_path, f"Slurm(1, **{SMALL})", "client.submit(abs, -1).result()") as process:
        (name,) = slurm.jobs(conf)
        process.terminate()
        assert process.communicate(timeout=PATIENCE) == ("", "")
        until(lambda: not slurm.jobs(conf))
        assert slurm.state(conf, name) == "CANCELLED"  # the job would also end without it, but later


@pytest.mark.slow
def test_jobs_of_a_killed_process_end(conf, tmp_path):
    with abandoning(tmp_path, f"Slurm(1, **{SMALL})", "client.submit(abs, -1).result()") as process:
        process.kill()
        until(lambda: not slurm.jobs(conf))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"partition": "a b"}, "^partition is 'a b'; needed is"),
        ({"walltime": "soon"}, r"^walltime is 'soon'; needed is \[DAYS-\]HH:MM:SS"),
        ({"walltime": 60}, "^walltime is 60"),
        ({"memory": "much"}, "^memory is 'much'; needed is a size such as 2GB"),
        ({"memory": 2}, "^memory is 2"),
        ({"directives": "--account=x"}, "^directives are '--account=x'; a list"),
        ({"directives": ("--account=x\nrm",)}, "^a directive is "),
        ({"interface": "nope0"}, "^interface is 'nope0'; .*allowed: .*lo"),
    ],
)
def test_options_of_jobs_are_checked(changes, message):
    with pytest.raises(fl.InputError, match=message) as error:
        Slurm(1, **changes)
    one_line(error)


def test_missing_requirements_of_jobs_are_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "dask_jobqueue", None)
        with pytest.raises(fl.InputError, match="pip install dask-jobqueue") as error:
            Slurm(1)
        one_line(error)
    pytest.importorskip("dask_jobqueue", reason="no dask-jobqueue: it is in fastlin's extra hpc")
    with pytest.raises(fl.InputError, match="there is no sbatch here"):
        Slurm(1)
