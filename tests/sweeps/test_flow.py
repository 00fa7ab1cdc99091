"""The flow in a sweep: beside the closed form and gradient descent, with decay, and where it is too stiff."""

import numpy as np
import pytest

import fastlin as fl
from fastlin.sweeps.run.plan import Plan
from fastlin.sweeps.store.status import in_words, sweep_status
from fastlin.sweeps.store.verify import verify
from tests import sweeping

OBSERVABLES = ["loss", "kernel_distance"]
AXES = {
    "architecture": [[4, 2, 3], [2, 6, 3]],
    "init_scale": 1.0,
    "seed": {"start": 0, "num": 3},
    "lam": [-1.0, 0.5],
}
FLOW = {"solver": "flow", "times": [0.0, 1.0, 4.0]}


def spec(axes=None, dynamics=None, **changes):
    output = {"observables": OBSERVABLES}
    return sweeping.spec(
        **{"axes": AXES | (axes or {}), "dynamics": FLOW | (dynamics or {}), "output": output} | changes
    )


def run(path, given):
    counts = fl.run_sweep(given, path)
    assert counts.ok + counts.absent == counts.points
    return fl.open_sweep(path).load()


def test_the_flow_is_the_closed_form_to_the_tolerance(tmp_path):
    """Also for kappa > 0, where narrow networks are absent."""
    both = {"solver": ["exact", "flow"], "tolerance": 1e-10}
    dataset = run(tmp_path / "s.zarr", spec({"kappa": [0.0, 0.4]}, both))
    for name in OBSERVABLES:
        exact, flow = (dataset[name].sel(solver=solver) for solver in ("exact", "flow"))
        assert (exact.isnull() == flow.isnull()).all()
        assert 0.0 < abs(exact - flow).max() < 1e-8
    assert (dataset.status.sel(solver="flow", architecture="4-2-3", kappa=0.4) == "absent").all()


def test_points_are_those_of_one_network(tmp_path):
    """Decay and rates of the layers are those of `fl.flow`."""
    dataset = run(tmp_path / "s.zarr", spec({"rate_ratio": [1.0, 4.0]}, {"decay": [0.1, 0.3]}))
    for ratio in (1.0, 4.0):
        for shape in ("4-2-3", "2-6-3"):
            task, net = fl.rebuild(dataset, architecture=shape, seed=2, lam=0.5, rate_ratio=ratio)
            point = dataset.squeeze().sel(architecture=shape, seed=2, lam=0.5, rate_ratio=ratio)
            rates = (ratio**-0.5, ratio**0.5)
            alone = fl.flow(
                task, net, dataset.time, learning_rates=rates, decay=(0.1, 0.3), observables=OBSERVABLES
            )
            for name in OBSERVABLES:
                assert np.allclose(point[name], alone[name], rtol=1e-7, atol=1e-8), (name, ratio, shape)


def test_gradient_descent_decays_as_that_of_one_network(tmp_path):
    dynamics = {"solver": "gradient_descent", "learning_rate": 0.01, "decay": 0.2}
    dataset = run(tmp_path / "s.zarr", spec({"rate_ratio": 4.0}, dynamics))
    task, net = fl.rebuild(dataset, architecture="2-6-3", seed=1, lam=-1.0)
    alone = fl.gradient_descent(task, net, (0.005, 0.02), 400, 100, OBSERVABLES, decay=0.2)
    point = dataset.squeeze().sel(architecture="2-6-3", seed=1, lam=-1.0)
    for name in OBSERVABLES:
        assert np.allclose(point[name], alone[name].isel(time=[0, 1, 4]), rtol=1e-9, atol=1e-11), name


@pytest.fixture(scope="module")
def stiff(tmp_path_factory):
    """A sweep at whose last time half of the points do not arrive."""
    path = tmp_path_factory.mktemp("stiff") / "s.zarr"
    given = spec({"lam": [0.5, 2000.0]}, {"max_steps": 300})
    counts = fl.run_sweep(given, path)
    assert (counts.ok, counts.too_stiff, counts.failed, counts.bad) == (6, 6, 0, 6)
    return given, path, counts


