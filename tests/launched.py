"""The command line, as `python -m fastlin`, but without joining groups into blocks."""

import signal

from fastlin import cli
from fastlin.cli import signals
from tests import cutting


def heed_signals():
    """Handle the signals that end a run, also where tests run in the background or under `nohup`."""
    for name in signals.NAMES:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_DFL)


if __name__ == "__main__":
    heed_signals()
    cutting.groups_apart()
    cli.main()
