"""Two-sided balance in a sweep: its axis, the points that do not exist, and learning rates of the layers."""

import itertools

import numpy as np
import pytest

import fastlin as fl
from fastlin.kernels import Sizes
from fastlin.kernels.batch import VECTORS
from fastlin.kernels.vector.two_sided import TwoSided
from fastlin.sweeps.report import page
from fastlin.sweeps.run.plan import Plan
from fastlin.sweeps.store.status import in_words, sweep_status
from fastlin.sweeps.store.verify import verify
from tests import sweeping
from tests.cutting import by_the_rule
from tests.sweeping import chunks

OBSERVABLES = ["loss", "kernel_distance"]
FITS = ["fit_lam", "fit_kappa", "imbalance"]
AXES = {
    "architecture": [[4, 2, 3], [2, 6, 3]],
    "init_scale": 1.0,
    "seed": {"start": 0, "num": 3},
    "lam": [-1.0, 0.5],
    "kappa": [0.0, 0.4],
}
TIMES = {"times": [0.0, 1.0, float("inf")]}


def spec(axes=None, output=None, **changes):
    output = {"observables": OBSERVABLES} | (output or {})
    return sweeping.spec(axes=AXES | (axes or {}), dynamics=TIMES, output=output, **changes)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("kappa") / "s.zarr"
    counts = fl.run_sweep(spec(output={"observables": OBSERVABLES + FITS}), path)
    assert (counts.points, counts.ok, counts.absent, counts.bad) == (24, 18, 6, 0)
    return path


@pytest.fixture(scope="module")
def stored(path):
    return fl.open_sweep(path).load()


def wide(dataset):
    return dataset.sel(architecture="2-6-3")


def test_points_are_those_of_one_network(stored):
    for kappa, seed, lam in itertools.product(stored.kappa.values, (0, 2), stored.lam.values):
        task, net = fl.rebuild(stored, architecture="2-6-3", seed=seed, lam=lam, kappa=kappa)
        assert net.kappa == pytest.approx(kappa) and net.lam == pytest.approx(lam)
        point = wide(stored).isel(init_scale=0).sel(kappa=kappa, seed=seed, lam=lam)
        alone = fl.exact(task, net, stored.time, OBSERVABLES + FITS)
        for name in OBSERVABLES:
            assert np.allclose(point[name], alone[name], rtol=1e-11, atol=1e-13), (name, kappa)
        for name in FITS:
            assert np.allclose(point[name], alone[name], rtol=1e-9, atol=1e-9), (name, kappa)


def test_fits_are_the_balance_that_was_asked_for(stored):
    fitted = wide(stored)
    assert abs(fitted.fit_lam - fitted.lam).max() < 1e-12
    assert abs(fitted.fit_kappa - fitted.kappa).max() < 1e-12
    assert (stored.imbalance.where(stored.status == "ok", 0.0) < 1e-14).all()
    assert "time" not in stored.fit_lam.dims


def test_kappa_0_is_a_sweep_without_kappa(stored, tmp_path):
    """The bits are the same, and a single kappa makes no dimension."""
    axes = {name: values for name, values in AXES.items() if name != "kappa"}
    given = sweeping.spec(axes=axes, dynamics=TIMES, output={"observables": OBSERVABLES})
    assert fl.Spec.from_dict(given).to_dict()["axes"].keys() == axes.keys()
    assert fl.Spec.from_dict(given).hash == fl.Spec.from_dict(spec({"kappa": 0.0})).hash
    fl.run_sweep(given, tmp_path / "s.zarr")
    plain = fl.open_sweep(tmp_path / "s.zarr")
    assert "kappa" not in plain.dims
    for name in OBSERVABLES:
        assert np.array_equal(plain[name], stored[name].sel(kappa=0.0))


def test_a_single_kappa_makes_no_dimension(stored, tmp_path):
    given = spec({"architecture": [[2, 6, 3]], "kappa": 0.4})
    fl.run_sweep(given, tmp_path / "s.zarr")
    single = fl.open_sweep(tmp_path / "s.zarr")
    assert np.array_equal(single.loss.sel(architecture="2-6-3"), wide(stored).loss.sel(kappa=0.4))
    assert fl.Spec.from_json(single.attrs["spec"]).kappas.tolist() == [0.4]
    assert fl.rebuild(single, seed=1, lam=0.5)[1].kappa == pytest.approx(0.4)


def test_narrow_networks_are_absent(stored, path):
    """They are NaN, they are done, and every part that counts points names them."""
    absent = (stored.architecture == "4-2-3") & (stored.kappa > 0.0)
    assert (stored.status.where(absent, "absent") == "absent").all()
    assert (stored.status.where(~absent, "ok") == "ok").all()
    for name in OBSERVABLES + FITS:
        assert (stored[name].isnull() == absent).all(), name
    before = chunks(path)
    again = fl.run_sweep(spec(output={"observables": OBSERVABLES + FITS}), path)
    assert (again.computed_points, again.absent, again.pending) == (0, 6, 0)
    retried = fl.run_sweep(spec(output={"observables": OBSERVABLES + FITS}), path, retry_failed=True)
    assert (retried.computed_points, retried.failed) == (0, 0)
    assert chunks(path) == before and verify(path) == []
    status = sweep_status(path)
    assert (status["ok"], status["absent"], status["too_stiff"], status["bad"]) == (18, 6, 0, [])
    assert "pending 0, absent 6" in in_words(status)
    assert retried.summary.count("6 absent") == 1


def test_a_report_counts_absent_points(path, tmp_path):
    html = page.write(str(path), tmp_path / "r.html").read_text(encoding="utf-8")
    assert '<th scope="col">absent</th>' in html
    assert '<th scope="col">too stiff</th>' not in html


