"""A SLURM of one node for tests: real daemons on free ports, with all their files in one folder."""

import os
import re
import shutil
import socket
import subprocess
from contextlib import ExitStack, contextmanager

import psutil

from tests.fault_injection import until

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scancel", "squeue", "sinfo")

CONFIGURATION = """\
ClusterName=fastlin
SlurmctldHost=localhost
SlurmctldPort={controller}
SlurmdPort={node}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_min_interval=100000
MpiDefault=none
ReturnToService=2
KillWait=3
NodeName=localhost NodeAddr=127.0.0.1 CPUs={cores} RealMemory={memory} State=UNKNOWN
PartitionName=main Nodes=localhost Default=YES MaxTime=01:00:00 State=UP
"""


def missing():
    """Return the reason why no SLURM can run here, or an empty text."""
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    if absent:
        return f"not installed: {', '.join(absent)}"
    return "" if os.getuid() == 0 else "its daemons need root"


@contextmanager
def running(folder):
    """Start the daemons, yield the path for SLURM_CONF, and stop the daemons at the end."""
    conf = folder / "slurm.conf"
    for name in ("state", "spool"):
        (folder / name).mkdir()
    key = folder / "munge.key"
    key.write_bytes(os.urandom(64))
    key.chmod(0o600)
    files = [f"--{name}-file={folder / name}" for name in ("pid", "log", "seed")]
    munged = ["munged", "--foreground", "--force", f"--socket={folder}/munge.socket", f"--key-file={key}"]
    with ExitStack() as stack:
        conf.write_text(
            CONFIGURATION.format(
                folder=folder,
                controller=stack.enter_context(_reserved_port()),
                node=stack.enter_context(_reserved_port()),
                cores=len(os.sched_getaffinity(0)),
                memory=psutil.virtual_memory().total // 2**21,
            )
        )
        for command in (
            [*munged, *files],
            ["slurmctld", "-D", "-f", str(conf)],
            ["slurmd", "-D", "-f", str(conf), "-N", "localhost"],
        ):
            stack.enter_context(_daemon(command))
        _wait_for_node(conf)
        yield conf


@contextmanager
def _reserved_port():
    """Yield a free port, and reserve it for a daemon.

    Linux gives a bound port to no process that asks for any free port. A daemon can still listen at it,
    because SLURM and this socket both ask to reuse addresses.
    """
    with socket.socket() as reserved:
        reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserved.bind(("", 0))
        yield reserved.getsockname()[1]


@contextmanager
def _daemon(command):
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for_node(conf):
    try:
        until(lambda: "idle" in ask(conf, "sinfo", "-h", "-o", "%T"))
    except AssertionError:
        raise AssertionError((conf.parent / "slurmctld.log").read_text()) from None


def ask(conf, *command):
    """Return the output of a command of SLURM."""
    environment = os.environ | {"SLURM_CONF": str(conf)}
    return subprocess.run(command, env=environment, capture_output=True, text=True).stdout


def jobs(conf):
    """Return the names of the jobs that are neither done nor cancelled."""
    return ask(conf, "squeue", "-h", "-o", "%j").split()


def state(conf, name):
    """Return the final state of the job of this name."""
    (line,) = [line for line in ask(conf, "scontrol", "-o", "show", "jobs").splitlines() if name in line]
    return re.search(r"JobState=(\w+)", line)[1]
