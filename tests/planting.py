"""Test code that runs in the processes of commands: in the command, its workers, and their children."""

import itertools
import os
import shutil
from functools import partial

from tests import commands, gate

# Python runs this file at the start of every process whose PYTHONPATH contains its folder.
SITE = """
import importlib.util
import sys

from planted import plant  # now, because a spawned process takes over the path of its parent later


class Planting:
    def find_spec(self, name, path=None, target=None):
        if name == "fastlin.sweeps.run.block":
            sys.meta_path.remove(self)
            spec = importlib.util.find_spec(name)
            execute = spec.loader.exec_module

            def exec_module(module):
                execute(module)
                plant(module)

            spec.loader.exec_module = exec_module
            return spec


sys.meta_path.insert(0, Planting())
"""


def planted(folder, source):
    """Return environment variables by which `plant` of a source changes `fastlin.sweeps.run.block`.

    The source is copied to `folder`. Files that it needs may lie beside it.
    """
    (folder / "sitecustomize.py").write_text(SITE)
    shutil.copy(source, folder / "planted.py")
    return {"PYTHONPATH": os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))}


class Gate:
    """A gate of `tests.gate`, which lets a given number of blocks pass.

    Parameters
    ----------
    folder : Path
        Folder of its files, which is created.
    blocks : int
    """

    def __init__(self, folder, blocks):
        folder.mkdir()
        self._folder, self._numbers = folder, itertools.count()
        self.let(blocks)

    def let(self, blocks):
        """Let `blocks` more blocks pass."""
        for _ in range(blocks):
            (self._folder / f"{next(self._numbers)}.ticket").touch()

    def open(self):
        """Let all blocks pass."""
        (self._folder / gate.OPEN).touch()

    @property
    def patch(self):
        """The patch that makes a command of `tests.commands` wait at the gate."""
        return partial(commands.hold_blocks, self._folder)

    @property
    def environment(self):
        """The environment that makes a command of `tests.fault_injection` wait at the gate."""
        return planted(self._folder, gate.__file__)
