"""Merged stores equal the store of the product. `test_merge_refusals` is about stores that are not merged."""

import json
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastlin as fl
from fastlin.sweeps.run.compact import compact
from fastlin.sweeps.spec.extension import union
from fastlin.sweeps.store.locate import locate
from fastlin.sweeps.store.store import Store
from fastlin.sweeps.store.verify import verify
from tests import cutting, sweeping
from tests.merging import MANY, REDUCE, SHAPES, SMALL, TIMES, opened, run_into, spec
from tests.sweeping import chunks, content, marks

AXES = {
    "architecture": SHAPES,
    "init_scale": [0.5, 1.0, 2.0],
    "seed": [0, 1, 2, 3, 5],
    "lam": [-4.0, 0.0, 1.0, 4.0],
    "kappa": [0.0, 0.5],
}


@pytest.fixture
def run(client, tmp_path, monkeypatch):
    """Return a function that runs a spec into a store of a name and returns the name."""
    monkeypatch.chdir(tmp_path)
    return partial(run_into, client)


# ---- slices


@pytest.mark.parametrize(
    ("output", "seeds", "in_place"),
    [
        (None, SMALL["seed"], False),
        pytest.param(None, SMALL["seed"], True, marks=pytest.mark.slow),
        (REDUCE, SMALL["seed"], True),
        pytest.param(REDUCE, SMALL["seed"], False, marks=pytest.mark.slow),
        pytest.param(REDUCE, MANY, False, marks=pytest.mark.slow),
        pytest.param(REDUCE, MANY, True, marks=pytest.mark.slow),
    ],
)
def test_slices_from_several_stores_are_the_whole_to_the_byte(run, output, seeds, in_place):
    wanted = spec(output, seed=seeds)
    with cutting.into(seeds=2):
        whole = content(run("whole", wanted))
        slices = [run(f"slice-{part}", wanted, slice=f"{part}/3") for part in (1, 2, 3)]
    merge = fl.merge_sweeps(slices, None if in_place else "merged")
    assert (merge.pending, merge.ok) == (0, merge.points)
    assert content(merge.store) == whole
    assert merge.copied_points > 0
    assert fl.merge_sweeps(slices, None if in_place else "merged").copied_points == 0
    assert content(merge.store) == whole


def test_points_that_no_store_has_are_pending_and_a_run_computes_them(run):
    wanted = spec()
    whole = content(run("whole", wanted))
    slices = [run(f"slice-{part}", wanted, slice=f"{part}/3") for part in (1, 3)]
    merge = fl.merge_sweeps(slices, "merged")
    assert 0 < merge.pending < merge.points
    assert verify("merged") == []
    fl.run_sweep(fl.open_sweep("merged").attrs["spec"], "merged")
    assert content("merged") == whole


# ---- parts of a product

PARTS = {name: (values[:1], values[1:]) for name, values in AXES.items()}


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize(
    "sizes",
    [
        pytest.param(cutting.APART, id="apart", marks=pytest.mark.slow),
        pytest.param(cutting.JOINED, id="joined"),
    ],
)
def test_stores_of_parts_of_an_axis_are_the_store_of_all(run, name, sizes):
    # Only networks with N_h >= N_i + N_o have kappa > 0.
    more = {"architecture": "1-3-2"} if name == "kappa" else {"kappa": [0.0]}
    with cutting.into(**sizes):
        parts = [run(f"part-{number}", spec(**more, **{name: PARTS[name][number]})) for number in (1, 0)]
        whole = opened(run("whole", spec(**more, **{name: AXES[name]})))
        merge = fl.merge_sweeps(parts, "merged")
    assert merge.pending == 0
    merged = opened("merged")
    assert merged.drop_attrs(deep=False).sel({name: whole[name]}).identical(whole.drop_attrs(deep=False))
    assert verify("merged") == []


def subsets(values):
    return st.lists(st.sampled_from(values), min_size=1, unique=True)