def test_a_network_that_is_absent_is_not_rebuilt(stored):
    with pytest.raises(fl.InputError, match=r"no network 4-2-3 has kappa > 0, which needs N_h >= N_i \+ N_o"):
        fl.rebuild(stored, architecture="4-2-3", seed=0, lam=0.5, kappa=0.4)


@pytest.mark.parametrize("seeds", [3, 300])  # whose partial sums are dropped, and kept
def test_statistics_of_absent_points_are_of_no_seed(tmp_path, seeds):
    output = {"observables": ["loss", "kernel_distance"], "reduce": {"statistics": ["mean", "max"]}}
    given = spec({"seed": {"start": 0, "num": seeds}}, output)
    counts = fl.run_sweep(given, tmp_path / "r.zarr")
    assert (counts.points, counts.absent, counts.ok) == (8 * seeds, 2 * seeds, 6 * seeds)
    dataset = fl.open_sweep(tmp_path / "r.zarr").load()
    absent = (dataset.architecture == "4-2-3") & (dataset.kappa > 0.0)
    assert (dataset["count"] == ~absent * seeds).all()
    assert (dataset.loss.isnull() == absent).all()
    assert verify(tmp_path / "r.zarr") == []
    again = fl.run_sweep(given, tmp_path / "r.zarr")
    assert (again.computed_blocks, again.absent) == (0, 2 * seeds)


def test_an_axis_of_kappa_grows(stored, tmp_path):
    old = spec({"kappa": [0.0]}, {"observables": OBSERVABLES + FITS})
    fl.run_sweep(old, tmp_path / "s.zarr")
    grown = fl.run_sweep(spec(output={"observables": OBSERVABLES + FITS}), tmp_path / "s.zarr")
    assert (grown.ok, grown.absent, grown.computed_points) == (18, 6, 12)
    assert fl.open_sweep(tmp_path / "s.zarr").load().equals(stored)
    single = spec({"kappa": 0.0}, {"observables": OBSERVABLES + FITS})
    with pytest.raises(fl.InputError, match=r"axes\.kappa"):
        fl.run_sweep(single, tmp_path / "s.zarr")


@pytest.mark.slow
def test_all_observables_and_the_time_of_convergence(tmp_path):
    names = [*OBSERVABLES, "ntk_norm", "weight_norms", "balance_drift", "effective_rank", "convergence_time"]
    axes = {"rate_ratio": [1.0, 4.0]}
    fl.run_sweep(spec(axes, {"observables": names}), tmp_path / "s.zarr")
    dataset = fl.open_sweep(tmp_path / "s.zarr").load()
    for ratio, kappa in itertools.product((1.0, 4.0), (0.0, 0.4)):
        rates = (ratio**-0.5, ratio**0.5)
        task, net = fl.rebuild(dataset, architecture="2-6-3", seed=1, lam=0.5, kappa=kappa, rate_ratio=ratio)
        point = dataset.fastlin.select(
            architecture="2-6-3", seed=1, lam=0.5, kappa=kappa, rate_ratio=ratio
        ).isel(init_scale=0)
        alone = fl.exact(task, net, dataset.time, names, learning_rates=rates)
        for name in names:
            assert np.allclose(point[name], alone[name], rtol=1e-9, atol=1e-11), (name, ratio, kappa)


def test_rates_change_the_norms_of_the_weights_alone(tmp_path):
    """A start is balanced in the weights that follow the plain flow."""
    observables = [*OBSERVABLES, "weight_norms", "fit_lam"]
    axes = {"architecture": [[4, 2, 3]], "kappa": 0.0, "rate_ratio": [0.25, 1.0]}
    fl.run_sweep(spec(axes, {"observables": observables}), tmp_path / "s.zarr")
    dataset = fl.open_sweep(tmp_path / "s.zarr").load()
    slow, plain = (dataset.sel(rate_ratio=ratio) for ratio in (0.25, 1.0))
    assert slow[[*OBSERVABLES, "fit_lam"]].equals(
        plain[[*OBSERVABLES, "fit_lam"]].assign_coords(rate_ratio=0.25)
    )
    # e1 = 2 and e2 = 1/2, so that W1 = sqrt(2) U1 and W2 = U2 / sqrt(2).
    assert np.allclose(slow.weight_norms / plain.weight_norms, [2**0.5, 2**-0.5])
    assert "e1 = rate_ratio^-1/2" in dataset.kernel_distance.attrs["equation"]
    task, net = fl.rebuild(dataset, seed=2, lam=0.5, rate_ratio=0.25)
    alone = fl.exact(task, net, dataset.time, observables, learning_rates=(2.0, 0.5))
    point = dataset.sel(rate_ratio=0.25, seed=2, lam=0.5).squeeze()
    for name in observables:
        assert np.allclose(point[name], alone[name], rtol=1e-9, atol=1e-11), name


def test_joined_groups_hold_the_same_numbers(stored, tmp_path):
    with by_the_rule():
        joined = fl.run_sweep(spec(), tmp_path / "s.zarr")
    assert joined.blocks == 1
    assert fl.open_sweep(tmp_path / "s.zarr").load().equals(stored[OBSERVABLES])


def test_preset_of_the_plane():
    preset = fl.Spec.load("wide-plane")
    assert all(shape.sizes.has_two_sided for shape in preset.architectures)
    assert preset.point_dims["kappa"] > 5 and preset.seeds.size >= 50


def test_a_plan_counts_the_memory_of_two_sided_kernels():
    axes = {"architecture": [[40, 100, 40]], "kappa": 0.4}
    plan = Plan.of(fl.Spec.from_dict(spec(axes, task={"n_samples": 60})))
    assert plan.block_memory > 8 * VECTORS * TwoSided.doubles(Sizes(40, 100, 40).two_sided)
