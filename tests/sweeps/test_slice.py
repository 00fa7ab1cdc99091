"""Slices of one sweep, as the jobs of an array: they make, fill and grow one store together."""

import random
import shutil
import signal
import zlib
from functools import partial

import pytest

from tests import commands
from tests.campaign import combinations, trials
from tests.commands import BLOCKS, SMALL, run_to_end
from tests.fault_injection import until
from tests.planting import Gate
from tests.sweeping import content, marks

pytestmark = pytest.mark.processes

LARGER = SMALL.replace("num = 6", "num = 8").replace("[0.5, 1.0]", "[0.5, 0.7, 1.0]")
LATER = LARGER.replace("[0.0, 0.9, 9.0, inf]", "[0.0, 0.9, 2.0, 9.0, inf]")
REDUCED = '\n[output.reduce]\nover = "seed"\nstatistics = ["mean", "std"]\n'


@pytest.fixture(scope="module")
def source_and_contents(tmp_path_factory):
    """Return a function that writes a spec to a file, and one that returns the files after several runs."""
    folder = tmp_path_factory.mktemp("known")

    def source(text):
        file = folder / f"{zlib.crc32(text.encode())}.toml"
        file.write_text(text)
        return file

    def contents(*texts, patches=(commands.smaller_blocks,)):
        path = folder / "store.zarr"
        shutil.rmtree(path, ignore_errors=True)
        for text in texts:
            done = run_to_end("run", source(text), "--store", path, patches=patches)
            assert done.code == 0, done.err
        return content(path)

    return source, contents


def slices(source, path, count):
    return [
        ["run", source, "--store", path, "--slice", f"{i}/{count}", "--json"] for i in range(1, count + 1)
    ]


JOINED = partial(commands.smaller_blocks, 4, architectures=2, init_scales=2)
CUTS = {"apart": commands.smaller_blocks, "joined": JOINED}
OUTPUTS = {"points": "", "reduced": REDUCED}


def run_slices(source, path, count, cut):
    """Run all slices at the same moment, and return their reports."""
    jobs = slices(source, path, count)
    with commands.commands(*jobs, patches=[cut]) as started:
        ends = [command.end() for command in started]
    assert [end.code for end in ends] == [0] * count, [end.err for end in ends]
    return [end.report for end in ends]


@trials(2, 20)
@combinations([("points", "apart"), ("reduced", "joined")], more=OUTPUTS, cut=CUTS)
def test_slices_at_the_same_time_make_and_fill_one_store(source_and_contents, tmp_path, trials, more, cut):
    source, contents = source_and_contents
    expected = contents(SMALL + more, patches=[cut])
    chance = random.Random(3)
    for trial in range(trials):
        path, count = tmp_path / f"{trial}.zarr", chance.choice([2, 3, 5])
        reports = run_slices(source(SMALL + more), path, count, cut)
        blocks = reports[0]["blocks"]
        assert [report["computed_blocks"] for report in reports] == [
            len(range(first, blocks, count)) for first in range(count)
        ]
        assert content(path) == expected


def test_slices_one_after_the_other_in_any_order(source_and_contents, tmp_path):
    source, contents = source_and_contents
    path = tmp_path / "s.zarr"
    for number, arguments in enumerate(reversed(slices(source(SMALL), path, 3)), 1):
        report = run_to_end(*arguments, patches=[commands.smaller_blocks]).report
        assert (report["computed_blocks"], report["pending"]) == (4, 120 - 40 * number)
    assert content(path) == contents(SMALL)


def test_slices_beyond_the_blocks_have_no_work(source_and_contents, tmp_path):
    source, contents = source_and_contents
    path = tmp_path / "s.zarr"
    run = slices(source(SMALL), path, 100)
    assert run_to_end(*run[99], patches=[commands.smaller_blocks]).report["computed_blocks"] == 0
    assert run_to_end(*run[BLOCKS - 1]).report["computed_blocks"] == 1
    assert run_to_end("run", source(SMALL), "--store", path, "--json").report["computed_blocks"] == BLOCKS - 1
    assert content(path) == contents(SMALL)


@trials(1, 20)
def test_a_killed_slice_is_run_again(source_and_contents, tmp_path, trials):
    source, contents = source_and_contents
    expected = contents(SMALL)
    chance = random.Random(4)
    for trial in range(trials):
        path, wanted = tmp_path / f"{trial}.zarr", chance.randrange(1, 8)
        three, gate = slices(source(SMALL), path, 3), Gate(tmp_path / f"gate-{trial}", wanted)
        with commands.commands(*three, patches=[commands.smaller_blocks, gate.patch]) as started:
            victim = chance.choice(started)
            until(lambda path=path, wanted=wanted: len(marks(path)) == wanted)
            victim.kill()
            gate.open()
            others = [command.end() for command in started if command is not victim]
        assert [other.code for other in others] == [0, 0], [other.err for other in others]
        repeated = run_to_end(*three[started.index(victim)])
        assert repeated.code == 0
        assert repeated.report["pending"] == 0
        assert content(path) == expected