CHOICES = st.fixed_dictionaries(
    {name: subsets(values) for name, values in AXES.items()}
    | {"kappa": st.sampled_from([[0.0], [0.0, 0.5], [0.0, 1.0]])}
)


CUTS = st.sampled_from([cutting.APART, cutting.JOINED])


@pytest.mark.slow
@settings(max_examples=6)
@given(first=CHOICES, second=CHOICES, cuts=st.tuples(CUTS, CUTS))
def test_any_two_products_are_merged_into_their_union(tmp_path_factory, client, first, second, cuts):
    """The merged store has the points of both and no others. Completed, it is that of the union."""
    folder = tmp_path_factory.mktemp("merge")
    a, b, merged, whole = (folder / name for name in ("a", "b", "merged", "whole"))
    for path, axes, size in ((a, first, cuts[0]), (b, second, cuts[1])):
        with cutting.into(**size):
            fl.run_sweep(spec(**axes), path, client)
    merge = fl.merge_sweeps([a, b], merged)
    united = union(fl.Spec.from_dict(spec(**first)), fl.Spec.from_dict(spec(**second)))
    stored = fl.open_sweep(merged)
    assert stored.attrs["spec_hash"] == united.hash
    for path in (a, b):
        part = opened(path)
        where = {name: part[name].values for name in part.status.dims}
        for name in part.data_vars:
            assert np.array_equal(
                stored[name].sel(where).transpose(*part[name].dims), part[name], equal_nan=True
            )
        assert (stored.status.sel(where) == part.status).all()
    both = np.prod([len({*first[name]} & {*second[name]}) for name in AXES])
    sizes_of = [np.prod([len(axes[name]) for name in AXES]) for axes in (first, second)]
    assert merge.points - merge.pending == sum(sizes_of) - both
    fl.run_sweep(united, merged, client)
    fl.run_sweep(united, whole, client)
    assert opened(merged).identical(opened(whole))


def test_a_store_that_has_grown_is_merged_with_its_order(run):
    """Values and times of the second store are stored in the order in which they came in."""
    run("a", spec(seed=[7]))
    run("b", spec(seed=[4, 5], lam=[1.0], times=TIMES[1:]))
    run("b", spec(seed=[4, 5], lam=[-1.0, 1.0], times=TIMES))
    run("b", spec(seed=[1, 4, 5, 9], lam=[-1.0, 1.0], times=TIMES))
    assert fl.merge_sweeps(["a", "b"]).pending == 0
    assert opened("a").identical(opened(run("whole", spec(seed=[1, 4, 5, 7, 9]))))


def test_starts_without_balance_are_merged(run):
    init = {
        "init": {"kind": "gaussian", "balance": False},
        "dynamics": {"solver": "flow", "times": TIMES[:2]},
    }
    axes = {name: SMALL[name] for name in ("architecture", "init_scale")}
    parts = [
        run(f"part-{first}", sweeping.spec(axes=axes | {"seed": [first, first + 1]}, **init))
        for first in (0, 2)
    ]
    whole = run("whole", sweeping.spec(axes=axes | {"seed": [0, 1, 2, 3]}, **init))
    assert fl.merge_sweeps(parts).pending == 0
    assert opened("part-0").identical(opened(whole))


def test_parameters_that_are_axes_are_merged(run):
    task = {"kind": "random_regression", "n_samples": 8}
    parts = [run(f"{scale}", spec() | {"task": task | {"target_scale": [scale]}}) for scale in (1.5, 0.5)]
    assert fl.merge_sweeps(parts).pending == 0
    whole = opened(run("whole", spec() | {"task": task | {"target_scale": [0.5, 1.5]}}))
    assert opened(parts[0]).identical(whole)


