"""Datasets of stores that xarray saves, in full and in part, and analysis of the copies."""

import json
import shutil

import numpy as np
import pytest
import xarray as xr

import fastlin as fl
from tests import sweeping
from tests.sweeping import BOTH

SAVED = {
    "all": lambda ds: ds,
    "rechunked": lambda ds: ds.chunk(seed=3),
    "selection": lambda ds: ds.fastlin.select(n_h=3, lam=[-2.0, 0.0]),
    "one architecture": lambda ds: ds.fastlin.select(architecture="2-3-4"),
    "means": lambda ds: ds.fastlin.mean_over_seeds(),
    "regimes": lambda ds: ds.fastlin.regime().to_dataset(),
}


def save_netcdf(ds, path):
    ds.to_netcdf(path, engine="scipy")
    return xr.open_dataset(path, engine="scipy")


def save_zarr_2(ds, path):
    ds.to_zarr(path, zarr_format=2)
    return xr.open_zarr(path)


def save_zarr_3(ds, path):
    ds.to_zarr(path, zarr_format=3, consolidated=False)
    return xr.open_zarr(path, consolidated=False)


SAVERS = {"netCDF": save_netcdf, "Zarr 2": save_zarr_2, "Zarr 3": save_zarr_3}


@pytest.fixture(params=SAVERS)
def saved(request, tmp_path):
    """Return a function that saves a dataset and opens it again."""

    def save(ds):
        path = tmp_path / "copy"
        shutil.rmtree(path, ignore_errors=True)
        path.unlink(missing_ok=True) if path.is_file() else None
        return SAVERS[request.param](ds, path)

    return save


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    """A store whose axes have another order than in the spec, and in which all possible axes vary."""
    path = tmp_path_factory.mktemp("saved") / "grown.zarr"
    axes = sweeping.spec()["axes"]
    fl.run_sweep(
        sweeping.spec(axes=axes | {"lam": [0.0, 4.0], "architecture": [[4, 2, 2]]}, dynamics=BOTH), path
    )
    fl.run_sweep(sweeping.spec(axes=axes, dynamics=BOTH), path)
    return path


@pytest.mark.parametrize("part", SAVED)
def test_a_copy_holds_what_was_saved(swept, saved, part):
    original = SAVED[part](fl.open_sweep(swept))
    copy = saved(original)
    assert copy.attrs == original.attrs
    xr.testing.assert_equal(copy.load(), original.load())


def test_a_copy_is_used_as_the_store(swept, saved):
    original = fl.open_sweep(swept)
    copy = saved(original)
    point = {"architecture": "3-4-3", "seed": 4, "lam": 2.0, "init_scale": 0.5}
    one = copy.fastlin.select(**point)
    assert np.array_equal(one.loss, original.fastlin.select(**point).loss)
    assert np.array_equal(fl.rebuild(one)[1].w1, fl.rebuild(original, **point)[1].w1)
    means, expected = (ds.fastlin.mean_over_seeds() for ds in (copy, original))
    for name in expected:
        assert np.allclose(means[name], expected[name], rtol=1e-14), name
    assert np.array_equal(copy.fastlin.regime().fillna(-1), original.fastlin.regime())


def test_a_store_that_grew_is_saved_too(grown, saved):
    original = fl.open_sweep(grown)
    xr.testing.assert_equal(saved(original).load(), original.load())


def test_statistics_are_saved_too(tmp_path, saved):
    output = {"observables": ["loss", "weight_norms"], "reduce": {"histogram": [0.0, 1.0, 2.0]}}
    fl.run_sweep(sweeping.spec(output=output), tmp_path / "r.zarr")
    original = fl.open_sweep(tmp_path / "r.zarr")
    xr.testing.assert_equal(saved(original).load(), original.load())


def test_a_plain_store_is_saved_by_xarray(swept, tmp_path):
    plain = xr.open_zarr(swept, consolidated=False)
    plain.to_netcdf(tmp_path / "plain.nc", engine="scipy")
    copy = xr.open_dataset(tmp_path / "plain.nc", engine="scipy")
    assert fl.rebuild(copy, "3-4-3", 4, 2.0, 0.5)[1].lam == 2.0


def test_one_network_is_saved(tmp_path):
    arch = fl.Architecture(4, 2, 4)
    ds = fl.exact(fl.random_regression(arch, 10), fl.balanced_init(arch, 1.0), [0.0, 1.0, np.inf])
    ds.to_netcdf(tmp_path / "one.nc", engine="scipy")
    copy = xr.open_dataset(tmp_path / "one.nc", engine="scipy")
    xr.testing.assert_equal(copy.load(), ds)
    assert copy.attrs["fastlin_version"] == fl.__version__


def test_the_spec_of_a_dataset_is_run_again(swept, tmp_path):
    text = fl.open_sweep(swept).attrs["spec"]
    assert json.loads(text) == fl.Spec.from_dict(sweeping.spec()).to_dict()
    assert fl.run_sweep(text, swept).computed_blocks == 0
    assert fl.Spec.load(text).hash == fl.open_sweep(swept).attrs["spec_hash"]
    for wrong, message in {
        '{"name": ': "the spec '{\"name\": ' is not JSON",
        '{"name": "x"}': "axes.architecture is missing",
    }.items():
        with pytest.raises(fl.InputError, match=message):
            fl.run_sweep(wrong, tmp_path / "s.zarr")
