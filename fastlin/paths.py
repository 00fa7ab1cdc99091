"""Paths that users give."""

import os
from pathlib import Path


def user_path(path: str | Path) -> Path:
    """Return a path that a user gives, with ~ or ~user at its start replaced by the home folder.

    A shell does so at the start of a word only, so not in ``--out=~/picture.png``. The function is called
    once for each path, and on its text, because pathlib takes ``./~`` for ``~``.
    """
    return Path(os.path.expanduser(path))
