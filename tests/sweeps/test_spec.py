"""Specs: every fault is named, and every form of a spec is the same spec."""

import inspect
import json
import re
import tomllib
from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastlin as fl
from fastlin.kinds.task_kinds import TASK_KINDS
from fastlin.sweeps import presets
from fastlin.sweeps.run.plan import Plan
from fastlin.sweeps.spec.reduction import Reduction
from tests import sweeping

NAN, INF = float("nan"), float("inf")


def changed(path, value):
    """Return the small spec with one entry replaced."""
    content = tomllib.loads(
        """
        [axes]
        architecture = [[4, 2, 4]]
        seed = [0, 1]
        lam = [0.0, 1.0]
        [task]
        n_samples = 8
        [dynamics]
        times = [0.0, 1.0]
        learning_rate = 0.01
        [output]
        """
    )
    *sections, key = path.split(".")
    table = content
    for section in sections:
        table = table.setdefault(section, {})
    table[key] = value
    return content


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("axis", {}, "the spec has the unknown key 'axis'; did you mean 'axes'?"),
        ("axes.lambda", [1], "[axes] has the unknown key 'lambda'; did you mean 'lam'?"),
        ("task.n_sample", 8, "[task] has the unknown key 'n_sample'; did you mean 'n_samples'?"),
        ("init.kin", "x", "[init] has the unknown key 'kin'; did you mean 'kind'?"),
        ("axes", [1], "axes is [1]; a table [axes] is needed"),
        ("name", 3, "name is 3; a text is needed"),
        ("axes.architecture", [], "axes.architecture is []; needed is a list"),
        ("axes.architecture", [[4, 2]], "axes.architecture[0] is [4, 2]; needed is [N_i, N_h, N_o]"),
        ("axes.architecture", [[4, 0, 4]], "axes.architecture[0]: n_h is 0; allowed is 1 to"),
        ("axes.architecture", [[4, 2.5, 4]], "axes.architecture[0]: n_h is 2.5; a whole number"),
        ("axes.architecture", [[4, 2, 4], [4, 2, 4]], "axes.architecture holds 4-2-4 more than once"),
        ("axes.architecture", {"n_i": 4, "n_h": [], "n_o": 4}, "axes.architecture.n_h is empty"),
        ("axes.architecture", {"n_i": 4, "n_h": 2}, "axes.architecture lacks 'n_o'"),
        ("dynamics.method", "exact", "[dynamics] has the unknown key 'method'; it is called 'solver' now"),
        ("name", "half a pair: \ud800", "a text of Unicode characters is needed"),
        ("output", 3, "output is 3; a table [output] is needed"),
        ("output.reduce", {"means": 1}, "[output.reduce] has the unknown key 'means'; allowed: over"),
        ("output.fraction", 0.5, "output.fraction is for convergence_time and relearning_time, and"),
        ("axes.lam", [], "axes.lam is empty; at least one value is needed"),
        ("axes.lam", ["1"], "axes.lam[0] is '1'; a number is needed"),
        ("axes.lam", [True], "axes.lam[0] is True; a number is needed"),
        ("axes.lam", [1.0, 2.0, 1.0], "axes.lam holds 1 more than once"),
        ("axes.lam", [INF], "axes.lam[0] is inf; a finite number is needed"),
        ("axes.lam", {"start": 1, "stop": 0, "num": 3}, "axes.lam runs from 1 to 0 in 3 values"),
        ("axes.lam", {"start": 0, "stop": 1, "num": 0}, "axes.lam.num is 0; allowed is 1 to"),
        ("axes.lam", {"start": 0, "stop": 1, "number": 3}, "axes.lam has the unknown key 'number'"),
        ("axes.lam", {"start": -1, "stop": 1, "num": 3, "spacing": "log"}, "spacing needs it above 0"),
        ("axes.lam", {"start": -1, "stop": 1, "num": 3, "spacing": "lin"}, "did you mean 'linear'"),
        ("axes.lam", {"start": 1.0, "stop": 1.0000000000000002, "num": 5}, "are not all distinct"),
        ("axes.lam", {"start": -1e308, "stop": 1e308, "num": 4}, "are not all distinct"),
        ("axes.lam", [10**400], "axes.lam[0] is a whole number of 1329 bits; it does not fit"),
        ("axes.lam", ["x" * 10000], "(10002 characters); a number is needed"),
        (
            "axes.architecture",
            {"n_i": {"start": 1, "num": 999}, "n_h": {"start": 1, "num": 999}, "n_o": 1},
            "axes.architecture is a product of 998001 shapes",
        ),
        ("axes.seed", [-1], "axes.seed[0] is -1; allowed is 0 to"),
        ("axes.seed", [1.5], "axes.seed[0] is 1.5; a whole number is needed"),
        ("axes.seed", {"start": 2**63 - 2, "num": 5}, "axes.seed, its last value is"),
        ("axes.seed", {"start": 0, "num": 10**12}, "axes.seed.num is 1000000000000; allowed is 1 to"),
        ("axes.init_scale", [0.0], "axes.init_scale[0] is 0; it must be at least"),
        ("axes.init_scale", [-1.0], "axes.init_scale[0] is -1; it must be at least"),
        (
            "task.n_samples",
            3,
            "axes.architecture[0] is 4-2-4; n_samples is 3, and whitening N_i = 4 inputs needs at least 4",
        ),
        ("task.n_samples", "ten", "task.n_samples is 'ten'; a whole number is needed"),
        ("task.target_scale", -1.0, "task.target_scale is -1; it must be at least"),
        ("task.kind", "parity", "task.kind is 'parity'; allowed: random_regression"),
        ("init.kind", "gausian", "init.kind is 'gausian'; did you mean 'gaussian'?"),
        ("dynamics.solver", "exakt", "dynamics.solver is 'exakt'; did you mean 'exact'?"),
        ("dynamics.solver", [], "dynamics.solver is empty"),
        ("dynamics.solver", ["exact", "exact"], "dynamics.solver holds 'exact' more than once"),
        ("dynamics.times", [-1.0], "dynamics.times[0] is -1; it must be at least 0"),
        ("dynamics.times", [NAN], "dynamics.times[0] is nan"),
        ("dynamics.times", {"start": 0, "stop": INF, "num": 3}, "dynamics.times.stop is inf"),
        (
            "dynamics.learning_rate",
            [0.1, 0.2],
            "dynamics.learning_rate is an axis, but exact has none; add 'gradient_descent' to",
        ),
        ("output.observables", ["los"], "output.observables is 'los'; did you mean 'loss'?"),
        ("output.observables", ["qqt"], "output.observables is 'qqt'; allowed: loss"),
        ("output.observables", [], "output.observables is empty"),
        ("output.dtype", "float16", "output.dtype is 'float16'; did you mean"),
    ],
)
def test_faults_are_named(path, value, message):
    with pytest.raises(fl.InputError) as caught:
        fl.Spec.from_dict(changed(path, value))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"times": [0.0, INF]}, "dynamics.times holds inf; gradient descent needs finite times"),
        ({"learning_rate": 0.0}, "dynamics.learning_rate is 0; it must be above 0"),
        ({"learning_rate": None}, "dynamics.learning_rate is missing"),
        ({"learning_rate": 1e-13}, "dynamics.times ends after 1e+13 steps"),
        ({"learning_rate": 1e-320}, "dynamics.times ends after inf steps"),
        ({"learning_rate": 25.0}, "dynamics.times: 1 is no step of its own at learning_rate 25"),
        ({"times": [0.5, 0.501]}, "dynamics.times: 0.501 is no step of its own at learning_rate 0.01"),
        ({"times": [0.004]}, "dynamics.times: 0.004 is no step of its own"),
    ],
)
def test_faults_of_gradient_descent(changes, message):
    content = changed("dynamics.solver", "gradient_descent")
    content["dynamics"] |= changes
    content["dynamics"] = {key: value for key, value in content["dynamics"].items() if value is not None}
    with pytest.raises(fl.InputError) as caught:
        fl.Spec.from_dict(content)
    assert str(caught.value).startswith(message)


