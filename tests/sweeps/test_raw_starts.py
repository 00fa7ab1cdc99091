"""Starts without balance in a sweep: weights as they are drawn, a store without lam, and noise of descent."""

import numpy as np
import pytest
import xarray as xr

import fastlin as fl
from fastlin.observables import registry
from fastlin.sweeps.run.plan import Plan
from fastlin.sweeps.run.repair import repair
from fastlin.sweeps.store.status import in_words, sweep_status
from fastlin.sweeps.store.verify import verify
from fastlin.weights.fit import fit_balance
from tests import sweeping

OBSERVABLES = ["loss", "kernel_distance"]
FITS = ["fit_lam", "fit_kappa", "imbalance"]
SHAPES = ["4-2-3", "2-6-3"]
AXES = {"architecture": SHAPES, "init_scale": [0.5, 1.0], "seed": {"start": 0, "num": 4}}
FLOW = {"solver": "flow", "times": [0.0, 1.0, 4.0]}
RAW = {"kind": "xavier", "balance": False}
POINT_DIMS = ("architecture", "init_scale", "seed")


def spec(axes=None, dynamics=FLOW, init=RAW, observables=OBSERVABLES, **output):
    output = {"observables": list(observables), **output}
    return sweeping.spec(axes=AXES | (axes or {}), dynamics=dynamics, init=init, output=output)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("raw") / "s.zarr"
    report = fl.run_sweep(spec(observables=OBSERVABLES + FITS), path)
    assert (report.ok, report.points) == (16, 16)
    return path


@pytest.fixture(scope="module")
def stored(path):
    return fl.open_sweep(path).load()


def test_one_fit_serves_all_numbers_of_the_start(monkeypatch):
    fits = []
    monkeypatch.setattr(registry, "fit_balance", lambda *given: fits.append(fit_balance(*given)) or fits[-1])
    entries = [fl.OBSERVABLES[name] for name in (*OBSERVABLES, *FITS)]
    q = np.random.default_rng(0).normal(size=(5, 7, 8))
    found = registry.numbers_of_start(entries, q, 4, 8)
    assert len(fits) == 1
    assert list(found) == FITS
    assert all(np.array_equal(found[name], part) for name, part in zip(FITS, fits[0], strict=True))
    assert registry.numbers_of_start(entries[:2], q, 4, 8) == {} and len(fits) == 1


def test_the_store_has_no_lam(path, stored):
    plain = xr.open_zarr(path, consolidated=False)
    for dataset in (plain, stored):
        assert dataset.loss.dims == (*POINT_DIMS, "time")
        assert dataset.fit_lam.dims == dataset.status.dims == POINT_DIMS
        assert "lam" not in dataset.coords
    assert np.array_equal(plain.loss, stored.loss)
    assert bool(stored.init_balance) is False and stored.init_kind == "xavier"
    assert "lam" not in fl.Spec.from_json(stored.attrs["spec"]).to_dict()["axes"]
    assert verify(path) == []


@pytest.mark.parametrize("shape", SHAPES)
def test_points_are_those_of_one_network(stored, shape):
    for seed, scale in ((0, 0.5), (3, 1.0)):
        task, net = fl.rebuild(stored, architecture=shape, seed=seed, init_scale=scale)
        drawn = fl.random_init(fl.Architecture.read(shape), "xavier", scale, seed)
        assert np.array_equal(net.w1, drawn.w1) and np.array_equal(net.w2, drawn.w2)
        point = stored.sel(architecture=shape, seed=seed, init_scale=scale)
        alone = fl.flow(task, net, stored.time, observables=OBSERVABLES + FITS)
        for name in OBSERVABLES:
            assert np.allclose(point[name], alone[name], rtol=1e-7, atol=1e-8), name
        fit = net.fit()
        for name, value in zip(FITS, fit, strict=True):
            assert np.allclose(point[name], value, rtol=1e-9, atol=1e-10), name
            assert np.allclose(alone[name], value, rtol=1e-9, atol=1e-10), name


