"""The project as a whole: the import direction, caches of compiled code, and documentation."""

import ast
import functools
import graphlib
import importlib
import inspect
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastlin as fl
from fastlin import kernels
from fastlin.observables.registry import REGISTRY, sweepable
from tests.sweeping import content

ROOT = Path(fl.__file__).parent
MODULES = sorted(
    ".".join(Path(folder, name).relative_to(ROOT.parent).with_suffix("").parts).removesuffix(".__init__")
    for folder, _, names in os.walk(ROOT, followlinks=True)
    for name in names
    if name.endswith(".py") and name != "__main__.py" and not {"notebooks", "docs"} & set(Path(folder).parts)
)


# Rooms of one network or a stack of networks. A room imports those before it.
ROOMS = [
    f"fastlin.{room}"
    for room in ("tasks", "weights", "observables", "networks", "kinds", "solutions", "plot")
]
# The packages that a package must not import. Its subpackages must not import them, either.
ABOVE = {
    "fastlin.kernels": ["fastlin"],
    "fastlin": ["fastlin.sweeps"],
    **{room: ROOMS[k + 1 :] for k, room in enumerate(ROOMS)},
    "fastlin.sweeps.spec": ["fastlin.sweeps.store", "fastlin.sweeps.run", "fastlin.sweeps.read"],
    "fastlin.sweeps.store": ["fastlin.sweeps.run", "fastlin.sweeps.read"],
    "fastlin.sweeps.run": ["fastlin.sweeps.read"],
    "fastlin.sweeps.read": ["fastlin.sweeps.run"],
    "fastlin.sweeps": ["fastlin.cli", "fastlin.bench"],
}
# No other package of sweeps imports them.
LAST = ["fastlin.sweeps.report", "fastlin.sweeps.figures", "fastlin.sweeps.explore"]
COMMANDS = ("fastlin.cli", "fastlin.bench")  # the only parts of fastlin that import sweeps
LAZY = "fastlin"  # its names are loaded on first use


def within(name, packages):
    return any(name == package or name.startswith(f"{package}.") for package in packages)


@functools.cache
def imported(module):
    """Return all modules that the source of a module imports when it runs, also within functions."""
    tree = ast.parse(inspect.getsource(importlib.import_module(module)))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            node.body = []
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            source = node.module if node.level == 0 else f"relative.{node.module}"
            full = [f"{source}.{alias.name}" for alias in node.names]
            modules = [name for name in full if name in MODULES]
            names += modules if modules == full else [source, *modules]
    return names


def forbidden(module):
    """Return the packages of this project that a module must not import."""
    if module == LAZY or within(module, COMMANDS):
        return []
    names = [name for package, above in ABOVE.items() if within(module, [package]) for name in above]
    if within(module, ["fastlin.sweeps"]):
        names.remove("fastlin.sweeps")
        names += [] if within(module, LAST) else LAST
    return names


@pytest.mark.parametrize("module", MODULES)
def test_imports_run_one_way(module):
    own = [package for package in ("fastlin.kernels", *LAST) if within(module, [package])]
    for name in imported(module):
        top = name.split(".")[0]
        assert top not in ("kernels", "sweeps", "relative")
        assert within(name, own) or not within(name, forbidden(module)), name
        if within(module, ["fastlin.kernels"]):
            allowed = {"numpy", "scipy", "numba", "llvmlite", "filelock", "fastlin", *sys.stdlib_module_names}
            assert top in allowed, name


def test_each_rule_of_the_import_direction_refuses_an_import():
    for module, name in [
        ("fastlin.kernels.sizes", "fastlin.errors"),
        ("fastlin.networks.network", "fastlin.sweeps.spec.spec"),
        ("fastlin.tasks.task", "fastlin.observables.registry"),
        ("fastlin.weights.solve", "fastlin.networks.network"),
        ("fastlin.kinds.starts", "fastlin.solutions.exact"),
        ("fastlin.sweeps.spec.spec", "fastlin.sweeps.store.layout"),
        ("fastlin.sweeps.store.store", "fastlin.sweeps.run.plan"),
        ("fastlin.sweeps.run.run", "fastlin.sweeps.read.open"),
        ("fastlin.sweeps.read.open", "fastlin.sweeps.report.page"),
        ("fastlin.sweeps.read.open", "fastlin.cli"),
    ]:
        assert module in MODULES
        assert name in MODULES
        assert within(name, forbidden(module))


def test_modules_do_not_import_each_other_in_a_circle():
    """Imports within functions count, too. A package counts as its `__init__`."""
    graph = {
        module: {name for name in imported(module) if name in MODULES and name != LAZY}
        for module in MODULES
        if module != LAZY
    }
    tuple(graphlib.TopologicalSorter(graph).static_order())


def test_one_module_of_a_room_chooses_between_every_point_and_statistics():
    """All others ask the layout or the evaluator that it chose."""
    rooms = ("fastlin.sweeps.store", "fastlin.sweeps.run", "fastlin.sweeps.read", "fastlin.sweeps.report")
    asking = {
        module
        for module in MODULES
        if within(module, rooms)
        and re.search(r"\bspec\.reduce\b", inspect.getsource(importlib.import_module(module)))
    }
    assert asking == {"fastlin.sweeps.store.contents", "fastlin.sweeps.run.evaluators"}