def lines_of(content):
    with pytest.raises(fl.InputError) as caught:
        fl.Spec.from_dict(content)
    return str(caught.value).splitlines()


def test_one_mistake_in_many_places_is_one_line():
    content = changed("axes.architecture", [[9, 2, n_o] for n_o in range(1, 701)])
    (line,) = lines_of(content)
    assert line == (
        "axes.architecture[0] is 9-2-1; n_samples is 8, and whitening N_i = 9 inputs needs at least 9 "
        "(the same at axes.architecture[1], [2], [3] and 696 more)"
    )
    content["axes"]["architecture"][5] = [30, 2, 4]
    (line,) = lines_of(content)
    assert line.startswith(
        "axes.architecture[5] is 30-2-4; n_samples is 8, and whitening N_i = 30 inputs needs at least 30 ("
    )
    rates = changed("dynamics.solver", "gradient_descent")
    rates["dynamics"]["learning_rate"] = {"start": 3.0, "step": 1.0, "num": 50}
    (line,) = lines_of(rates)
    assert line.startswith("dynamics.times: 1 is no step of its own at learning_rate 3; ")
    assert line.endswith("(the same at dynamics.learning_rate 4, 5, 6 and 46 more)")


def test_an_unknown_kind_is_one_fault():
    """Its parameters cannot be checked then, so they are not reported."""
    content = changed("task", {"kind": "parity", "n_samples": 8, "bits": 3})
    assert lines_of(content) == [f"task.kind is 'parity'; allowed: {', '.join(TASK_KINDS)}"]