def test_rates_scale_the_start(tmp_path):
    """The norms are of the weights, and the fit is of the weights that follow the plain flow."""
    names = [*OBSERVABLES, "weight_norms", *FITS]
    fl.run_sweep(spec({"rate_ratio": [1.0, 4.0], "init_scale": 1.0}, observables=names), tmp_path / "s.zarr")
    dataset = fl.open_sweep(tmp_path / "s.zarr").load()
    first = dataset.weight_norms.isel(time=0)
    assert np.allclose(first.sel(rate_ratio=4.0), first.sel(rate_ratio=1.0))
    task, net = fl.rebuild(dataset, architecture="2-6-3", seed=1, rate_ratio=4.0)
    alone = fl.flow(task, net, dataset.time, learning_rates=(0.5, 2.0), observables=names)
    point = dataset.sel(architecture="2-6-3", seed=1, rate_ratio=4.0).squeeze()
    for name in names:
        assert np.allclose(point[name], alone[name], rtol=1e-7, atol=1e-8), name


def test_gradient_descent_follows_raw_weights(tmp_path):
    dynamics = {"solver": "gradient_descent", "learning_rate": 0.01, "times": [0.0, 1.0, 4.0]}
    fl.run_sweep(spec(dynamics=dynamics, init={"kind": "torch", "balance": False}), tmp_path / "s.zarr")
    dataset = fl.open_sweep(tmp_path / "s.zarr").load()
    for shape in SHAPES:
        task, net = fl.rebuild(dataset, architecture=shape, seed=2, init_scale=1.0)
        alone = fl.gradient_descent(task, net, 0.01, 400, 100, OBSERVABLES).isel(time=[0, 1, 4])
        point = dataset.sel(architecture=shape, seed=2, init_scale=1.0)
        for name in OBSERVABLES:
            assert np.allclose(point[name], alone[name], rtol=1e-9, atol=1e-11), (name, shape)


def test_a_sweep_without_lam_resumes_grows_and_is_repaired(path, stored, tmp_path):
    given = spec({"seed": {"start": 0, "num": 2}}, observables=OBSERVABLES + FITS)
    fl.run_sweep(given, tmp_path / "s.zarr")
    assert fl.run_sweep(given, tmp_path / "s.zarr").computed_blocks == 0
    grown = fl.run_sweep(spec(observables=OBSERVABLES + FITS), tmp_path / "s.zarr")
    assert grown.ok == 16
    assert fl.open_sweep(tmp_path / "s.zarr").load().equals(stored)
    chunk = next((tmp_path / "s.zarr" / "loss").glob("c.*"))
    chunk.write_bytes(b"lost")
    (damage,) = verify(tmp_path / "s.zarr")
    assert damage.key == f"loss/{chunk.name}"
    repair(tmp_path / "s.zarr")
    assert verify(tmp_path / "s.zarr") == []
    assert fl.open_sweep(tmp_path / "s.zarr").load().equals(stored)
    later = FLOW | {"times": [0.0, 0.5, 1.0, 4.0]}
    assert fl.run_sweep(spec(dynamics=later, observables=OBSERVABLES + FITS), tmp_path / "s.zarr").ok == 16
    assert verify(tmp_path / "s.zarr") == []
    grown = fl.open_sweep(tmp_path / "s.zarr").load()
    assert np.allclose(grown.loss.sel(time=stored.time), stored.loss, rtol=1e-8)
    assert np.array_equal(grown.fit_lam, stored.fit_lam)
    status = sweep_status(tmp_path / "s.zarr")
    assert status["points"] == 16 and "16 of 16 points done" in in_words(status)


def test_statistics_without_lam(stored, tmp_path):
    fl.run_sweep(spec(observables=["loss", "fit_lam"], reduce={"statistics": ["mean"]}), tmp_path / "r.zarr")
    reduced = fl.open_sweep(tmp_path / "r.zarr").load().squeeze("statistic")
    assert reduced.loss.dims == ("architecture", "init_scale", "time")
    for name in ("loss", "fit_lam"):
        assert np.allclose(reduced[name], stored[name].mean("seed"), rtol=1e-12)
    assert verify(tmp_path / "r.zarr") == []


def test_points_that_are_too_stiff_are_named_without_lam(tmp_path):
    dynamics = FLOW | {"max_steps": 3}
    report = fl.run_sweep(spec(dynamics=dynamics), tmp_path / "s.zarr")
    assert (report.too_stiff, report.ok) == (16, 0)
    words = in_words(sweep_status(tmp_path / "s.zarr"))
    assert "too_stiff: fl.rebuild(ds, architecture='4-2-3', seed=0, init_scale=0.5)" in words