@pytest.mark.parametrize(
    ("first", "second", "refused"),
    [
        ("1/3", "1/3", True),
        ("1/3", "2/3", False),
        ("1/3", "2/4", True),
        ("1/3", None, True),
        (None, "1/3", True),
    ],
)
def test_only_different_slices_of_one_partition_write_at_the_same_time(
    source_and_contents, tmp_path, first, second, refused
):
    source, _ = source_and_contents
    path, gate = tmp_path / "s.zarr", Gate(tmp_path / "gate", 1)
    arguments = [
        ["run", source(SMALL), "--store", path, "--json", *(["--slice", part] if part else [])]
        for part in (first, second)
    ]
    with commands.command(*arguments[0], patches=[commands.smaller_blocks, gate.patch]) as running:
        until(lambda: marks(path))
        running.send(signal.SIGSTOP)
        end = run_to_end(*arguments[1])
        gate.open()
        running.send(signal.SIGCONT)
        assert running.end().code == 0
    if refused:
        part = "all blocks" if first is None else "slice " + first
        assert end.code == 1
        assert f"is being written by process {running.pid} on" in end.line
        assert f"({part}) since" in end.line
    else:
        assert end.report["computed_blocks"] == 4


def test_slices_of_different_specs_at_the_same_moment(source_and_contents, tmp_path):
    """Of two slices that would make different stores one is refused, and the store is that of the other."""
    source, contents = source_and_contents
    other = SMALL.replace("stop = 4.0", "stop = 5.0")
    expected = [contents(SMALL), contents(other)]
    for trial in range(2):
        path = tmp_path / f"{trial}.zarr"
        both = [slices(source(text), path, 2)[number] for number, text in enumerate((SMALL, other))]
        with commands.commands(*both, patches=[commands.smaller_blocks]) as started:
            codes = [command.end().code for command in started]
        assert sorted(codes) in ([0, 1], [0, 2])
        winner = codes.index(0)
        assert run_to_end("run", source((SMALL, other)[winner]), "--store", path).code == 0
        assert content(path) == expected[winner]


@trials(1, 15)
@combinations(
    [("points", "points", "joined"), ("points", "times", "apart"), ("reduced", "points", "apart")],
    more=OUTPUTS,
    larger={"points": LARGER, "times": LATER},
    cut=CUTS,
)
def test_slices_of_one_larger_spec_let_a_store_grow_together(
    source_and_contents, tmp_path, trials, larger, more, cut
):
    source, contents = source_and_contents
    expected = contents(SMALL + more, larger + more, patches=[cut])
    for trial in range(trials):
        path = tmp_path / f"{trial}.zarr"
        assert run_to_end("run", source(SMALL + more), "--store", path, patches=[cut]).code == 0
        reports = run_slices(source(larger + more), path, 3, cut)
        assert sum(report["pending"] == 0 for report in reports) >= 1
        assert content(path) == expected


def test_a_slice_that_grows_the_store_late_does_not_undo_blocks_of_others(source_and_contents, tmp_path):
    """Two slices open the small store. While one is stopped, the other must not fill it."""
    source, contents = source_and_contents
    path = tmp_path / "s.zarr"
    assert run_to_end("run", source(SMALL), "--store", path, patches=[commands.smaller_blocks]).code == 0
    first, second = slices(source(LATER), path, 2)
    with commands.command(
        *first, patches=[partial(commands.stop_in_call, "fastlin.sweeps.store.store", "grow")]
    ) as late:
        assert commands.wait_until_stopped(late)
        with commands.command(*second, patches=[partial(commands.shorten_expiry, 1.0)]) as other:
            refused = other.end()
        assert refused.code == 1
        assert f"is being written by process {late.pid}" in refused.line
        late.send(signal.SIGCONT)
        assert late.end().code == 0
    assert run_to_end(*second).report["pending"] == 0
    assert content(path) == contents(SMALL, LATER)


@pytest.mark.parametrize(
    "part", ["0/3", "4/3", "x", "1/0", "1/2/3", "-1/2", "1/", "/", "", "1.0/2", "²/3", "1/9999999"]
)
def test_an_invalid_slice_is_one_line(source_and_contents, tmp_path, part):
    source, _ = source_and_contents
    path = tmp_path / "s.zarr"
    done = run_to_end("run", source(SMALL), "--store", path, f"--slice={part}")
    assert done.code == 2
    assert done.line.startswith("slice is ")
    assert not path.exists()
