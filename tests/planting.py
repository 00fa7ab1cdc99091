"""Code of tests in the processes of commands that they start: of the command, its workers, and theirs."""

import itertools
import os
import shutil
from functools import partial

from tests import commands, gate

# Python runs this file at the start of every process whose PYTHONPATH has its folder.
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
    """Return the changes of the environment that have `plant` of a source change `fastlin.sweeps.run.block`.

    The source is copied to `folder`, so what it needs may lie beside it.
    """
    (folder / "sitecustomize.py").write_text(SITE)
    shutil.copy(source, folder / "planted.py")
    return {"PYTHONPATH": os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))}


class Gate:
    """A gate of `tests.gate`, which lets so many blocks through.

    Parameters
    ----------
    folder : Path
        Where its files are; it is made.
    blocks : int
    """

    def __init__(self, folder, blocks):
        folder.mkdir()
        self._folder, self._numbers = folder, itertools.count()
        self.let(blocks)

    def let(self, blocks):
        """Let so many more blocks through."""
        for _ in range(blocks):
            (self._folder / f"{next(self._numbers)}.ticket").touch()

    def open(self):
        """Let all blocks through."""
        (self._folder / gate.OPEN).touch()

    @property
    def patch(self):
        """The patch of a command of `tests.commands` that runs through the gate."""
        return partial(commands.held, self._folder)

    @property
    def environment(self):
        """The environment of a command of `tests.faults` that runs through the gate."""
        return planted(self._folder, gate.__file__)