def test_sequences_are_merged(run):
    """The parameters of their stages are axes."""

    def sequence(*similarity):
        stages = [{"kind": "random_regression", "n_samples": 8, "duration": 2.0}]
        stages += [{"kind": "similar", "similarity": [*similarity], "duration": 5.0}]
        return spec() | {"task": {"sequence": stages}}

    parts = [run("a", sequence(0.3)), run("b", sequence(-1.0, 0.0))]
    assert fl.merge_sweeps(parts).pending == 0
    assert opened("a").identical(opened(run("whole", sequence(-1.0, 0.0, 0.3))))
    run("c", spec() | {"task": {"sequence": sequence(0.3)["task"]["sequence"][:1]}})
    with pytest.raises(fl.InputError, match=r"  task\.sequence: a has .*, c "):
        fl.merge_sweeps(["a", "c"])


def test_own_data_is_merged_by_its_names(run):
    """Slices of one task, and stores of several tasks on an axis. Other data of one name are refused."""
    draw = np.random.default_rng(3)
    tasks = {name: fl.Task(draw.normal(size=(4, 9)), draw.normal(size=(3, 9))) for name in "abc"}
    wanted = {key: value for key, value in spec(architecture="4-2-3").items() if key != "task"}
    wanted["dynamics"] = {"solver": "flow", "times": TIMES[:2]}
    whole = opened(run("whole", wanted, task=tasks))
    slices = [run(part, wanted, task=tasks["a"], slice=f"{part}/2") for part in "12"]
    assert fl.merge_sweeps(slices).pending == 0
    parts = [run(name, wanted, task={key: tasks[key] for key in name}) for name in ("ca", "ab")]
    assert fl.merge_sweeps(parts, "merged").pending == 0
    merged = opened("merged")
    assert merged.task.values.tolist() == ["c", "a", "b"]
    assert np.array_equal(merged.loss.sel(task=[*"abc"]), whole.loss)
    run("other", wanted, task={"a": tasks["b"]})
    with pytest.raises(fl.InputError, match="  task: ab and other have different data of the name 'a'"):
        fl.merge_sweeps(["ab", "other"])
    run("one", wanted, task=tasks["b"])
    with pytest.raises(fl.InputError, match=r"  task: 1 and one have different data$"):
        fl.merge_sweeps(["1", "one"])
    with pytest.raises(fl.InputError, match="  task: ab has a list, one one"):
        fl.merge_sweeps(["ab", "one"])


# ---- tables of points

ROWS = {
    "architecture": ["4-2-2", "2-3-4", "4-2-2", "3-4-3", "2-3-4"],
    "init_scale": [1.0, 0.5, 1.0, 2.0, 0.25],
    "lam": [1.0, -2.0, 3.0, 0.0, 0.5],
}


def rows(chosen, output=None, seeds=(0, 1), **columns):
    """Return a spec of some rows of a table, with seeds beside them or as a column."""
    table = {name: [values[row] for row in chosen] for name, values in ROWS.items()} | columns
    more = {"output": output} if output else {}
    axes = {} if "seed" in columns else {"seed": list(seeds)}
    return sweeping.spec(axes=axes, dynamics={"times": TIMES}, points=table, **more)


@pytest.mark.parametrize("output", [None, REDUCE])
def test_rows_of_tables_are_merged(run, output):
    """Rows that both have are there once, and the others stand behind those of the first table."""
    with cutting.into(points=2, seeds=1):
        parts = [run("a", rows([3, 0, 1], output)), run("b", rows([0, 4, 2], output))]
    whole = opened(run("whole", rows([3, 0, 1, 4, 2], output))).sortby("point")
    merge = fl.merge_sweeps(parts, "merged")
    assert (merge.pending, merge.points) == (0, 10)
    assert opened("merged").sortby("point").identical(whole)
    assert verify("merged") == []
    assert fl.merge_sweeps(parts, "merged").copied_points == 0


