"""Identify a process of this system, and tell whether it has ended.

The number of a process is unique in one running system only, and there in one PID namespace. Two containers
may share the name of their host and its kernel, and still number their processes each for themselves.
"""

from __future__ import annotations

import os
import socket
import sys
import uuid
from contextlib import suppress
from functools import cache
from pathlib import Path

import psutil

LINUX = sys.platform.startswith("linux")
CLOCK_TOLERANCE = 2.0  # seconds by which two readings of one start may differ if it follows the clock


@cache
def system_id() -> str:
    """Return a name of the running system and the PID namespace of this process.

    A process can be looked up in its own system only. If the system has no such name, the name is of this
    process alone, so that every other process counts as one of another system.
    """
    if not LINUX:
        return f"{socket.gethostname()} {uuid.getnode():012x}"
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = os.readlink("/proc/self/ns/pid")
    except OSError:
        return uuid.uuid4().hex
    return f"{socket.gethostname()} {boot} {namespace}"


def start_of(process: int) -> float:
    """Return when a process started, so that a later one with its number is told apart.

    On Linux it is in clock ticks since the system was booted. psutil adds the time of the boot, which is
    known in whole seconds only and changes when the clock is set.

    Raises
    ------
    OSError or psutil.Error
        If there is no such process, or it is hidden from this user.
    """
    if LINUX:
        return float(_linux_status(process)[19])
    return float(psutil.Process(process).create_time())


def has_ended(process: int, started: float) -> bool | None:
    """Return whether a process of this system has ended, or None if that is unknown."""
    try:
        if LINUX:
            return _has_ended_on_linux(process, started)
        running = psutil.Process(process)
        reused = abs(running.create_time() - started) > CLOCK_TOLERANCE
        return bool(reused or running.status() == psutil.STATUS_ZOMBIE)
    except (ProcessLookupError, psutil.NoSuchProcess):
        return True
    except (OSError, psutil.Error):
        return None


def _has_ended_on_linux(process: int, started: float) -> bool:
    with suppress(PermissionError):  # a process of another user
        os.kill(process, 0)  # which also finds a process that /proc hides (its mount option hidepid)
    status = _linux_status(process)
    return float(status[19]) != started or status[0] in (b"Z", b"X")


def _linux_status(process: int) -> list[bytes]:
    """Return the fields of /proc/PID/stat that follow the name, which may hold spaces and brackets."""
    return Path(f"/proc/{process}/stat").read_bytes().rpartition(b")")[2].split()
