"""`ds.fastlin` exists after `import fastlin`, in any order of imports, and costs no import before its use."""

import importlib.util
import subprocess
import sys

import numpy as np
import pytest
import xarray as xr

import fastlin as fl

USE = """
import numpy, xarray.core.dataset
print(type(xarray.Dataset().fastlin).__name__, xarray.Dataset(attrs={"fastlin": "1"}).fastlin is not None)
assert xarray.__spec__.loader is xarray.__loader__
assert xarray.__loader__.__module__ == "_frozen_importlib_external"
"""
ORDERS = {
    "fastlin first": "import fastlin, xarray",
    "xarray first": "import xarray, fastlin",
    "a part of xarray": "import fastlin; from xarray.core.dataset import Dataset",
    "looked for": "import fastlin, importlib.util as i; i.find_spec('xarray').loader.get_filename('xarray')",
    "fastlin only": "import fastlin; fastlin.exact",
    "fastlin twice": "import fastlin, sys; del sys.modules['fastlin']; import fastlin, xarray",
    "all anew": "import fastlin, sys; [sys.modules.pop(n) for n in list(sys.modules) if 'fastlin' in n]; "
    "import fastlin",
}


def python(code):
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.processes
@pytest.mark.parametrize("order", ORDERS)
def test_the_accessor_exists_in_any_order_of_imports(order):
    assert python(ORDERS[order] + USE) == "SweepAccessor True"


@pytest.mark.processes
def test_the_accessor_is_not_imported_before_its_use():
    heavy = ("xarray", "numpy", "numba", "importlib.abc", "tempfile")
    code = (
        f"import sys; old = set(sys.modules); import fastlin; print({set(heavy)} & (set(sys.modules) - old))"
    )
    assert python(code) == "set()"
    used = "'fastlin.sweeps.read.accessor' in sys.modules"
    assert python(f"import sys, fastlin, xarray; xarray.Dataset; print({used})") == "False"


def test_other_modules_are_found_as_before():
    assert importlib.util.find_spec("no_such_module") is None


@pytest.fixture
def network():
    arch = fl.Architecture(4, 2, 4)
    return fl.random_regression(arch, 10), fl.balanced_init(arch, lam=1.0)


def test_one_network_is_classified_and_selected_from(network):
    ds = fl.exact(*network, [0.0, 1.0, 10.0, np.inf])
    assert ds.fastlin.regime().dims == ("time",)
    assert ds.fastlin.regime().values[0] == 0
    assert 0 < float(ds.fastlin.passage_time(0.5)) < 10
    assert ds.fastlin.select(time=np.inf).loss == ds.loss[-1]
    gd = fl.gradient_descent(*network, 0.01, 100, 10)
    assert gd.fastlin.regime().dims == ("time",)
    for use, message in {
        lambda: ds.fastlin.mean_over_seeds(): "no axis 'seed' to average over",
        lambda: ds.fastlin.select(architecture="4-2-4"): "one architecture only",
        lambda: ds.fastlin.select(n_h=2): "one architecture only",
        lambda: ds.fastlin.select(lam=1.0): "'lam' is no axis of the sweep",
        lambda: ds.fastlin.phase_diagram(): "'lam' is no dimension here",
        lambda: fl.rebuild(ds): "no spec in its attributes",
        lambda: xr.Dataset().fastlin.regime(): "observable 'kernel_distance' is not in the sweep",
        lambda: xr.Dataset().fastlin.select(lam=1.0): "'lam' is no axis of the sweep",
    }.items():
        with pytest.raises(fl.InputError, match=message):
            use()


def test_the_accessor_follows_changes_of_the_dataset(network):
    ds = fl.exact(*network, [0.0, 1.0, 10.0])
    first = ds.fastlin
    assert ds.fastlin is first
    assert ds.isel(time=[0]).fastlin.regime().sizes == {"time": 1}
    ds["kernel_distance"] = 0 * ds.kernel_distance + 0.5
    assert (ds.fastlin.regime() == 2).all()
    assert (ds.copy().fastlin.regime() == 2).all()
    assert (ds.assign(kernel_distance=0 * ds.kernel_distance).fastlin.regime() == 0).all()
