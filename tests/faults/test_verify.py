"""Files that are truncated, flipped or deleted: verify lists exactly these, and repair restores them."""

import json
import random
import shutil
from itertools import product

import pytest

import fastlin as fl
from fastlin.sweeps.run.repair import repair
from fastlin.sweeps.store.locate import locate
from fastlin.sweeps.store.metadata import TABLE
from fastlin.sweeps.store.store import Store
from fastlin.sweeps.store.verify import inspect, verify
from tests import cutting, fault_injection, sweeping
from tests.campaign import trials
from tests.sweeping import content

ROOTS = ("zarr.json", "status/lease/zarr.json")
UNSEALED = ("status/lease/lease.json", "status/lease/lock")  # a run writes them again
REDUCE = {
    "statistics": {"observables": ["loss", "weight_norms"], "reduce": {"quantiles": [0.1, 0.5]}},
    "histogram": {"observables": ["loss", "weight_norms"], "reduce": {"histogram": [0.0, 0.1, 1.0, 9.0]}},
    "empty histogram": {"observables": ["loss"], "reduce": {"histogram": [-2.0, -1.0]}},
}


def spec(seeds=6, times=(0.0, 0.9), **changes):
    axes = {
        "architecture": [[4, 2, 2], [2, 3, 4]],
        "init_scale": [0.5, 1.0],
        "seed": {"start": 0, "num": seeds},
        "lam": [-1.0, 0.0, 2.0],
    }
    return sweeping.spec(**{"axes": axes, "dynamics": {"times": list(times)}, **changes})


def table(copies=1):
    """Return the product of `spec` as a table, and so many times of it."""
    rows = [*product(["4-2-2", "2-3-4"], [0.5, 1.0], range(6), [-1.0, 0.0, 2.0])] * copies
    names = ("architecture", "init_scale", "seed", "lam")
    return {name: list(values) for name, values in zip(names, zip(*rows, strict=True), strict=True)}


TABLES = {"table": table(), "long table": table(14)}  # the spec of a long one has its hash alone
MANY = 30  # with so many seeds a reduced store has partial sums
JOINED = {"architectures": 2, "seeds": 2}
KINDS = {
    **{name: {"seeds": 2} for name in ("points", "grown", "own data", *REDUCE)},
    "kept statistics": {"seeds": MANY // 3},
    **{f"joined {name}": JOINED for name in ("points", "grown", "statistics")},
    "table": {"points": 6},
    "long table": {"points": 84},
}


@pytest.fixture(scope="module", params=KINDS)
def store(request, tmp_path_factory):
    """A store with several blocks along the seeds, computed in one process and one thread."""
    path = tmp_path_factory.mktemp("damage") / "s.zarr"
    kind = request.param.removeprefix("joined ")
    with cutting.into(**KINDS[request.param]), fault_injection.blocks_in_turn():
        if kind == "grown":
            fl.run_sweep(spec(seeds=3), path)
            fl.run_sweep(spec(times=(0.0, 0.9, 0.3)), path)
        elif kind in TABLES:
            assert fl.run_sweep(spec(axes={}, points=TABLES[kind]), path).blocks == 12
        else:
            made = spec(output=REDUCE[kind]) if kind in REDUCE else spec()
            if kind == "own data":
                made = spec(task=sweeping.own_task(4, 2))
                made["axes"]["architecture"] = [[4, 2, 2], [4, 3, 2]]
            if kind == "kept statistics":
                made = spec(seeds=MANY, output={"observables": ["loss", "weight_norms"], "reduce": {}})
            blocks = fl.run_sweep(made, path).blocks
            assert blocks == (6 if KINDS[request.param] == JOINED else 12)  # three along the seeds
    assert verify(path) == []
    return path


def flip(data, chance):
    bit = chance.randrange(8 * len(data))
    return data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :]


DAMAGES = {
    "cut": lambda data, chance: data[: chance.randrange(1, len(data))],
    "emptied": lambda _data, _chance: b"",
    "flipped": flip,
    "longer": lambda data, _chance: data + b"\0",
    "gone": None,
}


def damage_file(path, key, chance, others=()):
    """Damage a file in some way, and return the way. The files `others` are damaged as well."""
    # A block without a marker is not computed yet, so that verify expects no values of it.
    missed = not key.startswith("status/c") and not any(other.startswith("status/c") for other in others)
    names = [name for name in DAMAGES if name != "gone" or missed]
    name = chance.choice(names)
    file = path / key
    if name == "gone":
        file.unlink()
    else:
        file.write_bytes(DAMAGES[name](file.read_bytes(), chance))
    return name


def blocks_of(key, path):
    """Return the grid positions of the blocks that must be computed again after damage to a file."""
    name, _, file = key.partition("/")
    written = json.loads(json.loads((path / "zarr.json").read_bytes())["attributes"]["spec"])
    output = written["output"]
    if not file.startswith("c.") or name not in {
        *("status", "count", "partials", *output["observables"]),
        *(f"{observable}_histogram" for observable in output["observables"]),
    }:
        return set()
    place = tuple(map(int, file.split(".")[1:5]))
    if "points" in written:
        return {place[:1]}
    if "reduce" not in output:
        return {place}
    has_partials = any((path / "partials").glob("c.*"))
    if name in ("status", "partials"):
        if has_partials and place[2]:
            return {place}
        place = (*place[:2], place[3])
    elif has_partials:
        return set()
    # The first block holds the sums of all. Without partial sums only those of new blocks exist.
    return {(*place[:2], number, place[2]) for number in range(3)}


