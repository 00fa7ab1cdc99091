"""The project itself: imports run one way, caches are never stale, documentation holds."""

import ast
import doctest
import importlib
import inspect
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastlin as fl
from fastlin.observables import REGISTRY, sweepable
from tests.sweeping import content

ROOT = Path(fl.__file__).parent
MODULES = sorted(
    ".".join(Path(folder, name).relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")
    for folder, _, names in os.walk(ROOT, followlinks=True)
    for name in names
    if name.endswith(".py") and name != "__main__.py" and "notebooks" not in folder
)


def imported(module):
    """Return the names of all modules that a module's source imports."""
    tree = ast.parse(inspect.getsource(importlib.import_module(module)))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module if node.level == 0 else f"relative.{node.module}"


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_one_way(module):
    for name in imported(module):
        top = name.split(".")[0]
        if module.startswith("fastlin.kernels"):
            allowed = {"numpy", "scipy", "numba", "llvmlite", "filelock", *sys.stdlib_module_names}
            assert top in allowed or name.startswith("fastlin.kernels"), name
        elif module != "fastlin" and not module.startswith(
            ("fastlin.sweeps", "fastlin.bench", "fastlin.cli")
        ):
            assert not name.startswith("fastlin.sweeps"), name
        assert top not in ("kernels", "sweeps", "relative")


@pytest.mark.parametrize("module", MODULES)
def test_docstring_examples(module, swept, monkeypatch):
    """Beside a store of the name that they use."""
    monkeypatch.chdir(swept.parent)
    results = doctest.testmod(importlib.import_module(module), extraglobs={"fl": fl, "np": np})
    assert results.failed == 0


def test_public_functions_have_examples():
    """Run by the test above."""
    finder = doctest.DocTestFinder(recurse=False)
    for name in fl.__all__:
        value = getattr(fl, name)
        if inspect.isfunction(value):
            assert any(example.examples for example in finder.find(value)), name


def test_public_names_are_documented():
    assert set(fl.__all__) == set(dir(fl))
    for name in fl.__all__:
        value = getattr(fl, name)
        if name == "OBSERVABLES":  # a mapping, whose entries are documented one by one
            continue
        text = inspect.getdoc(value)
        assert text, name
        if inspect.isfunction(value):
            for section in ("Parameters", "Returns", "Raises"):
                assert section in text, (name, section)
    for function in (fl.plot.phase_diagram, fl.plot.profile, fl.plot.dynamics, fl.plot.sweep):
        assert "Raises" in (inspect.getdoc(function) or "")


def test_registry_is_complete():
    for name, entry in REGISTRY.items():
        assert entry.name == name
        assert entry.unit
        assert entry.equation
        assert entry.doc
    outputs = [output for name in sweepable() for output in REGISTRY[name].outputs]
    assert sorted(outputs) == sorted(set(outputs)) == sorted(type(outputs[0]))


def test_unknown_attribute():
    with pytest.raises(AttributeError, match="no attribute 'exakt'"):
        _ = fl.exakt


PROBE = """
import numpy as np
from fastlin import kernels
from fastlin.kernels import dispatch
from fastlin.kernels.vector.closed_form import _closed_form
sizes = kernels.Sizes(2, 1, 2)
record = np.full((1, kernels.Record(sizes).length), 0.5)
batch = kernels.empty_batch(record, np.array([2.0]), np.array([0.1]), 1)
dispatch.closed_form(sizes, (0,), batch)
print(batch.outputs[0, 0, 0], sum(_closed_form.stats.cache_hits.values()))
"""


def test_compiled_code_is_cached_and_never_stale(tmp_path):
    """A kernel that calls an edited one is compiled anew, though its own file did not change."""
    shutil.copytree(ROOT, tmp_path / "fastlin", ignore=shutil.ignore_patterns("__pycache__"))
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": str(tmp_path)}

    def probe():
        command = [sys.executable, "-c", PROBE]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        value, hits = done.stdout.split()
        return float(value), int(hits)

    first, hits = probe()
    assert hits == 0
    assert probe() == (first, 1)
    assert list((tmp_path / "cache").glob("fastlin-*"))
    codes = tmp_path / "fastlin" / "kernels" / "codes.py"
    codes.write_text(codes.read_text() + "\n# edited\n")
    assert probe() == (first, 0)
    source = tmp_path / "fastlin" / "kernels" / "vector" / "balance.py"
    source.write_text(source.read_text().replace("0.5 * absolute(lam)", "0.7 * absolute(lam)"))
    assert probe()[0] != first
    assert np.isfinite(first)


@pytest.mark.parametrize("count", [3, pytest.param(6, marks=pytest.mark.slow)])
def test_processes_that_start_at_once_compile_once(tmp_path, count):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    patient = "from fastlin.kernels.compiler import jit\njit.COMPILE_WAIT = 300.0\n"  # a machine may be busy
    command = [sys.executable, "-c", patient + PROBE]
    started = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(count)
    ]
    ended = [process.communicate() for process in started]
    assert all(process.returncode == 0 for process in started), ended
    values, hits = zip(*(out.split() for out, _ in ended), strict=True)
    assert len(set(values)) == 1
    assert sorted(hits) == ["0"] + ["1"] * (count - 1)


def test_an_unwritable_cache_is_no_obstacle(tmp_path):
    (tmp_path / "file").write_text("no folder")
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "file" / "below")}
    done = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[1] == "0"


@pytest.mark.slow
def test_compiled_and_cached_code_give_the_same_bits(tmp_path):
    """A store must not depend on whether the process that wrote it had to compile."""
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    command = [sys.executable, "-m", "fastlin", "run", "gradient-descent-check", "--store"]
    for name in ("cold.zarr", "warm.zarr"):
        subprocess.run(
            [*command, name], env=environment, cwd=tmp_path, check=True, capture_output=True, timeout=300
        )
    assert content(tmp_path / "cold.zarr") == content(tmp_path / "warm.zarr")
