"""A gate in a sweep: it lets so many blocks through, and holds the others until a test opens it.

A test that acts on a sweep that runs, as one that kills it, would race with its end otherwise. Each ticket is
a file, because a sweep may have several processes, and a block takes one away. Processes that a test starts
import a copy of this file, see `tests.planting`: it must not import anything of fastlin or of the tests.
"""

import time
from contextlib import suppress
from pathlib import Path

OPEN = "open"


def plant(module):
    """Hold the blocks of a process at the gate whose folder this copy of the file lies in."""
    hold(module, Path(__file__).parent)


def hold(module, folder):
    """Hold the blocks that a module computes at the gate in a folder."""
    compute = module.compute

    def held(block):
        # A block of one time loads kernels, before the sweep begins.
        if block.times.size > 1:
            _pass(folder)
        return compute(block)

    module.compute = held


def _pass(folder):
    while not (folder / OPEN).exists():
        for ticket in folder.glob("*.ticket"):
            with suppress(FileNotFoundError):  # another block has taken it
                ticket.unlink()
                return
        time.sleep(0.01)