def test_rows_with_seeds_and_seeds_beside_rows_are_merged(run):
    parts = [run("a", rows([0, 1], seeds=[0])), run("b", rows([1, 2], seeds=[2]))]
    assert fl.merge_sweeps(parts).pending == 2  # of row 0 with seed 2, and of row 2 with seed 0
    fl.run_sweep(fl.open_sweep("a").attrs["spec"], "a")
    whole = opened(run("whole", rows([0, 1, 2], seeds=[0, 2])))
    assert opened("a").sortby("point").identical(whole.sortby("point"))
    parts = [run("c", rows([0, 1], seeds=[4, 5])), run("d", rows([0, 1], seeds=[4, 6]))]
    assert fl.merge_sweeps(parts).pending == 0
    parts = [run("e", rows([0, 1], seed=[4, 5])), run("f", rows([0, 1], seed=[4, 6]))]
    assert fl.merge_sweeps(parts).points == 3
    whole = opened(run("third", rows([0, 1, 1], seed=[4, 5, 6])))
    assert opened("e").sortby("point").identical(whole.sortby("point"))


def test_a_design_is_merged_with_a_larger_one(run):
    """The merged store keeps the design, so it can grow further."""

    def design(num):
        table = {"sample": "sobol", "num": num, "lam": [-3.0, 3.0], "architecture": "4-2-2"}
        return sweeping.spec(axes={"seed": [0]}, dynamics={"times": TIMES}, points=table)

    parts = [run("a", design(8)), run("b", design(16))]
    assert fl.merge_sweeps(parts).points == 16
    assert fl.open_sweep("a").attrs["spec_hash"] == fl.Spec.from_dict(design(16)).hash


def test_tables_with_other_columns_and_products_are_not_merged_with_tables(run):
    run("a", rows([0, 1]))
    run("b", rows([0, 1], kappa=[0.0, 0.0]))
    run("c", spec())
    for other in ("b", "c"):
        with pytest.raises(fl.InputError, match=r"a and . are not parts of one sweep(.|\n)*  points"):
            fl.merge_sweeps(["a", other])


# ---- partial sums


