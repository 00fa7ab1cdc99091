"""Progress of a run: counts of points, and shares and times by the cost of blocks."""

import io
import logging
import random

import pytest
from rich.console import Console

import fastlin as fl
from fastlin.sweeps.run import progress
from fastlin.sweeps.run.progress import Live, Pace, Plain, Progress, Work
from tests import cutting, sweeping


@pytest.fixture
def clock(monkeypatch):
    """Return a function that advances the clock."""
    now = [0.0]
    monkeypatch.setattr(progress, "monotonic", lambda: now[0])

    def wait(seconds):
        now[0] += seconds

    return wait


def test_time_left_goes_by_the_cost_of_blocks(clock):
    """The last architectures of the grid take a hundred times as long as the first."""
    costs = [float(n) ** 2 / 25 for n in range(1, 51)]
    pace = Pace(50, 0, Work(sum(costs), sum(costs), sum(costs), 50, 1))
    assert pace.left is None
    for number, cost in enumerate(costs, 1):
        clock(3.0 * cost)
        pace.advance(1, cost, 3.0 * cost)
        remaining = 3.0 * (sum(costs) - sum(costs[:number]))
        assert pace.left == pytest.approx(remaining, abs=1e-9)
        assert pace.share == pytest.approx(sum(costs[:number]) / sum(costs))
        assert pace.done == number


GROWING = [(20.0 + n) ** 2 / 1000 for n in range(48)]  # the blocks of a large grid of architectures
RUNS = {
    "few threads": (GROWING, 2, 0.0),
    "threads beyond the cores": (GROWING, 4, 0.0),
    "workers that take long to start": (GROWING, 2, 30.0),
    "large blocks first": (GROWING[::-1], 4, 2.0),
    "few blocks": ([1.0] * 16, 4, 3.0),
    "many workers": ([1.0] * 300, 32, 10.0),
    "short blocks": ([0.02] * 2000, 4, 1.0),
    "one thread": ([1.0] * 20, 1, 3.0),
}


@pytest.mark.parametrize("pace_of_machine", [0.5, 1.6])
@pytest.mark.parametrize(("costs", "threads", "start"), RUNS.values(), ids=RUNS)
def test_time_left_is_right_after_a_tenth_of_the_work(clock, costs, threads, start, pace_of_machine):
    """It is within a factor of 1.5 or half a block, although the time of a block varies by a quarter."""
    chance = random.Random(1)
    took = [pace_of_machine * cost * chance.uniform(0.75, 1.25) for cost in costs]
    free, ends = [start] * threads, []
    for number, each in enumerate(took):
        thread = free.index(min(free))
        free[thread] += each
        ends.append((free[thread], number))
    pace, now, done = Pace(len(costs), 0, Work(*[sum(costs)] * 3, len(costs), threads)), 0.0, 0.0
    for end, number in sorted(ends):
        clock(end - now)
        pace.advance(1, costs[number], took[number])
        now, done = end, done + costs[number]
        left = max(free) - now
        if done >= 0.1 * sum(costs):
            close = left / 1.5 < pace.left < 1.5 * left or abs(pace.left - left) < max(took) / 2
            assert close, (done / sum(costs), left, pace.left)


def test_a_slice_counts_the_whole_sweep_and_the_time_of_its_own_blocks(clock):
    pace = Pace(100, 40, Work(10.0, 6.0, 2.0, 2, 1))
    assert pace.share == pytest.approx(0.4)
    clock(4.0)
    pace.advance(10, 1.0, 4.0)
    assert (pace.done, pace.left) == (50, pytest.approx(4.0))
    assert pace.share == pytest.approx(0.5)


def test_lines_have_counts_of_points_and_the_time_left(clock):
    lines = []
    with Plain(lines.append) as show:
        show.begin(1000, 0, Work(10.0, 10.0, 10.0, 2, 1))
        clock(20.0)
        show.advance(500, 2.0, 20.0)
        clock(2.0)
        show.advance(500, 8.0, 2.0)
    assert lines == [
        "500 of 1,000 points, 25 points/s, 1 min 20 s left",
        "1,000 of 1,000 points, 45 points/s, 0 s left",
    ]