def test_mistakes_in_a_list_are_one_line_for_each_kind():
    content = changed("axes.seed", [-1, 0, -2, -3, -4, -5, "six", 7.5])
    content["axes"]["architecture"] = [[4, 0, 4], [4, 2], "4-2-4", [0, 2, 4]]
    assert lines_of(content) == [
        "axes.architecture[0]: n_h is 0; allowed is 1 to 1048575 (the same at axes.architecture[3])",
        "axes.architecture[1] is [4, 2]; needed is [N_i, N_h, N_o]",
        f"axes.seed[0] is -1; allowed is 0 to {2**63 - 1} (the same at axes.seed[2], [3], [4] and 1 more)",
        "axes.seed[6] is 'six'; a whole number is needed (the same at axes.seed[7])",
    ]


def test_all_faults_are_shown_at_once_and_each_on_a_line(tmp_path):
    file = tmp_path / "bad.toml"
    file.write_text("[axes]\nlam = []\nseed = -1\n[task]\nn_samples = 0\n[dynamics]\ntimes = 'now'\n")
    with pytest.raises(fl.InputError) as caught:
        fl.Spec.load(file)
    lines = str(caught.value).splitlines()
    assert len(lines) == 5
    assert all(line.startswith(f"{file}: ") for line in lines)


def test_invalid_toml_is_named_with_its_line(tmp_path):
    file = tmp_path / "bad.toml"
    file.write_text("[axes]\nlam = = 3\n")
    with pytest.raises(fl.InputError, match=r"is not TOML: .*line 2"):
        fl.Spec.load(file)
    file.write_text("[axes]\nlam = " + "[" * 5000)
    with pytest.raises(fl.InputError, match="is not TOML"):
        fl.Spec.load(file)
    file.write_bytes(b"\xff\xfe\x00")
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "zarr.json").touch()
    for source, message in {
        file: "bad.toml' is not a text file in UTF-8",
        tmp_path: "cannot read .*: Is a directory",
        tmp_path / "store": "it is a store; needed is the TOML file of a spec",
        "": "the spec is ''; needed is a TOML file or the name of a preset",
        "a\0b": "cannot read .*: embedded null",
        "x" * 5000: r"cannot read 'xxx.* \(5002 characters\): File name too long",
        "rich-lasy": "did you mean 'rich-lazy'",
    }.items():
        with pytest.raises(fl.InputError, match=message) as caught:
            fl.Spec.load(source)
        assert "\n" not in str(caught.value)
    with pytest.raises(fl.InputError, match=r"source is \{\}; a path or the name of a preset is needed"):
        fl.Spec.load({})


