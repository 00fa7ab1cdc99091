"""Signals that end a command which writes to a store."""

import os
import signal
import sys
from typing import TYPE_CHECKING

from fastlin.cli.exit_codes import SIGNAL

if TYPE_CHECKING:
    from fastlin.sweeps.run.progress import Progress

# Ctrl-C and `kill`, a terminal that closes, a job at its limit (`sbatch --signal`, RLIMIT_CPU), Ctrl-Break.
# Windows has the first two and the last only.
NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGXCPU", "SIGBREAK")


def stop_at_once(progress: "Progress") -> None:
    """Have signals end the process at once: a store is always whole, and a block may take long.

    The lease is released, and worker processes and jobs are ended. A signal that is ignored stays ignored, as
    SIGHUP is by `nohup`.
    """
    from fastlin.errors import CONTINUE
    from fastlin.sweeps.run import lifecycle
    from fastlin.sweeps.store import lease

    def stop(number: int, _frame: object) -> None:
        progress.__exit__(None, None, None)
        lease.abandon()
        lifecycle.abandon()
        print(f"fastlin: stopped; {CONTINUE}", file=sys.stderr, flush=True)
        os._exit(SIGNAL + number)

    for name in NAMES:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, stop)
