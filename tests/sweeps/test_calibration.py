"""Calibration: the kernels that a plan compiles for its measurement, and those that are left to the run."""

import pytest

from fastlin.kernels.compilation import distinct
from fastlin.sweeps.run import calibration, projection
from fastlin.sweeps.spec.spec import Spec
from tests import sweeping

LARGE = [200, 8, 200]  # its set-up uses LAPACK and no kernel


@pytest.fixture
def planned(monkeypatch):
    """Return a function that plans a sweep and returns the plan and the compiled kernels."""

    def plan(architectures, lacking):
        requests, compiled = [], []

        def missing(kernels):
            requests.append(unique := distinct(kernels))
            return unique if lacking else []

        monkeypatch.setattr(projection, "missing", missing)
        monkeypatch.setattr(calibration, "compile_all", lambda kernels, _processes: compiled.extend(kernels))
        monkeypatch.setattr(calibration, "_measure", lambda _plan, sample, _cores: sample.seconds)
        axes = sweeping.spec()["axes"] | {"architecture": architectures}
        spec = Spec.from_dict(sweeping.spec(axes=axes, task={"n_samples": 300}))
        content = projection.project(spec, None)
        assert len(requests) == 1  # each check loads compiled code
        return content, compiled

    return plan


def test_kernels_that_a_plan_compiles_are_not_left_to_the_run(planned):
    content, compiled = planned([[4, 2, 2], [3, 4, 3], [9, 9, 9]], lacking=True)
    assert sorted(kernel.step for kernel in compiled) == ["closed_form", "set_up"]
    assert (content.kernels, content.kernels_to_compile) == (4, 2)
    assert content.compile_seconds > 0


@pytest.mark.parametrize("architectures", [[[4, 2, 2], [3, 4, 3]], [LARGE]], ids=["small", "large"])
def test_a_plan_compiles_nothing_where_nothing_lacks(planned, architectures):
    content, compiled = planned(architectures, lacking=False)
    assert compiled == []
    assert (content.kernels_to_compile, content.compile_seconds) == (0, 0.0)


def test_a_plan_of_a_large_network_compiles_its_only_kernel(planned):
    content, compiled = planned([LARGE], lacking=True)
    assert [kernel.step for kernel in compiled] == ["closed_form"]
    assert (content.kernels, content.kernels_to_compile) == (1, 0)


def test_a_point_of_hours_is_not_measured(monkeypatch):
    monkeypatch.setattr(calibration, "_unit", lambda *_: pytest.fail("computes a point of hours"))
    noisy = {"solver": "gradient_descent", "learning_rate": 1e-3, "times": [0.0, 1e8], "batch_size": 2}
    content = projection.project(Spec.from_dict(sweeping.spec(dynamics=noisy)), None)
    assert content.seconds > 3600