@pytest.mark.parametrize("name", presets.names())
def test_presets_are_valid_and_survive_json(name):
    spec = fl.Spec.load(name)
    again = fl.Spec.from_dict(json.loads(json.dumps(spec.to_dict(), allow_nan=False)))
    assert again.to_dict() == spec.to_dict()
    assert (again, hash(again), again.hash) == (spec, hash(spec), spec.hash)
    assert again != fl.Spec.from_dict(spec.to_dict() | {"name": "another"})
    for field in ("seeds", "lams", "times", "init_scales", "learning_rates"):
        assert np.array_equal(getattr(again, field), getattr(spec, field))
    assert spec.name == name
    assert presets.summary(name)


def test_presets_are_those_of_the_paper():
    spec = fl.Spec.load("rich-lazy")
    assert [str(a) for a in spec.architectures] == ["4-2-2", "4-4-4", "2-2-4", "4-2-4"]
    assert (spec.lams.size, spec.seeds.size) == (181, 100)
    assert spec.task.values == {"n_samples": 10, "target_scale": 3**0.5}
    width = fl.Spec.load("bottleneck-width")
    assert [str(a) for a in width.architectures] == ["3-2-3", "4-2-4", "5-2-5", "6-2-6"]
    assert width.lams.size == 21
    assert "solver" in fl.Spec.load("gradient-descent-check").point_dims
    assert fl.Spec.load("scale-balance").init_scales.size > 10


def test_a_plan_has_the_files_and_bytes_of_a_run(tmp_path):
    spec = fl.Spec.from_dict(sweeping.spec())
    plan = Plan.of(spec)
    fl.run_sweep(spec, tmp_path / "x.zarr")
    files = sweeping.content(tmp_path / "x.zarr")
    assert len(files) == plan.files
    assert sum(map(len, files.values())) == plan.bytes
    blocks = map(plan.layout.block, np.ndindex(plan.layout.grid))
    assert sum(group.points for block in blocks for _, group in block) == spec.points


def test_blocks_are_cut_to_their_size_and_time():
    content = changed("axes.seed", {"start": 0, "num": 100_000})
    content["axes"]["lam"] = {"start": -9.0, "stop": 9.0, "num": 181}
    plan = Plan.of(fl.Spec.from_dict(content))
    block = plan.bytes / plan.layout.block_count
    assert 2e6 < block < 64e6
    slow = content | {"dynamics": {"solver": "gradient_descent", "learning_rate": 1e-6, "times": [90.0]}}
    assert Plan.of(fl.Spec.from_dict(slow)).layout.block_shape.seeds == 1


AXES = sweeping.spec()["axes"]
SPECS = [
    *presets.names(),
    sweeping.spec(),
    sweeping.spec(dynamics=sweeping.BOTH | {"learning_rate": [0.009, 0.01]}),
    sweeping.spec(output={"observables": ["loss"], "durable": True, "reduce": {"quantiles": [0.1, 0.5]}}),
    sweeping.spec(
        output={"observables": ["loss"], "reduce": {"histogram": {"start": 0.0, "stop": 1.0, "num": 11}}}
    ),
    sweeping.spec(output={"observables": ["convergence_time"], "fraction": 0.9, "dtype": "float32"}),
    sweeping.spec(axes=AXES | {"lam": [1e-300, 1e-5, 1e22], "seed": [0, 2**40]}, dynamics={"times": [INF]}),
    sweeping.spec(axes=AXES | {"lam": np.geomspace(1, 7, 100).tolist()}),
]


