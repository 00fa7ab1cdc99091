"""Where a sweep runs: each engine computes, ends what it started, and says in a line what is wrong."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import dask
import psutil
import pytest
from distributed import KilledWorker

import fastlin as fl
from fastlin.sweeps import clients, engines
from fastlin.sweeps.clients import connect
from fastlin.sweeps.engines import Processes, Scheduler, Slurm, Threads
from tests import slurm
from tests.faults import PATIENCE, until

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[1]
DASK = [sys.executable, "-m", "dask"]


def scale_of_a_network(seed):
    """Compute something real."""
    net = fl.balanced_init(fl.Architecture(2, 2, 2), lam=1.0, seed=seed)
    return float(abs(net.w1).sum())


def process_of_worker():
    return os.getpid(), {name: os.environ.get(name) for name in clients.PINNED}


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def workers_of(process):
    """Return the processes that Python's multiprocessing has spawned for it."""
    found = []
    for child in process.children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if "spawn_main" in " ".join(child.cmdline()):
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
        assert all(pins == clients.PINNED for _, pins in first)
        assert os.getpid() not in dict(first)

        with pytest.raises(KilledWorker):
            client.submit(die).result()
        until(lambda: len(client.nthreads()) == 2)
        again = client.run(process_of_worker).values()
        assert len({pid for pid, _ in first} & {pid for pid, _ in again}) == 1
        assert all(pins == clients.PINNED for _, pins in again)
        handlers = client.run(lambda: signal.getsignal(signal.SIGINT)).values()
        assert set(handlers) == {signal.SIG_IGN}
    assert not workers_of(psutil.Process())
    assert dict(os.environ) == environment
    assert dask.config.get("distributed.scheduler.allowed-failures") > 0