@pytest.mark.parametrize("quantiles", [[], [0.5]])
@pytest.mark.parametrize("second", [24, 7], ids=["as many blocks", "blocks of other sizes"])
def test_statistics_of_merged_seeds_are_those_of_all_seeds(run, quantiles, second):
    """Partial sums are exact, so the bits are those of one run. Sums with bins need many seeds."""
    seeds = [*range(2500)] if quantiles else MANY
    reduce = {"statistics": ["mean", "std"]} | ({"quantiles": quantiles} if quantiles else {})
    output = {"observables": ["loss"], "reduce": reduce}
    axes = {"architecture": SHAPES[0], "lam": [-1.0, 1.0]}
    half = len(seeds) // 2
    with cutting.into(seeds=half // 2):
        run("a", spec(output, seed=seeds[:half], **axes))
    with cutting.into(seeds=half // 2 if second == 24 else half):
        run("b", spec(output, seed=seeds[half:], **axes))
    assert fl.merge_sweeps(["a", "b"], "merged").pending == 0
    assert opened("merged").equals(opened(run("whole", spec(output, seed=seeds, **axes))))
    assert verify("merged") == []
    before = content("merged")
    assert fl.merge_sweeps(["a", "b"], "merged").copied_points == 0
    assert content("merged") == before


def test_reduced_stores_of_other_lam_are_merged_whether_they_keep_sums_or_not(run):
    for seeds in (SMALL["seed"], MANY):
        parts = [run(f"{len(seeds)}-{lam:g}", spec(REDUCE, seed=seeds, lam=lam)) for lam in (-1.0, 1.0)]
        whole = run(f"{len(seeds)}-whole", spec(REDUCE, seed=seeds))
        assert fl.merge_sweeps(parts).pending == 0
        assert opened(parts[0]).identical(opened(whole))
        assert verify(parts[0]) == []


def test_seeds_of_a_store_without_partial_sums_are_refused(run):
    run("few", spec(REDUCE, seed=[0, 1]))
    run("many", spec(REDUCE, seed=MANY[:24]))
    run("others", spec(REDUCE, seed=MANY[24:]))
    before = content("many")
    with pytest.raises(fl.InputError, match=r"few has no partial sums over its seeds \(has too few seeds"):
        fl.merge_sweeps(["others", "few"])
    compact("others")
    with pytest.raises(fl.InputError, match=r"others has no partial sums .*\(was compacted\)"):
        fl.merge_sweeps(["many", "others"])
    assert content("many") == before


def test_a_compacted_store_of_other_lam_makes_the_merged_one_compacted(run):
    run("a", spec(REDUCE, seed=MANY, lam=[-1.0]))
    compact(run("b", spec(REDUCE, seed=MANY, lam=[1.0])))
    assert fl.merge_sweeps(["a", "b"]).pending == 0
    assert Store.open(locate("a")).layout.compacted
    assert opened("a").identical(opened(run("whole", spec(REDUCE, seed=MANY))))
    assert verify("a") == []


def test_seeds_that_both_have_among_others_stay_pending(run):
    """Sums of overlapping seeds cannot be told apart. No seed counts twice. A run computes the others."""
    run("a", spec(REDUCE, seed=MANY[:24]))
    run("b", spec(REDUCE, seed=MANY[20:44]))
    merge = fl.merge_sweeps(["a", "b"], "merged")
    assert merge.pending == 20 * 4
    fl.run_sweep(fl.open_sweep("merged").attrs["spec"], "merged")
    assert opened("merged").identical(opened(run("whole", spec(REDUCE, seed=MANY[:44]))))


def test_bad_points_keep_their_own_sums(run):
    """At points that diverged, each block of seeds keeps its sums, because --retry-failed needs them."""
    wild = {"solver": "gradient_descent", "learning_rate": 0.2, "times": [0.0, 1.0, 4.0]}
    parts = {"a": MANY[:24], "b": MANY[24:], "whole": MANY}
    for name, seeds in parts.items():
        axes = SMALL | {"seed": seeds, "lam": [-4.0, 30.0]}
        with cutting.into(seeds=12):
            run(name, sweeping.spec(axes=axes, dynamics=wild, output=REDUCE))
    merge = fl.merge_sweeps(["a", "b"], "merged")
    assert merge.diverged > 0
    assert merge.pending == 0
    assert chunks("merged").keys() == chunks("whole").keys()
    assert opened("merged").equals(opened("whole"))
    assert verify("merged") == []


# ---- the command


def test_merge_on_the_command_line(run, command_line):
    wanted = spec(init_scale=[0.5, 1.0, 2.0])
    whole = content(run("whole", wanted))
    for part in (1, 2, 3):
        run(f"slice-{part}", wanted, slice=f"{part}/3")
    code, out, err = command_line("merge", "slice-1", "slice-2", "--into", "merged")
    assert (code, err.splitlines()) == (0, ["checking 2 stores", "copying into merged"])
    first, second = out.splitlines()
    assert first.startswith("merged: 24 points copied, 24 of 36 points done in")
    assert second == "12 points are in no store; fastlin run merged --store merged computes them"
    code, out, _ = command_line("merge", "merged", "slice-3", "--json")
    assert code == 0
    assert (json.loads(out)["pending"], json.loads(out)["merged"]) == (0, ["slice-3"])
    assert content("merged") == whole
    before = marks("merged")
    assert command_line("merge", "merged", "slice-3", "-q") == (0, "", "")
    assert marks("merged") == before
    code, _, err = command_line("merge", "merged")
    assert (code, err) == (
        2,
        "fastlin: there is one store, merged; needed are two or more, or one and `into`\n",
    )


def test_a_run_of_a_store_completes_it(run, command_line):
    run("a", spec(seed=[0]))
    run("b", spec(seed=[1], lam=[2.0]))
    fl.merge_sweeps(["a", "b"], "merged")
    code, out, err = command_line("run", "merged", "--store", "merged", "-q")
    assert (code, out, err) == (0, "", "")
    assert fl.open_sweep("merged").sizes["lam"] == 3
    assert opened("merged").identical(opened(run("whole", spec(seed=[0, 1], lam=[-1.0, 1.0, 2.0]))))