def test_the_bar_has_counts_of_points_and_the_time_left(clock):
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    with Live(console) as show:
        show.begin(1000, 0, Work(10.0, 10.0, 10.0, 2, 1))
        clock(20.0)
        show.advance(500, 2.0, 20.0)
        show._bar.refresh()
    text = console.file.getvalue()
    assert "500 of 1,000 points" in text
    assert "20.0 %" in text
    assert "1 min 20 s left" in text


def test_a_run_shows_a_bar_on_a_terminal_and_in_a_notebook_and_lines_elsewhere(monkeypatch):
    def shown(terminal, notebook, widgets):
        monkeypatch.setattr(
            progress,
            "Console",
            lambda stderr: Console(file=io.StringIO(), force_terminal=terminal, force_jupyter=notebook),
        )
        monkeypatch.setattr(progress, "find_spec", lambda _name: object() if widgets else None)
        return type(progress.as_progress(True))

    assert shown(True, False, False) is Live
    assert shown(False, False, True) is Plain
    assert shown(False, True, True) is Live
    assert shown(False, True, False) is Plain  # Rich would print only a warning


def test_progress_in_python_is_that_of_the_command_line(tmp_path, client, capsys, caplog, clock):
    """The clock does not advance, so that both print the same rates."""
    with caplog.at_level(logging.INFO, logger="fastlin"):
        report = fl.run_sweep(sweeping.spec(), tmp_path / "s.zarr", client, progress=True)
    printed = capsys.readouterr()
    logged = [record.getMessage() for record in caplog.records if record.name.startswith("fastlin")]
    assert printed.out == ""
    assert logged == [*printed.err.splitlines(), report.summary]
    assert "180 of 180 points" in logged[-2]
    assert "180 of 180 points ok, 0 diverged, 0 failed; 6 of 6 blocks computed" in report.summary
    fl.run_sweep(sweeping.spec(), tmp_path / "silent.zarr", client)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("value", ["yes", 1, None, print])
def test_a_wrong_progress_is_named(tmp_path, value):
    with pytest.raises(fl.InputError, match=r"^progress is .*; allowed are True, False and a Progress$"):
        fl.run_sweep(sweeping.spec(), tmp_path / "s.zarr", progress=value)
    assert not (tmp_path / "s.zarr").exists()


def test_a_progress_has_only_the_methods_that_do_something(tmp_path, client):
    class Lines(Progress):
        def note(self, text):
            self.last = text

    with Lines() as show:
        show.compiling(1, 2, 3.0)
        show.note("one line")
        assert show.last == "one line"
    assert fl.run_sweep(sweeping.spec(), tmp_path / "s.zarr", client, progress=show).ok == 180


class RecordedProgress(Progress):
    """Progress that records its calls."""

    def begin(self, total, done, work):
        """Record the call."""
        self.begun, self.advanced = (total, done, work), []

    def advance(self, points, seconds, took):
        """Record the call."""
        assert took > 0.0
        self.advanced.append((points, seconds))


@pytest.mark.parametrize("output", [sweeping.spec()["output"], {"observables": ["loss"], "reduce": {}}])
def test_the_work_of_a_run_is_that_of_its_blocks(tmp_path, client, output):
    """Blocks may be partly done, the store may have grown inside blocks, and the run may be a slice."""
    spec, path, show = sweeping.spec(output=output), tmp_path / "s.zarr", RecordedProgress()
    smaller = spec | {"axes": spec["axes"] | {"architecture": spec["axes"]["architecture"][:2]}}
    with cutting.into(architectures=3, init_scales=1, seeds=4):
        fl.run_sweep(smaller, path, client, progress=show)
        check(show, 120, 0)
        fl.run_sweep(spec, path, client, progress=show, slice="2/2")
        total, done, work = show.begun
        assert (total, done) == (180, 120)
        assert 0 < work.run < work.missing < work.total
        check(show, 180, 120)
        shown = show.advanced
        fl.run_sweep(spec, path, client, progress=show)
        check(show, 180, 120 + sum(points for points, _ in shown))
        assert show.begun[2].missing == pytest.approx(show.begun[2].run)


def check(show, total, done):
    """Check that the total work that a run announced equals the work that it did."""
    assert show.begun[:2] == (total, done)
    assert sum(seconds for _, seconds in show.advanced) == pytest.approx(show.begun[2].run)