PRIVATE = re.compile(
    r"(numba\.(core|misc)|zarr\.core|dask\.(?!array|utils)|xarray\.(core|backends|coding)|distributed)(\.|$)|.*\._"
)
# Parts of numba.core that the documentation of Numba uses, to write extensions and passes.
DOCUMENTED = {
    *("numba.core.types", "numba.core.cgutils", "numba.core.compiler", "numba.core.compiler_machinery"),
    "numba.core.typed_passes",
}


def private(line):
    """Return whether a line imports from a module of a dependency that is not public."""
    words = re.match(r"\s*(?:from ([\w.]+) )?import (.*)", line)
    if words is None or (words[1] or words[2]).startswith("fastlin"):
        return False
    source, names = words[1], [name.strip().split(" ")[0] for name in words[2].split("#")[0].split(",")]
    modules = [f"{source}.{name}" for name in names] if source == "numba.core" else [source or names[0]]
    return any(
        module not in DOCUMENTED | {"distributed"} and bool(PRIVATE.match(module)) for module in modules
    )


@pytest.mark.parametrize("module", MODULES)
def test_private_parts_of_dependencies_are_imported_for_a_reason(module):
    for line in inspect.getsource(importlib.import_module(module)).splitlines():
        assert not private(line) or "# private: " in line, line


def test_imports_of_private_parts_are_recognised():
    for line in (
        "from zarr.core.sync import sync",
        "    from distributed.system import MEMORY_LIMIT",
        "from numba.core import caching, types",
        "from xarray.core import indexing",
        "import matplotlib._api",
    ):
        assert private(line), line
    for line in (
        "from numba.core import cgutils, types",
        "from distributed import Client",
        "from zarr.abc.buffer import Buffer",
        "import dask.array as da",
        "from fastlin._x import y",
    ):
        assert not private(line), line


def test_kernels_export_no_name_of_a_module():
    """Otherwise the import of the module would give the function."""
    modules = {module.rpartition(".")[2] for module in MODULES if module.startswith("fastlin.kernels.")}
    assert not modules & set(kernels.__all__)


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


@pytest.mark.processes
def test_type_checkers_know_all_names(tmp_path):
    """mypy reports a name that does not exist, and knows the type of one that exists."""
    pytest.importorskip("mypy")
    (tmp_path / "wrong.py").write_text("import fastlin as fl\nfl.exac\n")
    (tmp_path / "right.py").write_text("import fastlin as fl\nfl.exact, fl.plan, fl.plot, fl.__version__\n")
    command = [sys.executable, "-m", "mypy", "--config-file=", "wrong.py", "right.py"]
    environment = os.environ | {"PYTHONPATH": str(ROOT.parent)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.stdout.startswith('wrong.py:2: error: Module has no attribute "exac"')
    assert "Found 1 error in 1 file" in done.stdout


def test_editors_list_public_names_only():
    """Editors read the source and list the names of the module that have no underscore."""
    names = {
        target.id
        for node in ast.parse((ROOT / "__init__.py").read_text()).body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
    }
    imports = {
        alias.asname or alias.name
        for node in ast.walk(ast.parse((ROOT / "__init__.py").read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
        if node.col_offset == 0
    }
    assert all(name.startswith("_") for name in names | imports), names | imports


def test_a_checkout_without_symbolic_links_is_explained(tmp_path):
    """Git writes symbolic links as text files where core.symlinks is off."""
    shutil.copytree(
        ROOT, tmp_path / "fastlin", ignore=shutil.ignore_patterns("__pycache__", "kernels", "sweeps")
    )
    for name in ("kernels", "sweeps"):
        (tmp_path / "fastlin" / name).write_text(f"../{name}")
    for line in ("import fastlin", "import fastlin.kernels"):
        done = subprocess.run([sys.executable, "-c", line], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 1
        last = done.stderr.splitlines()[-1]
        assert last.startswith("ImportError: fastlin/kernels and fastlin/sweeps are text files")
        assert "git config core.symlinks true" in last


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


@pytest.mark.processes
def test_compiled_code_is_cached_and_never_stale(tmp_path):
    """A kernel that calls an edited one is compiled again, although its own file did not change."""
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


@pytest.mark.processes
@pytest.mark.parametrize("count", [3, pytest.param(6, marks=pytest.mark.slow)])
def test_processes_that_start_at_once_compile_once(tmp_path, count):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    patient = (
        "from fastlin.kernels.compiler import cache\ncache.COMPILE_WAIT = 300.0\n"  # a machine may be busy
    )
    command = [sys.executable, "-c", patient + PROBE]
    started = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(count)
    ]
    outputs = [process.communicate() for process in started]
    assert all(process.returncode == 0 for process in started), outputs
    values, hits = zip(*(out.split() for out, _ in outputs), strict=True)
    assert len(set(values)) == 1
    assert sorted(hits) == ["0"] + ["1"] * (count - 1)


# No folder can be written: neither the user's cache folder nor a temporary one.
NOWHERE = """
import os, tempfile
from numba.misc.appdirs import AppDirs
AppDirs.user_cache_dir = tempfile.tempdir = os.environ["NUMBA_CACHE_DIR"]
"""


@pytest.mark.processes
def test_an_unwritable_cache_is_no_obstacle(tmp_path):
    (tmp_path / "file").write_text("no folder")
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "file" / "below")}
    command = [sys.executable, "-c", NOWHERE + PROBE]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
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
