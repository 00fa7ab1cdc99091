"""Progress of a run: the bar and the lines, with counts of points and the time left."""

import io
import logging

import pytest
from rich.console import Console

import fastlin as fl
from fastlin.sweeps.run import progress
from fastlin.sweeps.run.pace import Work
from fastlin.sweeps.run.progress import Live, Plain, Progress
from tests import cutting, sweeping


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
