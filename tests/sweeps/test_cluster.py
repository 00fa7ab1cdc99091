"""External Dask schedulers: a sweep connects to them, and faults of them or their workers are one line."""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import warnings
from pathlib import Path

import dask
import pytest

import fastlin as fl
from fastlin.sweeps.run import builds, lifecycle
from fastlin.sweeps.run.cluster import connect
from fastlin.sweeps.run.executors import Scheduler
from tests.executors import one_line, scale_of_a_network
from tests.fault_injection import PATIENCE, until

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]
DASK = [sys.executable, "-m", "dask"]


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
    """Run a scheduler, and yield its address from the file scheduler.json."""
    file = folder / "scheduler.json"
    arguments = ("scheduler", "--host", "127.0.0.1", "--port", "0", "--scheduler-file", str(file))
    with dask_process(folder, *arguments, *options, **changes):
        until(lambda: file.exists() and file.stat().st_size > 0)
        yield json.loads(file.read_text())["address"]


def dask_worker(folder, address, *options, **changes):
    arguments = ("worker", address, "--nthreads", "1", "--no-nanny", "--host", "127.0.0.1")
    return dask_process(folder, *arguments, *options, **changes)


@pytest.fixture(scope="module")
def dask_cluster(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scheduler")
    with dask_scheduler(folder) as address, dask_worker(folder, address):
        yield address, folder / "scheduler.json"


def check(executor):
    """Compute on an external executor, as a sweep does."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with connect(executor) as client:
            builds.check_versions(client)
            arguments = (builds.on_same_build, builds.build(), scale_of_a_network, 3)
            assert client.submit(*arguments).result(PATIENCE) == scale_of_a_network(3)
            builds.check_versions(client)
            assert client.nthreads()


def test_a_scheduler_is_found_by_address_and_by_file(dask_cluster):
    address, file = dask_cluster
    check(Scheduler(address))
    check(Scheduler(str(file)))
    check(Scheduler(file))


def test_other_versions_of_dask_are_ignored(dask_cluster, monkeypatch):
    from distributed import versions

    real = versions.get_versions()
    altered = {**real, "packages": {**real["packages"], "dask": "2020.1.0"}}
    monkeypatch.setattr(versions, "get_versions", lambda: altered)
    check(Scheduler(dask_cluster[0]))


def test_a_scheduler_without_workers_and_workers_of_another_build(tmp_path):
    """Workers that have joined are checked at once, and those that join later with their first block."""
    copy = tmp_path / "other"
    shutil.copytree(ROOT / "fastlin", copy / "fastlin")
    with (copy / "fastlin" / "kernels" / "compiler" / "jit.py").open("a") as source:
        source.write("CHANGED = True\n")
    with dask_scheduler(tmp_path) as address, connect(Scheduler(address)) as client:
        builds.check_versions(client)
        block = client.submit(builds.on_same_build, builds.build(), abs, -1)
        with dask_worker(tmp_path, address, PYTHONPATH=str(copy)):
            with pytest.raises(fl.StoppedError) as late:
                block.result(PATIENCE)
            with pytest.raises(fl.StoppedError) as early:
                builds.check_versions(client)
    for error in (late, early):
        assert one_line(error).startswith("the worker tcp://127.0.0.1:")
        assert f"and this process {builds.build()}; install the same in both" in str(error.value)


def test_a_worker_without_fastlin_is_named(tmp_path):
    package = tmp_path / "none" / "fastlin"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise ModuleNotFoundError('there is no fastlin')")
    path = str(package.parent)
    with dask_scheduler(tmp_path, PYTHONPATH=path) as address, connect(Scheduler(address)) as client:
        with pytest.raises(fl.StoppedError) as error:
            builds.check_versions(client)
        assert "the scheduler does not run this fastlin: there is no fastlin" in one_line(error)
        with dask_worker(tmp_path, address, PYTHONPATH=path):
            client.wait_for_workers(1, timeout=PATIENCE)
            with pytest.raises(fl.StoppedError, match=r"^the worker tcp.*there is no fastlin") as error:
                builds.check_versions(client)
    one_line(error)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """Two authorities, ca and other, and a certificate that each of them has signed."""
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


@pytest.mark.slow
def test_tls_connections_need_matching_certificates(certificates, tmp_path, monkeypatch):
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
        monkeypatch.setattr(lifecycle, "CONNECT_SECONDS", 3.0)
        with pytest.raises(fl.StoppedError, match=f"no Dask scheduler answers at {address}: ") as error:
            check(Scheduler(address, ca, other["tls_cert"], other["tls_key"]))
        one_line(error)


def test_certificates_are_checked_before_anything_is_sent(certificates, tmp_path):
    ca, cert, key = (certificates / name for name in ("ca.pem", "ca-node.pem", "ca-node.key"))
    address, missing = "tls://127.0.0.1:8786", tmp_path / "none.pem"
    for arguments, message in [
        ((address,), "takes certificates: give tls_ca, tls_cert and tls_key, or set distributed.comm.tls"),
        ((address, ca), "^tls_ca given; tls:// needs all three"),
        ((address, ca, cert), "^tls_ca and tls_cert given; tls:// needs all three"),
        ((address, ca, cert, missing), "^tls_key: there is no file .*none.pem$"),
        ((address, ca, cert, certificates / "other-node.key"), "not usable: .*key values mismatch"),
        ((address, key, cert, key), "certificates for tls.* are not usable"),
        (("tcp://127.0.0.1:8786", ca, cert, key), "given, and tcp://127.0.0.1:8786 is not tls://"),
    ]:
        with pytest.raises(fl.InputError, match=message) as error:
            Scheduler(*arguments)
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
def test_invalid_addresses_are_named(address):
    with pytest.raises(
        fl.InputError, match="needed is tcp://HOST:PORT, tls://HOST:PORT or the file"
    ) as error:
        Scheduler(address)
    one_line(error)


@pytest.mark.parametrize(
    "content", [None, "", "[]", '{"address": 5}', '{"id": "x"}', '{"address": "x"}', "\0\xff"]
)
def test_invalid_scheduler_files_are_named(tmp_path, content):
    file = tmp_path / "scheduler.json"
    if content is not None:
        file.write_text(content)
    with pytest.raises(fl.InputError, match=r"scheduler\.json.*needed is tcp://HOST:PORT") as error:
        Scheduler(file)
    one_line(error)


def test_an_address_without_a_scheduler_is_one_line(dask_cluster, capfd, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with connect(Scheduler(dask_cluster[0])) as client:
            client.wait_for_workers(1)
            (worker,) = client.nthreads()
        for address, seconds, reason in [
            (f"tcp://127.0.0.1:{closed.getsockname()[1]}", 2.0, "Connection refused"),
            (f"tcp://127.0.0.1:{silent.getsockname()[1]}", 2.0, "nothing within 2 s"),
            (worker, PATIENCE, "it is a Worker"),
        ]:
            monkeypatch.setattr(lifecycle, "CONNECT_SECONDS", seconds)
            with pytest.raises(fl.StoppedError) as error, connect(Scheduler(address)):
                pass
            assert one_line(error) == f"no Dask scheduler answers at {address}: {reason}"
    assert capfd.readouterr() == ("", "")
