"""Settings of all tests."""

import matplotlib
import pytest
from hypothesis import settings

import fastlin as fl
from fastlin.sweeps.engines import Threads, connect
from tests import sweeping

matplotlib.use("Agg")

# Examples are the same on every machine, and a first call may compile.
settings.register_profile("fastlin", deadline=None, derandomize=True, max_examples=60, print_blob=True)
settings.load_profile("fastlin")


@pytest.fixture(scope="session")
def swept(tmp_path_factory):
    path = tmp_path_factory.mktemp("sweep") / "small.zarr"
    report = fl.run_sweep(sweeping.spec(), path)
    assert (report.ok, report.pending, report.computed_blocks) == (180, 0, 6)
    return path


@pytest.fixture(scope="session")
def client():
    """A Dask client in threads, for what runs many sweeps."""
    with connect(Threads()) as connected:
        yield connected
