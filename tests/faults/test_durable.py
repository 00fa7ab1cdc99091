"""Durable stores: files and folders that are synced to disk, as the system calls show."""

import re
import shutil
import subprocess
import sys

import pytest

import fastlin as fl
from tests.fault_injection import PATIENCE

SPEC = """
name = "tiny"
[axes]
architecture = [[2, 1, 2], [2, 2, 2]]
seed = { start = 0, num = 2 }
lam = [0.0, 1.0]
[task]
n_samples = 5
[dynamics]
times = [1.0]
"""
needs_strace = pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")


def traced(tmp_path, text, *options):
    """Run a sweep and return its renames and syncs in order, as (call, path)."""
    (tmp_path / "s.toml").write_text(text)
    command = [sys.executable, "-m", "fastlin", "run", "s.toml", "--store", "s.zarr", *options]
    calls = ["strace", "-f", "-y", "-e", "trace=rename,fsync,fdatasync,mkdir", "-o", "trace"]
    subprocess.run([*calls, *command], cwd=tmp_path, check=True, capture_output=True, timeout=PATIENCE)
    entries = []
    for line in (tmp_path / "trace").read_text().splitlines():
        if match := re.search(r"\b(fsync|fdatasync)\(\d+<(.*?)>", line):
            entries.append(("sync", match[2]))
        elif match := re.search(r'\brename\("(.*?)", "(.*?)"', line):
            entries += [("rename from", match[1]), ("rename to", match[2])]
    return [(call, path) for call, path in entries if path.startswith(str(tmp_path))]


@pytest.mark.processes
@needs_strace
@pytest.mark.parametrize("way", ["option", pytest.param("spec", marks=pytest.mark.slow)])
def test_a_durable_store_syncs_files_before_and_folders_after_each_rename(tmp_path, way):
    text = SPEC + ("[output]\ndurable = true\n" if way == "spec" else "")
    calls = traced(tmp_path, text, *(["--durable"] if way == "option" else []))
    sources = [(at, path) for at, (call, path) in enumerate(calls) if call == "rename from"]
    targets = [(at, path) for at, (call, path) in enumerate(calls) if call == "rename to"]
    assert len(targets) >= 2 * 3 + 10  # the chunks of two blocks, and the metadata
    for at, path in sources:
        assert ("sync", path) in calls[:at]
    for at, path in targets:
        assert ("sync", path.rpartition("/")[0]) in calls[at:]
    assert ("sync", str(tmp_path)) in calls  # the entry of the store's folder


@pytest.mark.processes
@needs_strace
def test_other_stores_sync_nothing(tmp_path):
    calls = traced(tmp_path, SPEC)
    assert any(call == "rename to" for call, _ in calls)
    assert not [path for call, path in calls if call == "sync"]


def test_durable_does_not_change_the_hash_of_a_spec():
    plain = fl.Spec.from_dict({"axes": AXES, "task": {"n_samples": 5}, "dynamics": {"times": 1.0}})
    durable = fl.Spec.from_dict(plain.to_dict() | {"output": {"durable": True}})
    assert durable.durable
    assert fl.Spec.from_dict(durable.to_dict()).durable
    assert durable.hash == plain.hash


AXES = {"architecture": [2, 1, 2], "seed": 0, "lam": 0.0}
