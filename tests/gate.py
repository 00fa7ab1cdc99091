"""A gate in a sweep: it lets a given number of blocks pass, and the others wait until a test opens it.

Without the gate a test that acts on a running sweep, for example by a kill, would race with the end of the
sweep. Each ticket is a file, because a sweep may have several processes. A block removes one ticket.
Processes that a test starts import a copy of this file (see `tests.planting`), so it must not import anything
of fastlin or of the tests.
"""

import time
from contextlib import suppress
from pathlib import Path

OPEN = "open"


def plant(module):
    """Make the blocks of a process wait at the gate in the folder of this copy of the file."""
    hold(module, Path(__file__).parent)


def hold(module, folder):
    """Make the blocks that a module computes wait at the gate in a folder."""
    compute = module.compute

    def compute_at_gate(block):
        # The first block with one time only loads kernels, before the sweep begins.
        if block.times.size > 1:
            _pass(folder)
        return compute(block)

    module.compute = compute_at_gate


def _pass(folder):
    while not (folder / OPEN).exists():
        for ticket in folder.glob("*.ticket"):
            with suppress(FileNotFoundError):  # another block has taken the ticket
                ticket.unlink()
                return
        time.sleep(0.01)
