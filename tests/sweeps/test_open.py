"""Opening a store with lost chunks, and a copy that is no store."""

import shutil
import subprocess
import sys

import numpy as np
import pytest

import fastlin as fl
from fastlin.sweeps.store.locate import locate
from fastlin.sweeps.store.store import Store
from fastlin.sweeps.store.verify import lost_chunks, verify
from tests import sweeping


@pytest.fixture
def copy(swept, tmp_path):
    return shutil.copytree(swept, tmp_path / "copy.zarr")


@pytest.mark.parametrize("name", ["loss", "weight_norms"])
def test_a_lost_chunk_gives_a_warning(copy, name):
    lost = next((copy / name).glob("c.1.1.*"))
    lost.unlink()
    with pytest.warns(fl.DamageWarning, match=rf"lost \(1, {name}/{lost.name} the first\)") as caught:
        dataset = fl.open_sweep(copy)
    assert caught[0].filename == __file__
    part = dataset.isel(architecture=1, init_scale=1)
    assert np.isnan(part[name]).all() and (part.status == "ok").all()
    assert [damage.key for damage in verify(copy)] == [f"{name}/{lost.name}"]


def test_a_lost_array_gives_a_warning(copy):
    for lost in (copy / "loss").glob("c.*"):
        lost.unlink()
    with pytest.warns(fl.DamageWarning, match=r"lost \(6, loss/c"):
        fl.open_sweep(copy)


def test_blocks_that_are_pending_or_half_written_are_not_lost(copy, partial):
    fl.open_sweep(partial)
    next((copy / "status").glob("c.1.1.*")).unlink()
    next((copy / "loss").glob("c.1.1.*")).unlink()
    fl.open_sweep(copy)


def test_times_that_were_added_have_chunks_of_their_own(copy):
    times = [0.0, 0.9, 4.0, 9.0, float("inf")]
    fl.run_sweep(sweeping.spec(dynamics={"times": times}), copy)
    fl.open_sweep(copy)
    lost = next((copy / "loss").glob("c.1.1.0.0.1"))
    lost.unlink()
    assert lost_chunks(Store.open(locate(copy))) == [f"loss/{lost.name}"]


def test_time_scales_and_statistics_are_read_without_a_warning(tmp_path):
    output = {"observables": ["loss", "escape_time"]}
    fl.run_sweep(sweeping.spec(output=output), tmp_path / "scales.zarr")
    fl.open_sweep(tmp_path / "scales.zarr")
    fl.run_sweep(sweeping.spec(output=output | {"reduce": {}}), tmp_path / "reduced.zarr")
    fl.open_sweep(tmp_path / "reduced.zarr")


@pytest.mark.processes
def test_a_command_warns_in_one_line(copy, tmp_path):
    lost = next((copy / "kernel_distance").glob("c.1.1.*"))
    lost.unlink()
    command = [sys.executable, "-m", "fastlin", "plot", copy, "--out", tmp_path / "picture.png"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"fastlin: {copy}: chunks are lost (1, kernel_distance/{lost.name} the first)")


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_copy_that_xarray_saved_is_distinguished_from_a_store(swept, tmp_path, zarr_format):
    path = tmp_path / "copy.zarr"
    fl.open_sweep(swept).isel(seed=slice(2)).to_zarr(path, zarr_format=zarr_format, consolidated=False)
    with pytest.raises(fl.InputError, match=r"is a Zarr store, .*; xarray\.open_zarr opens copies"):
        fl.open_sweep(path)