@trials(5, 100)
def test_every_damage_is_found_and_repaired(store, tmp_path, trials):
    chance, whole = random.Random(10), content(store)
    keys = sorted(whole.keys() - set(UNSEALED))
    places = {key: blocks_of(key, store) for key in keys}
    for number in range(trials):
        path = tmp_path / f"{number}.zarr"
        shutil.copytree(store, path)
        count = 1 if number % 2 else chance.randrange(2, 8)
        chosen = chance.sample(keys, count)
        if set(ROOTS) <= set(chosen):
            chosen.remove(ROOTS[0])
        harms = {key: damage_file(path, key, chance, chosen) for key in chosen}
        assert {damage.key for damage in verify(path)} == set(chosen), harms
        with fault_injection.blocks_in_turn():
            repaired, report = repair(path)
        assert {damage.key for damage in repaired} == set(chosen), harms
        assert report.computed_blocks == len(set().union(*(places[key] for key in chosen))), harms
        assert content(path) == whole, harms
        assert verify(path) == []


def test_damage_to_all_files_but_one_root_is_repaired(store, tmp_path):
    chance, whole, path = random.Random(11), content(store), tmp_path / "s.zarr"
    shutil.copytree(store, path)
    # No spec has the rows of a long table, so that one of its two copies must be whole.
    for key in sorted(whole.keys() - {*UNSEALED, ROOTS[1], TABLE}):
        damage_file(path, key, chance)
    with fault_injection.blocks_in_turn():
        repair(path)
    assert content(path) == whole


def test_damage_to_both_copies_of_a_table_is_reported(tmp_path):
    path = tmp_path / "s.zarr"
    with cutting.into(points=84):
        fl.run_sweep(spec(axes={}, points=TABLES["long table"]), path)
    (path / "lam" / "c.0").write_bytes(b"")
    (path / TABLE).unlink()
    for action in (verify, repair, fl.open_sweep):
        with pytest.raises(fl.InputError, match="the table of points is damaged in both places"):
            action(path)


@trials(10, 60)
def test_damage_to_both_roots_is_reported(store, tmp_path, trials):
    chance = random.Random(12)
    for number in range(trials):
        path = tmp_path / f"{number}.zarr"
        shutil.copytree(store, path)
        how = [damage_file(path, key, chance) for key in ROOTS]
        before = content(path)
        for action in (verify, repair, fl.open_sweep, lambda path: fl.run_sweep(spec(), path)):
            with pytest.raises(fl.InputError) as caught:
                action(path)
            message = str(caught.value)
            assert len(message.splitlines()) == 1
            assert "both copies of zarr.json are damaged" in message or how == ["gone", "gone"], message
            assert "mends" not in message
        assert content(path) == before


@pytest.mark.parametrize("seeds", [1, 6])
def test_an_incomplete_store_is_reported_with_its_missing_points(store, tmp_path, command_line, seeds):
    """The command exits with code 1, because a lost commit marker looks the same."""
    path = tmp_path / "s.zarr"
    shutil.copytree(store, path)
    whole = inspect(path)
    assert (whole.damaged, whole.missing_blocks, whole.missing_points) == ([], 0, 0)
    code, out, _ = command_line("verify", str(path))
    assert (code, out) == (0, f"{path}: all is well\n")
    lost = sorted(path.glob("status/c.*"))[:seeds]
    opened = Store.open(locate(path))
    points = 0
    for file in lost:
        index = opened.layout.status.index(f"status/{file.name}", "status")
        points += opened.read_status(index).size * (
            opened.layout.block_seeds(index).size if opened.layout.spec.reduce else 1
        )
        file.unlink()
    code, out, _ = command_line("verify", str(path), "--json")
    assert code == 1
    assert json.loads(out) == {
        "store": str(path),
        "damaged": [],
        "blocks": whole.blocks,
        "points": whole.points,
        "missing_blocks": seeds,
        "missing_points": points,
    }
    code, out, _ = command_line("verify", str(path))
    assert code == 1
    progress = (
        f"{points:,} of {whole.points:,} points are not computed yet ({seeds} of {whole.blocks} blocks)"
    )
    assert out == f"{path}: {progress}; fastlin run goes on\n"


def test_a_damaged_block_is_not_reported_as_missing(store, tmp_path, command_line):
    path = tmp_path / "s.zarr"
    shutil.copytree(store, path)
    marker = min(path.glob("status/c.*"))
    marker.write_bytes(b"")
    inspection = inspect(path)
    assert (inspection.missing_blocks, inspection.missing_points, len(inspection.damaged)) == (0, 0, 1)
    code, out, _ = command_line("verify", str(path))
    assert (code, out.splitlines()[-1]) == (1, f"{path}: 1 damaged; fastlin repair {path} mends them")