@pytest.mark.parametrize("source", SPECS)
def test_the_spec_as_toml_is_the_same_spec(source, tmp_path):
    spec = fl.Spec.load(source) if isinstance(source, str) else fl.Spec.from_dict(source)
    text = spec.to_toml()
    (tmp_path / "spec.toml").write_text(text, encoding="utf-8")
    again = fl.Spec.load(tmp_path / "spec.toml")
    assert again.hash == spec.hash
    assert again.to_dict() == spec.to_dict()


def some(*entries):
    """Return a strategy of tables in which each key is optional."""
    return st.fixed_dictionaries({}, optional=dict(entries))


def axis(numbers):
    return numbers | st.lists(numbers, min_size=1, max_size=4, unique=True)


def mixed(triples):
    """Return some architectures as three sizes, and others as objects."""
    return [fl.Architecture(*triple) if sum(triple) % 2 else triple for triple in triples]


DESCENT = "gradient_descent"
TRIPLE = st.tuples(*[st.integers(1, 9)] * 3)
SCALE = st.floats(1e-60, 1e60)
RANGE = st.fixed_dictionaries({"start": st.just(0.1), "step": st.just(0.3), "num": st.integers(1, 9)})
CONTENTS = st.fixed_dictionaries(
    {
        "axes": st.fixed_dictionaries(
            {
                "architecture": st.lists(TRIPLE, min_size=1, max_size=3, unique=True).map(mixed),
                "seed": axis(st.integers(0, 2**63 - 1)),
                "lam": axis(st.floats(allow_nan=False, allow_infinity=False))
                | RANGE
                | st.lists(RANGE, min_size=1),
            },
            optional={"init_scale": axis(SCALE)},
        ),
        "task": st.fixed_dictionaries({"n_samples": st.integers(9, 99)}, optional={"target_scale": SCALE}),
        "dynamics": st.fixed_dictionaries({"times": axis(st.floats(0, allow_nan=False))})
        | st.fixed_dictionaries(
            {
                "times": st.lists(st.integers(0, 99), min_size=1, unique=True),
                "solver": st.sampled_from(
                    ["gradient_descent", ["gradient_descent"], ["gradient_descent", "exact"]]
                ),
                "learning_rate": axis(st.floats(0.01, 0.5)),
            }
        ),
    },
    optional={
        "name": st.text(min_size=1),
        "init": some(("kind", st.sampled_from(["gaussian", "aligned"]))),
        "output": st.fixed_dictionaries(
            {"observables": st.just(["convergence_time", "loss"])},
            optional={
                "fraction": st.floats(0.001, 0.999),
                "dtype": st.sampled_from(["float64", "float32"]),
                "durable": st.booleans(),
                "reduce": some(("quantiles", axis(st.floats(0, 1))), ("statistics", st.just(["mean"])))
                | some(("histogram", st.lists(st.floats(-9, 9), min_size=2, unique=True))),
            },
        ),
    },
)


@given(CONTENTS)
def test_any_spec_as_toml_is_the_same_spec(content):
    spec = fl.Spec.from_dict(content)
    again = fl.Spec.from_dict(tomllib.loads(spec.to_toml()))
    assert again.to_dict() == spec.to_dict()
    assert (again, hash(again), again.hash) == (spec, hash(spec), spec.hash)
    assert again != fl.Spec.from_dict(spec.to_dict() | {"name": "another"})
    for field in fields(spec):
        before, after = getattr(spec, field.name), getattr(again, field.name)
        assert np.array_equal(before, after) if isinstance(before, np.ndarray) else before == after


@pytest.mark.parametrize("kind", [fl.Spec, Reduction])
def test_every_attribute_is_documented(kind):
    documented = re.findall(r"^(\w+) : .+\n    \S", inspect.getdoc(kind), re.MULTILINE)
    assert documented == [field.name for field in fields(kind)]