ABANDONING = """
import os, signal, sys, time
from fastlin.sweeps import clients, engines

def stop(number, _):
    clients.abandon()
    os._exit(143)

def stuck():
    import pathlib, re
    pathlib.Path("stuck").touch()
    re.match("(a|a)*b", "a" * 100)  # keeps Python's lock, so that nothing else runs in its process

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stop)
    with clients.connect(ENGINE) as client:
        task = WORK
        print("ready", flush=True)
        time.sleep(10**6)
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
    with abandoning(tmp_path, "Processes(1)", "client.submit(stuck)") as process:
        (worker,) = workers_of(psutil.Process(process.pid))
        until((tmp_path / "stuck").exists)
        process.terminate()
        assert process.communicate(timeout=PATIENCE) == ("", "")
        assert process.returncode == 143
        until(lambda: not worker.is_running())


def test_a_worker_that_is_being_started_again_is_not_taken_for_this_process(monkeypatch):
    """Its nanny knows no process for a moment, and psutil takes None for the process that asks."""
    asked = []

    def process(pid):
        asked.append(pid)
        raise psutil.NoSuchProcess(pid)

    monkeypatch.setattr(clients, "psutil", SimpleNamespace(Process=process, Error=psutil.Error))
    nannies = [SimpleNamespace(pid=None), SimpleNamespace(pid=2**22 + 1)]
    clients._kill_workers(SimpleNamespace(workers=dict(enumerate(nannies))))
    assert asked == [2**22 + 1]


@pytest.mark.parametrize("workers", [0, -1, 1.5, "2", True, 10**6, None])
def test_numbers_of_workers_are_checked(workers):
    for kind in (Processes, Slurm):
        with pytest.raises(fl.InputError, match=r"^workers is "):
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
        process.wait(PATIENCE)


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
            clients.check_versions(client)
            arguments = (clients.on_same_build, clients.build(), scale_of_a_network, 3)
            assert client.submit(*arguments).result(PATIENCE) == scale_of_a_network(3)
            clients.check_versions(client)
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


def test_a_scheduler_without_workers_and_workers_of_another_build(tmp_path):
    """Workers that are there are found at once, and those that join later by their first block."""
    copy = tmp_path / "other"
    shutil.copytree(ROOT / "fastlin", copy / "fastlin")
    with (copy / "fastlin" / "kernels" / "jit.py").open("a") as source:
        source.write("# changed\n")
    with dask_scheduler(tmp_path) as address, connect(Scheduler(address)) as client:
        clients.check_versions(client)
        block = client.submit(clients.on_same_build, clients.build(), abs, -1)
        with dask_worker(tmp_path, address, PYTHONPATH=str(copy)):
            with pytest.raises(fl.StoppedError) as late:
                block.result(PATIENCE)
            with pytest.raises(fl.StoppedError) as early:
                clients.check_versions(client)
    for error in (late, early):
        assert one_line(error).startswith("the worker tcp://127.0.0.1:")
        assert f"and this process {clients.build()}; install the same in both" in str(error.value)


def test_a_worker_without_fastlin_is_named(tmp_path):
    package = tmp_path / "none" / "fastlin"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ModuleNotFoundError('there is no fastlin')")
    path = str(package.parent)
    with dask_scheduler(tmp_path, PYTHONPATH=path) as address, connect(Scheduler(address)) as client:
        with pytest.raises(fl.StoppedError) as error:
            clients.check_versions(client)
        assert "the scheduler does not run this fastlin: there is no fastlin" in one_line(error)
        with dask_worker(tmp_path, address, PYTHONPATH=path):
            client.wait_for_workers(1, timeout=PATIENCE)
            with pytest.raises(fl.StoppedError, match=r"^the worker tcp.*there is no fastlin") as error:
                clients.check_versions(client)
    one_line(error)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """Two authorities, ca and other, and a certificate that each has signed."""
    if shutil.which("openssl") is None:
        pytest.skip("certificates are made with the openssl command, which is not installed")
    folder = tmp_path_factory.mktemp("certificates")

    def openssl(command):
        subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)

    key = "-newkey rsa:2048 -nodes -days 2"
    for name in ("ca", "other"):
        openssl(f"req -x509 {key} -keyout {name}.key -out {name}.pem -subj /CN={name}")
        openssl(f"req {key} -keyout {name}-node.key -out node.csr -subj /CN=node".replace(" -days 2", ""))
        openssl(
            f"x509 -req -days 2 -in node.csr -CA {name}.pem -CAkey {name}.key -CAcreateserial "
            f"-out {name}-node.pem"
        )
    return folder


def test_tls(certificates, tmp_path, monkeypatch):
    ca, cert, key = (certificates / name for name in ("ca.pem", "ca-node.pem", "ca-node.key"))
    other = {
        "tls_ca": certificates / "other.pem",
        "tls_cert": certificates / "other-node.pem",
        "tls_key": certificates / "other-node.key",
    }
    options = ("--tls-ca-file", str(ca), "--tls-cert", str(cert), "--tls-key", str(key))
    with (
        dask_scheduler(tmp_path, "--protocol", "tls", *options) as address,
        dask_worker(tmp_path, address, *options),
    ):
        assert address.startswith("tls://")
        check(Scheduler(address, ca, cert, key))
        check(Scheduler(tmp_path / "scheduler.json", ca, cert, key))
        configured = {"ca-file": str(ca), "client": {"cert": str(cert), "key": str(key)}}
        with dask.config.set(
            {"distributed.comm.tls": {**dask.config.get("distributed.comm.tls"), **configured}}
        ):
            check(Scheduler(address))

        with pytest.raises(fl.StoppedError, match=r"self.signed certificate") as error:
            check(Scheduler(address, **other))
        one_line(error)
        monkeypatch.setattr(clients, "CONNECT_SECONDS", 3.0)
        with pytest.raises(fl.StoppedError, match=f"no Dask scheduler answers at {address}: ") as error:
            check(Scheduler(address, ca, other["tls_cert"], other["tls_key"]))
        one_line(error)


def test_certificates_are_checked_before_anything_is_sent(certificates, tmp_path):
    ca, cert, key = (certificates / name for name in ("ca.pem", "ca-node.pem", "ca-node.key"))
    address, missing = "tls://127.0.0.1:8786", tmp_path / "none.pem"
    for given, message in [
        ((address,), "takes certificates: give tls_ca, tls_cert and tls_key, or set distributed.comm.tls"),
        ((address, ca), "^tls_ca given; tls:// needs all three"),
        ((address, ca, cert), "^tls_ca and tls_cert given; tls:// needs all three"),
        ((address, ca, cert, missing), "^tls_key: there is no file .*none.pem$"),
        ((address, ca, cert, certificates / "other-node.key"), "not usable: .*key values mismatch"),
        ((address, key, cert, key), "certificates for tls.* are not usable"),
        (("tcp://127.0.0.1:8786", ca, cert, key), "given, and tcp://127.0.0.1:8786 is not tls://"),
    ]:
        with pytest.raises(fl.InputError, match=message) as error:
            Scheduler(*given)
        one_line(error)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "tcp://127.0.0.1",
        "tcp://:8786",
        "tcp://host:99999",
        "http://host:80",
        "tcp://host:1/x",
        "//",
        5,
        None,
    ],
)
def test_addresses_that_are_none_are_named(address):
    with pytest.raises(
        fl.InputError, match="needed is tcp://HOST:PORT, tls://HOST:PORT or the file"
    ) as error:
        Scheduler(address)
    one_line(error)


@pytest.mark.parametrize(
    "content", [None, "", "[]", '{"address": 5}', '{"id": "x"}', '{"address": "x"}', "\0\xff"]
)
def test_scheduler_files_that_are_none_are_named(tmp_path, content):
    file = tmp_path / "scheduler.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(fl.InputError, match=r"scheduler\.json.*needed is tcp://HOST:PORT") as error:
        Scheduler(file)
    one_line(error)


def test_what_is_no_scheduler_is_told_in_one_line(cluster, capfd, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with connect(Scheduler(cluster[0])) as client:
            client.wait_for_workers(1)
            (worker,) = client.nthreads()
        for address, seconds, reason in [
            (f"tcp://127.0.0.1:{closed.getsockname()[1]}", 2.0, "Connection refused"),
            (f"tcp://127.0.0.1:{silent.getsockname()[1]}", 2.0, "nothing within 2 s"),
            (worker, PATIENCE, "it is a Worker"),
        ]:
            monkeypatch.setattr(clients, "CONNECT_SECONDS", seconds)
            with pytest.raises(fl.StoppedError) as error, connect(Scheduler(address)):
                pass
            assert one_line(error) == f"no Dask scheduler answers at {address}: {reason}"
    assert capfd.readouterr() == ("", "")


SMALL = {"interface": "lo", "memory": "500MB"}


def test_slurm_computes_and_leaves_nothing(conf, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with connect(Slurm(2, partition="main", **SMALL)) as client:
        clients.check_versions(client)
        arguments = (clients.on_same_build, clients.build(), scale_of_a_network, 3)
        assert client.submit(*arguments).result(PATIENCE) == scale_of_a_network(3)
        client.wait_for_workers(2, timeout=PATIENCE)
        clients.check_versions(client)
        assert all(pins == clients.PINNED for _, pins in client.run(process_of_worker).values())
        assert listening(psutil.Process()) == {"127.0.0.1"}
        assert len(slurm.jobs(conf)) == 2
        assert len(set(slurm.jobs(conf))) == 1
    until(lambda: not slurm.jobs(conf))
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_jobs_that_end_early_are_submitted_again(conf, tmp_path, monkeypatch):
    monkeypatch.setattr(clients, "REFILL_SECONDS", 0.5)
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
def test_what_sbatch_refuses_is_told_in_one_line(conf, capfd, changes, reason):
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
        assert slurm.state(conf, name) == "CANCELLED"  # it would have ended by itself, too, but later


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


def test_what_jobs_need_and_is_missing_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "dask_jobqueue", None)
        with pytest.raises(fl.InputError, match=r"pip install 'fastlin\[hpc\]'") as error:
            Slurm(1)
        one_line(error)
    pytest.importorskip("dask_jobqueue", reason="no dask-jobqueue: it is in fastlin[hpc]")
    with pytest.raises(fl.InputError, match="there is no sbatch here"):
        Slurm(1)
