"""A SLURM of one node for tests: real daemons on free ports, all their files in one folder."""

import os
import shutil
import socket
import subprocess
import time
from contextlib import ExitStack, contextmanager

import psutil

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
    """Return why there can be no SLURM here, or an empty text."""
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    if absent:
        return f"not installed: {', '.join(absent)}"
    return "" if os.getuid() == 0 else "its daemons need root"


@contextmanager
def running(folder):
    """Start the daemons, and stop them at the end; yields the path for SLURM_CONF."""
    conf = folder / "slurm.conf"
    with socket.socket() as one, socket.socket() as other:
        for free in (one, other):
            free.bind(("127.0.0.1", 0))
        controller, node = one.getsockname()[1], other.getsockname()[1]
    for name in ("state", "spool"):
        (folder / name).mkdir()
    conf.write_text(
        CONFIGURATION.format(
            folder=folder,
            controller=controller,
            node=node,
            cores=len(os.sched_getaffinity(0)),
            memory=psutil.virtual_memory().total // 2**21,
        )
    )
    key = folder / "munge.key"
    key.write_bytes(os.urandom(64))
    key.chmod(0o600)
    files = [f"--{name}-file={folder / name}" for name in ("pid", "log", "seed")]
    munged = ["munged", "--foreground", "--force", f"--socket={folder}/munge.socket", f"--key-file={key}"]
    with ExitStack() as stack:
        for command in (
            [*munged, *files],
            ["slurmctld", "-D", "-f", str(conf)],
            ["slurmd", "-D", "-f", str(conf), "-N", "localhost"],
        ):
            stack.enter_context(_daemon(command))
        _wait_for_node(conf)
        yield conf


@contextmanager
def _daemon(command):
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for_node(conf):
    deadline = time.monotonic() + 30
    while "idle" not in ask(conf, "sinfo", "-h", "-o", "%T"):
        assert time.monotonic() < deadline, (conf.parent / "slurmctld.log").read_text()
        time.sleep(0.2)


def ask(conf, *command):
    """Return what one of SLURM's commands prints."""
    environment = os.environ | {"SLURM_CONF": str(conf)}
    return subprocess.run(command, env=environment, capture_output=True, text=True).stdout


def jobs(conf):
    """Return the names of jobs that are neither done nor cancelled."""
    return ask(conf, "squeue", "-h", "-o", "%j").split()
