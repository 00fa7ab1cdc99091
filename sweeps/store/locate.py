"""Find the kind of location that a path or an address names."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

from fastlin.errors import InputError
from fastlin.paths import user_path
from fastlin.sweeps.store.folder import LocalFolder
from fastlin.sweeps.store.location import Location
from fastlin.validation import shown

_PART = r"(?!\.\.?(?:/|$))[^/]+"
_ADDRESS = re.compile(rf"s3://(?P<bucket>[a-z0-9][a-z0-9.-]+[a-z0-9])/(?P<prefix>{_PART}(?:/{_PART})*)/?")


def is_address(text: str) -> bool:
    """Return whether a text is an address, and no path."""
    return "://" in text


def locate(path: str | Path | Location, *, durable: bool = False, writer: str = "nobody") -> Location:
    """Return the location that a path or an address names.

    A path may begin with ~ or ~user, as in a shell.

    Raises
    ------
    InputError
        If it is neither or too long, or S3 is asked for and obstore is not installed.
    """
    if isinstance(path, Location):
        path = path.text
    text = str(path) if isinstance(path, str | Path) else ""
    remote = _ADDRESS.fullmatch(text)
    if not text or "\0" in text or (is_address(text) and not remote):
        raise InputError(f"the store is {shown(path)}; needed is the path of a folder, or s3://bucket/path")
    if remote:
        try:
            from fastlin.sweeps.store.s3 import S3Prefix
        except ImportError:
            raise InputError(
                "s3:// needs obstore: pip install obstore (it is in fastlin's extra s3)"
            ) from None
        return S3Prefix(text, durable, writer, bucket=remote["bucket"], prefix=remote["prefix"])
    root = os.path.abspath(user_path(text))
    try:
        os.stat(root)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise InputError(f"the store is {shown(text)}; its path or a name in it is too long") from None
    if above := next((folder for folder in Path(root).parents if folder.is_file()), None):
        raise InputError(f"the store is {text}, but {above} is a file; needed is the path of a folder")
    return LocalFolder(text, durable, writer, root=root)
