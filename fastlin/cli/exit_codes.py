"""Exit codes of all commands."""

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes of the commands, each with its meaning.

    A command that a signal ends has the code 128 + the number of the signal, as in a shell.
    """

    meaning: str

    def __new__(cls, code: int, meaning: str) -> "ExitCode":
        """Make a member of a code and its meaning."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning = meaning
        return member

    DONE = 0, "done"
    FAILED = (
        1,
        (
            "points diverged or failed, damage was found, a write failed, another run writes to the store, or the "
            "machine cannot run the command"
        ),
    )
    USAGE = 2, "bad usage: an option, a spec, a file or a store that does not fit"
    INTERRUPTED = 130, "stopped by Ctrl-C (SIGINT)"
    TERMINATED = 143, "stopped by SIGTERM"


SIGNAL = 128  # added to the number of the signal that ends a command
OTHER_SIGNALS = "stopped by signal n: SIGHUP, SIGUSR1 (`sbatch --signal`), SIGXCPU; SIGBREAK on Windows"


def table() -> str:
    """Return the exit codes as a table in Markdown."""
    rows = [("code", "meaning"), ("---", "---")]
    rows += [(str(int(code)), code.meaning) for code in ExitCode]
    rows.append((f"{SIGNAL} + n", OTHER_SIGNALS))
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)