def test_a_point_of_too_many_steps_is_too_stiff(stiff):
    _, path, counts = stiff
    dataset = fl.open_sweep(path).load()
    assert (dataset.status.sel(lam=2000.0) == "too_stiff").all()
    assert (dataset.status.sel(lam=0.5) == "ok").all()
    late = dataset.loss.sel(lam=2000.0).squeeze()
    assert late.isel(time=0).notnull().all() and late.isel(time=-1).isnull().all()
    assert dataset.fastlin.mean_over_seeds()["count"].sel(lam=2000.0).max() == 0
    assert verify(path) == [] and "6 too stiff" in counts.summary


def test_points_that_are_too_stiff_are_bad(stiff):
    """They are computed again only if that is asked for."""
    given, path, _ = stiff
    status = sweep_status(path)
    assert (status["too_stiff"], status["pending"], len(status["bad"])) == (6, 0, 6)
    assert "too stiff 6" in in_words(status)
    assert "too_stiff: fl.rebuild(ds, architecture='4-2-3', seed=0, lam=2000.0" in in_words(status)
    assert fl.run_sweep(given, path).computed_points == 0
    retried = fl.run_sweep(given, path, retry_failed=True)
    assert (retried.computed_points, retried.too_stiff) == (6, 6)


def test_the_statistics_leave_out_what_is_too_stiff(stiff, tmp_path):
    given, *_ = stiff
    output = {"observables": OBSERVABLES, "reduce": {"statistics": ["mean"]}}
    counts = fl.run_sweep(given | {"output": output}, tmp_path / "r.zarr")
    assert (counts.ok, counts.too_stiff) == (6, 6)
    dataset = fl.open_sweep(tmp_path / "r.zarr").load()
    assert (dataset["count"].sel(lam=2000.0) == 0).all() and (dataset["count"].sel(lam=0.5) == 3).all()
    assert dataset.loss.sel(lam=2000.0).isnull().all()


def test_the_command_ends_with_the_code_of_failed_points(stiff, command_line):
    _, path, _ = stiff
    code, out, _ = command_line("status", str(path))
    assert code == 1 and "too stiff 6" in out


def test_the_estimate_grows_with_time_and_is_bounded_by_the_steps():
    def seconds(**dynamics):
        return Plan.of(fl.Spec.from_dict(spec(dynamics=dynamics))).block_seconds

    assert seconds(times=[1.0]) < seconds(times=[1000.0]) < seconds(times=[1000.0], tolerance=1e-12)
    assert seconds(times=[1e9], max_steps=1000) < seconds(times=[1e4])


def test_a_spec_keeps_the_settings_of_the_flow():
    given = fl.Spec.from_dict(spec(dynamics={"tolerance": 1e-6, "max_steps": 10, "decay": [0.0, 0.5]}))
    assert (given.tolerance, given.max_steps, given.decay) == (1e-6, 10, (0.0, 0.5))
    assert fl.Spec.from_dict(given.to_dict()) == given
    without = fl.Spec.from_dict(sweeping.spec()).to_dict()
    assert not {"tolerance", "max_steps", "decay"} & without["dynamics"].keys()


EXACT = {"solver": "exact", "times": [0.0, 1.0]}
DESCENT = {"solver": "gradient_descent", "times": [0.0, 1.0], "learning_rate": 0.1}
TIME_SCALE = {"output": {"observables": ["convergence_time"]}}
ESCAPE = {"output": {"observables": ["escape_time"]}}


