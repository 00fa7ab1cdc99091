"""Exit codes of all commands."""

from enum import IntEnum

from fastlin.formatting import markdown_table


class ExitCode(IntEnum):
    """The exit codes of the commands.

    A command that a signal ends has the code 128 + the number of the signal, as in a shell.
    """

    DONE = 0
    FAILED = 1
    USAGE = 2
    INTERRUPTED = 130


SIGNAL = 128  # added to the number of the signal that ends a command
MEANINGS = {
    ExitCode.DONE: "done",
    ExitCode.FAILED: "points diverged, failed or are too stiff, damage or missing points were found, a write "
    "failed, another run writes to the store, or this machine or installation cannot compute",
    ExitCode.USAGE: "bad usage: an option, a spec, a file or a store that does not fit",
    ExitCode.INTERRUPTED: "stopped by Ctrl-C (SIGINT)",
}
OTHER_SIGNALS = (
    "stopped by signal n: 143 SIGTERM, 129 SIGHUP, and SIGUSR1 (`sbatch --signal`), SIGXCPU or, on Windows, "
    "SIGBREAK"
)


def table() -> str:
    """Return the exit codes as a table in Markdown."""
    rows = [(str(int(code)), MEANINGS[code]) for code in ExitCode]
    return markdown_table(("code", "meaning"), [*rows, (f"{SIGNAL} + n", OTHER_SIGNALS)])
