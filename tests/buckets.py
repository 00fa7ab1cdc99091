"""A real S3 server in its own process, on the loopback interface."""

import os
import re
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import obstore
from obstore.store import S3Store

from tests.fault_injection import until

BUCKET, REGION = "sweeps", "us-east-1"
KEYS = {"AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "secret"}


class Server:
    """A server at a port of this machine. It has a process if it runs."""

    def __init__(self, port, process=None):
        self.address = f"http://127.0.0.1:{port}"
        self._process = process

    @property
    def environment(self):
        """The environment variables by which commands find the server."""
        region = dict.fromkeys(("AWS_REGION", "AWS_DEFAULT_REGION"), REGION)
        return {**KEYS, **region, "AWS_ENDPOINT_URL": self.address, "AWS_ALLOW_HTTP": "true"}

    def make_bucket(self):
        """Wait until the server answers, and create the bucket."""
        until(self._answers)
        urlopen(Request(f"{self.address}/{BUCKET}", method="PUT")).close()

    def _answers(self):
        try:
            urlopen(self.address).close()
        except HTTPError:
            return True
        except OSError:
            return False
        return True

    def end(self):
        """Kill the server. Its objects are lost."""
        self._process.kill()
        self._process.wait()

    @contextmanager
    def stopped(self):
        """Stop the server from answering within the context."""
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)

    def check_keys(self):
        """Make the server check keys. It knows none, so it refuses all."""
        text = {"Content-Type": "text/plain"}
        urlopen(Request(f"{self.address}/moto-api/reset-auth", b"0", text, method="POST")).close()

    def objects(self, prefix):
        """Return an S3 store below a prefix."""
        return S3Store(
            BUCKET,
            prefix=prefix,
            endpoint=self.address,
            region=REGION,
            access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
            secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
            client_options={"allow_http": True},
        )

    def content(self, prefix):
        """Return the bytes of every object below a prefix, by key."""
        store = self.objects(prefix)
        keys = [entry["path"] for page in obstore.list(store) for entry in page]
        return {key: bytes(obstore.get(store, key).bytes()) for key in keys}

    def marks(self, prefix):
        """Return the keys of the commit markers of a store."""
        listed = obstore.list(self.objects(prefix), "status")
        return {entry["path"] for page in listed for entry in page if entry["path"].startswith("status/c")}


@contextmanager
def serving():
    """Run a server at a free port."""
    program = [str(Path(sys.executable).with_name("moto_server")), "-H", "127.0.0.1", "-p", "0"]
    with TemporaryFile() as log:
        process = subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=log)
        try:
            server = Server(until(lambda: _port(log)), process)
            server.make_bucket()
            yield server
        finally:
            process.kill()
            process.wait()


def _port(log):
    """Return the port that the server printed, or None before it has printed one."""
    match = re.search(rb"Running on http://127\.0\.0\.1:(\d+)", os.pread(log.fileno(), 2**16, 0))
    return match and int(match[1])


@contextmanager
def absent():
    """Yield a server that does not run, at a port that no other process can take."""
    with socket.socket() as reserved:
        reserved.bind(("127.0.0.1", 0))
        yield Server(reserved.getsockname()[1])