def test_selections_and_pictures_know_that_there_is_no_lam(stored, path, tmp_path, command_line):
    with pytest.raises(fl.InputError, match="'lam' is no axis of the sweep"):
        stored.fastlin.select(lam=0.0)
    with pytest.raises(fl.InputError, match=r"lam is 0\.0; the starts of the sweep are not balanced"):
        fl.rebuild(stored, architecture="4-2-3", seed=0, init_scale=1.0, lam=0.0)
    code, _, err = command_line("plot", str(path), "--out", str(tmp_path / "p.png"))
    assert code == 0, err
    code, _, err = command_line("report", str(path), "--out", str(tmp_path / "p.html"))
    assert code == 0, err


def test_a_plan_of_raw_starts():
    plan = Plan.of(fl.Spec.from_dict(spec()))
    assert plan.spec.points == 16 and plan.block_seconds > 0.0 and plan.block_memory > 0
    assert list(plan.spec.point_dims) == list(POINT_DIMS)


NOISY = {
    "solver": "gradient_descent",
    "learning_rate": 0.01,
    "times": [0.0, 1.0, 4.0],
    "batch_size": 3,
    "label_noise": 0.1,
    "decay": [0.0, 0.1],
}


@pytest.mark.parametrize("init", [RAW, {"kind": "gaussian"}])
def test_noise_is_that_of_one_network(tmp_path, init):
    """Minibatches and label noise, over an axis of their seeds, at rates of the layers."""
    axes = {"noise_seed": [3, 5], "init_scale": 1.0, "rate_ratio": 4.0, "seed": [0, 1]}
    axes |= {} if init is RAW else {"lam": [-1.0, 0.5]}
    names = [*OBSERVABLES, "weight_norms"]
    fl.run_sweep(spec(axes, NOISY, init, names), tmp_path / "s.zarr")
    dataset = fl.open_sweep(tmp_path / "s.zarr").load()
    assert (dataset.status == "ok").all()
    chosen = {} if init is RAW else {"lam": 0.5}
    for noise_seed in (3, 5):
        task, net = fl.rebuild(dataset, architecture="2-6-3", seed=1, **chosen)
        alone = fl.gradient_descent(
            task,
            net,
            (0.005, 0.02),
            400,
            100,
            names,
            decay=(0.0, 0.1),
            batch_size=3,
            label_noise=0.1,
            noise_seed=noise_seed,
        ).isel(time=[0, 1, 4])
        point = dataset.sel(architecture="2-6-3", seed=1, noise_seed=noise_seed, **chosen).squeeze()
        for name in names:
            assert np.allclose(point[name], alone[name], rtol=1e-12, atol=1e-14), name
    assert (dataset.loss.sel(noise_seed=3) != dataset.loss.sel(noise_seed=5)).isel(time=-1).all()


def test_descent_with_noise_may_diverge(tmp_path):
    axes = {"init_scale": 1.0, "seed": [0], "lam": [0.5, 400.0]}
    fl.run_sweep(spec(axes, NOISY | {"times": [0.0, 4.0]}, {}), tmp_path / "s.zarr")
    dataset = fl.open_sweep(tmp_path / "s.zarr").load()
    assert (dataset.status.sel(lam=400.0) == "diverged").all() and (dataset.status.sel(lam=0.5) == "ok").all()
    assert dataset.loss.sel(lam=400.0).isel(time=-1).isnull().all()
    assert dataset.loss.isel(time=0).notnull().all()


@pytest.mark.parametrize(
    ("axes", "dynamics", "init", "message"),
    [
        ({"lam": 0.0}, FLOW, RAW, "axes.lam is given, and init.balance is false; weights as they are drawn"),
        ({"kappa": 0.0}, FLOW, RAW, "axes.kappa is given, and init.balance is false; weights as they are"),
        (
            {},
            {"times": [1.0]},
            RAW,
            "dynamics.solver is 'exact', which needs balanced weights",
        ),
        (
            {},
            FLOW,
            RAW | {"kind": "aligned"},
            "init.kind is 'aligned', which draws no weights; needed",
        ),
        ({}, FLOW, RAW | {"balance": "no"}, "init.balance is 'no'; allowed: true, false"),
        ({}, FLOW, {"kind": "xavier"}, "axes.lam is missing"),
    ],
)
def test_bad_input_gets_one_line(axes, dynamics, init, message):
    with pytest.raises(fl.InputError) as error:
        fl.Spec.from_dict(spec(axes, dynamics, init))
    assert message in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_time_scales_need_balanced_starts():
    with pytest.raises(fl.InputError, match=r"of balanced weights, and init\.balance is false"):
        fl.Spec.from_dict(spec(dynamics=NOISY, observables=["convergence_time"]))
