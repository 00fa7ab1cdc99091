"""The identity of a process: its system, its start, and whether it has ended."""

import os
import subprocess
import sys

import psutil
import pytest

from fastlin.sweeps.store import process
from fastlin.sweeps.store.process import has_ended, start_of, system_id
from tests.commands import NO_PROCESS
from tests.fault_injection import until

ME = os.getpid()
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="it is a part of Linux")


@pytest.fixture(params=["this system", "psutil"])
def asked(request, monkeypatch):
    """Ask this system as it is, and then as one without /proc."""
    if request.param == "psutil":
        monkeypatch.setattr(process, "LINUX", False)


@pytest.mark.usefixtures("asked")
def test_a_process_that_runs_has_not_ended():
    assert has_ended(ME, start_of(ME)) is False
    assert has_ended(ME, start_of(ME) - 60) is True  # its number was given again
    assert has_ended(NO_PROCESS, 0.0) is True
    assert system_id.__wrapped__() == system_id.__wrapped__()


@pytest.mark.processes
@pytest.mark.usefixtures("asked")
def test_a_zombie_has_ended():
    """Nobody has asked for its exit code yet."""
    with subprocess.Popen([sys.executable, "-c", "pass"]) as child:
        started = start_of(child.pid)
        until(lambda: has_ended(child.pid, started))


@linux
def test_a_clock_that_is_set_changes_no_process(monkeypatch):
    """psutil adds the time of the boot to the start of a process, which moves with the clock."""
    started, real = start_of(ME), psutil.Process.create_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda process: real(process) + 3600.0)
    assert has_ended(ME, started) is False


@linux
def test_a_container_with_the_same_host_name_is_another_system(monkeypatch):
    """Its processes have the numbers of others here, or of none."""
    with monkeypatch.context() as patch:
        patch.setattr(process.os, "readlink", lambda _path: "pid:[1]")
        inside = system_id.__wrapped__()
    with monkeypatch.context() as patch:
        patch.setattr(process.Path, "read_text", lambda _path: "another boot")
        before = system_id.__wrapped__()
    assert len({inside, before, system_id.__wrapped__()}) == 3


@linux
def test_a_process_that_is_hidden_is_not_taken_for_dead(monkeypatch):
    def hidden(_process):
        raise FileNotFoundError

    started = start_of(ME)
    monkeypatch.setattr(process, "_linux_status", hidden)
    assert has_ended(ME, started) is None
    assert has_ended(NO_PROCESS, 0.0) is True
