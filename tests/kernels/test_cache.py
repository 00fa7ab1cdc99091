"""The folders of compiled code: a read-only folder is read, and the next one is written."""

import os
import subprocess
import sys

import pytest

from fastlin.kernels.compiler import cache

pytestmark = pytest.mark.processes

# The folder cannot be written even by root, as on a read-only file system.
READ_ONLY = """
import errno, os, sys, tempfile
frozen = os.path.join(sys.argv[1], "")
def refuse(event, arguments):
    writes = event in ("os.mkdir", "os.remove", "os.rename", "os.truncate", "os.link", "os.symlink")
    if event == "open":
        _, mode, flags = arguments
        writes = bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
    if writes and any(os.path.join(str(path), "").startswith(frozen) for path in arguments[:2]):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(arguments[0]))
sys.addaudithook(refuse)
"""
PROBE = """
import sys, tempfile
import numpy as np
from numba.misc.appdirs import AppDirs
AppDirs.user_cache_dir, tempfile.tempdir = "user", "temporary"
from fastlin import kernels
from fastlin.kernels import dispatch
from fastlin.kernels.vector.closed_form import _closed_form
def solve(output):
    sizes = kernels.Sizes(2, 1, 2)
    record = np.full((1, kernels.Record(sizes).length), 0.5)
    batch = kernels.empty_batch(record, np.array([2.0]), np.array([0.1]), 1)
    dispatch.closed_form(sizes, (output,), batch)
for output in sys.argv[2:]:
    solve(int(output))
print(sum(_closed_form.stats.cache_hits.values()), sum(_closed_form.stats.cache_misses.values()))
"""


@pytest.fixture
def probe(tmp_path):
    """Return a function that computes outputs in a process and returns (kernels loaded, kernels compiled)."""
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "first")}
    (tmp_path / "temporary").mkdir()

    def call(*outputs, frozen=None):
        script = PROBE if frozen is None else READ_ONLY + PROBE
        command = [sys.executable, "-c", script, str(tmp_path / (frozen or "")), *map(str, outputs)]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        loaded, compiled = done.stdout.split()
        return int(loaded), int(compiled)

    return call


def content(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_read_only_cache_is_read_and_what_it_lacks_is_kept_elsewhere(probe, tmp_path):
    assert probe(0) == (0, 1)
    before = content(tmp_path / "first")
    assert probe(0, frozen="first") == (1, 0)
    assert not content(tmp_path / "user")
    assert probe(0, 1, frozen="first") == (1, 1)  # the folder has one of the two kernels
    assert probe(0, 1, frozen="first") == (2, 0)
    assert content(tmp_path / "user")
    assert content(tmp_path / "first") == before


def test_without_a_writable_home_a_temporary_folder_is_written(probe, tmp_path):
    (tmp_path / "first").write_text("no folder")
    (tmp_path / "user").write_text("no folder")
    assert probe(0) == (0, 1)
    assert probe(0) == (1, 0)
    (folder,) = (tmp_path / "temporary").iterdir()
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(sys.platform == "win32", reason="there a temporary folder belongs to one user")
@pytest.mark.parametrize("trap", ["writable by others", "a link", "a file"])
def test_a_temporary_folder_that_another_user_may_have_filled_is_not_read(trap, tmp_path, monkeypatch):
    monkeypatch.setattr(cache.tempfile, "tempdir", str(tmp_path))
    folder = tmp_path / f"fastlin-{os.getuid()}"
    assert cache._temporary_folder() == folder
    folder.rmdir()
    if trap == "a link":
        (tmp_path / "other").mkdir(mode=0o700)
        folder.symlink_to(tmp_path / "other")
    elif trap == "a file":
        folder.write_text("no folder")
    else:
        folder.mkdir()
        folder.chmod(0o777)
    assert cache._temporary_folder() is None