@pytest.mark.parametrize(
    ("axes", "dynamics", "changes", "message"),
    [
        ({"kappa": -1.0}, {}, {}, "axes.kappa is -1; it must be at least 0"),
        ({"kappa": 0.5}, {}, {}, "axes.architecture[0] is 4-2-3; kappa > 0 needs N_h >= N_i + N_o"),
        (
            {"kappa": [0.5, 1.0]},
            {},
            {},
            "axes.architecture[0] is 4-2-3; kappa > 0 needs N_h >= N_i + N_o",
        ),
        ({"rate_ratio": 0.0}, {}, {}, "axes.rate_ratio is 0; it must be at least 1e-60"),
        ({"noise_seed": 1}, {}, {}, "axes.noise_seed is given without noise; it needs dynamics.batch_size"),
        ({"lam": None}, {}, {}, "axes.lam is missing"),
        (
            {},
            {"times": [0.0, float("inf")]},
            {},
            "dynamics.times holds inf; gradient flow needs",
        ),
        ({}, {"tolerance": 0.1}, {}, "dynamics.tolerance is 0.1; it must be at least 1e-14 and at"),
        ({}, {"max_steps": 0}, {}, "dynamics.max_steps is 0; allowed is 1 to 1000000000"),
        (
            {},
            {"decay": [0.1, 0.2, 0.3]},
            {},
            "dynamics.decay is [0.1, 0.2, 0.3]; needed is one number",
        ),
        ({}, {"decay": -1.0}, {}, "dynamics.decay is -1; it must be at least 0"),
        ({}, EXACT | {"decay": 0.1}, {}, "dynamics.decay is exact only at lam = kappa = 0"),
        ({}, EXACT | {"tolerance": 1e-6}, {}, "dynamics.tolerance is for the solver 'flow', which is not in"),
        ({}, EXACT | {"max_steps": 9}, {}, "dynamics.max_steps is for the solver 'flow', which is not in"),
        (
            {},
            {"batch_size": 2},
            {},
            "dynamics.batch_size is for the solver 'gradient_descent'",
        ),
        (
            {},
            {"label_noise": 2},
            {},
            "dynamics.label_noise is for the solver 'gradient_descent'",
        ),
        ({}, DESCENT | {"batch_size": 99}, {}, "dynamics.batch_size is 99; the task has 8 samples"),
        ({}, DESCENT | {"label_noise": -0.1}, {}, "dynamics.label_noise is -0.1; it must be at least 0"),
        ({}, DESCENT | {"label_noise": 1e300}, {}, "at least 0 and at most 1e+60"),
        ({"kappa": 1e-300}, {}, {}, "axes.kappa is 1e-300; allowed is 0, or 1e-60 to 1e+60"),
        ({"kappa": [0.0, 1e300]}, {}, {}, "at least 0 and at most 1e+60"),
        (
            {},
            {},
            TIME_SCALE,
            "is a time scale of the exact flow of balanced weights; it is not for",
        ),
        ({"kappa": [0.0, 1.0]}, EXACT, ESCAPE, "escape and rotation times do not apply for kappa > 0"),
        ({}, DESCENT | {"decay": 0.1}, TIME_SCALE, "of balanced weights, and dynamics.decay is not 0"),
    ],
)
def test_bad_input_gets_one_line(axes, dynamics, changes, message):
    with pytest.raises(fl.InputError) as error:
        fl.Spec.from_dict(spec(axes, dynamics, **changes))
    assert message in str(error.value)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize(("ratio", "decay"), [(1.0, 0.2), (4.0, [0.4, 0.1])])
def test_decay_is_exact_at_lam_0(tmp_path, ratio, decay):
    """Both layers shrink at the rate 0.2."""
    axes = {"lam": 0.0, "rate_ratio": ratio}
    exact = run(tmp_path / "e.zarr", spec(axes, {"solver": "exact", "decay": decay}))
    flow = run(tmp_path / "f.zarr", spec(axes, {"decay": decay, "tolerance": 1e-11}))
    for name in OBSERVABLES:
        assert 0.0 < abs(exact[name] - flow[name]).max() < 1e-9


def test_a_sweep_gains_solvers_with_their_settings(tmp_path):
    path, noisy = tmp_path / "s.zarr", {"learning_rate": 0.01, "batch_size": 3, "label_noise": 0.1}
    dynamics = {"solver": ["exact"]}
    before = run(path, spec({}, dynamics))
    for solver, settings in (("flow", {"tolerance": 1e-7}), ("gradient_descent", noisy)):
        dynamics = dynamics | settings | {"solver": [*dynamics["solver"], solver]}
        larger = spec({}, dynamics)
        assert fl.run_sweep(larger, path).computed_points == 12
        grown = fl.open_sweep(path).load()
        assert grown.sel(solver=["exact"]).loss.equals(before.loss)
        assert grown.loss.equals(run(tmp_path / f"{solver}.zarr", larger).loss)
    with pytest.raises(fl.InputError, match=r"dynamics\.tolerance: the store has 1e-07, the spec 1e-08"):
        fl.run_sweep(spec({}, dynamics | {"tolerance": 1e-8}), path)
